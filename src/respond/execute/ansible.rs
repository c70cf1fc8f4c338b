//! `ansible-playbook`, limited to the approved targets. The dry run is `--check --diff`.
//!
//! Results come from a callback of the collection ansible.posix, see [`result`]. A target they do not name is unknown.
//!
//! Parameters are passed as one JSON `--extra-vars` argument. Ansible would expand `{{ }}` in it as a template that can
//! run programs, so a value with template marks is refused.

pub(in crate::respond) mod host_keys;
mod result;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::process::{self, Output, Spec};
use super::{DryRun, Job, Secrets, Stop, bounded};
use crate::model::action::{Command, Finding, ReceiptState, RequestBody};
use crate::respond::digest;
use crate::text::clean;
use vault::Vault;

/// Longest result that is read; a run with larger diffs has unknown receipts.
const RESULT_MAX: usize = 32 << 20;
/// One JSON object per event and line, as it happens.
const EVENTS: &str = "ansible.posix.jsonl";
/// One JSON object at the end, in collections too old for events.
const WHOLE: &str = "ansible.posix.json";
const DRY_RUN_LIMIT: u64 = 180;
const LIST_LIMIT: Duration = Duration::from_secs(60);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub fn render(
    body: &RequestBody,
    playbook: &str,
    inventory: &str,
    extra_args: &[String],
    vault_password: Option<&str>,
) -> Result<Command, String> {
    for (name, value) in &body.params {
        if ["{{", "{%", "{#"].iter().any(|mark| value.contains(mark)) {
            return Err(format!("parameter {name:?}: {{{{, {{% and {{# are not allowed, Ansible would expand them"));
        }
    }
    if let Some(t) = body.targets.iter().find(|t| ["all", "ungrouped"].contains(&t.to_ascii_lowercase().as_str())) {
        return Err(format!("{t:?} is every host of the inventory and no target"));
    }
    let mut argv = vec![
        program()?,
        "--diff".into(),
        "--inventory".into(),
        inventory.into(),
        "--limit".into(),
        body.targets.join(","),
    ];
    argv.push("--extra-vars".into());
    argv.push(extra_vars(body)?);
    argv.extend(extra_args.iter().cloned());
    argv.extend(vault_password.map(vault::option));
    argv.push(playbook.into());
    Ok(Command { targets: body.targets.clone(), argv, files: files(Path::new(playbook), inventory)? })
}

/// Numbers stay text: a playbook that needs one says `| int`.
fn extra_vars(body: &RequestBody) -> Result<String, String> {
    let mut vars: serde_json::Map<String, Value> =
        body.params.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect();
    vars.insert("watchfloor_request".into(), json!(body.id));
    vars.insert("watchfloor_targets".into(), json!(body.targets));
    serde_json_canonicalizer::to_string(&vars).map_err(|e| e.to_string())
}

fn program() -> Result<String, String> {
    let home = directories::BaseDirs::new().map(|d| d.home_dir().join(".local/bin"));
    let places = PATH.split(':').map(PathBuf::from).chain(home);
    let found = places.map(|p| p.join("ansible-playbook")).find(|p| p.is_file());
    found
        .map(|p| p.to_string_lossy().into_owned())
        .ok_or_else(|| format!("ansible-playbook is not installed (looked in {PATH} and ~/.local/bin)"))
}

/// Everything the run reads: the playbook, its folder (roles, templates, variables), the inventory with the variables
/// beside it, and the configuration.
fn files(playbook: &Path, inventory: &str) -> Result<BTreeMap<String, String>, String> {
    let folder = folder_of(playbook);
    let mut paths = vec![playbook.to_owned(), folder.to_owned()];
    if !inventory.contains(',') {
        let inventory = Path::new(inventory);
        paths.push(inventory.to_owned());
        let beside = inventory.parent().into_iter().flat_map(|p| [p.join("group_vars"), p.join("host_vars")]);
        paths.extend(beside.filter(|p| p.exists()));
    }
    paths.extend(config(folder));
    paths.iter().try_for_each(|p| host_keys::look_through(p))?;
    paths.into_iter().map(|p| digest::of_path(&p).map(|d| (p.to_string_lossy().into_owned(), d))).collect()
}

fn folder_of(playbook: &Path) -> &Path {
    playbook.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("/"))
}

/// The configuration Ansible would find by itself.
fn config(folder: &Path) -> Option<PathBuf> {
    let home = directories::BaseDirs::new().map(|d| d.home_dir().join(".ansible.cfg"));
    [Some(folder.join("ansible.cfg")), home, Some("/etc/ansible/ansible.cfg".into())]
        .into_iter()
        .flatten()
        .find(|p| p.is_file())
}

/// The command to start, with `more` options put in front.
fn spec(body: &RequestBody, more: &[&str], home: &Path, vault: &Vault, limit: Duration) -> Result<Spec, String> {
    let command = body.commands.first().ok_or("there is no command")?;
    let (program, rest) = command.argv.split_first().ok_or("there is no command")?;
    let playbook = rest.last().map(PathBuf::from).unwrap_or_default();
    let folder = folder_of(&playbook).to_owned();
    let mut argv = vec![program.clone()];
    argv.extend(more.iter().map(|s| (*s).to_owned()));
    argv.extend(rest.iter().map(|a| vault.given(a)));
    let mut env: BTreeMap<String, String> = [
        ("PATH", PATH),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("ANSIBLE_STDOUT_CALLBACK", EVENTS),
        ("ANSIBLE_JSON_INDENT", "0"),
        ("ANSIBLE_NOCOLOR", "1"),
        ("ANSIBLE_RETRY_FILES_ENABLED", "0"),
        ("ANSIBLE_DEPRECATION_WARNINGS", "0"),
        ("ANSIBLE_LOCALHOST_WARNING", "0"),
        ("ANSIBLE_INVENTORY_UNPARSED_FAILED", "1"),
        host_keys::CHECKED,
        // Nobody is there to be asked for a passphrase.
        ("SSH_ASKPASS_REQUIRE", "force"),
        ("SSH_ASKPASS", "/bin/false"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    env.insert("HOME".into(), home.to_string_lossy().into_owned());
    // Without one there is nothing to find either: a file that appears later voids the approval.
    if let Some(config) = config(&folder) {
        env.insert("ANSIBLE_CONFIG".into(), config.to_string_lossy().into_owned());
    }
    // Keys that live in an agent are reached through this socket; it is no setting of ours.
    if let Some(agent) = std::env::var_os("SSH_AUTH_SOCK") {
        env.insert("SSH_AUTH_SOCK".into(), agent.to_string_lossy().into_owned());
    }
    let mark = body.id.to_string();
    Ok(Spec { argv, env, cwd: folder, stdin: None, mark, limit, max_stdout: RESULT_MAX, live: None })
}

/// Runs it; where the callback for events is not there, with the older one. Ansible says so before it reads anything
/// else, so nothing is run twice.
async fn play(make: impl Fn() -> Result<Spec, String>, stop: &Stop) -> Result<Output, String> {
    let out = process::run(make()?, stop.clone()).await?;
    let too_old = out.stdout.is_empty()
        && out.status.is_some_and(|s| !s.success())
        && memchr::memmem::find(&out.stderr, b"Invalid callback for stdout specified").is_some();
    if !too_old {
        return Ok(out);
    }
    let mut again = make()?;
    again.env.insert("ANSIBLE_STDOUT_CALLBACK".into(), WHOLE.into());
    process::run(again, stop.clone()).await
}

/// The hosts this command would touch must be exactly the targets: a name could be a group.
pub async fn same_hosts(body: &RequestBody, home: PathBuf, secrets: &Secrets, stop: Stop) -> Result<(), String> {
    let vault = Vault::open(body, secrets).await?;
    let out = process::run(spec(body, &["--list-hosts"], &home, &vault, LIST_LIMIT)?, stop).await?;
    if let Some(why) = out.stopped {
        return Err(why);
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let hosts = listed(&text);
    let targets: BTreeSet<&str> = body.targets.iter().map(String::as_str).collect();
    let join = |names: Vec<&&str>| {
        let names = names.into_iter().copied().collect::<Vec<_>>().join(", ");
        clean(&bounded(&names, 500)).to_string()
    };
    let more = join(hosts.difference(&targets).collect());
    if !more.is_empty() {
        return Err(format!("the inventory takes a target for a group: {more} would be touched too"));
    }
    let missing = join(targets.difference(&hosts).collect());
    if !missing.is_empty() {
        let why = complaint(&out);
        return Err(format!("the playbook would not touch {missing}: not in the inventory, or not in its hosts{why}"));
    }
    Ok(())
}

/// Hosts in what `--list-hosts` prints: the lines after each `hosts (N):`, indented deeper.
fn listed(text: &str) -> BTreeSet<&str> {
    let mut hosts = BTreeSet::new();
    let mut depth = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let word = line.trim();
        if word.starts_with("hosts (") && word.ends_with("):") {
            depth = Some(indent);
        } else if depth.is_some_and(|d| indent > d) && !word.is_empty() {
            hosts.insert(word);
        } else {
            depth = None;
        }
    }
    hosts
}

/// How it ended and the last thing it complained about, as ` (exit status: 4): text`.
fn complaint(out: &Output) -> String {
    let text = String::from_utf8_lossy(&out.stderr);
    let hint = if text.contains("Invalid callback") { " (the collection ansible.posix is needed)" } else { "" };
    let ended = out.status.filter(|s| !s.success()).map(|s| format!(" ({s})")).unwrap_or_default();
    match text.trim() {
        "" => ended,
        text => format!("{ended}: {}{hint}", clean(&bounded(text, 2000))),
    }
}

pub async fn dry_run(body: &RequestBody, timeout_seconds: u64, home: PathBuf, secrets: &Secrets, stop: Stop) -> DryRun {
    let mut dry = DryRun::default();
    let mut add = |refuses: bool, text: String| dry.findings.push(Finding { refuses, text });
    if let Err(why) = same_hosts(body, home.clone(), secrets, stop.clone()).await {
        add(true, why);
        return dry;
    }
    let limit = Duration::from_secs(timeout_seconds.min(DRY_RUN_LIMIT));
    let tried = async {
        let vault = Vault::open(body, secrets).await?;
        play(|| spec(body, &["--check"], &home, &vault, limit), &stop).await
    };
    let out = match tried.await {
        Ok(out) => out,
        Err(why) => {
            add(false, format!("no dry run: {why}"));
            return dry;
        }
    };
    if let Some(why) = &out.stopped {
        add(false, format!("the dry run did not end: {why}"));
    }
    let Some(result) = result::parse(&out.stdout) else {
        add(false, format!("the dry run gave no result{}", complaint(&out)));
        return dry;
    };
    let mut failed = Vec::new();
    for target in &body.targets {
        let p = result::preview(&result, target);
        if p.failed {
            failed.push(target.as_str());
        }
        dry.preview.push(p);
    }
    if !failed.is_empty() {
        dry.findings.push(Finding { refuses: false, text: format!("the dry run failed for {}", failed.join(", ")) });
    }
    dry
}

pub async fn run(job: &Job, timeout_seconds: u64) {
    let body = job.approved.body();
    let limit = Duration::from_secs(timeout_seconds);
    let (live, rx) = mpsc::channel(64);
    let played = async {
        let vault = Vault::open(body, &job.secrets).await?;
        let make = || {
            let (stdin, live) = (Some(Arc::clone(&job.lock)), Some(live.clone()));
            spec(body, &[], &job.home, &vault, limit).map(|s| Spec { stdin, live, ..s })
        };
        play(make, &job.stop).await
    };
    let out = tokio::select! {
        out = played => out,
        never = progress(job, rx) => match never {},
    };
    let out = match out {
        Ok(out) => out,
        Err(why) => {
            for t in &body.targets {
                job.tell(t, ReceiptState::Failed, Some(0), &why).await;
            }
            return;
        }
    };
    let result = result::parse(&out.stdout);
    for t in &body.targets {
        let (state, changed, detail) = result::receipt(result.as_ref(), &out, t);
        job.tell(t, state, changed, detail).await;
    }
}

/// Tells the task it is at as pending receipts, at most once a second, for as long as there may be more.
async fn progress(job: &Job, mut rx: mpsc::Receiver<Vec<u8>>) -> std::convert::Infallible {
    let mut line = Vec::new();
    let mut due = tokio::time::Instant::now();
    // The last one that was not told yet: a long one may follow a short one within the second.
    let mut task = None;
    loop {
        tokio::select! {
            chunk = rx.recv() => {
                // The senders live as long as the run; it ends this.
                let Some(chunk) = chunk else { return std::future::pending().await };
                for byte in chunk {
                    if byte != b'\n' {
                        line.push(byte);
                        continue;
                    }
                    task = result::task_started(&line).or(task);
                    line.clear();
                }
            }
            () = tokio::time::sleep_until(due), if task.is_some() => {
                due = tokio::time::Instant::now() + Duration::from_secs(1);
                let task = task.take().unwrap_or_default();
                for target in &job.approved.body().targets {
                    job.tell(target, ReceiptState::Pending, None, format!("at: {task}")).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::testing::body;

    #[test]
    fn hosts_are_read_from_the_list() {
        let text = "\nplaybook: /x/p.yml\n\n  play #1 (all): a\tTAGS: []\n    pattern: ['all']\n    hosts (2):\n      web1\n      \
                    web2\n\n  play #2 (db): b\tTAGS: []\n    pattern: ['db']\n    hosts (1):\n      db1\n";
        assert_eq!(listed(text).into_iter().collect::<Vec<_>>(), ["db1", "web1", "web2"]);
        assert!(listed("playbook: p\n  play #1\n    hosts (0):\n").is_empty());
    }

    #[test]
    fn templates_and_everything_are_refused() {
        for value in ["{{ lookup('pipe','id') }}", "a{%b", "{#"] {
            let mut b = body(&["web1"]);
            b.params.insert("note".into(), value.into());
            assert!(render(&b, "/p/p.yml", "h,", &[], None).unwrap_err().contains("not allowed"));
        }
        assert!(render(&body(&["ALL"]), "/p/p.yml", "h,", &[], None).unwrap_err().contains("every host"));
    }

    /// A callback that is not there stands for a collection too old to have it.
    #[tokio::test]
    #[expect(clippy::disallowed_macros, reason = "says when it cannot run")]
    async fn without_the_callback_for_events_the_older_one_is_used() {
        if program().is_err() {
            return println!("skipped: ansible is not installed");
        }
        let dir = tempfile::tempdir().unwrap();
        let playbook = dir.path().join("p.yml");
        std::fs::write(&playbook, "- hosts: all\n  gather_facts: false\n  tasks:\n    - meta: noop\n").unwrap();
        let mut b = body(&["localhost"]);
        b.commands = vec![render(&b, playbook.to_str().unwrap(), "localhost,", &[], None).unwrap()];
        let (_tx, stop) = tokio::sync::watch::channel(None);
        let make = || {
            let mut spec = spec(&b, &[], Path::new("/tmp"), &Vault::default(), LIST_LIMIT)?;
            spec.env.insert("ANSIBLE_STDOUT_CALLBACK".into(), "ansible.posix.none".into());
            Ok(spec)
        };
        let out = play(make, &stop).await.unwrap();
        assert!(out.status.unwrap().success(), "{}", complaint(&out));
        assert!(out.stdout.starts_with(b"{\"custom_stats"), "the one object: {}", String::from_utf8_lossy(&out.stdout));
        assert!(result::parse(&out.stdout).is_some());
    }
}
