//! What the demo's makers of backups say, in their own words: objects of Velero, answers of OpenSearch, JSON of
//! pgBackRest, restic and a report. The same readers and grading as everywhere find out what is true of it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::api::DynamicObject;
use serde_json::Value;
use serde_json::json;

use super::world::World;
use super::world::at;
use crate::model::backup::Evidence;
use crate::model::backup::EvidenceKind;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::operate::backup::Read;
use crate::operate::backup::Source;
use crate::operate::backup::SourceConfig;
use crate::operate::backup::config::FileKind;
use crate::operate::backup::source;
use crate::operate::backup::source::opensearch::Answers;
use crate::operate::backup::source::velero;
use crate::text::Untrusted;

/// Nights Velero has lied: its agent for volumes is gone, and it says `Completed`.
const LIES: i64 = 3;
const NIGHTS: i64 = 12;

/// What a source of `backups.toml` answers at `now`.
pub fn read(world: &World, of: &Source, now: Timestamp) -> Read {
    let name = of.name.as_str();
    match &of.config {
        SourceConfig::Velero { .. } => velero::read(name, &velero_objects(now), now),
        SourceConfig::Opensearch(o) => {
            let mut read =
                source::opensearch::read(name, &o.repository, &snapshots(world, &o.repository, now), None, now).0;
            read.backups
                .iter_mut()
                .filter(|b| b.start == Some(night(now, 0)))
                .for_each(|b| b.evidence.push(restored(now)));
            read
        }
        SourceConfig::Files(files) => {
            let parsed = match files.kind {
                FileKind::Pgbackrest => source::pgbackrest::read(name, &pgbackrest(world, now)),
                FileKind::Restic => source::restic::read(name, &restic(now), Some(&check(now)), now),
                FileKind::Report | FileKind::PgDump => source::report::read(name, &vault(world, now)),
            };
            match parsed {
                Ok(backups) => Read { backups, schedules: Vec::new(), state: state(of, SourceWord::Live, "", now) },
                Err((word, why)) => Read::none(of, word, why),
            }
        }
    }
}

fn state(of: &Source, word: SourceWord, detail: &str, now: Timestamp) -> SourceState {
    SourceState {
        name: of.name.clone(),
        kind: of.config.kind().into(),
        state: word,
        detail: Untrusted::new(detail),
        last_good: Some(now),
        next_try: None,
    }
}

/// What people have proven of a source: restored in a drill, of the newest backup there was then. The desk remembers it,
/// as it does after a drill of its own.
pub fn drill(source: &str, now: Timestamp) -> Option<Evidence> {
    match source {
        "postgres" => Some(drilled(now - minutes(12 * 24 * 60), minutes(11), "drill-3")),
        "mail" => Some(drilled(now - minutes(71 * 24 * 60), minutes(26), "drill-1")),
        _ => None,
    }
}

/// The night's snapshot is restored every night: a demo that stays open finds the next one proven too.
fn restored(now: Timestamp) -> Evidence {
    drilled(night(now, 0) + minutes(58), minutes(38), "drill-4")
}

fn drilled(at: Timestamp, took: SignedDuration, reference: &str) -> Evidence {
    Evidence {
        what: EvidenceKind::Drill,
        at,
        ok: true,
        took_seconds: Some(took.as_secs_f64()),
        detail: "restored beside the original, 6 of 6 smoke tests".into(),
        reference: Some(reference.into()),
        covers: Vec::new(),
    }
}

/// 02:00 UTC of last night, or of `back` nights before it. A night counts from 03:00 on, when all that is done in it is
/// over: its runs, their checks and the restore.
fn night(now: Timestamp, back: i64) -> Timestamp {
    let zoned = (now - minutes(180)).to_zoned(TimeZone::UTC);
    let midnight = zoned.start_of_day().map_or(now, |z| z.timestamp());
    midnight + SignedDuration::from_hours(2 - 24 * back)
}

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

fn velero_objects(now: Timestamp) -> velero::Objects {
    let mut objects = velero::Objects::default();
    let mut backups = Vec::new();
    let mut volumes = Vec::new();
    for back in 0..NIGHTS {
        let start = night(now, back);
        let name = format!("nightly-{}", start.strftime("%Y%m%d%H%M%S"));
        backups.push(json!({
            "metadata": { "name": name, "namespace": "velero", "creationTimestamp": start.to_string(),
                "labels": { "velero.io/schedule-name": "nightly" } },
            "spec": { "storageLocation": "default", "includedNamespaces": ["soc", "models"], "ttl": "720h0m0s" },
            "status": { "phase": "Completed", "startTimestamp": start.to_string(),
                "completionTimestamp": (start + minutes(if back < LIES { 1 } else { 14 })).to_string(),
                "expiration": (start + SignedDuration::from_hours(720)).to_string(),
                "progress": { "totalItems": 1_206 + back, "itemsBackedUp": 1_206 + back } },
        }));
        if back < LIES {
            continue;
        }
        for volume in ["opensearch-data-0", "opensearch-data-1", "models-0", "intake-spool-0"] {
            volumes.push(json!({
                "metadata": { "name": format!("{name}-{volume}"), "namespace": "velero",
                    "labels": { "velero.io/backup-name": name } },
                "spec": { "volume": volume, "backupStorageLocation": "default" },
                "status": { "phase": "Completed", "progress": { "totalBytes": 9_663_676_416_u64, "bytesDone": 9_663_676_416_u64 } },
            }));
        }
    }
    let location = json!({ "metadata": { "name": "default", "namespace": "velero" }, "spec": {},
        "status": { "phase": "Available", "lastValidationTime": (now - SignedDuration::from_secs(23)).to_string() } });
    let schedule = json!({ "metadata": { "name": "nightly", "namespace": "velero" },
        "spec": { "schedule": "0 2 * * *", "template": { "ttl": "720h0m0s" } },
        "status": { "phase": "Enabled", "lastBackup": night(now, 0).to_string() } });
    let long_ago = night(now, 300).to_string();
    let namespaces = ["soc", "models", "velero"]
        .map(|n| json!({ "metadata": { "name": n, "creationTimestamp": long_ago } }))
        .to_vec();
    for (kind, list) in [
        (velero::Kind::Backup, backups),
        (velero::Kind::PodVolumeBackup, volumes),
        (velero::Kind::Location, vec![location]),
        (velero::Kind::Schedule, vec![schedule]),
        (velero::Kind::Namespace, namespaces),
    ] {
        objects.put(kind, list.into_iter().filter_map(object).collect());
    }
    objects
}

fn object(value: Value) -> Option<DynamicObject> {
    serde_json::from_value(value).map_err(|e| tracing::warn!(error = %e, "demo object of Velero")).ok()
}

/// Nightly snapshots; one of them went through while a node was away.
fn snapshots(world: &World, repository: &str, now: Timestamp) -> Answers {
    let one = |name: String, start: Timestamp, partial: bool| {
        let failed = if partial { 2 } else { 0 };
        let failures = if partial {
            json!([{ "index": "alerts-archive", "shard_id": 3, "reason": "node shutdown during snapshot" },
                   { "index": "alerts-archive", "shard_id": 7, "reason": "node shutdown during snapshot" }])
        } else {
            json!([])
        };
        json!({
            "snapshot": name,
            "state": if partial { "PARTIAL" } else { "SUCCESS" },
            "indices": ["alerts-live", "alerts-archive", "cases"],
            "start_time_in_millis": start.as_millisecond(),
            "end_time_in_millis": (start + minutes(9)).min(now).as_millisecond(),
            "shards": { "total": 48, "successful": 48 - failed, "failed": failed },
            "failures": failures,
            "metadata": { "sm_policy": "nightly" },
        })
    };
    let nightly = (0..NIGHTS).map(|back| {
        let start = night(now, back);
        one(format!("alerts-{}", start.strftime("%Y.%m.%d")), start, back == 4)
    });
    // Those that people of the demo had taken.
    let done = world.deeds.iter().filter(|d| d.action == "take-snapshot" && d.at <= now);
    // One snapshot holds all its targets.
    let taken: BTreeMap<&str, Timestamp> = done.filter_map(|d| Some((d.param("snapshot")?, d.at))).collect();
    let taken = taken.into_iter().map(|(name, start)| one(name.to_owned(), start, false));
    let all: Vec<Value> = nightly.chain(taken).collect();
    let bytes = |s: &Value| {
        let name = s["snapshot"].as_str().unwrap_or_default().to_owned();
        let shards = json!({ "total": 48, "done": s["shards"]["successful"], "failed": s["shards"]["failed"] });
        let answer = json!({ "snapshots": [{ "stats": { "total": { "size_in_bytes": 61_203_283_968_u64 } },
            "shards_stats": shards }] });
        (name, Ok(answer))
    };
    let status = all.iter().map(bytes).collect();
    let policy = json!({ "sm_policy": { "name": "nightly", "enabled": true,
        "snapshot_config": { "repository": repository },
        "creation": { "schedule": { "cron": { "expression": "0 2 * * *", "timezone": "UTC" } } },
        "deletion": { "condition": { "max_age": "30d", "min_count": 7 } } } });
    let explained = json!({ "policies": [{ "name": "nightly", "enabled": true, "creation": { "latest_execution": {
        "status": "SUCCESS", "start_time": night(now, 0).as_millisecond() } } }] });
    Answers {
        snapshots: Ok(json!({ "snapshots": all })),
        verified: Some(Ok(json!({ "nodes": { "n1": {}, "n2": {}, "n3": {} } }))),
        status,
        policies: Ok(json!({ "policies": [policy] })),
        explained: Some(explained),
        ..Answers::default()
    }
}

/// A full one each Sunday night (four are kept) and an incremental one each half hour.
fn pgbackrest(world: &World, now: Timestamp) -> Vec<u8> {
    const STEP: i64 = 1_800;
    let newest = (now.as_second() - 240).div_euclid(STEP) * STEP;
    let first = (world.clock.start().as_second() - 12 * 3_600).div_euclid(STEP) * STEP;
    let full = |weeks: i64| first - weeks * 7 * 86_400 - 3_600;
    let label = |at: i64, kind: &str| {
        let at = Timestamp::from_second(at).unwrap_or_default();
        format!("{}{kind}", at.strftime("%Y%m%d-%H%M%S"))
    };
    let item = |at: i64, kind: &str, size: u64, took: i64, prior: Value| {
        let mark = if kind == "full" { "F" } else { "I" };
        json!({ "label": label(at, mark), "type": kind, "error": false, "prior": prior,
            "timestamp": { "start": at, "stop": at + took }, "info": { "size": size },
            "archive": { "start": "0000000100000A3C00000041", "stop": "0000000100000A3C00000042" },
            "database": { "repo-key": 1 }, "database-ref": [{ "name": "soc" }, { "name": "cases" }] })
    };
    let mut all: Vec<Value> =
        (0..4).rev().map(|w| item(full(w), "full", 214_748_364_800, 1_380, Value::Null)).collect();
    let mut at = first;
    while at <= newest {
        all.push(item(at, "incr", 214_790_307_840, 95, json!(label(full(0), "F"))));
        at += STEP;
    }
    let stanza = json!([{ "name": "soc-db", "status": { "code": 0, "message": "ok" },
        "repo": [{ "key": 1, "status": { "code": 0, "message": "ok" } }], "backup": all }]);
    stanza.to_string().into_bytes()
}

/// The mail archive, each night.
fn restic(now: Timestamp) -> Vec<u8> {
    let one = |back: i64| {
        let start = night(now, back) + minutes(25);
        let id = format!("{:08x}", (start.as_second() as u32).wrapping_mul(2_654_435_761));
        json!({ "id": id, "time": start.to_string(), "paths": ["/srv/mail"], "hostname": "srv-mail-01", "tags": ["nightly"],
            "summary": { "backup_start": start.to_string(), "backup_end": (start + minutes(17)).to_string(),
                "total_files_processed": 2_310_552_i64 - back * 431, "total_bytes_processed": 412_316_860_416_i64 - back * 90_112_000 } })
    };
    // A run of seventy days ago is kept as the month's.
    let all: Vec<Value> = (0..NIGHTS).chain([72]).map(one).collect();
    Value::Array(all).to_string().into_bytes()
}

/// All of it was read back after the last run.
fn check(now: Timestamp) -> source::Bytes {
    let at = night(now, 0) + minutes(50);
    let said = json!({ "exit_code": 0, "read_data": true, "at": at.to_string(), "message": "no errors were found" });
    source::Bytes { bytes: said.to_string().into_bytes(), written: Some(at) }
}

/// The evidence of cases is copied away every two minutes, until the intruder changes the repository's password.
fn vault(world: &World, now: Timestamp) -> Vec<u8> {
    const STEP: i64 = 120;
    let mut all = Vec::new();
    let mut second = -3_600;
    loop {
        let start = world.clock.real(second as f64);
        let end = start + SignedDuration::from_secs(6);
        if end > now {
            break;
        }
        let fails = second as f64 >= at::BACKUP;
        let done = if fails { 0 } else { 318 + second / 600 };
        let mut one = json!({
            "id": format!("evidence-{}", start.strftime("%H%M%S")), "phase": if fails { "failed" } else { "completed" },
            "start": start.to_string(), "end": end.to_string(), "covers": ["cases"], "location": "worm-dc2",
            "reachable": true, "schedule": "every two minutes",
            "items": { "total": 318 + second / 600, "done": done },
        });
        if fails {
            one["errors"] = json!(1);
            one["message"] = json!("repository refused the key: access denied for srv-bkp-01");
        } else {
            one["bytes"] = json!(734_003_200 + second * 4_096);
        }
        all.push(one);
        second += STEP;
    }
    json!({ "backups": all }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::world::Clock;
    use super::*;
    use crate::config::doc::Doc;
    use crate::model::backup::Grade;
    use crate::model::health::Tri;
    use crate::operate::backup::config;
    use crate::operate::backup::objective::{Known, all};

    /// A demo may be opened at any time of the day, also while the night's work is done.
    #[test]
    fn at_every_time_of_a_day_nothing_lies_ahead_and_the_grades_are_the_same() {
        let text = include_str!("../../../assets/demo/backups.toml");
        let config = config::parse(&Doc::parse(Path::new("backups.toml"), text.to_owned()).unwrap()).unwrap();
        let midnight: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let night = (115..225).step_by(5).chain([179, 181]);
        for minute in (0..24 * 60).step_by(120).chain(night) {
            let now = midnight + minutes(minute);
            let world = World { clock: Clock::new(45.0, now, 1.0), deeds: Vec::new() };
            let reads: Vec<Read> = config.sources.iter().map(|s| read(&world, s, now)).collect();
            let mut backups: Vec<_> = reads.iter().flat_map(|r| r.backups.clone()).collect();
            // As the desk does when the demo is filled.
            for source in &config.sources {
                if let Some(e) = drill(&source.name, now) {
                    let before = backups.iter_mut().filter(|b| b.source == source.name && b.start < Some(e.at));
                    before.max_by_key(|b| b.start).unwrap().evidence.push(e);
                }
            }
            for b in &backups {
                let times = b.evidence.iter().map(|e| e.at).chain(b.start).chain(b.end);
                assert!(times.max() <= Some(now), "{now}: {b:?}");
            }
            let sources: Vec<SourceState> = reads.iter().map(|r| r.state.clone()).collect();
            let schedules: Vec<_> =
                reads.iter().flat_map(|r| r.schedules.iter().map(|s| (r.state.name.clone(), s.clone()))).collect();
            let known = Known { backups: &backups, schedules: &schedules, sources: &sources };
            let assets = all(&config, known, now);
            let of = |name: &str| assets.iter().find(|a| a.asset.name == name).unwrap();
            let grade = |name: &str| (of(name).grade, of(name).rpo, of(name).drill_stale);
            assert_eq!(grade("alerts index"), (Grade::A, Tri::Pass, false), "{now}: {:?}", of("alerts index").why);
            assert_eq!(grade("mail archive"), (Grade::B, Tri::Pass, true), "{now}: {:?}", of("mail archive").why);
            assert_eq!(of("case evidence").rpo, Tri::Pass, "{now}: {:?}", of("case evidence").why);
            assert_eq!(of("case database").rpo, Tri::Pass, "{now}: {:?}", of("case database").why);
            let lies = of("cluster objects");
            assert_eq!((lies.backups[0].grade, lies.rpo), (Grade::Bad, Tri::Fail), "{now}: {:?}", lies.why);
        }
    }
}
