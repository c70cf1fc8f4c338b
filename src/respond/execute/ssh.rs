//! One program on each target, through the system's `ssh`.
//!
//! The command of a target is an argument vector of `ssh` with nothing left to chance: no configuration file is read,
//! only the keys of the named file count as the host's, only the named key (or the agent) logs in, nobody is asked
//! anything, nothing is forwarded, and no connection is shared. What runs there is the catalogue's argument vector with
//! whole arguments filled in, quoted for a POSIX shell.
//!
//! | `ssh` ends with | receipt |
//! |---|---|
//! | 0 | done |
//! | 255, never logged in | failed: nothing ran |
//! | 255, after it had logged in | unknown: the connection was lost, or the program itself ended with 255 |
//! | anything else | failed, with the program's own status |
//! | it was stopped before it logged in | failed: nothing ran |
//! | it was stopped later | unknown: the program there may go on |

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::process::{self, Output, Spec};
use super::{DryRun, Job, Stop, bounded, shell};
use crate::model::action::{ActionDef, Command, Finding, ParamType, Preview, ReceiptState, RequestBody, SshRun};
use crate::respond::digest;
use crate::text::Untrusted;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Of standard output; more is counted and left out.
const OUTPUT_MAX: usize = 64 << 10;
/// A dead peer is noticed after this many unanswered questions, one every [`ALIVE`] seconds.
const UNANSWERED: u32 = 3;
const ALIVE: u32 = 5;
const CONNECT: u32 = 10;
const LOOK_UP: Duration = Duration::from_secs(10);
/// `ssh` says so itself, at `LogLevel=VERBOSE`, before it sends the command.
const LOGGED_IN: &[u8] = b"Authenticated to ";

/// Everything that is wrong with an executor of this kind.
pub fn check_def(def: &ActionDef, with: &SshRun) -> Vec<String> {
    let mut faults = Vec::new();
    if def.targets.kind != ParamType::Host {
        faults.push("targets: expected { is = { type = \"host\" } }".into());
    }
    match with.argv.first() {
        Some(program) if program.starts_with('/') && !program.contains("{{") => {}
        _ => faults.push("argv: expected the absolute path of a program first".into()),
    }
    for word in &with.argv {
        match placeholder(word) {
            Some(name) => {
                let known = matches!(name, "target" | "request.id")
                    || name.strip_prefix("param.").is_some_and(|p| def.params.iter().any(|d| d.name == p));
                if !known {
                    faults.push(format!("argv: nothing is called {{{{{name}}}}}"));
                }
            }
            None if word.contains("{{") => {
                faults.push(format!("argv: {word:?}: a placeholder must be the whole argument"));
            }
            None if word.contains('\0') => faults.push("argv: a NUL byte cannot be sent".into()),
            None => {}
        }
    }
    if with.hosts.is_empty() {
        faults.push("hosts: expected at least one host".into());
    }
    let mut names = BTreeSet::new();
    for host in &with.hosts {
        match Host::parse(host, with.port) {
            Ok(h) if !names.insert(h.name.to_ascii_lowercase()) => {
                faults.push(format!("hosts: {} stands there twice", h.name));
            }
            Ok(_) => {}
            Err(why) => faults.push(format!("hosts: {why}")),
        }
    }
    if let Some(user) = with.user.as_ref().filter(|u| !is_user(u)) {
        faults.push(format!("user: expected an account name, found {user:?}"));
    }
    if with.known_hosts.is_empty() {
        faults.push("known_hosts: expected the file of the hosts' keys".into());
    }
    for (key, path) in [
        ("known_hosts", Some(&with.known_hosts)),
        ("identity_file", with.identity_file.as_ref()),
        ("agent", with.agent.as_ref()),
    ] {
        // ssh splits the first at blanks, and expands % and ${} in all of them.
        if path.is_some_and(|p| p.contains(['%', '$', ' ', '\t', '"', '\'', '\n', '\\'])) {
            faults.push(format!("{key}: a path without blanks, quotes, %, $ and \\ was expected"));
        }
    }
    if !(1..=64).contains(&with.parallel) {
        faults.push("parallel: expected a whole number from 1 to 64".into());
    }
    faults
}

fn is_user(name: &str) -> bool {
    let edge = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    edge && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

/// The name between the braces, where the word is nothing else.
fn placeholder(word: &str) -> Option<&str> {
    let name = word.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    (!name.contains(['{', '}'])).then_some(name)
}

/// A host of the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Host<'a> {
    pub name: &'a str,
    pub address: &'a str,
    pub port: u16,
    /// The address is another than the name, so its key is looked up under the name.
    pub alias: bool,
}

impl<'a> Host<'a> {
    pub fn parse(entry: &'a str, port: u16) -> Result<Self, String> {
        let expected = || format!("expected NAME, NAME=ADDRESS or NAME=ADDRESS:PORT, found {entry:?}");
        let name_ok = |s: &str| super::super::value::check(&ParamType::Host, s).is_ok();
        let Some((name, rest)) = entry.split_once('=') else {
            return if name_ok(entry) {
                Ok(Self { name: entry, address: entry, port, alias: false })
            } else {
                Err(expected())
            };
        };
        let (address, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((six, "")) => (six, port),
            Some((six, more)) => (six, more.strip_prefix(':').and_then(|p| p.parse().ok()).ok_or_else(expected)?),
            None => match rest.split_once(':') {
                Some((address, p)) => (address, p.parse().map_err(|_| expected())?),
                None => (rest, port),
            },
        };
        let good = name_ok(name) && port > 0 && (name_ok(address) || address.parse::<std::net::IpAddr>().is_ok());
        if good { Ok(Self { name, address, port, alias: true }) } else { Err(expected()) }
    }
}

pub fn render(body: &RequestBody, with: &SshRun) -> Result<Vec<Command>, String> {
    let ssh = program("ssh")?;
    let known = digest::of_file(Path::new(&with.known_hosts))?;
    let files: BTreeMap<String, String> = [(with.known_hosts.clone(), known)].into();
    let hosts: Vec<Host<'_>> = with.hosts.iter().map(|h| Host::parse(h, with.port)).collect::<Result<_, _>>()?;
    let mut out = Vec::new();
    for target in &body.targets {
        let host = hosts.iter().find(|h| h.name.eq_ignore_ascii_case(target)).ok_or_else(|| {
            let names: Vec<&str> = hosts.iter().map(|h| h.name).take(20).collect();
            format!("{target} is not among the hosts of {}: {}", body.action, names.join(", "))
        })?;
        let there = shell::quote(&filled(body, with, host.name)?)?;
        out.push(Command { targets: vec![target.clone()], argv: argv(&ssh, with, host, there), files: files.clone() });
    }
    Ok(out)
}

/// The program and its arguments over there.
fn filled(body: &RequestBody, with: &SshRun, target: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut options_over = false;
    for word in &with.argv {
        let Some(name) = placeholder(word) else {
            options_over |= word == "--";
            out.push(word.clone());
            continue;
        };
        let value = match name {
            "target" => target,
            "request.id" => body.id.as_str(),
            // Names were checked when the catalogue was read; a parameter without a value is empty.
            name => name.strip_prefix("param.").and_then(|p| body.params.get(p)).map_or("", String::as_str),
        };
        let number = value.parse::<i64>().is_ok();
        if value.starts_with('-') && !options_over && !number {
            return Err(format!(
                "{{{{{name}}}}} would be read as an option: {value:?}; an argument \"--\" before it in the catalogue allows it"
            ));
        }
        out.push(value.to_owned());
    }
    Ok(out)
}

fn argv(ssh: &str, with: &SshRun, host: &Host<'_>, there: String) -> Vec<String> {
    let mut argv: Vec<String> = [ssh, "-F", "none", "-T", "-a", "-x"].map(str::to_owned).to_vec();
    let mut option = |text: String| argv.extend(["-o".to_owned(), text]);
    for fixed in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "VerifyHostKeyDNS=no",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "ControlMaster=no",
        "ControlPath=none",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "EscapeChar=none",
        "TCPKeepAlive=yes",
        "LogLevel=VERBOSE",
    ] {
        option(fixed.to_owned());
    }
    option(format!("ConnectTimeout={CONNECT}"));
    option(format!("ServerAliveInterval={ALIVE}"));
    option(format!("ServerAliveCountMax={UNANSWERED}"));
    option(format!("UserKnownHostsFile={}", with.known_hosts));
    if host.alias {
        option(format!("HostKeyAlias={}", host.name));
    }
    match (&with.identity_file, &with.agent) {
        (Some(key), _) => {
            option("IdentitiesOnly=yes".into());
            option("IdentityAgent=none".into());
            option(format!("IdentityFile={key}"));
        }
        (None, Some(socket)) => {
            option("IdentityFile=none".into());
            option(format!("IdentityAgent={socket}"));
        }
        (None, None) => {
            option("IdentityFile=none".into());
            option("IdentityAgent=SSH_AUTH_SOCK".into());
        }
    }
    if let Some(user) = &with.user {
        argv.extend(["-l".to_owned(), user.clone()]);
    }
    argv.extend(["-p".to_owned(), host.port.to_string(), "--".to_owned(), host.address.to_owned(), there]);
    argv
}

fn program(name: &str) -> Result<String, String> {
    let found = PATH.split(':').map(|p| Path::new(p).join(name)).find(|p| p.is_file());
    found.map(|p| p.to_string_lossy().into_owned()).ok_or_else(|| format!("{name} is not installed (looked in {PATH})"))
}

fn spec(body: &RequestBody, argv: Vec<String>, home: &Path, limit: Duration) -> Spec {
    let mut env: BTreeMap<String, String> =
        [("PATH", PATH), ("LANG", "C.UTF-8"), ("SSH_ASKPASS_REQUIRE", "force"), ("SSH_ASKPASS", "/bin/false")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
    env.insert("HOME".into(), home.to_string_lossy().into_owned());
    // Keys that live in an agent are reached through this socket; it is no setting of ours.
    if let Some(agent) = std::env::var_os("SSH_AUTH_SOCK") {
        env.insert("SSH_AUTH_SOCK".into(), agent.to_string_lossy().into_owned());
    }
    let mark = body.id.to_string();
    Spec { argv, env, cwd: PathBuf::from("/"), stdin: None, mark, limit, max_stdout: OUTPUT_MAX, live: None }
}

/// Nothing runs over there: it shows what would, and whether each host's key is known.
pub async fn dry_run(body: &RequestBody, with: &SshRun, home: &Path, stop: Stop) -> DryRun {
    let mut dry = DryRun::default();
    let mut unknown = Vec::new();
    for command in &body.commands {
        let target = command.targets.first().map_or("", String::as_str);
        let there = command.argv.last().map_or("", String::as_str);
        let known = key_is_known(body, with, target, home, stop.clone()).await;
        let text = match &known {
            Ok(true) => format!("would run: {there}"),
            Ok(false) => format!("no key of {target} in {}\nwould run: {there}", with.known_hosts),
            Err(why) => format!("{why}\nwould run: {there}"),
        };
        if known == Ok(false) {
            unknown.push(target);
        }
        dry.preview.push(Preview {
            target: target.to_owned(),
            would_change: None,
            failed: known != Ok(true),
            diff: bounded(&text, super::DETAIL_MAX),
        });
    }
    if !unknown.is_empty() {
        let text = format!("{} holds no key of {}: ssh will refuse", with.known_hosts, unknown.join(", "));
        dry.findings.push(Finding { refuses: false, text });
    }
    dry
}

/// Whether the file has a key of this host, hashed names and patterns included.
async fn key_is_known(
    body: &RequestBody,
    with: &SshRun,
    target: &str,
    home: &Path,
    stop: Stop,
) -> Result<bool, String> {
    let hosts: Vec<Host<'_>> = with.hosts.iter().filter_map(|h| Host::parse(h, with.port).ok()).collect();
    let host = hosts.iter().find(|h| h.name.eq_ignore_ascii_case(target)).ok_or("it is not among the hosts")?;
    // As ssh looks it up: an alias stands without a port.
    let name = match host.alias || host.port == 22 {
        true => host.name.to_owned(),
        false => format!("[{}]:{}", host.name, host.port),
    };
    let argv = [program("ssh-keygen")?, "-F".into(), name, "-f".into(), with.known_hosts.clone()].to_vec();
    let out = process::run(spec(body, argv, home, LOOK_UP), stop).await?;
    match out.status.and_then(|s| s.code()) {
        Some(0) => Ok(!out.stdout.is_empty()),
        Some(1) => Ok(false),
        _ => Err(format!("whether its key is known cannot be told: {}", String::from_utf8_lossy(&out.stderr).trim())),
    }
}

pub async fn run(job: &Job, with: &SshRun) {
    let commands = &job.approved.body().commands;
    futures_util::stream::iter(commands)
        .for_each_concurrent(with.parallel, |command| async move {
            let target = command.targets.first().map_or("", String::as_str);
            if let Some(why) = job.stopped() {
                job.tell(target, ReceiptState::Skipped, Some(0), format!("not started: {why}")).await;
                return;
            }
            job.tell(target, ReceiptState::Pending, None, "connecting").await;
            let limit = Duration::from_secs(with.timeout_seconds);
            let mut spec = spec(job.approved.body(), command.argv.clone(), &job.home, limit);
            spec.stdin = Some(Arc::clone(&job.lock));
            let (state, detail) = match process::run(spec, job.stop.clone()).await {
                Ok(out) => became(&out),
                Err(why) => (ReceiptState::Failed, format!("nothing ran: {why}")),
            };
            // Without having run it changed nothing.
            let changed = (detail.starts_with(NOTHING)).then_some(0);
            job.tell(target, state, changed, detail).await;
        })
        .await;
}

const NOTHING: &str = "nothing ran";

/// What the table above says.
fn became(out: &Output) -> (ReceiptState, String) {
    let logged_in = memchr::memmem::find(&out.stderr, LOGGED_IN).is_some();
    let code = out.status.and_then(|s| s.code());
    let (state, what) = match (&out.stopped, code) {
        (Some(why), _) if !logged_in => {
            (ReceiptState::Failed, format!("{NOTHING}: not logged in yet when it was {why}"))
        }
        (Some(why), _) => (ReceiptState::Unknown, format!("{why}; the program there may go on")),
        (None, Some(0)) => (ReceiptState::Done, "exit status 0".to_owned()),
        (None, Some(255)) if !logged_in => (ReceiptState::Failed, NOTHING.to_owned()),
        (None, Some(255)) => {
            (ReceiptState::Unknown, "the connection was lost, or the program ended with status 255".to_owned())
        }
        (None, Some(n)) => (ReceiptState::Failed, format!("exit status {n}")),
        (None, None) if !logged_in => (ReceiptState::Failed, format!("{NOTHING}: ssh was killed")),
        (None, None) => (ReceiptState::Unknown, "ssh was killed; the program there may go on".to_owned()),
    };
    (state, format!("{what}{}", said(out)))
}

/// What the program wrote, and what ssh and the program complained of.
fn said(out: &Output) -> String {
    let mut text = String::new();
    let mut add = |part: &str| {
        if !part.trim().is_empty() {
            text.push('\n');
            text.push_str(part.trim_end());
        }
    };
    add(&String::from_utf8_lossy(&out.stdout));
    if out.left_out > 0 {
        add(&format!("[{} bytes more]", out.left_out));
    }
    if out.left_behind > 0 {
        add(&format!("[{} processes it left on this machine were ended]", out.left_behind));
    }
    let complaints = String::from_utf8_lossy(&out.stderr).into_owned();
    let chatter = |l: &&str| {
        let own = ["Authenticated to ", "Transferred: sent ", "Bytes per second: sent ", "Warning: Permanently added"];
        !own.iter().any(|o| l.starts_with(o))
    };
    add(&complaints.lines().map(|l| l.trim_end_matches('\r')).filter(chatter).collect::<Vec<_>>().join("\n"));
    Untrusted::new(text).into_exposed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::testing::{body, def};

    fn with(argv: &[&str], hosts: &[&str]) -> SshRun {
        SshRun {
            argv: argv.iter().map(|s| (*s).to_owned()).collect(),
            hosts: hosts.iter().map(|s| (*s).to_owned()).collect(),
            user: Some("soc".into()),
            port: 22,
            known_hosts: "/etc/hostname".into(),
            identity_file: None,
            agent: None,
            parallel: 4,
            timeout_seconds: 30,
        }
    }

    fn action() -> ActionDef {
        def("kind = \"demo\"", "params = [{ name = \"user\", is = { type = \"text\", max = 80 } }]")
    }

    #[test]
    fn definitions_are_checked() {
        let check = |w: &SshRun| check_def(&action(), w);
        let good = with(&["/usr/bin/pkill", "-u", "{{param.user}}", "{{ target }}"], &["web1", "web2=10.0.0.2:2222"]);
        assert_eq!(check(&good), Vec::<String>::new());
        let bad = |change: &dyn Fn(&mut SshRun), says: &str| {
            let mut w = good.clone();
            change(&mut w);
            let faults = check(&w);
            assert!(faults.len() == 1 && faults[0].contains(says), "{says}: {faults:?}");
        };
        bad(&|w| w.argv[0] = "pkill".into(), "absolute path");
        bad(&|w| w.argv[0] = "{{target}}".into(), "absolute path");
        bad(&|w| w.argv.clear(), "absolute path");
        bad(&|w| w.argv[2] = "-u{{param.user}}".into(), "whole argument");
        bad(&|w| w.argv[2] = "{{target}}{{target}}".into(), "whole argument");
        bad(&|w| w.argv[2] = "{{param.nope}}".into(), "nothing is called");
        bad(&|w| w.argv[2] = "{{reason}}".into(), "nothing is called");
        bad(&|w| w.hosts.clear(), "at least one");
        bad(&|w| w.hosts.push("WEB1".into()), "twice");
        bad(&|w| w.user = Some("-oProxyCommand=x".into()), "account name");
        bad(&|w| w.known_hosts.clear(), "known_hosts");
        bad(&|w| w.known_hosts = "/a b".into(), "without blanks");
        bad(&|w| w.identity_file = Some("/a/%h".into()), "without blanks");
        bad(&|w| w.parallel = 0, "1 to 64");
        for host in ["-oProxyCommand=id", "web1=", "web1=-x", "a b", "web9=h:0", "web9=h:99999", "web9=[::1]x", "x=y=z"]
        {
            bad(&|w| w.hosts = vec![host.into()], "expected NAME");
        }
        let mut users = action();
        users.targets.kind = ParamType::User;
        assert!(check_def(&users, &good)[0].contains("\"host\""));
    }

    #[test]
    fn hosts_have_addresses_and_ports() {
        let h = |entry| Host::parse(entry, 22).unwrap();
        assert_eq!(h("web1"), Host { name: "web1", address: "web1", port: 22, alias: false });
        assert_eq!(h("web1=10.0.0.1"), Host { name: "web1", address: "10.0.0.1", port: 22, alias: true });
        assert_eq!(h("web1=gate:2222"), Host { name: "web1", address: "gate", port: 2222, alias: true });
        assert_eq!(h("web1=[::1]:2222"), Host { name: "web1", address: "::1", port: 2222, alias: true });
        assert_eq!(h("web1=[::1]"), Host { name: "web1", address: "::1", port: 22, alias: true });
    }

    #[test]
    fn a_host_that_is_not_listed_and_a_value_that_is_an_option_are_refused() {
        if program("ssh").is_err() {
            return;
        }
        let mut b = body(&["web1"]);
        b.params.insert("user".into(), "it's $(id)".into());
        let w = with(&["/usr/bin/pkill", "-u", "{{param.user}}"], &["web1", "web2"]);
        let argv = render(&b, &w).unwrap().remove(0).argv;
        assert_eq!(argv.last().unwrap(), r"/usr/bin/pkill -u 'it'\''s $(id)'");
        let at = argv.iter().position(|a| a == "--").unwrap();
        assert_eq!(argv[at - 4..=at + 1], ["-l", "soc", "-p", "22", "--", "web1"]);
        for needed in
            ["BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/etc/hostname", "IdentityFile=none"]
        {
            assert!(argv.windows(2).any(|w| w[0] == "-o" && w[1] == needed), "{needed}: {argv:?}");
        }
        b.targets = vec!["web3".into()];
        assert!(render(&b, &w).unwrap_err().contains("web3 is not among the hosts"));
        b.targets = vec!["web1".into()];
        b.params.insert("user".into(), "--signal=KILL".into());
        assert!(render(&b, &w).unwrap_err().contains("read as an option"));
        let guarded = with(&["/usr/bin/pkill", "-u", "--", "{{param.user}}"], &["web1"]);
        assert!(render(&b, &guarded).unwrap()[0].argv.last().unwrap().ends_with("-- '--signal=KILL'"));
    }
}
