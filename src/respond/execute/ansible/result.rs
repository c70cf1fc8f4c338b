//! What Ansible says it did.
//!
//! Event by event (`ansible.posix.jsonl`): `{"_event": "v2_runner_on_ok", "task": {"name"}, "hosts": {HOST: {...}}}`, and
//! at the end `{"_event": "v2_playbook_on_stats", "stats": {HOST: {ok, changed, failures, unreachable, skipped}}}`. Or as
//! one object at the end (`ansible.posix.json`): `{"plays": [{"tasks": [{"task", "hosts"}]}], "stats"}`. Each host's part
//! of a task holds `changed`, `failed`, `unreachable`, `skipped`, `msg`, `stdout`, `diff`, and for a loop `results` with
//! the same for each item.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::process::Output;
use super::super::{DETAIL_MAX, bounded};
use super::{RESULT_MAX, complaint};
use crate::model::action::{Preview, ReceiptState};
use crate::text::Untrusted;

/// Longest output of one command that is shown, in bytes.
const STDOUT_MAX: usize = 6 * 1024;

#[derive(Debug, Default)]
pub struct Outcome {
    tasks: Vec<Task>,
    /// Empty when it did not come to its end.
    stats: BTreeMap<String, Stats>,
    /// The task that was started last.
    at: Option<String>,
}

/// The one object.
#[derive(Debug, Deserialize)]
struct Whole {
    plays: Vec<Play>,
    stats: BTreeMap<String, Stats>,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "_event")]
    name: String,
    task: Option<TaskName>,
    #[serde(default)]
    hosts: BTreeMap<String, Value>,
    #[serde(default)]
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

/// Reads events, or else the one object; other plugins may print to the same place.
pub fn parse(stdout: &[u8]) -> Option<Outcome> {
    let mut out = Outcome::default();
    let mut any = false;
    for event in stdout.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Event>(line).ok()) {
        any = true;
        let Event { name, task, hosts, stats } = event;
        match (name.as_str(), task) {
            ("v2_playbook_on_stats", _) => out.stats = stats,
            (_, Some(task)) if hosts.is_empty() => out.at = Some(task.name),
            (_, Some(task)) => out.tasks.push(Task { task, hosts }),
            (_, None) => {}
        }
    }
    if any { Some(out) } else { parse_whole(stdout) }
}

fn parse_whole(stdout: &[u8]) -> Option<Outcome> {
    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', stdout).map(|i| i + 1));
    let whole = starts.filter(|i| stdout.get(*i) == Some(&b'{')).find_map(|i| {
        let mut objects = serde_json::Deserializer::from_slice(&stdout[i..]).into_iter::<Whole>();
        objects.next().and_then(Result::ok)
    })?;
    let tasks = whole.plays.into_iter().flat_map(|p| p.tasks).collect();
    Some(Outcome { tasks, stats: whole.stats, at: None })
}

/// The name of the task this line says is started.
pub fn task_started(line: &[u8]) -> Option<String> {
    let event: Event = serde_json::from_slice(line).ok()?;
    event.name.ends_with("task_start").then_some(event.task?.name)
}

pub fn receipt(result: Option<&Outcome>, out: &Output, target: &str) -> (ReceiptState, Option<u32>, String) {
    let told = result.map(|r| told(r, target)).unwrap_or_default();
    let Some(stats) = result.and_then(|r| r.stats.get(target)) else {
        let at = result.and_then(|r| r.at.as_ref()).map(|t| format!("\nit was at: {t}")).unwrap_or_default();
        let why = match (&out.stopped, out.left_out) {
            (Some(why), _) => why.clone(),
            (None, 1..) => format!("the result is larger than {} MiB", RESULT_MAX >> 20),
            (None, 0) => format!("the result does not name it{}", complaint(out)),
        };
        return (ReceiptState::Unknown, None, format!("{why}{at}{}", told.text));
    };
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

pub fn preview(result: &Outcome, target: &str) -> Preview {
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
    for task in &result.tasks {
        let Some(r) = task.hosts.get(target) else { continue };
        one_task(&task.task.name, r, &mut out);
    }
    out
}

fn one_task(name: &str, r: &Value, out: &mut Told) {
    let is = |key: &str| r.get(key).and_then(Value::as_bool) == Some(true);
    let text = |key: &str| r.get(key).map(text_of).unwrap_or_default();
    let msg = text("msg");
    if is("unreachable") {
        out.text.push_str(&format!("\nunreachable: {name}: {msg}"));
    } else if is("failed") {
        out.text.push_str(format!("\nfailed: {name}: {msg} {}", text("stderr")).trim_end());
    } else if is("skipped") && msg.contains("check mode") {
        out.not_predicted += 1;
        out.text.push_str(&format!("\nnot predicted: {name} ({msg})"));
        return;
    } else if is("changed") {
        out.text.push_str(&format!("\nchanged: {name}"));
    } else if text("stdout").is_empty() && r.get("results").is_none() {
        return;
    } else {
        out.text.push_str(&format!("\nok: {name}"));
    }
    diffs(r.get("diff"), &mut out.text);
    printed(&text("stdout"), &mut out.text);
    for item in r.get("results").and_then(Value::as_array).into_iter().flatten() {
        let item_is = |key: &str| item.get(key).and_then(Value::as_bool) == Some(true);
        let skipped = item.get("msg").map(text_of).filter(|m| item_is("skipped") && m.contains("check mode"));
        if let Some(why) = skipped {
            out.not_predicted += 1;
            out.text.push_str(&format!("\nnot predicted: {name} ({why})"));
        }
        if item_is("failed") {
            out.text.push_str(&format!("\nfailed: {}", item.get("msg").map(text_of).unwrap_or_default()));
        }
        diffs(item.get("diff"), &mut out.text);
        printed(&item.get("stdout").map(text_of).unwrap_or_default(), &mut out.text);
    }
}

/// What a command printed.
fn printed(stdout: &str, out: &mut String) {
    if !stdout.is_empty() {
        out.push('\n');
        out.push_str(bounded(stdout.trim_end(), STDOUT_MAX).expose());
    }
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
    fn events_are_read_and_a_run_cut_short_says_how_far_it_came() {
        let events = b"{\"_event\":\"v2_playbook_on_task_start\",\"hosts\":{},\"task\":{\"name\":\"one\"}}\n\
            {\"_event\":\"v2_runner_on_ok\",\"hosts\":{\"a\":{\"changed\":true,\"results\":[{\"stdout\":\"hello\"},\
             {\"diff\":{\"before\":\"\",\"after\":\"x\\n\"}}]}},\"task\":{\"name\":\"one\"}}\n[WARNING] noise\n\
            {\"_event\":\"v2_playbook_on_task_start\",\"hosts\":{},\"task\":{\"name\":\"two\"}}\n{\"_event\":\"v2_ru";
        let r = parse(events).unwrap();
        let out = Output { stopped: Some("killed".into()), ..Output::default() };
        let (state, changed, detail) = receipt(Some(&r), &out, "a");
        assert_eq!((state, changed), (ReceiptState::Unknown, None));
        assert_eq!(detail, "killed\nit was at: two\nchanged: one\nhello\n--- before\n+++ after\n+x");
        assert_eq!(task_started(events.split(|b| *b == b'\n').next().unwrap()).as_deref(), Some("one"));
        let mut all = events.to_vec();
        all.extend_from_slice(b"\n{\"_event\":\"v2_playbook_on_stats\",\"stats\":{\"a\":{\"ok\":1,\"changed\":1}}}\n");
        let done = receipt(parse(&all).as_ref(), &Output::default(), "a");
        assert_eq!((done.0, done.1), (ReceiptState::Done, Some(1)));
    }
}
