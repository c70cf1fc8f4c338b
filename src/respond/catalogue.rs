//! The catalogue of actions: a TOML file of `[[actions]]`, each an [`ActionDef`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::execute::ansible::host_keys;
use super::execute::http;
use super::execute::opensearch::check_def as opensearch_check;
use super::execute::ssh;
use super::{digest, value};
use crate::config::doc::{Doc, Table, Value};
use crate::config::fault::{Faults, Place, nearest};
use crate::config::secret::Reference;
use crate::model::action::{ActionDef, Executor, Governed, Tier};

/// Actions the desk can propose, with the file they came from.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    defs: Arc<Vec<ActionDef>>,
    /// Read again before each proposal, approval and start when it changed. `None`: built in.
    pub path: Option<PathBuf>,
    /// SHA-256 (hex) of the file.
    pub digest: String,
    /// Holds the actions on rollouts and on backups of Velero too.
    pub(super) rollouts: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    actions: Vec<ActionDef>,
}

impl Catalogue {
    /// Reads a file. Relative paths in it are relative to its folder. All faults are told at once, each with its place.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Faults::one(Place::Whole(path.to_owned()), format!("cannot be read: {e}")))?;
        let mut read = Self::parse(path, &text)?;
        read.path = Some(path.to_owned());
        Ok(read)
    }

    /// `path` is for messages, and its folder for relative paths.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Faults> {
        let doc = Doc::parse(path, text.to_owned())?;
        let file: File = toml::from_str(text).map_err(|e| shape_fault(path, text, &e))?;
        let mut faults = Faults::default();
        let mut defs = file.actions;
        let tables = action_tables(&doc);
        let names: Vec<String> = defs.iter().map(|d| d.name.clone()).collect();
        let empty = Table::default();
        for (i, def) in defs.iter().enumerate() {
            let table = tables.get(i).copied().unwrap_or(&empty);
            let mut say = |key: &str, what: String| {
                let at = table.get(key).map_or(table.at, |e| e.node.at);
                faults.add(doc.place(at), what);
            };
            check(def, &mut say);
            if names[..i].contains(&def.name) {
                say("name", format!("another action is called {:?} already", def.name));
            }
            if let Some(undo) = def.undo.as_ref().filter(|u| !names.contains(u)) {
                let near = nearest(undo, names.iter().map(String::as_str));
                let near = near.map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
                say("undo", format!("undo: there is no action {undo:?}{near}"));
            }
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        defs.iter_mut().for_each(|d| settle_paths(d, folder));
        faults.or(Self { defs: Arc::new(defs), path: None, rollouts: false, digest: digest::of_bytes(text.as_bytes()) })
    }

    /// The same with the actions on rollouts and on backups of Velero; one of the file with such a name stands.
    #[must_use]
    pub fn with_rollouts(mut self) -> Self {
        self.rollouts = true;
        let mut defs = (*self.defs).clone();
        for def in super::rollout_actions().into_iter().chain(super::execute::velero::catalogue()) {
            if !defs.iter().any(|d| d.name == def.name) {
                defs.push(def);
            }
        }
        self.defs = Arc::new(defs);
        self
    }

    /// The same with the actions that change policy and roster, where those are files. The desk's own stand before any of
    /// such a name.
    #[must_use]
    pub fn with_governing(mut self, policy: Option<&Path>, roster: Option<&Path>) -> Self {
        let files = [(Governed::Policy, policy), (Governed::Roster, roster)];
        let mut defs: Vec<ActionDef> = self.defs.iter().filter(|d| !super::govern::governs(&d.name)).cloned().collect();
        defs.extend(files.into_iter().filter_map(|(what, path)| Some(super::govern::entry(what, path?))));
        self.defs = Arc::new(defs);
        self
    }

    pub fn defs(&self) -> Arc<Vec<ActionDef>> {
        self.defs.clone()
    }

    /// The action of that name, or a sentence with the nearest one.
    pub fn get(&self, name: &str) -> Result<&ActionDef, String> {
        if let Some(def) = self.defs.iter().find(|d| d.name == name) {
            return Ok(def);
        }
        let shown = crate::text::Untrusted::new(name);
        let shown = crate::text::clean(&shown);
        Err(match nearest(name, self.defs.iter().map(|d| d.name.as_str())) {
            Some(near) => format!("there is no action {shown:?}; did you mean {near:?}?", shown = shown.as_str()),
            None if self.defs.is_empty() => "the catalogue holds no actions".into(),
            None => {
                let known: Vec<&str> = self.defs.iter().map(|d| d.name.as_str()).collect();
                format!("there is no action {:?}; known: {}", shown.as_str(), known.join(", "))
            }
        })
    }
}

fn action_tables(doc: &Doc) -> Vec<&Table> {
    let Some(Value::Array(items)) = doc.root.get("actions").map(|e| &e.node.value) else { return Vec::new() };
    items
        .iter()
        .filter_map(|n| match &n.value {
            Value::Table(t) => Some(t),
            _ => None,
        })
        .collect()
}

/// What the deserialiser says, with its place and, for an unknown name, the nearest known one.
pub(super) fn shape_fault(path: &Path, text: &str, e: &toml::de::Error) -> Faults {
    let place = e.span().map_or(Place::Whole(path.to_owned()), |s| Place::at(path, text, s.start));
    let mut message = e.message().to_owned();
    let mut names = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown")
        && let Some(typed) = names.next()
        && let Some(near) = nearest(typed, names)
    {
        message = format!("{message}; did you mean {near:?}?");
    }
    Faults::one(place, message)
}

/// Everything the types cannot say.
fn check(def: &ActionDef, say: &mut dyn FnMut(&str, String)) {
    let word_ok = |s: &str, joiner: u8| {
        s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == joiner)
            && s.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && s.len() <= 64
    };
    if !word_ok(&def.name, b'-') {
        say("name", format!("name: expected lower case words joined by '-', found {:?}", def.name));
    }
    if def.targets.max == 0 {
        say("targets", "targets: max must be at least 1".into());
    }
    for (i, p) in def.params.iter().enumerate() {
        if !word_ok(&p.name, b'_') || p.name.starts_with("ansible_") || p.name.starts_with("watchfloor_") {
            say("params", format!("params: expected a lower case name with '_', found {:?}", p.name));
        }
        if def.params[..i].iter().any(|q| q.name == p.name) {
            say("params", format!("params: {:?} stands there twice", p.name));
        }
        if let Some(Err(why)) = p.default.as_ref().map(|d| value::check(&p.kind, d)) {
            say("params", format!("params: default of {:?}: {why}", p.name));
        }
    }
    match &def.executor {
        Executor::Ansible { playbook, inventory, extra_args, vault_password, timeout_seconds } => {
            if playbook.is_empty() || inventory.is_empty() {
                say("executor", "executor: playbook and inventory must not be empty".into());
            }
            if let Some(arg) = extra_args.iter().find(|a| takes_over(a)) {
                say("executor", format!("executor: extra_args may not hold {arg:?}; watchfloor sets it itself"));
            }
            if let Some(off) = extra_args.iter().find_map(|a| host_keys::lets_any_pass(a)) {
                say("executor", format!("executor: extra_args: {off} would let any host in; its key is checked"));
            }
            if vault_password.as_ref().is_some_and(|r| r.parse::<Reference>().is_err()) {
                let expected = "expected a secret reference, such as keyring:ansible-vault";
                say("executor", format!("executor: vault_password: {expected}"));
            }
            check_timeout(*timeout_seconds, say);
        }
        Executor::Http { url, headers, body, timeout_seconds, sign, ca: _, idempotent: _ } => {
            for why in http::check_def(def, url, headers, body, sign.as_ref()) {
                say("executor", format!("executor: {why}"));
            }
            check_timeout(*timeout_seconds, say);
        }
        Executor::Ssh(run) => {
            for why in ssh::check_def(def, run) {
                say("executor", format!("executor: {why}"));
            }
            check_timeout(run.timeout_seconds, say);
        }
        Executor::OpensearchSnapshot { verb, access } => {
            for why in opensearch_check(def, *verb, access) {
                say("executor", format!("executor: {why}"));
            }
            check_timeout(access.timeout_seconds, say);
        }
        Executor::Restic { access } => {
            for why in super::execute::restic::check_def(def, access) {
                say("executor", format!("executor: {why}"));
            }
            check_timeout(access.timeout_seconds, say);
        }
        Executor::Velero { timeout_seconds, .. } => check_timeout(*timeout_seconds, say),
        Executor::Govern { .. } => {
            say("executor", "executor: govern is the desk's own; `policy propose` and `roster propose` use it".into());
        }
        Executor::Kubernetes { .. } | Executor::Demo { .. } => {}
    }
    if def.tier == Tier::T0 && def.contains {
        say("contains", "contains: an action that only reads contains nothing".into());
    }
}

fn check_timeout(seconds: u64, say: &mut dyn FnMut(&str, String)) {
    if !(1..=86_400).contains(&seconds) {
        say("executor", "executor: timeout_seconds must be from 1 to 86400".into());
    }
}

/// Options of `ansible-playbook` that would change which hosts are touched, or whether. It takes unambiguous
/// abbreviations of long options too.
fn takes_over(arg: &str) -> bool {
    const LONG: [&str; 7] =
        ["--limit", "--inventory", "--inventory-file", "--check", "--syntax-check", "--list-hosts", "--list-tasks"];
    let name = arg.split('=').next().unwrap_or(arg);
    match name.strip_prefix("--") {
        Some("") => true,
        Some(_) => LONG.iter().any(|l| l.starts_with(name)) || name == "--list-tags" || name == "--step",
        None => {
            arg.starts_with('-') && arg[1..].chars().take_while(char::is_ascii_alphabetic).any(|c| "liC".contains(c))
        }
    }
}

fn settle_paths(def: &mut ActionDef, folder: &Path) {
    let absolute = |p: &str| {
        let joined = folder.join(p);
        std::path::absolute(&joined).unwrap_or(joined).to_string_lossy().into_owned()
    };
    match &mut def.executor {
        Executor::Ansible { playbook, inventory, .. } => {
            *playbook = absolute(playbook);
            // `host,` is a list of hosts and not a file.
            if !inventory.contains(',') {
                *inventory = absolute(inventory);
            }
        }
        Executor::Http { ca: Some(ca), .. } => *ca = absolute(ca),
        Executor::Ssh(run) => {
            run.known_hosts = absolute(&run.known_hosts);
            run.identity_file = run.identity_file.as_deref().map(absolute);
            run.agent = run.agent.as_deref().map(absolute);
        }
        Executor::OpensearchSnapshot { access, .. } => access.ca = access.ca.as_deref().map(absolute),
        Executor::Http { ca: None, .. }
        | Executor::Restic { .. }
        | Executor::Kubernetes { .. }
        | Executor::Velero { .. }
        | Executor::Govern { .. }
        | Executor::Demo { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let e = Catalogue::parse(Path::new("/etc/wf/actions.toml"), text).unwrap_err();
        e.0.iter().map(ToString::to_string).collect()
    }

    fn one(extra: &str, executor: &str) -> String {
        format!(
            "[[actions]]\nname = \"isolate-host\"\ntitle = \"Isolate\"\ntier = \"T2\"\n\
             targets = {{ is = {{ type = \"host\" }} }}\n{extra}\nexecutor = {{ {executor} }}\n"
        )
    }

    #[test]
    fn the_samples_can_be_read() {
        for name in ["assets/actions.sample.toml", "assets/demo/actions.toml"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            let c = Catalogue::load(&path).unwrap();
            assert!(c.defs().len() >= 4);
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let text = one("", "kind = \"ansible\", playbook = \"pb/x.yml\", inventory = \"../hosts\"");
        let c = Catalogue::parse(Path::new("/etc/wf/actions.toml"), &text).unwrap();
        let Executor::Ansible { playbook, .. } = &c.get("isolate-host").unwrap().executor else { panic!() };
        assert_eq!(playbook, "/etc/wf/pb/x.yml");
        assert_eq!(
            c.get("isolate-hots").unwrap_err(),
            "there is no action \"isolate-hots\"; did you mean \"isolate-host\"?"
        );
    }

    #[test]
    fn faults_have_a_place_and_the_nearest_name() {
        let f = faults("[[actions]]\nname = \"a\"\ntitel = \"x\"\n");
        assert!(f[0].starts_with("/etc/wf/actions.toml:3:1: unknown field `titel`"), "{f:?}");
        assert!(f[0].ends_with("did you mean \"title\"?"), "{f:?}");
        let f = faults(&one("undo = \"isolate-hosts\"", "kind = \"demo\""));
        assert_eq!(
            f[0],
            "/etc/wf/actions.toml:6:8: undo: there is no action \"isolate-hosts\"; did you mean \"isolate-host\"?"
        );
        let f = faults(&one("", "kind = \"demos\""));
        assert!(f[0].contains(":7:") && f[0].contains("did you mean \"demo\"?"), "{f:?}");
        let twice = one("", "kind = \"demo\"").repeat(2);
        assert!(faults(&twice)[0].contains("another action is called"));
        for (extra, what) in [
            ("params = [{ name = \"ansible_user\", is = { type = \"user\" } }]", "params: expected"),
            (
                "params = [{ name = \"n\", is = { type = \"integer\", min = 1, max = 2 }, default = \"3\" }]",
                "default of",
            ),
        ] {
            assert!(faults(&one(extra, "kind = \"demo\""))[0].contains(what));
        }
    }

    #[test]
    fn what_removes_backups_needs_a_second_person() {
        let of = |tier: &str, kind: &str, executor: &str| {
            one("", executor).replace("\"T2\"", &format!("{tier:?}")).replace("\"host\"", &format!("{kind:?}"))
        };
        let restic = "kind = \"restic\", repository = \"/srv/r\", password = \"env:RESTIC\"";
        let opensearch = "kind = \"opensearch_snapshot\", verb = \"delete\", url = \"https://s\", repository = \"r\"";
        for executor in [restic, opensearch] {
            assert!(Catalogue::parse(Path::new("a"), &of("T2", "snapshot", executor)).is_ok(), "{executor}");
            assert!(faults(&of("T1", "snapshot", executor))[0].contains("tier T2 or T3"));
            assert!(faults(&of("T3", "host", executor))[0].contains("\"snapshot\""));
        }
        for (bad, what) in [
            ("repository = \"rest:https://u:p@h/\", password = \"env:R\"", "no user name"),
            ("repository = \"--x\", password = \"env:R\"", "repository: expected"),
            ("repository = \"/r\", password = \"secret\"", "secret reference"),
            ("repository = \"/r\", password = \"env:R\", env = { LD_PRELOAD = \"x\" }", "LD_PRELOAD may not"),
            ("repository = \"/r\", password = \"env:R\", program = \"restic\"", "absolute path"),
        ] {
            let f = faults(&of("T3", "snapshot", &format!("kind = \"restic\", {bad}")));
            assert!(f[0].contains(what), "{f:?}");
        }
    }

    #[test]
    fn extra_arguments_cannot_widen_a_run() {
        for arg in
            ["-l", "--limit", "--limit=all", "--lim", "-iother", "-vCl", "--check", "--inventory=x", "--", "--step"]
        {
            let text =
                one("", &format!("kind = \"ansible\", playbook = \"p\", inventory = \"i\", extra_args = [{arg:?}]"));
            assert!(faults(&text)[0].contains("extra_args may not"), "{arg}");
        }
        for arg in ["-v", "--become", "--forks=2", "--diff", "-e", "x=1", "--user=deploy"] {
            let text =
                one("", &format!("kind = \"ansible\", playbook = \"p\", inventory = \"i\", extra_args = [{arg:?}]"));
            assert!(Catalogue::parse(Path::new("a"), &text).is_ok(), "{arg}");
        }
    }
}
