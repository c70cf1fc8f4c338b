//! What Velero's objects say, and what they leave open. Pure.
//!
//! Fields are those of `velero.io/v1` (`DataUpload`: `v2alpha1`) as Velero 1.18 has them; whatever is not there is
//! unknown. Velero's own word is not enough in three places: a location says `Available` until it is looked at again, a
//! backup is `Completed` without a single volume, and objects vanish with the files of their location.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;

use super::super::Read;
use super::super::Schedule;
use super::super::blank;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::backup::Evidence;
use crate::model::backup::EvidenceKind;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::text::Untrusted;

/// Seconds between two looks at a location, when it does not say (Velero's own default).
const VALIDATED_EVERY: f64 = 60.0;
/// Seconds a backup is kept whose schedule does not say (Velero's own default, 720 h).
const KEPT: u64 = 30 * 86_400;
/// Kinds whose absence from a backup loses nothing that is wanted back. Velero itself leaves the last two out of every
/// backup (`autoExclude...Resources` of its backup controller): it keeps those it makes on the way.
const TRIFLES: [&str; 5] = [
    "events",
    "events.events.k8s.io",
    "nodes",
    "volumesnapshots.snapshot.storage.k8s.io",
    "volumesnapshotcontents.snapshot.storage.k8s.io",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Backup,
    Location,
    Schedule,
    Restore,
    PodVolumeBackup,
    DataUpload,
    Namespace,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Backup,
        Self::Location,
        Self::Schedule,
        Self::Restore,
        Self::PodVolumeBackup,
        Self::DataUpload,
        Self::Namespace,
    ];

    pub fn plural(self) -> &'static str {
        match self {
            Self::Backup => "backups",
            Self::Location => "backupstoragelocations",
            Self::Schedule => "schedules",
            Self::Restore => "restores",
            Self::PodVolumeBackup => "podvolumebackups",
            Self::DataUpload => "datauploads",
            Self::Namespace => "namespaces",
        }
    }

    /// Group, version, kind.
    pub fn group(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Backup => ("velero.io", "v1", "Backup"),
            Self::Location => ("velero.io", "v1", "BackupStorageLocation"),
            Self::Schedule => ("velero.io", "v1", "Schedule"),
            Self::Restore => ("velero.io", "v1", "Restore"),
            Self::PodVolumeBackup => ("velero.io", "v1", "PodVolumeBackup"),
            Self::DataUpload => ("velero.io", "v2alpha1", "DataUpload"),
            Self::Namespace => ("", "v1", "Namespace"),
        }
    }
}

/// What was listed.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub backups: Vec<DynamicObject>,
    pub locations: Vec<DynamicObject>,
    pub schedules: Vec<DynamicObject>,
    pub restores: Vec<DynamicObject>,
    pub pod_volumes: Vec<DynamicObject>,
    pub uploads: Vec<DynamicObject>,
    /// Namespaces of the cluster, to tell what "all of them" is.
    pub namespaces: Vec<DynamicObject>,
    /// Kinds that could not be listed, and why.
    pub missing: Vec<(Kind, String)>,
    /// Locations that were seen away, and when last: what is stored there may be gone although its objects are not.
    pub outages: BTreeMap<String, Timestamp>,
}

impl Objects {
    pub fn put(&mut self, kind: Kind, found: Vec<DynamicObject>) {
        *match kind {
            Kind::Backup => &mut self.backups,
            Kind::Location => &mut self.locations,
            Kind::Schedule => &mut self.schedules,
            Kind::Restore => &mut self.restores,
            Kind::PodVolumeBackup => &mut self.pod_volumes,
            Kind::DataUpload => &mut self.uploads,
            Kind::Namespace => &mut self.namespaces,
        } = found;
    }

    fn lacks(&self, kind: Kind) -> bool {
        self.missing.iter().any(|(k, _)| *k == kind)
    }
}

/// Makes backups and schedules of what was listed. `name`: the source's, as configured.
pub fn read(name: &str, objects: &Objects, now: Timestamp) -> Read {
    let backups = objects.backups.iter().map(|o| backup(name, o, objects, now)).collect();
    let schedules = objects.schedules.iter().map(schedule).collect();
    let mut detail = vec![format!("{} backups", objects.backups.len())];
    for (location, object) in objects.locations.iter().map(|o| (named(o), o)) {
        let (reachable, why) = trusted(location, object, objects, now);
        detail.push(match reachable {
            Tri::Pass => format!("location {location} available"),
            _ => format!("location {location} {}: {why}", reachable.word()),
        });
    }
    detail.extend(objects.missing.iter().map(|(kind, why)| format!("{} not read: {why}", kind.plural())));
    let state = SourceState {
        name: name.into(),
        kind: "velero".into(),
        state: SourceWord::Live,
        detail: Untrusted::new(detail.join("; ")),
        last_good: Some(now),
        next_try: None,
    };
    Read { backups, schedules, state }
}

fn backup(source: &str, object: &DynamicObject, objects: &Objects, now: Timestamp) -> Backup {
    let id = named(object);
    let word = text(object, "/status/phase").unwrap_or("");
    let mut b = blank(source, "velero", id);
    b.start = time(object, "/status/startTimestamp");
    b.end = time(object, "/status/completionTimestamp");
    b.expires = time(object, "/status/expiration");
    b.errors = number(object, "/status/errors").unwrap_or(0);
    b.warnings = number(object, "/status/warnings").unwrap_or(0);
    b.items = number(object, "/status/progress/totalItems")
        .map(|total| (total, number(object, "/status/progress/itemsBackedUp").unwrap_or(0)));
    b.schedule = label(object, "velero.io/schedule-name").map(Untrusted::new);
    b.location = text(object, "/spec/storageLocation").map(String::from);
    let mut said = vec![if word.is_empty() { "no phase yet".to_owned() } else { word.to_owned() }];
    said.extend(text(object, "/status/failureReason").map(String::from));
    said.extend(texts(object, "/status/validationErrors"));

    let volumes = volumes(object, id, objects);
    b.volumes = volumes.count;
    b.bytes = volumes.bytes;
    b.errors += volumes.failed;
    said.extend(volumes.said);
    let operations = number(object, "/status/backupItemOperationsFailed").unwrap_or(0);
    b.errors += operations;
    b.phase = phase(word);
    if object.metadata.deletion_timestamp.is_some() {
        b.phase = BackupPhase::Deleting;
    }
    if b.phase == BackupPhase::Completed && (volumes.failed > 0 || operations > 0) {
        b.phase = BackupPhase::Partial;
    }
    let (covers, partly) = covers(object, &objects.namespaces, b.start);
    b.covers = covers;
    said.extend(partly);
    if let Some(location) = b.location.as_deref() {
        let (reachable, why) = match objects.locations.iter().find(|o| named(o) == location) {
            Some(found) => match trusted(location, found, objects, now) {
                (Tri::Pass, _) => compared(location, found, objects, b.end),
                other => other,
            },
            None if objects.lacks(Kind::Location) => (Tri::Unknown, "locations could not be read".into()),
            None => (Tri::Fail, "there is no such location any more".into()),
        };
        b.location_reachable = reachable;
        if reachable != Tri::Pass {
            said.push(format!("location {location}: {why}"));
        }
    }
    b.said = Untrusted::new(said.join("; "));
    b.evidence = objects.restores.iter().filter_map(|r| evidence(r, id, b.start)).collect();
    b.evidence.sort_by_key(|e| e.at);
    b
}

/// The phases of `velero.io/v1` Backup; a word not known here is unknown.
fn phase(word: &str) -> BackupPhase {
    match word {
        "Completed" => BackupPhase::Completed,
        "PartiallyFailed" | "FinalizingPartiallyFailed" | "WaitingForPluginOperationsPartiallyFailed" => {
            BackupPhase::Partial
        }
        "Failed" | "FailedValidation" => BackupPhase::Failed,
        "New" | "Queued" | "ReadyToStart" | "InProgress" | "WaitingForPluginOperations" | "Finalizing" => {
            BackupPhase::Running
        }
        "Deleting" => BackupPhase::Deleting,
        _ => BackupPhase::Unknown,
    }
}

struct Volumes {
    count: Option<(u64, u64)>,
    bytes: Option<u64>,
    failed: u64,
    said: Vec<String>,
}

/// Volumes by whatever way they were taken: native snapshots, CSI snapshots (moved by a DataUpload or not), file copies.
fn volumes(object: &DynamicObject, id: &str, objects: &Objects) -> Volumes {
    let pair = |total: &str, done: &str| {
        let total = number(object, total).unwrap_or(0);
        (total, number(object, done).unwrap_or(0).min(total))
    };
    let native = pair("/status/volumeSnapshotsAttempted", "/status/volumeSnapshotsCompleted");
    let csi = pair("/status/csiVolumeSnapshotsAttempted", "/status/csiVolumeSnapshotsCompleted");
    let mine = |o: &&DynamicObject| label(o, "velero.io/backup-name") == Some(id);
    let copies: Vec<&DynamicObject> = objects.pod_volumes.iter().filter(mine).collect();
    let uploads: Vec<&DynamicObject> = objects.uploads.iter().filter(mine).collect();
    let done =
        |list: &[&DynamicObject]| list.iter().filter(|o| text(o, "/status/phase") == Some("Completed")).count() as u64;
    let copied = (copies.len() as u64, done(&copies));
    // A CSI snapshot that is moved is the same volume as its upload; it is safe when the upload is through.
    let moved = (uploads.len() as u64, done(&uploads));
    let snapshots = if moved.0 == 0 { csi } else { (csi.0.max(moved.0), moved.1) };
    let count = (native.0 + copied.0 + snapshots.0, native.1 + copied.1 + snapshots.1);
    let mut said = Vec::new();
    let mut failed = 0;
    for o in copies.iter().chain(&uploads) {
        if matches!(text(o, "/status/phase"), Some("Failed" | "Canceled" | "Canceling")) {
            failed += 1;
            let why = text(o, "/status/message").unwrap_or("without a word why");
            said.push(format!("volume {}: {why}", text(o, "/spec/volume").unwrap_or(named(o))));
        }
    }
    let sizes: Vec<u64> =
        copies.iter().chain(&uploads).filter_map(|o| number(o, "/status/progress/totalBytes")).collect();
    // A kind that may not be read may hold volumes; one that is not installed holds none.
    let unread = |kind| objects.missing.iter().any(|(k, why)| *k == kind && !why.ends_with("(absent)"));
    let known = count.0 > 0 || !(unread(Kind::PodVolumeBackup) || unread(Kind::DataUpload));
    Volumes {
        count: known.then_some(count),
        bytes: (!sizes.is_empty() && sizes.len() == copies.len() + uploads.len()).then(|| sizes.iter().sum()),
        failed,
        said,
    }
}

/// Whether a location can be believed to be reachable now, and why not.
///
/// Velero looks at a location every `validationFrequency`; in between the phase is the past's. It is believed only while
/// the last look is newer than twice that, and newer than any backup that failed there.
fn trusted(name: &str, location: &DynamicObject, objects: &Objects, now: Timestamp) -> (Tri, String) {
    match text(location, "/status/phase") {
        Some("Available") => {}
        Some("Unavailable") => {
            let message = text(location, "/status/message").unwrap_or("unavailable");
            return (Tri::Fail, message.into());
        }
        other => return (Tri::Unknown, format!("phase {:?}", other.unwrap_or(""))),
    }
    let every = text(location, "/spec/validationFrequency").map_or(Some(VALIDATED_EVERY), go_seconds);
    let Some(every) = every.filter(|s| *s > 0.0) else {
        return (Tri::Unknown, "it is never looked at (validationFrequency 0)".into());
    };
    let Some(seen) = time(location, "/status/lastValidationTime") else {
        return (Tri::Unknown, "it was never looked at".into());
    };
    let age = now.duration_since(seen).as_secs_f64();
    if age > 2.0 * every {
        return (
            Tri::Unknown,
            format!("says Available, but was last looked at {age:.0} s ago, due every {every:.0} s"),
        );
    }
    let failure = objects
        .backups
        .iter()
        .filter(|o| text(o, "/spec/storageLocation") == Some(name) && blames_location(o))
        .filter_map(|o| time(o, "/status/completionTimestamp").or_else(|| created(o)).map(|at| (at, named(o))))
        .filter(|(at, _)| *at >= seen)
        .max();
    match failure {
        Some((_, id)) => (Tri::Unknown, format!("says Available, but backup {id} failed there after the last look")),
        None => (Tri::Pass, String::new()),
    }
}

/// A location that was away may have come back without what was stored there. Velero compares its objects with the
/// files at each sync and drops those without; until it did so after the outage, an older backup is not believed.
fn compared(name: &str, location: &DynamicObject, objects: &Objects, end: Option<Timestamp>) -> (Tri, String) {
    let Some(away) = objects.outages.get(name).filter(|away| end.is_none_or(|end| end <= **away)) else {
        return (Tri::Pass, String::new());
    };
    match time(location, "/status/lastSyncedTime") {
        Some(synced) if synced > *away => (Tri::Pass, String::new()),
        _ => (Tri::Unknown, format!("was away until after {away}, and what is stored there was not compared since")),
    }
}

/// Locations that are away now, or of which it is not known.
pub fn away(objects: &Objects, now: Timestamp) -> Vec<String> {
    let away = |l: &&DynamicObject| trusted(named(l), l, objects, now).0 != Tri::Pass;
    objects.locations.iter().filter(away).map(|l| named(l).to_owned()).collect()
}

/// Failed, and not for a reason that has nothing to do with where it is stored.
fn blames_location(object: &DynamicObject) -> bool {
    match text(object, "/status/phase") {
        Some("Failed") => true,
        Some("FailedValidation") => {
            let errors = texts(object, "/status/validationErrors");
            errors.is_empty() || errors.iter().any(|e| e.to_lowercase().contains("location"))
        }
        _ => false,
    }
}

/// Namespaces a backup holds whole, and a word when it holds less. `*` is told by name: what was there when it began.
fn covers(
    object: &DynamicObject,
    namespaces: &[DynamicObject],
    start: Option<Timestamp>,
) -> (Vec<Untrusted>, Vec<String>) {
    let mut partly = Vec::new();
    for field in ["labelSelector", "orLabelSelectors"] {
        if object.data.pointer(&format!("/spec/{field}")).is_some_and(|v| !v.is_null()) {
            partly.push(format!("only what {field} selects"));
        }
    }
    for field in ["includedResources", "includedNamespaceScopedResources"] {
        let list = texts(object, &format!("/spec/{field}"));
        if !list.is_empty() && !list.iter().any(|r| r == "*") {
            partly.push(format!("only the resources {}", list.join(", ")));
        }
    }
    for field in ["excludedResources", "excludedNamespaceScopedResources"] {
        let list = texts(object, &format!("/spec/{field}"));
        let lost: Vec<&str> = list.iter().map(String::as_str).filter(|r| !TRIFLES.contains(r)).collect();
        if !lost.is_empty() {
            partly.push(format!("without {}", lost.join(", ")));
        }
    }
    if !partly.is_empty() {
        return (Vec::new(), partly);
    }
    let mut included = texts(object, "/spec/includedNamespaces");
    if included.is_empty() {
        included.push("*".into());
    }
    let excluded = texts(object, "/spec/excludedNamespaces");
    let mut found: Vec<String> = Vec::new();
    for pattern in &included {
        if !pattern.contains(['*', '?', '[']) {
            found.push(pattern.clone());
            continue;
        }
        let there = |o: &&DynamicObject| created(o).zip(start).is_some_and(|(made, start)| made <= start);
        found.extend(namespaces.iter().filter(there).map(named).filter(|n| like(pattern, n)).map(String::from));
    }
    found.retain(|n| !excluded.iter().any(|e| like(e, n)));
    found.sort();
    found.dedup();
    (found.into_iter().map(Untrusted::new).collect(), partly)
}

/// `*` stands for any text. Other pattern characters match nothing.
fn like(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// A finished restore of this backup. One that began before the backup did was of an older one with the same name.
fn evidence(restore: &DynamicObject, id: &str, taken: Option<Timestamp>) -> Option<Evidence> {
    if text(restore, "/spec/backupName") != Some(id) {
        return None;
    }
    let word = text(restore, "/status/phase")?;
    let start = time(restore, "/status/startTimestamp").or_else(|| created(restore))?;
    if taken.is_none_or(|taken| start < taken) {
        return None;
    }
    let done = match word {
        "Completed" => true,
        "PartiallyFailed" | "Failed" => false,
        // Refused before it began, or not at its end: says nothing of the backup.
        _ => return None,
    };
    let end = time(restore, "/status/completionTimestamp");
    let items = number(restore, "/status/progress/itemsRestored").unwrap_or(0);
    let errors = number(restore, "/status/errors").unwrap_or(0);
    let mut detail = vec![format!("{word}: {items} items, {errors} errors")];
    if let Some(map) = restore.data.pointer("/spec/namespaceMapping").and_then(Value::as_object) {
        detail.extend(map.iter().map(|(from, to)| format!("{from} into {}", to.as_str().unwrap_or("?"))));
    }
    detail.extend(text(restore, "/status/failureReason").map(String::from));
    Some(Evidence {
        what: EvidenceKind::Restore,
        at: end.unwrap_or(start),
        ok: done && errors == 0 && items > 0,
        took_seconds: end.map(|end| end.duration_since(start).as_secs_f64()),
        detail: Untrusted::new(detail.join("; ")),
        reference: Some(named(restore).into()),
        covers: restored_of(restore),
    })
}

/// The namespaces a restore was asked for; nothing: all that are in the backup.
fn restored_of(restore: &DynamicObject) -> Vec<Untrusted> {
    let named = texts(restore, "/spec/includedNamespaces");
    let all = named.is_empty() || named.iter().any(|n| n.contains('*'));
    if all { Vec::new() } else { named.into_iter().map(Untrusted::new).collect() }
}

fn schedule(object: &DynamicObject) -> Schedule {
    let written = text(object, "/spec/schedule").unwrap_or("");
    // robfig/cron takes the zone in front of the expression.
    let zoned =
        written.strip_prefix("CRON_TZ=").or_else(|| written.strip_prefix("TZ=")).and_then(|r| r.split_once(' '));
    let (zone, expression) = match zoned {
        Some((zone, rest)) => (Some(zone.to_owned()), rest.trim()),
        None => (None, written),
    };
    let mut said: Vec<String> = text(object, "/status/phase").map(String::from).into_iter().collect();
    said.extend(texts(object, "/status/validationErrors"));
    Schedule {
        name: Untrusted::new(named(object)),
        expression: Untrusted::new(expression),
        zone,
        // One that was refused takes nothing either.
        paused: object.data.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false)
            || text(object, "/status/phase") == Some("FailedValidation"),
        last_run: time(object, "/status/lastBackup"),
        failing: text(object, "/status/phase") == Some("FailedValidation"),
        keeps_seconds: match text(object, "/spec/template/ttl") {
            None => Some(KEPT),
            Some(ttl) => go_seconds(ttl).map(|s| if s > 0.0 { s as u64 } else { KEPT }),
        },
        said: Untrusted::new(said.join("; ")),
    }
}

fn named(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or("")
}

fn label<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    object.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn created(object: &DynamicObject) -> Option<Timestamp> {
    object.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

fn text<'a>(object: &'a DynamicObject, at: &str) -> Option<&'a str> {
    object.data.pointer(at)?.as_str().filter(|s| !s.is_empty())
}

fn texts(object: &DynamicObject, at: &str) -> Vec<String> {
    let list = object.data.pointer(at).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

fn number(object: &DynamicObject, at: &str) -> Option<u64> {
    object.data.pointer(at)?.as_u64()
}

fn time(object: &DynamicObject, at: &str) -> Option<Timestamp> {
    text(object, at)?.parse().ok()
}

/// Seconds of a Go duration such as `720h0m0s` or `1m30s`; `None` when it is none.
fn go_seconds(written: &str) -> Option<f64> {
    if written == "0" {
        return Some(0.0);
    }
    let mut total = 0.0;
    let mut rest = written;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|n| *n > 0)?;
        let count: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += count
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!written.is_empty()).then_some(total)
}
