//! What OpenSearch says of its snapshots, and what that leaves open. Pure.
//!
//! Shapes: `GET _snapshot/REPO/_all`, `_snapshot/REPO/NAME/_status`, `POST _snapshot/REPO/_verify`,
//! `_plugins/_sm/policies` and `_plugins/_sm/policies/*/_explain` of OpenSearch 2.19.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;

use super::super::super::schedule::span;
use super::super::BACKUPS_MAX;
use super::super::Read;
use super::super::Schedule;
use super::super::blank;
use super::Trouble;
use super::Verified;
use super::state;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::text::Untrusted;

/// Failures of single shards that are told in words.
const FAILURES_TOLD: usize = 3;

/// The answers to one round of questions.
#[derive(Clone, Debug)]
pub struct Answers {
    pub snapshots: Result<Value, Trouble>,
    /// Every name in the repository, when some snapshots cannot be read.
    pub names: Option<Value>,
    /// `None`: not asked.
    pub verified: Option<Result<Value, Trouble>>,
    /// By snapshot.
    pub status: BTreeMap<String, Result<Value, Trouble>>,
    pub policies: Result<Value, Trouble>,
    pub explained: Option<Value>,
}

impl Default for Answers {
    fn default() -> Self {
        let silent = || Err(Trouble::Silent("not asked yet".into()));
        Self {
            snapshots: silent(),
            names: None,
            verified: None,
            status: BTreeMap::new(),
            policies: silent(),
            explained: None,
        }
    }
}

impl Answers {
    /// Names of the newest snapshots, newest first.
    pub fn newest(&self, most: usize) -> Vec<String> {
        let mut all: Vec<(i64, &str)> = listed(self.snapshots.as_ref().ok())
            .filter_map(|s| Some((s["start_time_in_millis"].as_i64().unwrap_or(0), s["snapshot"].as_str()?)))
            .collect();
        all.sort_by(|a, b| b.cmp(a));
        all.into_iter().take(most).map(|(_, name)| name.to_owned()).collect()
    }
}

/// Makes backups and schedules of the answers; the second state is that of Snapshot Management.
///
/// `last`: the newest verification of the repository by an earlier reading; one of these answers counts before it.
pub fn read(
    name: &str,
    repository: &str,
    answers: &Answers,
    last: Option<&Verified>,
    now: Timestamp,
) -> (Read, SourceState) {
    let (managed, policies) = policies(name, repository, answers, now);
    let none = |trouble: &Trouble| Read {
        backups: Vec::new(),
        schedules: Vec::new(),
        state: state(name, trouble.word(), format!("repository {repository}: {}", trouble.words()), None),
    };
    let snapshots = match &answers.snapshots {
        Ok(snapshots) if snapshots["snapshots"].is_array() => snapshots,
        Ok(_) => return (none(&Trouble::Unreadable("an answer without `snapshots`".into())), managed),
        Err(trouble) => return (none(trouble), managed),
    };
    if listed(Some(snapshots)).count() > BACKUPS_MAX {
        return (none(&Trouble::Unreadable(format!("more than {BACKUPS_MAX} snapshots"))), managed);
    }
    let own = answers.verified.as_ref().map(|told| verified(told, now));
    let (reachable, reach) = reachable(own.as_ref().or(last), now);
    let mut backups: Vec<Backup> = listed(Some(snapshots))
        .filter_map(|s| snapshot(name, s, answers.status.get(s["snapshot"].as_str()?), &policies))
        .collect();
    let known: BTreeSet<String> = backups.iter().map(|b| b.id.clone()).collect();
    for lost in listed(answers.names.as_ref()).filter_map(|s| s["snapshot"].as_str()) {
        if !known.contains(lost) {
            let mut b = blank(name, "opensearch", lost);
            b.phase = BackupPhase::Failed;
            b.errors = 1;
            b.said = Untrusted::new("the repository lists it, but its files cannot be read");
            backups.push(b);
        }
    }
    for b in &mut backups {
        b.location = Some(repository.to_owned());
        b.location_reachable = reachable;
    }
    let detail = format!("repository {repository}: {} snapshots; {reach}", backups.len());
    let schedules = policies.into_iter().map(|p| p.schedule).collect();
    (Read { backups, schedules, state: state(name, SourceWord::Live, detail, Some(now)) }, managed)
}

fn listed(answer: Option<&Value>) -> impl Iterator<Item = &Value> {
    answer.and_then(|a| a["snapshots"].as_array()).into_iter().flatten()
}

fn snapshot(
    source: &str,
    told: &Value,
    status: Option<&Result<Value, Trouble>>,
    policies: &[Policy],
) -> Option<Backup> {
    let mut b = blank(source, "opensearch", told["snapshot"].as_str()?);
    let word = told["state"].as_str().unwrap_or("");
    let mut said = vec![if word.is_empty() { "no state told".to_owned() } else { word.to_owned() }];
    said.extend(told["reason"].as_str().map(String::from));
    b.phase = phase(word);
    b.start = millis(&told["start_time_in_millis"]);
    b.end = millis(&told["end_time_in_millis"]).filter(|_| b.phase != BackupPhase::Running);
    b.covers = strings(&told["indices"]).chain(strings(&told["data_streams"])).map(Untrusted::new).collect();
    let count = |field: &str| told["shards"][field].as_u64();
    b.items = count("total").map(|total| (total, count("successful").unwrap_or(0)));
    let failures = told["failures"].as_array().map(Vec::as_slice).unwrap_or_default();
    b.errors = count("failed").unwrap_or(0).max(failures.len() as u64);
    for failure in failures.iter().take(FAILURES_TOLD) {
        let index = failure["index"].as_str().unwrap_or("?");
        said.push(format!(
            "{index}[{}]: {}",
            failure["shard_id"],
            failure["reason"].as_str().unwrap_or("no reason told")
        ));
    }
    if failures.len() > FAILURES_TOLD {
        said.push(format!("and {} more", failures.len() - FAILURES_TOLD));
    }
    if b.phase == BackupPhase::Completed {
        let short = b.items.is_some_and(|(total, done)| done < total);
        let empty = b.items == Some((0, 0)) || b.covers.is_empty();
        if b.errors > 0 || short || empty {
            b.phase = BackupPhase::Partial;
            said.push(if empty { "holds no index".into() } else { "not every shard is in it".into() });
        }
    }
    match status {
        Some(Ok(status)) => shards(&mut b, &status["snapshots"][0], &mut said),
        // The node went to the repository for this snapshot's shards and did not find them.
        Some(Err(Trouble::Said { status: 404 | 500.., kind, reason })) if b.phase == BackupPhase::Completed => {
            b.phase = BackupPhase::Partial;
            b.errors += 1;
            said.push(format!("its shards cannot be read back: {kind}: {reason}"));
        }
        Some(Err(trouble)) => said.push(format!("shards not read: {}", trouble.words())),
        None => {}
    }
    b.schedule = told["metadata"]["sm_policy"].as_str().map(Untrusted::new);
    let policy = b.schedule.as_ref().and_then(|s| policies.iter().find(|p| p.schedule.name == *s));
    b.expires = policy
        .and_then(|p| p.schedule.keeps_seconds)
        .zip(b.start)
        .and_then(|(keeps, start)| start.checked_add(std::time::Duration::from_secs(keeps)).ok());
    b.said = Untrusted::new(said.join("; "));
    Some(b)
}

/// What `_status` adds: bytes, and shards as they are in the repository.
fn shards(b: &mut Backup, status: &Value, said: &mut Vec<String>) {
    let stats = &status["stats"];
    b.bytes = stats["total"]["size_in_bytes"].as_u64();
    let shards = &status["shards_stats"];
    let (Some(total), Some(done)) = (shards["total"].as_u64(), shards["done"].as_u64()) else { return };
    if b.phase == BackupPhase::Running || b.items.is_none() {
        b.items = Some((total, done));
    }
    let failed = shards["failed"].as_u64().unwrap_or(0);
    if b.phase == BackupPhase::Completed && (failed > 0 || done < total) {
        b.phase = BackupPhase::Partial;
        b.errors = b.errors.max(failed);
        said.push(format!("{done} of {total} shards in the repository"));
    }
}

/// `SnapshotState` of OpenSearch, with the words of a snapshot that runs; one not known here is unknown.
fn phase(word: &str) -> BackupPhase {
    match word {
        "SUCCESS" => BackupPhase::Completed,
        "PARTIAL" => BackupPhase::Partial,
        // A snapshot of a version this cluster cannot restore is of no use to it.
        "FAILED" | "ABORTED" | "INCOMPATIBLE" => BackupPhase::Failed,
        "IN_PROGRESS" | "INIT" | "STARTED" | "WAITING" => BackupPhase::Running,
        _ => BackupPhase::Unknown,
    }
}

/// What a verification's answer says: which nodes could read what was written.
pub fn verified(told: &Result<Value, Trouble>, now: Timestamp) -> Verified {
    let (reachable, words) = match told {
        Ok(answer) => match answer["nodes"].as_object().map_or(0, serde_json::Map::len) {
            0 => (Tri::Unknown, "no node verified it".into()),
            n => (Tri::Pass, format!("verified on {n} nodes")),
        },
        Err(trouble @ Trouble::Said { status: 404 | 500.., .. }) => {
            (Tri::Fail, format!("verification failed: {}", trouble.words()))
        }
        Err(trouble) => (Tri::Unknown, format!("not verified: {}", trouble.words())),
    };
    Verified { at: now, reachable, words: Untrusted::new(words) }
}

/// A verification counts as long as it is followed by readings; one nobody repeated for a day counts no more.
fn reachable(verified: Option<&Verified>, now: Timestamp) -> (Tri, String) {
    let Some(v) = verified else { return (Tri::Unknown, "not verified".into()) };
    let age = now.duration_since(v.at);
    let words = v.words.expose();
    match age {
        _ if age > SignedDuration::from_hours(24) || age < -SignedDuration::from_mins(5) => {
            (v.reachable.and(Tri::Unknown), format!("{words} at {}, too long ago", v.at))
        }
        _ if age < SignedDuration::from_secs(1) => (v.reachable, words.to_owned()),
        _ => (v.reachable, format!("{words} {} ago", span(age.as_secs_f64()))),
    }
}

struct Policy {
    schedule: Schedule,
}

/// Policies of Snapshot Management that write into this repository.
fn policies(name: &str, repository: &str, answers: &Answers, now: Timestamp) -> (SourceState, Vec<Policy>) {
    let managed = format!("{name} snapshot management");
    let told = match &answers.policies {
        Ok(told) => told,
        Err(trouble) if no_handler(trouble) => {
            let why = "plugin absent: this cluster has no Snapshot Management, so nothing is known of its schedules";
            return (state(&managed, SourceWord::Absent, why.into(), Some(now)), Vec::new());
        }
        Err(trouble) => return (state(&managed, trouble.word(), trouble.words(), None), Vec::new()),
    };
    let Some(all) = told["policies"].as_array() else {
        let why = "an answer without `policies`".into();
        return (state(&managed, SourceWord::Unreadable, why, None), Vec::new());
    };
    let explained = answers.explained.as_ref().and_then(|e| e["policies"].as_array());
    let mine: Vec<Policy> = all
        .iter()
        .map(|p| &p["sm_policy"])
        .filter(|p| p["snapshot_config"]["repository"].as_str() == Some(repository))
        .map(|p| {
            let explained = explained.and_then(|all| all.iter().find(|e| e["name"] == p["name"]));
            policy(p, explained)
        })
        .collect();
    (state(&managed, SourceWord::Live, format!("{} policies for {repository}", mine.len()), Some(now)), mine)
}

/// What a node without the plugin answers: there is no such address.
fn no_handler(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Said { status: 400 | 404 | 405, reason, .. } => {
            reason.contains("no handler found")
                || reason.contains("Incorrect HTTP method")
                || reason.contains("no such index")
        }
        _ => false,
    }
}

fn policy(told: &Value, explained: Option<&Value>) -> Policy {
    let cron = &told["creation"]["schedule"]["cron"];
    let mut said = Vec::new();
    let mut last_run = None;
    let mut failing = false;
    match explained {
        None => said.push("how it goes is not told".to_owned()),
        Some(explained) => {
            let last = &explained["creation"]["latest_execution"];
            said.extend(last["status"].as_str().map(|s| format!("last run {s}")));
            said.extend(last["info"]["message"].as_str().map(String::from));
            said.extend(last["info"]["cause"].as_str().map(String::from));
            last_run = millis(&last["start_time"]);
            failing = matches!(last["status"].as_str(), Some("FAILED" | "TIME_LIMIT_EXCEEDED"));
        }
    }
    let enabled = explained.and_then(|e| e["enabled"].as_bool()).or_else(|| told["enabled"].as_bool()).unwrap_or(true);
    Policy {
        schedule: Schedule {
            name: Untrusted::new(told["name"].as_str().unwrap_or("")),
            expression: Untrusted::new(cron["expression"].as_str().unwrap_or("")),
            zone: cron["timezone"].as_str().map(String::from),
            paused: !enabled,
            last_run,
            failing,
            keeps_seconds: told["deletion"]["condition"]["max_age"].as_str().and_then(time_value),
            said: Untrusted::new(said.join("; ")),
        },
    }
}

/// Seconds of OpenSearch's time values such as `7d`.
fn time_value(written: &str) -> Option<u64> {
    let unit = written.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = written[..unit].parse().ok()?;
    let seconds = match &written[unit..] {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    count.checked_mul(seconds)
}

fn millis(value: &Value) -> Option<Timestamp> {
    value.as_i64().filter(|n| *n > 0).and_then(|n| Timestamp::from_millisecond(n).ok())
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}
