//! `ansible-playbook`, limited to the approved targets. The dry run is `--check --diff`.
//!
//! Results come from the `ansible.posix.json` callback: `stats.HOST.{ok,changed,failures,unreachable,...}` and, task by
//! task, `plays[].tasks[].hosts.HOST.{changed,failed,msg,diff}`. A target the result does not name is unknown.
//!
//! Parameters are passed as one JSON `--extra-vars` argument. Ansible would expand `{{ }}` in it as a template that can
//! run programs, so a value with template marks is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::process::{self, Output, Spec};
use super::{DETAIL_MAX, DryRun, Job, Stop, bounded};
use crate::model::action::{Command, Finding, Preview, ReceiptState, RequestBody};
use crate::respond::digest;
use crate::text::{Untrusted, clean};

/// Longest result that is read; a run with larger diffs has unknown receipts.
const RESULT_MAX: usize = 32 << 20;
const DRY_RUN_LIMIT: u64 = 180;
const LIST_LIMIT: Duration = Duration::from_secs(60);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub fn render(body: &RequestBody, playbook: &str, inventory: &str, extra_args: &[String]) -> Result<Command, String> {
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
fn spec(body: &RequestBody, more: &[&str], home: &Path, limit: Duration) -> Result<Spec, String> {
    let command = body.commands.first().ok_or("there is no command")?;
    let (program, rest) = command.argv.split_first().ok_or("there is no command")?;
    let playbook = rest.last().map(PathBuf::from).unwrap_or_default();
    let folder = folder_of(&playbook).to_owned();
    let mut argv = vec![program.clone()];
    argv.extend(more.iter().map(|s| (*s).to_owned()));
    argv.extend(rest.iter().cloned());
    let mut env: BTreeMap<String, String> = [
        ("PATH", PATH),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("ANSIBLE_STDOUT_CALLBACK", "ansible.posix.json"),
        ("ANSIBLE_NOCOLOR", "1"),
        ("ANSIBLE_RETRY_FILES_ENABLED", "0"),
        ("ANSIBLE_DEPRECATION_WARNINGS", "0"),
        ("ANSIBLE_LOCALHOST_WARNING", "0"),
        ("ANSIBLE_INVENTORY_UNPARSED_FAILED", "1"),
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
    Ok(Spec { argv, env, cwd: folder, stdin: None, mark: body.id.to_string(), limit, max_stdout: RESULT_MAX })
}

/// The hosts this command would touch must be exactly the targets: a name could be a group.
pub async fn same_hosts(body: &RequestBody, home: PathBuf, stop: Stop) -> Result<(), String> {
    let out = process::run(spec(body, &["--list-hosts"], &home, LIST_LIMIT)?, stop).await?;
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

pub async fn dry_run(body: &RequestBody, timeout_seconds: u64, home: PathBuf, stop: Stop) -> DryRun {
    let mut dry = DryRun::default();
    let mut add = |refuses: bool, text: String| dry.findings.push(Finding { refuses, text });
    if let Err(why) = same_hosts(body, home.clone(), stop.clone()).await {
        add(true, why);
        return dry;
    }
    let limit = Duration::from_secs(timeout_seconds.min(DRY_RUN_LIMIT));
    let run = match spec(body, &["--check"], &home, limit) {
        Ok(spec) => process::run(spec, stop).await,
        Err(e) => Err(e),
    };
    let out = match run {
        Ok(out) => out,
        Err(why) => {
            add(false, format!("no dry run: {why}"));
            return dry;
        }
    };
    if let Some(why) = &out.stopped {
        add(false, format!("the dry run did not end: {why}"));
    }
    let Some(result) = parse(&out.stdout) else {
        add(false, format!("the dry run gave no result{}", complaint(&out)));
        return dry;
    };
    let mut failed = Vec::new();
    for target in &body.targets {
        let p = preview(&result, target);
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
    let spec = spec(body, &[], &job.home, limit).map(|s| Spec { stdin: Some(Arc::clone(&job.lock)), ..s });
    let out = match spec {
        Ok(spec) => process::run(spec, job.stop.clone()).await,
        Err(e) => Err(e),
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
    let result = parse(&out.stdout);
    for t in &body.targets {
        let (state, changed, detail) = receipt(result.as_ref(), &out, t);
        job.tell(t, state, changed, detail).await;
    }
}

#[derive(Debug, Deserialize)]
struct Outcome {
    plays: Vec<Play>,
    stats: BTreeMap<String, Stats>,
}

#[derive(Debug, Deserialize)]
struct Play {
    #[serde(default)]
    tasks: Vec<Task>,
}

#[derive(Debug, Deserialize)]
struct Task {
    task: TaskName,
    #[serde(default)]
    hosts: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct TaskName {
    #[serde(default)]
    name: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    ok: u32,
    changed: u32,
    failures: u32,
    unreachable: u32,
    skipped: u32,
}

/// The result object, wherever it begins: other plugins print to the same place.
fn parse(stdout: &[u8]) -> Option<Outcome> {
    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', stdout).map(|i| i + 1));
    starts.filter(|i| stdout.get(*i) == Some(&b'{')).find_map(|i| {
        let mut objects = serde_json::Deserializer::from_slice(&stdout[i..]).into_iter::<Outcome>();
        objects.next().and_then(Result::ok)
    })
}

fn receipt(result: Option<&Outcome>, out: &Output, target: &str) -> (ReceiptState, Option<u32>, String) {
    let Some(stats) = result.and_then(|r| r.stats.get(target)) else {
        let why = match (&out.stopped, out.left_out) {
            (Some(why), _) => why.clone(),
            (None, 1..) => format!("the result is larger than {} MiB", RESULT_MAX >> 20),
            (None, 0) => format!("the result does not name it{}", complaint(out)),
        };
        return (ReceiptState::Unknown, None, why);
    };
    let told = result.map(|r| told(r, target)).unwrap_or_default();
    let Stats { ok, changed, failures, unreachable, skipped } = *stats;
    let counts = format!("ok={ok} changed={changed} failed={failures} unreachable={unreachable} skipped={skipped}");
    let detail = format!("{counts}{}", told.text);
    if unreachable > 0 && ok + changed > 0 {
        // It was lost on the way; the task it was lost in may have been carried out.
        return (ReceiptState::Unknown, None, detail);
    }
    if unreachable > 0 || failures > 0 {
        return (ReceiptState::Failed, Some(changed), detail);
    }
    if let Some(why) = &out.stopped {
        return (ReceiptState::Unknown, None, format!("{why}; {detail}"));
    }
    (ReceiptState::Done, Some(changed), detail)
}

fn preview(result: &Outcome, target: &str) -> Preview {
    let told = told(result, target);
    let stats = result.stats.get(target);
    let failed = stats.is_none_or(|s| s.failures > 0 || s.unreachable > 0);
    // A task that check mode skipped may change something: then no number is known.
    let would_change = stats.map(|s| s.changed).filter(|_| !failed && told.not_predicted == 0);
    let text = told.text.trim_start();
    let diff = if text.is_empty() && !failed { Untrusted::new("no change") } else { bounded(text, DETAIL_MAX) };
    Preview { target: target.to_owned(), would_change, failed, diff }
}

#[derive(Default)]
struct Told {
    /// Each line that matters, each begun with a newline.
    text: String,
    not_predicted: u32,
}

/// What the tasks say about one host: changes with their diffs, failures, and what check mode could not look into.
fn told(result: &Outcome, target: &str) -> Told {
    let mut out = Told::default();
    for task in result.plays.iter().flat_map(|p| &p.tasks) {
        let Some(r) = task.hosts.get(target) else { continue };
        let is = |key: &str| r.get(key).and_then(Value::as_bool) == Some(true);
        let name = &task.task.name;
        let msg = r.get("msg").map(text_of).unwrap_or_default();
        if is("unreachable") {
            out.text.push_str(&format!("\nunreachable: {name}: {msg}"));
        } else if is("failed") {
            let stderr = r.get("stderr").map(text_of).unwrap_or_default();
            out.text.push_str(format!("\nfailed: {name}: {msg} {stderr}").trim_end());
        } else if is("changed") {
            out.text.push_str(&format!("\nchanged: {name}"));
            diffs(r.get("diff"), &mut out.text);
        } else if is("skipped") && msg.contains("check mode") {
            out.not_predicted += 1;
            out.text.push_str(&format!("\nnot predicted: {name} ({msg})"));
        }
    }
    out
}

fn text_of(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

fn diffs(diff: Option<&Value>, out: &mut String) {
    let list = match diff {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    for d in list {
        if let Some(ready) = d.get("prepared").and_then(Value::as_str) {
            out.push('\n');
            out.push_str(ready.trim_end());
            continue;
        }
        let side = |key: &str| d.get(key).map(text_of).unwrap_or_default();
        let (before, after) = (side("before"), side("after"));
        if before == after {
            continue;
        }
        let header = |key: &str, or: &str| d.get(key).and_then(Value::as_str).unwrap_or(or).to_owned();
        out.push_str(&format!("\n--- {}\n+++ {}", header("before_header", "before"), header("after_header", "after")));
        one_hunk(&before, &after, out);
    }
}

/// Everything between the first and the last line that differs, with up to three lines around it.
fn one_hunk(before: &str, after: &str, out: &mut String) {
    const AROUND: usize = 3;
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (ra, rb) = (&a[same..], &b[same..]);
    let tail = ra.iter().rev().zip(rb.iter().rev()).take_while(|(x, y)| x == y).count();
    let from = same.saturating_sub(AROUND);
    let mut put = |mark: char, lines: &[&str]| {
        for l in lines {
            out.push('\n');
            out.push(mark);
            out.push_str(l);
        }
    };
    put(' ', &a[from..same]);
    put('-', &ra[..ra.len() - tail]);
    put('+', &rb[..rb.len() - tail]);
    put(' ', &ra[ra.len() - tail..][..tail.min(AROUND)]);
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
    fn the_result_is_found_in_noise_and_missing_hosts_are_unknown() {
        let noise = b"{not json}\nwarning\n{\"x\":1}\n{\n \"plays\": [{\"play\":{},\"tasks\":[{\"task\":{\"name\":\"t\"},\"hosts\":\
            {\"a\":{\"changed\":true,\"diff\":{\"before\":\"1\\n2\\n3\\n\",\"after\":\"1\\nx\\n3\\n\"}},\
             \"b\":{\"unreachable\":true,\"msg\":\"no route\"},\"c\":{\"failed\":true,\"msg\":\"bad\"}}}]}],\
            \"stats\":{\"a\":{\"ok\":1,\"changed\":1},\"b\":{\"unreachable\":1},\"c\":{\"failures\":1},\
             \"d\":{\"ok\":2,\"unreachable\":1}}}\ntrailing";
        let r = parse(noise).unwrap();
        let out = Output::default();
        let state = |t: &str| receipt(Some(&r), &out, t);
        let a = state("a");
        assert_eq!((a.0, a.1), (ReceiptState::Done, Some(1)));
        assert!(a.2.ends_with("changed: t\n--- before\n+++ after\n 1\n-2\n+x\n 3"), "{}", a.2);
        assert_eq!(state("b").0, ReceiptState::Failed);
        assert!(state("c").2.contains("failed: t: bad"));
        assert_eq!(state("d").0, ReceiptState::Unknown, "lost on the way");
        assert_eq!(state("e").0, ReceiptState::Unknown, "not named");
        assert_eq!(receipt(None, &out, "a").0, ReceiptState::Unknown);
        let p = preview(&r, "a");
        assert_eq!((p.would_change, p.failed), (Some(1), false));
        assert!(preview(&r, "zz").failed);
    }

    #[test]
    fn what_check_mode_skips_is_not_no_change() {
        let text = b"{\"plays\":[{\"tasks\":[{\"task\":{\"name\":\"run\"},\"hosts\":{\"a\":{\"skipped\":true,\
            \"msg\":\"Command would have run if not in check mode\"}}}]}],\"stats\":{\"a\":{\"skipped\":1}}}";
        let p = preview(&parse(text).unwrap(), "a");
        assert_eq!(p.would_change, None);
        assert!(p.diff.expose().contains("not predicted: run"));
    }

    #[test]
    fn templates_and_everything_are_refused() {
        for value in ["{{ lookup('pipe','id') }}", "a{%b", "{#"] {
            let mut b = body(&["web1"]);
            b.params.insert("note".into(), value.into());
            assert!(render(&b, "/p/p.yml", "h,", &[]).unwrap_err().contains("not allowed"));
        }
        assert!(render(&body(&["ALL"]), "/p/p.yml", "h,", &[]).unwrap_err().contains("every host"));
    }
}
