//! The exact objects and requests of an act on a backup of Velero. Pure.
//!
//! Fields are those of `velero.io/v1` as Velero 1.18 has them. A command's argument vector holds one request an entry,
//! in the order they are sent, and last what was seen of the backup: `POST PATH OBJECT`, `COUNT PATH >= N`,
//! `PROBE URL`, `DELETE PATH`, `SEEN JSON`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::action::{RequestBody, VeleroVerb};
use crate::model::recovery::{Count, counts};
use crate::text::{Untrusted, clean};

/// Marks what a drill made; its value is the request.
pub const DRILL_LABEL: &str = "watchfloor.io/drill";

/// What was seen of the backup when it was proposed; part of what is approved. It must be so still when it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub uid: String,
    pub phase: String,
    pub started: Option<String>,
    pub location: Option<String>,
}

impl Seen {
    pub fn of(backup: &Value) -> Self {
        let text = |at: &str| backup.pointer(at).and_then(Value::as_str).map(str::to_owned);
        Self {
            uid: text("/metadata/uid").unwrap_or_default(),
            phase: text("/status/phase").unwrap_or_default(),
            started: text("/status/startTimestamp"),
            location: text("/spec/storageLocation"),
        }
    }

    /// Whether it is the same backup. Its object may be made anew when it is read back from the store, so that its uid
    /// counts only for deleting.
    pub fn still(&self, now: &Self, verb: VeleroVerb) -> Result<(), String> {
        let differs =
            |what: &str, a: &str, b: &str| Err(format!("its {what} was {a:?} when it was proposed and is {b:?} now"));
        if self.started != now.started {
            let word = |t: &Option<String>| t.clone().unwrap_or_default();
            return differs("start", &word(&self.started), &word(&now.started));
        }
        if self.phase != now.phase {
            return differs("phase", &self.phase, &now.phase);
        }
        if verb == VeleroVerb::Delete && self.uid != now.uid {
            return differs("uid", &self.uid, &now.uid);
        }
        Ok(())
    }
}

/// A target taken apart: the cluster, Velero's namespace, the backup.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub cluster: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl<'a> Place<'a> {
    pub fn of(target: &'a str) -> Result<Self, String> {
        let mut parts = target.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(cluster), Some(namespace), Some(name)) => Ok(Self { cluster, namespace, name }),
            _ => Err(format!("{target:?} is not CLUSTER/NAMESPACE/NAME")),
        }
    }
}

/// What exactly is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    Take { namespaces: Vec<String>, ttl_hours: i64, location: String },
    Restore { from: String, into: String },
    Delete,
    Drill(Drill),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Drill {
    pub from: String,
    pub into: String,
    pub counts: Vec<Count>,
    pub probe: Option<String>,
    pub limit_minutes: u64,
}

/// A name as Kubernetes has it (RFC 1123 label).
fn label(what: &str, text: &str) -> Result<String, String> {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    let ok = (1..=63).contains(&bytes.len())
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    match ok {
        true => Ok(text.to_owned()),
        false => Err(format!("{what}: expected a namespace, found {:?}", clean(&Untrusted::new(text)).as_str())),
    }
}

fn param<'a>(params: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str, String> {
    params.get(name).map(String::as_str).ok_or_else(|| format!("the parameter {name:?} is missing"))
}

fn number(params: &BTreeMap<String, String>, name: &str) -> Result<i64, String> {
    param(params, name)?.parse().map_err(|_| format!("parameter {name:?}: expected a whole number"))
}

/// Where things may be restored to: not where the cluster or Velero itself lives.
fn into(at: &Place<'_>, params: &BTreeMap<String, String>) -> Result<String, String> {
    let into = label("into", param(params, "into")?)?;
    if into.starts_with("kube-") || into == at.namespace {
        return Err(format!("into: nothing is restored into {into}"));
    }
    Ok(into)
}

pub fn ask(body: &RequestBody, verb: VeleroVerb, at: &Place<'_>) -> Result<Ask, String> {
    let p = &body.params;
    Ok(match verb {
        VeleroVerb::Take => {
            let namespaces: Vec<String> = param(p, "namespaces")?
                .split(',')
                .map(str::trim)
                .filter(|n| !n.is_empty())
                .map(|n| label("namespaces", n))
                .collect::<Result<_, _>>()?;
            if namespaces.is_empty() {
                return Err("namespaces: expected at least one".into());
            }
            Ask::Take { namespaces, ttl_hours: number(p, "ttl_hours")?, location: param(p, "location")?.to_owned() }
        }
        VeleroVerb::Restore => Ask::Restore { from: label("from", param(p, "from")?)?, into: into(at, p)? },
        VeleroVerb::Delete => Ask::Delete,
        VeleroVerb::Drill => {
            let (from, into) = (label("from", param(p, "from")?)?, into(at, p)?);
            if from == into {
                return Err("into: a drill restores beside what is there, never over it".into());
            }
            let probe = Some(param(p, "probe")?).filter(|u| !u.is_empty());
            if let Some(url) = probe {
                crate::respond::value::check(&crate::model::action::ParamType::Url, url)
                    .map_err(|why| format!("probe: {why}"))?;
            }
            Ask::Drill(Drill {
                from,
                into,
                counts: counts(param(p, "objects")?)?,
                probe: probe.map(str::to_owned),
                limit_minutes: u64::try_from(number(p, "limit_minutes")?).unwrap_or(1).max(1),
            })
        }
    })
}

/// What Velero's own object for this request is called.
pub fn object_name(body: &RequestBody) -> String {
    format!("wf-{}", body.id.as_str().to_lowercase())
}

fn meta(body: &RequestBody, at: &Place<'_>, name: &str) -> Value {
    json!({ "name": name, "namespace": at.namespace, "labels": { "watchfloor.io/request": body.id.as_str().to_lowercase() } })
}

/// The object whose creation is the act.
pub fn object(body: &RequestBody, at: &Place<'_>, ask: &Ask, seen: Option<&Seen>) -> Value {
    let kind = |kind: &str, metadata: Value, spec: Value| json!({ "apiVersion": "velero.io/v1", "kind": kind, "metadata": metadata, "spec": spec });
    match ask {
        Ask::Take { namespaces, ttl_hours, location } => kind(
            "Backup",
            meta(body, at, at.name),
            json!({ "includedNamespaces": namespaces, "storageLocation": location, "ttl": format!("{ttl_hours}h0m0s") }),
        ),
        Ask::Restore { from, into } | Ask::Drill(Drill { from, into, .. }) => {
            // What is there already is never overwritten.
            let mut spec = json!({
                "backupName": at.name, "includedNamespaces": [from], "existingResourcePolicy": "none",
            });
            if from != into {
                spec["namespaceMapping"] = json!({ from: into });
            }
            kind("Restore", meta(body, at, &object_name(body)), spec)
        }
        Ask::Delete => {
            let mut metadata = meta(body, at, &object_name(body));
            // As Velero's own `NewDeleteBackupRequest`: the uid ties it to this very backup.
            metadata["labels"]["velero.io/backup-name"] = json!(label_value(at.name));
            metadata["labels"]["velero.io/backup-uid"] = json!(seen.map_or("", |s| s.uid.as_str()));
            kind("DeleteBackupRequest", metadata, json!({ "backupName": at.name }))
        }
    }
}

/// A name as a label's value. Longer ones Velero cuts with a hash; it sets those labels itself when they are not there.
fn label_value(name: &str) -> &str {
    if name.len() <= 63 { name } else { "" }
}

/// The namespace of a drill, made for it and marked so.
pub fn namespace(body: &RequestBody, into: &str) -> Value {
    let mark = body.id.as_str().to_lowercase();
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": into, "labels": { DRILL_LABEL: mark } } })
}

/// Velero's plural of an object's kind.
fn plural(ask: &Ask) -> &'static str {
    match ask {
        Ask::Take { .. } => "backups",
        Ask::Restore { .. } | Ask::Drill(_) => "restores",
        Ask::Delete => "deletebackuprequests",
    }
}

/// Everything that will be sent, one request an entry.
pub fn lines(body: &RequestBody, at: &Place<'_>, ask: &Ask, seen: Option<&Seen>) -> Result<Vec<String>, String> {
    let path = format!("/apis/velero.io/v1/namespaces/{}/{}", at.namespace, plural(ask));
    let create = format!("POST {path} {}", object(body, at, ask, seen));
    let mut out = Vec::new();
    match ask {
        Ask::Drill(d) => {
            out.push(format!("POST /api/v1/namespaces {}", namespace(body, &d.into)));
            out.push(create);
            for c in &d.counts {
                let base = if c.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", c.group) };
                out.push(format!("COUNT {base}/{}/namespaces/{}/{} >= {}", c.version, d.into, c.plural, c.least));
            }
            out.extend(d.probe.iter().map(|url| format!("PROBE {url}")));
            out.push(format!("DELETE /api/v1/namespaces/{}", d.into));
            let selector = format!("velero.io/restore-name={}", object_name(body));
            out.push(format!("DELETE /api/v1/persistentvolumes?labelSelector={selector}"));
        }
        _ => out.push(create),
    }
    if let Some(seen) = seen {
        out.push(format!("SEEN {}", serde_json::to_string(seen).map_err(|e| e.to_string())?));
    }
    Ok(out)
}

/// What was seen, from a command.
pub fn seen_in(argv: &[String]) -> Result<Option<Seen>, String> {
    let Some(text) = argv.last().and_then(|l| l.strip_prefix("SEEN ")) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|e| e.to_string())
}

/// Words of a status, cleaned.
pub fn said(status: &Value) -> String {
    let mut out: Vec<String> = status["failureReason"].as_str().map(str::to_owned).into_iter().collect();
    for list in ["validationErrors", "errors"] {
        out.extend(status[list].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    let mut text = out.join("; ");
    if text.len() > 2000 {
        text = crate::text::front(&text, 2000).to_owned();
    }
    clean(&Untrusted::new(text)).as_str().to_owned()
}

fn number_at(status: &Value, at: &str) -> u64 {
    status.pointer(at).and_then(Value::as_u64).unwrap_or(0)
}

/// Whether a backup or restore has come to an end.
pub fn is_final(status: &Value) -> bool {
    matches!(status["phase"].as_str(), Some("Completed" | "PartiallyFailed" | "Failed" | "FailedValidation"))
}

/// How far it is, in words.
pub fn progress(status: &Value) -> String {
    let phase = Untrusted::new(status["phase"].as_str().unwrap_or("waits for Velero"));
    let done = number_at(status, "/progress/itemsBackedUp").max(number_at(status, "/progress/itemsRestored"));
    match status.pointer("/progress/totalItems").and_then(Value::as_u64) {
        Some(all) => format!("{}: {done} of {all} items", clean(&phase).as_str()),
        None => clean(&phase).as_str().to_owned(),
    }
}

/// What became of a backup that ended: whole, or why not.
pub fn backed_up(status: &Value) -> Result<String, String> {
    let (all, done) = (number_at(status, "/progress/totalItems"), number_at(status, "/progress/itemsBackedUp"));
    verdict(status, all, done, "backed up")
}

/// The same of a restore. One that brought nothing back restored nothing.
pub fn restored(status: &Value) -> Result<String, String> {
    let (all, done) = (number_at(status, "/progress/totalItems"), number_at(status, "/progress/itemsRestored"));
    verdict(status, all, done, "restored")
}

fn verdict(status: &Value, all: u64, done: u64, what: &str) -> Result<String, String> {
    let phase = Untrusted::new(status["phase"].as_str().unwrap_or("of unknown phase"));
    let phase = clean(&phase);
    let (errors, warnings) = (number_at(status, "/errors"), number_at(status, "/warnings"));
    let counted = format!("{done} of {all} items {what}, {errors} errors, {warnings} warnings");
    if phase.as_str() == "Completed" && errors == 0 && all > 0 && done == all {
        return Ok(counted);
    }
    let said = said(status);
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let empty = if all == 0 { ", nothing was in it" } else { "" };
    Err(format!("{}: {counted}{empty}{said}", phase.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::testing::body as any;

    fn body(params: &[(&str, &str)]) -> RequestBody {
        let mut b = any(&["prod/velero/nightly"]);
        b.params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        b
    }

    fn drill(more: &[(&str, &str)]) -> RequestBody {
        let mut b = body(&[
            ("from", "shop"),
            ("into", "drill-shop"),
            ("objects", "configmaps>=2,deployments=1"),
            ("probe", "http://web.drill-shop/health"),
            ("limit_minutes", "30"),
        ]);
        b.params.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        b
    }

    #[test]
    fn a_drill_says_all_it_will_send() {
        let b = drill(&[]);
        let at = Place::of(&b.targets[0]).unwrap();
        let a = ask(&b, VeleroVerb::Drill, &at).unwrap();
        let seen = Seen { uid: "u".into(), phase: "Completed".into(), started: None, location: None };
        let lines = lines(&b, &at, &a, Some(&seen)).unwrap();
        let starts = [
            "POST /api/v1/namespaces {",
            "POST /apis/velero.io/v1/namespaces/velero/restores {",
            "COUNT /api/v1/namespaces/drill-shop/configmaps >= 2",
            "COUNT /apis/apps/v1/namespaces/drill-shop/deployments >= 1",
            "PROBE http://web.drill-shop/health",
            "DELETE /api/v1/namespaces/drill-shop",
            "DELETE /api/v1/persistentvolumes?labelSelector=velero.io/restore-name=wf-01jtest",
            "SEEN {",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:#?}");
        assert!(lines.iter().zip(starts).all(|(l, s)| l.starts_with(s)), "{lines:#?}");
        assert!(lines[1].contains(r#""namespaceMapping":{"shop":"drill-shop"}"#), "{}", lines[1]);
        assert_eq!(seen_in(&lines).unwrap(), Some(seen));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refuses = |b: RequestBody, verb, what: &str| {
            let at = Place::of(&b.targets[0]).unwrap();
            let why = ask(&b, verb, &at).unwrap_err();
            assert!(why.contains(what), "{why}");
        };
        for (key, value, what) in [
            ("into", "shop", "never over it"),
            ("into", "kube-system", "nothing is restored into"),
            ("into", "velero", "nothing is restored into"),
            ("into", "Drill", "expected a namespace"),
            ("from", "a/b", "expected a namespace"),
            ("objects", "configmaps", "expected counts"),
            ("objects", "configmaps>=0", "expected counts"),
            ("objects", "configmap>=1", "cannot be counted"),
            ("probe", "file:///etc/passwd", "probe: expected"),
        ] {
            refuses(drill(&[(key, value)]), VeleroVerb::Drill, what);
        }
        let take = |n| body(&[("namespaces", n), ("ttl_hours", "720"), ("location", "default")]);
        refuses(take(" , "), VeleroVerb::Take, "at least one");
        refuses(take("a,*"), VeleroVerb::Take, "expected a namespace");
        refuses(body(&[("from", "shop")]), VeleroVerb::Restore, "\"into\" is missing");
    }

    #[test]
    fn only_a_whole_one_counts() {
        let of = |phase: &str, all: u64, done: u64, errors: u64| json!({ "phase": phase, "errors": errors, "progress": { "totalItems": all, "itemsBackedUp": done, "itemsRestored": done } });
        assert!(backed_up(&of("Completed", 28, 28, 0)).is_ok());
        for bad in [
            of("Completed", 28, 27, 0),
            of("Completed", 28, 28, 1),
            of("Completed", 0, 0, 0),
            of("PartiallyFailed", 28, 28, 0),
            of("FinalizingPartiallyFailed", 28, 28, 0),
            of("Splendid", 28, 28, 0),
            json!({}),
        ] {
            assert!(backed_up(&bad).is_err() && restored(&bad).is_err(), "{bad}");
        }
        let failed = json!({ "phase": "FailedValidation", "validationErrors": ["location \u{1b}[2J is gone"] });
        let why = backed_up(&failed).unwrap_err();
        assert!(why.contains("is gone") && !why.contains('\u{1b}'), "{why}");
        assert!(!is_final(&json!({ "phase": "InProgress" })) && !is_final(&json!({})));
    }

    #[test]
    fn another_backup_of_that_name_is_another_backup() {
        let seen = |uid: &str, start: &str, phase: &str| {
            Seen::of(&json!({ "metadata": { "uid": uid }, "status": { "phase": phase, "startTimestamp": start } }))
        };
        let then = seen("1", "2026-11-21T02:00:00Z", "Completed");
        assert!(then.still(&then.clone(), VeleroVerb::Delete).is_ok());
        let again = seen("2", "2026-11-21T02:00:00Z", "Completed");
        assert!(then.still(&again, VeleroVerb::Restore).is_ok(), "read back from the store");
        assert!(then.still(&again, VeleroVerb::Delete).is_err());
        assert!(then.still(&seen("1", "2026-11-21T03:00:00Z", "Completed"), VeleroVerb::Restore).is_err());
        assert!(then.still(&seen("1", "2026-11-21T02:00:00Z", "Deleting"), VeleroVerb::Restore).is_err());
    }
}
