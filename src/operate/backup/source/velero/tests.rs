use jiff::{Timestamp, ToSpan};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::objects::{Kind, Objects, read};
use crate::model::backup::{Backup, BackupPhase, EvidenceKind};
use crate::model::health::Tri;

fn now() -> Timestamp {
    "2026-11-21T02:10:00Z".parse().unwrap()
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn taken(phase: &str) -> Value {
    json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {
            "name": "nightly-1", "namespace": "velero", "creationTimestamp": "2026-11-21T02:00:00Z",
            "labels": { "velero.io/schedule-name": "nightly" },
        },
        "spec": { "includedNamespaces": ["shop"], "storageLocation": "default", "ttl": "720h0m0s" },
        "status": {
            "phase": phase, "startTimestamp": "2026-11-21T02:00:00Z", "completionTimestamp": "2026-11-21T02:01:00Z",
            "expiration": "2026-12-21T02:00:00Z", "progress": { "totalItems": 28, "itemsBackedUp": 28 },
        },
    })
}

fn location(phase: &str, seen: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": { "name": "default" },
        "spec": { "provider": "aws" }, "status": { "phase": phase, "lastValidationTime": seen },
    }))
}

fn objects(backup: Value) -> Objects {
    Objects {
        backups: vec![object(backup)],
        locations: vec![location("Available", "2026-11-21T02:09:30Z")],
        ..Objects::default()
    }
}

fn one(objects: &Objects) -> Backup {
    read("cluster", objects, now()).backups.remove(0)
}

fn restore(phase: &str, start: &str, items: u64) -> DynamicObject {
    object(json!({
        "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": { "name": "r1" },
        "spec": { "backupName": "nightly-1", "namespaceMapping": { "shop": "shop-drill" } },
        "status": {
            "phase": phase, "startTimestamp": start, "completionTimestamp": "2026-11-21T02:06:00Z",
            "progress": { "totalItems": items, "itemsRestored": items },
        },
    }))
}

#[test]
fn a_completed_backup_is_told_whole() {
    let b = one(&objects(taken("Completed")));
    assert_eq!((b.id.as_str(), b.kind.as_str(), b.phase), ("nightly-1", "velero", BackupPhase::Completed));
    assert_eq!((b.items, b.volumes, b.bytes), (Some((28, 28)), Some((0, 0)), None));
    assert_eq!(b.covers[0].expose(), "shop");
    assert_eq!(b.schedule.unwrap().expose(), "nightly");
    assert_eq!((b.location.as_deref(), b.location_reachable), (Some("default"), Tri::Pass));
    assert!(b.evidence.is_empty());
}

#[test]
fn every_phase_has_one_meaning_and_a_new_word_has_none() {
    let means = |word| one(&objects(taken(word))).phase;
    for word in ["New", "Queued", "ReadyToStart", "InProgress", "WaitingForPluginOperations", "Finalizing"] {
        assert_eq!(means(word), BackupPhase::Running, "{word}");
    }
    for word in ["PartiallyFailed", "FinalizingPartiallyFailed", "WaitingForPluginOperationsPartiallyFailed"] {
        assert_eq!(means(word), BackupPhase::Partial, "{word}");
    }
    assert_eq!(means("FailedValidation"), BackupPhase::Failed);
    assert_eq!(means("Failed"), BackupPhase::Failed);
    assert_eq!(means("Deleting"), BackupPhase::Deleting);
    assert_eq!(means("Splendid"), BackupPhase::Unknown);
    assert_eq!(means(""), BackupPhase::Unknown);
}

#[test]
fn a_completed_backup_with_a_failed_volume_is_partial() {
    let mut o = objects(taken("Completed"));
    let volume = |name: &str, phase: &str| {
        object(json!({
            "metadata": { "name": name, "labels": { "velero.io/backup-name": "nightly-1" } }, "spec": { "volume": "data" },
            "status": { "phase": phase, "message": "disk gone", "progress": { "totalBytes": 7, "bytesDone": 7 } },
        }))
    };
    o.pod_volumes = vec![volume("a", "Completed"), volume("b", "Completed")];
    let good = one(&o);
    assert_eq!((good.phase, good.volumes, good.bytes), (BackupPhase::Completed, Some((2, 2)), Some(14)));
    o.pod_volumes[1] = volume("b", "Failed");
    let bad = one(&o);
    assert_eq!((bad.phase, bad.volumes, bad.errors), (BackupPhase::Partial, Some((2, 1)), 1));
    assert!(bad.said.expose().contains("disk gone"));
    o.pod_volumes.clear();
    o.missing.push((Kind::PodVolumeBackup, "403 (forbidden)".into()));
    assert_eq!(one(&o).volumes, None, "what may not be read is not zero");
}

#[test]
fn a_location_is_believed_only_while_it_is_looked_at() {
    let at = |phase: &str, seen: &str| {
        let mut o = objects(taken("Completed"));
        o.locations = vec![location(phase, seen)];
        one(&o).location_reachable
    };
    assert_eq!(at("Available", "2026-11-21T02:08:30Z"), Tri::Pass);
    assert_eq!(at("Available", "2026-11-21T02:07:30Z"), Tri::Unknown, "older than twice a minute");
    assert_eq!(at("Unavailable", "2026-11-21T02:09:30Z"), Tri::Fail);
    assert_eq!(at("", "2026-11-21T02:09:30Z"), Tri::Unknown);
    let mut o = objects(taken("Completed"));
    o.locations.clear();
    assert_eq!(one(&o).location_reachable, Tri::Fail, "the location was deleted");
    o.missing.push((Kind::Location, "403 (forbidden)".into()));
    assert_eq!(one(&o).location_reachable, Tri::Unknown);
}

#[test]
fn a_backup_that_failed_after_the_last_look_takes_the_locations_word_away() {
    let mut o = objects(taken("Completed"));
    let mut later = taken("FailedValidation");
    later["metadata"]["name"] = json!("nightly-2");
    later["metadata"]["creationTimestamp"] = json!("2026-11-21T02:09:40Z");
    later["status"] = json!({ "phase": "FailedValidation", "validationErrors": ["backup can't be created because backup storage location default is unavailable"] });
    o.backups.push(object(later.clone()));
    assert_eq!(one(&o).location_reachable, Tri::Unknown);
    later["status"]["validationErrors"] = json!(["Invalid included/excluded namespace lists"]);
    o.backups[1] = object(later);
    assert_eq!(one(&o).location_reachable, Tri::Pass, "a mistake in a backup is none of its location");
}

#[test]
fn a_restore_that_brought_something_back_is_proof() {
    let proof = |phase: &str, start: &str, items| {
        let mut o = objects(taken("Completed"));
        o.restores = vec![restore(phase, start, items)];
        one(&o).evidence.first().map(|e| (e.what, e.ok, e.took_seconds))
    };
    let after = "2026-11-21T02:05:00Z";
    assert_eq!(proof("Completed", after, 4), Some((EvidenceKind::Restore, true, Some(60.0))));
    assert_eq!(proof("Completed", after, 0), Some((EvidenceKind::Restore, false, Some(60.0))), "nothing came back");
    assert_eq!(proof("PartiallyFailed", after, 4).map(|p| p.1), Some(false));
    assert_eq!(proof("InProgress", after, 4), None);
    assert_eq!(proof("FailedValidation", after, 0), None);
    assert_eq!(proof("Completed", "2026-11-20T02:05:00Z", 4), None, "of an older backup with the same name");
}

#[test]
fn what_a_backup_leaves_out_is_not_covered() {
    let covered = |spec: Value| {
        let mut b = taken("Completed");
        b["spec"] = spec;
        let mut o = objects(b);
        let ns =
            |name: &str, made: Timestamp| object(json!({ "metadata": { "name": name, "creationTimestamp": made } }));
        o.namespaces =
            vec![ns("shop", now() - 10.hours()), ns("shop-test", now() - 10.hours()), ns("later", now() - 1.minute())];
        one(&o).covers.iter().map(|c| c.expose().to_owned()).collect::<Vec<_>>().join(",")
    };
    assert_eq!(covered(json!({})), "shop,shop-test");
    assert_eq!(covered(json!({ "includedNamespaces": ["*"], "excludedNamespaces": ["*-test"] })), "shop");
    assert_eq!(
        covered(json!({ "includedNamespaces": ["shop"], "labelSelector": { "matchLabels": { "a": "b" } } })),
        ""
    );
    assert_eq!(covered(json!({ "includedNamespaces": ["shop"], "excludedResources": ["secrets"] })), "");
    assert_eq!(covered(json!({ "includedNamespaces": ["shop"], "excludedResources": ["events"] })), "shop");
    let own = ["volumesnapshots.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io"];
    let own = json!({ "includedNamespaces": ["shop"], "excludedResources": own });
    assert_eq!(covered(own), "shop", "Velero leaves them out of every backup");
    assert_eq!(covered(json!({ "includedNamespaces": ["shop"], "includedResources": ["pods"] })), "");
}

#[test]
fn schedules_have_a_zone_and_say_when_they_do_nothing() {
    let told = |spec: Value, status: Value| {
        let o = Objects {
            schedules: vec![object(json!({ "metadata": { "name": "nightly" }, "spec": spec, "status": status }))],
            ..Objects::default()
        };
        read("cluster", &o, now()).schedules.remove(0)
    };
    let s = told(
        json!({ "schedule": "CRON_TZ=Europe/Berlin 0 2 * * *", "template": { "ttl": "2160h0m0s" } }),
        json!({ "phase": "Enabled", "lastBackup": "2026-11-21T01:00:00Z" }),
    );
    assert_eq!((s.expression.expose(), s.zone.as_deref(), s.paused), ("0 2 * * *", Some("Europe/Berlin"), false));
    assert_eq!(s.keeps_seconds, Some(2160 * 3600));
    assert!(s.last_run.is_some());
    let s = told(
        json!({ "schedule": "x", "template": {} }),
        json!({ "phase": "FailedValidation", "validationErrors": ["bad"] }),
    );
    assert!(s.paused && s.said.expose().contains("bad"));
    assert_eq!(s.keeps_seconds, Some(720 * 3600));
}

#[test]
fn a_location_that_was_away_is_believed_again_once_it_was_compared() {
    let mut o = objects(taken("Completed"));
    o.outages.insert("default".into(), "2026-11-21T02:08:00Z".parse().unwrap());
    assert_eq!(one(&o).location_reachable, Tri::Unknown, "never compared");
    let synced = |o: &mut Objects, at: &str| o.locations[0].data["status"]["lastSyncedTime"] = json!(at);
    synced(&mut o, "2026-11-21T02:07:59Z");
    assert_eq!(one(&o).location_reachable, Tri::Unknown, "compared before");
    synced(&mut o, "2026-11-21T02:08:30Z");
    assert_eq!(one(&o).location_reachable, Tri::Pass);
    synced(&mut o, "2026-11-21T02:07:59Z");
    o.outages.insert("default".into(), "2026-11-21T02:00:30Z".parse().unwrap());
    assert_eq!(one(&o).location_reachable, Tri::Pass, "taken after it");
    let mut away = objects(taken("Completed"));
    away.locations = vec![location("Unavailable", "2026-11-21T02:09:30Z")];
    assert_eq!(super::objects::away(&away, now()), ["default"]);
    away.locations = vec![location("Available", "2026-11-21T02:09:30Z")];
    assert!(super::objects::away(&away, now()).is_empty());
}
