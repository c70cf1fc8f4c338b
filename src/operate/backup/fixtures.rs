//! What makers of backups say in each of their states, as they write it, and the grade it must have.

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::source::Bytes;
use super::source::opensearch::answers::{self, Answers};
use super::source::opensearch::{Trouble, Verified};
use super::source::velero::objects::{self, Kind, Objects};
use super::source::{Read, pg_dump, pgbackrest, restic};
use crate::model::backup::Backup;
use crate::model::backup::Grade::{self, *};
use crate::model::health::Tri;
use crate::text::Untrusted;

type Fixture = (&'static str, Grade, Backup);

fn now() -> Timestamp {
    super::tests::NOW.parse().unwrap()
}

/// 2026-11-20T02:00:00Z.
const START: i64 = 1_795_140_000;

pub fn all() -> Vec<Fixture> {
    [opensearch(), velero(), pgbackrest(), restic(), pg_dump()].concat()
}

/// A repository with one snapshot, and whatever else is said.
struct Repo {
    snapshot: Value,
    answers: Answers,
    verified: Option<Verified>,
}

pub fn policy(max_age: &str) -> Value {
    json!({ "policies": [{ "sm_policy": {
        "name": "daily", "enabled": true, "snapshot_config": { "repository": "r" },
        "creation": { "schedule": { "cron": { "expression": "0 2 * * *", "timezone": "UTC" } } },
        "deletion": { "condition": { "max_age": max_age, "min_count": 1 } },
    }}]})
}

pub fn search(change: fn(&mut Value, &mut Answers, &mut Option<Verified>)) -> Read {
    let absent = Trouble::Said { status: 400, kind: "error".into(), reason: "no handler found for uri".into() };
    let mut repo = Repo {
        snapshot: json!({
            "snapshot": "s-1", "uuid": "u", "indices": ["soc-1", "soc-2"], "data_streams": [], "state": "SUCCESS",
            "include_global_state": true, "start_time_in_millis": START * 1000,
            "end_time_in_millis": (START + 60) * 1000, "failures": [],
            "shards": { "total": 2, "failed": 0, "successful": 2 },
        }),
        answers: Answers { policies: Err(absent), ..Answers::default() },
        verified: Some(Verified { at: now(), reachable: Tri::Pass, words: Untrusted::new("verified on 1 nodes") }),
    };
    change(&mut repo.snapshot, &mut repo.answers, &mut repo.verified);
    repo.answers.snapshots = Ok(json!({ "snapshots": [repo.snapshot] }));
    answers::read("s", "r", &repo.answers, repo.verified.as_ref(), now()).0
}

/// One snapshot taken by a policy, of which this is explained.
pub fn managed(explained: Value) -> Read {
    let mut answers = Answers { policies: Ok(policy("7d")), ..Answers::default() };
    answers.explained = Some(json!({ "policies": [explained] }));
    let taken = search(|_, _, _| {}).backups.remove(0);
    let mut told = json!({
        "snapshot": "s-1", "uuid": "u", "indices": ["soc-1"], "state": "SUCCESS", "failures": [],
        "shards": { "total": 2, "failed": 0, "successful": 2 }, "metadata": { "sm_policy": "daily" },
    });
    told["start_time_in_millis"] = json!(taken.start.unwrap().as_millisecond());
    told["end_time_in_millis"] = json!(taken.end.unwrap().as_millisecond());
    answers.snapshots = Ok(json!({ "snapshots": [told] }));
    let verified = Verified { at: now(), reachable: Tri::Pass, words: Untrusted::default() };
    answers::read("s", "r", &answers, Some(&verified), now()).0
}

fn opensearch() -> Vec<Fixture> {
    let of = |name, grade, change| (name, grade, search(change).backups.remove(0));
    let mut all: Vec<Fixture> = vec![
        of("opensearch: SUCCESS", C, |_, _, _| {}),
        of("opensearch: PARTIAL", Bad, |s, _, _| {
            s["state"] = json!("PARTIAL");
            s["shards"] = json!({ "total": 2, "failed": 1, "successful": 1 });
            s["failures"] = json!([{ "index": "soc-2", "shard_id": 0, "reason": "primary shard is not allocated" }]);
        }),
        of("opensearch: FAILED", Bad, |s, _, _| s["state"] = json!("FAILED")),
        of("opensearch: INCOMPATIBLE", Bad, |s, _, _| s["state"] = json!("INCOMPATIBLE")),
        of("opensearch: IN_PROGRESS for ten hours", Unknown, |s, _, _| {
            s["state"] = json!("IN_PROGRESS");
            s["end_time_in_millis"] = json!(0);
            s["shards"] = json!({ "total": 2, "failed": 0, "successful": 1 });
        }),
        of("opensearch: a state of a later version", Unknown, |s, _, _| s["state"] = json!("SETTLED")),
        of("opensearch: SUCCESS with failures", Bad, |s, _, _| {
            s["failures"] = json!([{ "index": "soc-2", "shard_id": 0, "reason": "x" }]);
        }),
        of("opensearch: SUCCESS with a failed shard", Bad, |s, _, _| {
            s["shards"] = json!({ "total": 2, "failed": 1, "successful": 1 });
        }),
        of("opensearch: SUCCESS of the cluster's state alone", Bad, |s, _, _| {
            s["indices"] = json!([]);
            s["shards"] = json!({ "total": 0, "failed": 0, "successful": 0 });
        }),
        of("opensearch: SUCCESS of other indices", Bad, |s, _, _| s["indices"] = json!(["logs-1"])),
        of("opensearch: SUCCESS that tells no shards", D, |s, _, _| s["shards"] = Value::Null),
        of("opensearch: fewer shards in the repository", Bad, |_, a, _| {
            let told = json!({ "snapshots": [{ "shards_stats": { "total": 2, "done": 1, "failed": 0 } }] });
            a.status.insert("s-1".into(), Ok(told));
        }),
        of("opensearch: shards cannot be read back", Bad, |_, a, _| {
            let gone =
                Trouble::Said { status: 500, kind: "no_such_file_exception".into(), reason: "snap-u.dat".into() };
            a.status.insert("s-1".into(), Err(gone));
        }),
        of("opensearch: never verified", D, |_, _, v| *v = None),
        of("opensearch: verified last week", D, |_, _, v| {
            if let Some(v) = v {
                v.at = "2026-11-13T12:00:00Z".parse().unwrap();
            }
        }),
        of("opensearch: verification failed", Bad, |_, _, v| {
            if let Some(v) = v {
                v.reachable = Tri::Fail;
            }
        }),
        of("opensearch: its policy has let it expire", Bad, |s, a, _| {
            s["metadata"] = json!({ "sm_policy": "daily" });
            a.policies = Ok(policy("6h"));
        }),
        of("opensearch: its policy deletes it before the next", Bad, |s, a, _| {
            s["metadata"] = json!({ "sm_policy": "daily" });
            a.policies = Ok(policy("18h"));
        }),
        of("opensearch: its policy keeps it a week", C, |s, a, _| {
            s["metadata"] = json!({ "sm_policy": "daily" });
            a.policies = Ok(policy("7d"));
        }),
    ];
    let listed = search(|_, a, _| a.names = Some(json!({ "snapshots": [{ "snapshot": "s-0" }] })));
    all.push(("opensearch: listed, its files gone", Bad, listed.backups[1].clone()));
    all
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn velero() -> Vec<Fixture> {
    let of = |name, grade, change: fn(&mut Value, &mut Value, &mut Objects)| {
        let mut backup = json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": { "name": "n-1", "creationTimestamp": "2026-11-20T02:00:00Z" },
            "spec": { "includedNamespaces": ["soc"], "storageLocation": "default" },
            "status": {
                "phase": "Completed", "startTimestamp": "2026-11-20T02:00:00Z",
                "completionTimestamp": "2026-11-20T02:01:00Z", "expiration": "2026-12-20T02:00:00Z",
                "progress": { "totalItems": 28, "itemsBackedUp": 28 },
                "volumeSnapshotsAttempted": 2, "volumeSnapshotsCompleted": 2,
            },
        });
        let mut location = json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": "default" },
            "spec": {}, "status": { "phase": "Available", "lastValidationTime": "2026-11-20T11:59:30Z" },
        });
        let mut rest = Objects::default();
        change(&mut backup, &mut location, &mut rest);
        rest.put(Kind::Backup, vec![object(backup)]);
        if !location.is_null() {
            rest.put(Kind::Location, vec![object(location)]);
        }
        (name, grade, objects::read("s", &rest, now()).backups.remove(0))
    };
    vec![
        of("velero: Completed", C, |_, _, _| {}),
        of("velero: Completed with warnings", C, |b, _, _| b["status"]["warnings"] = json!(3)),
        of("velero: Completed with errors", Bad, |b, _, _| b["status"]["errors"] = json!(1)),
        of("velero: PartiallyFailed", Bad, |b, _, _| b["status"]["phase"] = json!("PartiallyFailed")),
        of("velero: Failed", Bad, |b, _, _| b["status"]["phase"] = json!("Failed")),
        of("velero: FailedValidation", Bad, |b, _, _| {
            b["status"] = json!({ "phase": "FailedValidation", "validationErrors": ["no such location"] });
        }),
        of("velero: Deleting", Bad, |b, _, _| b["status"]["phase"] = json!("Deleting")),
        of("velero: WaitingForPluginOperations", Unknown, |b, _, _| {
            b["status"]["phase"] = json!("WaitingForPluginOperations");
        }),
        of("velero: no status yet", Unknown, |b, _, _| b["status"] = json!({})),
        of("velero: zero volumes", Bad, |b, _, _| {
            b["status"]["volumeSnapshotsAttempted"] = json!(0);
            b["status"]["volumeSnapshotsCompleted"] = json!(0);
        }),
        of("velero: a volume missing", Bad, |b, _, _| b["status"]["volumeSnapshotsCompleted"] = json!(1)),
        of("velero: an upload failed", Bad, |_, _, o| {
            o.put(
                Kind::DataUpload,
                vec![object(json!({
                    "apiVersion": "velero.io/v2alpha1", "kind": "DataUpload",
                    "metadata": { "name": "u", "labels": { "velero.io/backup-name": "n-1" } },
                    "spec": {}, "status": { "phase": "Failed", "message": "connection reset" },
                }))],
            );
        }),
        of("velero: location Unavailable", Bad, |_, l, _| l["status"]["phase"] = json!("Unavailable")),
        of("velero: location last looked at yesterday", D, |_, l, _| {
            l["status"]["lastValidationTime"] = json!("2026-11-19T12:00:00Z");
        }),
        of("velero: no such location any more", Bad, |_, l, _| *l = Value::Null),
        of("velero: expires before the next", Bad, |b, _, _| {
            b["status"]["expiration"] = json!("2026-11-20T20:00:00Z");
        }),
        of("velero: only what a label selects", D, |b, _, _| {
            b["spec"]["labelSelector"] = json!({ "matchLabels": { "app": "x" } });
        }),
        of("velero: another namespace", Bad, |b, _, _| b["spec"]["includedNamespaces"] = json!(["shop"])),
        of("velero: without its volumes' claims", D, |b, _, _| {
            b["spec"]["excludedResources"] = json!(["persistentvolumeclaims"]);
        }),
    ]
}

fn pgbackrest() -> Vec<Fixture> {
    let of = |name, grade, change: fn(&mut Value)| {
        let mut info = json!([{
            "name": "soc", "cipher": "none", "status": { "code": 0, "message": "ok" },
            "repo": [{ "key": 1, "cipher": "none", "status": { "code": 0, "message": "ok" } }],
            "backup": [{
                "label": "20261120-020000F", "type": "full", "error": false, "prior": null, "reference": null,
                "timestamp": { "start": START, "stop": START + 300 }, "info": { "size": 100 },
                "archive": { "start": "01", "stop": "02" }, "database": { "id": 1, "repo-key": 1 },
            }],
        }]);
        change(&mut info[0]);
        (name, grade, pgbackrest::read("s", info.to_string().as_bytes()).unwrap().remove(0))
    };
    vec![
        of("pgbackrest: full", C, |_| {}),
        of("pgbackrest: encrypted", C, |s| s["repo"][0]["cipher"] = json!("aes-256-cbc")),
        of("pgbackrest: error", Bad, |s| s["backup"][0]["error"] = json!(true)),
        of("pgbackrest: error not told", Unknown, |s| s["backup"][0]["error"] = Value::Null),
        of("pgbackrest: no stop", Unknown, |s| s["backup"][0]["timestamp"]["stop"] = Value::Null),
        of("pgbackrest: its log was not archived", Bad, |s| s["backup"][0]["archive"]["stop"] = Value::Null),
        of("pgbackrest: what it builds on is gone", Bad, |s| {
            s["backup"][0]["prior"] = json!("20261119-020000F");
        }),
        of("pgbackrest: missing stanza path", Bad, |s| {
            s["repo"][0]["status"] = json!({ "code": 1, "message": "missing stanza path" });
        }),
        of("pgbackrest: cannot be decrypted", Bad, |s| {
            s["repo"][0]["status"] = json!({ "code": 99, "message": "[CryptoError] unable to flush" });
        }),
    ]
}

fn restic() -> Vec<Fixture> {
    let summary = json!({
        "backup_start": "2026-11-20T02:00:00Z", "backup_end": "2026-11-20T02:05:00Z",
        "total_files_processed": 10, "total_bytes_processed": 1000,
    });
    let of = |name, grade, summary: &Value, check: Option<Value>| {
        let list = json!([{
            "time": "2026-11-20T02:00:00Z", "paths": ["soc"], "hostname": "h", "id": "ab12", "summary": summary,
        }]);
        let check = check.map(|c| Bytes { bytes: c.to_string().into_bytes(), written: Some(now()) });
        (name, grade, restic::read("s", list.to_string().as_bytes(), check.as_ref(), now()).unwrap().remove(0))
    };
    let exit = |code: i32, message: &str| Some(json!({ "exit_code": code, "read_data": true, "message": message }));
    vec![
        of("restic: listed", C, &summary, None),
        of("restic: listed by a version without summaries", D, &Value::Null, None),
        of("restic: read back", B, &summary, exit(0, "no errors were found")),
        of("restic: checked, not read back", C, &summary, Some(json!({ "exit_code": 0 }))),
        of(
            "restic: checked before it was made",
            C,
            &summary,
            Some(json!({
                "exit_code": 0, "read_data": true, "at": "2026-11-20T01:00:00Z",
            })),
        ),
        of("restic: bits rotted", Bad, &summary, exit(1, "Fatal: repository contains errors")),
        of("restic: exit code 3", Bad, &summary, exit(3, "")),
        of("restic: locked", C, &summary, exit(11, "")),
        of(
            "restic: locked, as old versions say it",
            C,
            &summary,
            exit(1, "unable to create lock in backend: repository is already locked"),
        ),
        of("restic: wrong password", Bad, &summary, exit(12, "")),
        of(
            "restic: wrong password, as old versions say it",
            Bad,
            &summary,
            exit(1, "Fatal: wrong password or no key found"),
        ),
        of("restic: no repository", Bad, &summary, exit(10, "")),
    ]
}

fn pg_dump() -> Vec<Fixture> {
    let head = b"--\n-- PostgreSQL database dump\n--\n\\connect soc\n";
    let of = |name, grade, head: &[u8], tail: &[u8]| {
        let at = |s: i64| Timestamp::from_second(s).ok();
        let told = pg_dump::of_bytes(head, tail).unwrap();
        let found = pg_dump::Found { told, bytes: 1000, begun: at(START), written: at(START + 60) };
        (name, grade, pg_dump::backup("s", "soc.sql".into(), &found))
    };
    let custom = [
        b"PGDMP\x01\x0e\x00\x04\x08\x01\x00\x00\x00\x00\x00".as_slice(),
        &[0; 35],
        &[0, 3, 0, 0, 0],
        b"soc",
        &[0, 2, 0, 0, 0],
        b"15",
        &[0, 2, 0, 0, 0],
        b"15",
        &[0, 9, 0, 0, 0],
    ]
    .concat();
    vec![
        of("pg_dump: whole", C, head, b"x;\n--\n-- PostgreSQL database dump complete\n--\n\n"),
        of("pg_dump: cut off", Bad, head, b"COPY t FROM stdin;\n1\t2\n"),
        of("pg_dump: custom format", D, &custom, b""),
        of("pg_dump: custom format cut off in its head", Bad, &custom[..20], b""),
    ]
}
