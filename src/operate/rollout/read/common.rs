//! What all kinds of rollouts share: revisions with their pods, images, zones, conditions.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Index;
use super::kept;
use crate::model::rollout::Analysis;
use crate::model::rollout::AnalysisMetric;
use crate::model::rollout::Condition;
use crate::model::rollout::Image;
use crate::model::rollout::Pod;
use crate::model::rollout::Revision;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutId;
use crate::model::rollout::RolloutKind;
use crate::model::rollout::RolloutPhase;
use crate::model::rollout::Zone;
use crate::text::Untrusted;
use crate::text::clean;

/// Revisions without pods that are shown besides those that have some.
const HISTORY: usize = 10;

fn safe(text: &str) -> String {
    clean(&Untrusted::from(text)).to_string()
}

/// A rollout of which only the object is known.
pub fn blank(index: &Index<'_>, meta: &kept::Meta, kind: RolloutKind, object: &str, seen: Timestamp) -> Rollout {
    Rollout {
        id: RolloutId {
            cluster: index.snapshot.cluster.clone(),
            namespace: safe(&meta.namespace),
            name: safe(&meta.name),
        },
        kind,
        phase: RolloutPhase::Unknown,
        message: Untrusted::default(),
        object: object.to_owned(),
        uid: safe(&meta.uid),
        resource_version: safe(&meta.resource_version),
        generation: meta.generation,
        replicas: 0,
        updated: 0,
        ready: 0,
        available: 0,
        set_weight: None,
        actual_weight: None,
        steps: Vec::new(),
        step: None,
        paused_since: None,
        aborted: false,
        revisions: Vec::new(),
        active: None,
        conditions: Vec::new(),
        stuck: None,
        zones: Vec::new(),
        zone_minimum: None,
        fast_rollback_until: None,
        gates: Vec::new(),
        advice: None,
        seen,
        labels: meta.labels.iter().map(|(k, v)| (safe(k), safe(v))).collect(),
    }
}

pub fn conditions(all: &[kept::Condition]) -> Vec<Condition> {
    let one = |c: &kept::Condition| Condition {
        kind: c.kind.as_str().into(),
        status: c.status.as_str().into(),
        reason: c.reason.as_str().into(),
        message: c.message.as_str().into(),
        since: c.last_transition_time,
    };
    all.iter().map(one).collect()
}

/// `Reason: message` of a condition.
pub fn said(c: &kept::Condition) -> Untrusted {
    match (c.reason.is_empty(), c.message.is_empty()) {
        (false, false) if c.reason != c.message => format!("{}: {}", c.reason, c.message).into(),
        (false, _) => c.reason.as_str().into(),
        (true, false) => c.message.as_str().into(),
        (true, true) => format!("{}={}", c.kind, c.status).into(),
    }
}

pub fn condition<'a>(all: &'a [kept::Condition], kind: &str, status: &str) -> Option<&'a kept::Condition> {
    all.iter().find(|c| c.kind == kind && c.status == status)
}

/// The ReplicaSets of an owner, newest first, with their pods. `hash` is the label that names a revision, `role` says
/// what a revision of that hash and ReplicaSet does.
pub fn revisions(index: &Index<'_>, owner: &str, hash: &str, role: impl Fn(&str) -> &'static str) -> Vec<Revision> {
    let mut sets = index.replica_sets.get(owner).cloned().unwrap_or_default();
    let age = |s: &kept::ReplicaSet| (s.metadata.revision(), s.metadata.creation_timestamp);
    sets.sort_by(|a, b| age(b).cmp(&age(a)).then_with(|| a.metadata.name.cmp(&b.metadata.name)));
    let mut empty = 0;
    let mut revisions = Vec::new();
    for set in sets {
        let of = set.metadata.labels.get(hash).map_or("", String::as_str);
        let role = role(of);
        let has_pods = set.spec.replicas.unwrap_or(1) > 0 || set.status.replicas > 0;
        empty += usize::from(!has_pods);
        if !has_pods && role.is_empty() && empty > HISTORY {
            continue;
        }
        let pods = index.pods.get(set.metadata.uid.as_str()).map_or(&[][..], Vec::as_slice);
        let analyses = index.analyses.get(owner).map_or(&[][..], Vec::as_slice);
        let analyses =
            analyses.iter().filter(|a| !of.is_empty() && a.metadata.labels.get(hash).is_some_and(|h| h == of));
        revisions.push(Revision {
            number: set.metadata.revision(),
            replica_set: set.metadata.name.as_str().into(),
            hash: of.into(),
            role: role.to_owned(),
            images: images(&set.spec.template.spec.containers, pods),
            desired: set.spec.replicas.unwrap_or(1),
            ready: set.status.ready_replicas,
            available: set.status.available_replicas,
            since: set.metadata.creation_timestamp,
            pods: pods.iter().map(|p| pod(index, p)).collect(),
            analyses: analyses.map(|a| analysis(a)).collect(),
        });
    }
    revisions
}

fn analysis(run: &kept::AnalysisRun) -> Analysis {
    let metric = |m: &kept::MetricResult| {
        let newest = m.measurements.last();
        AnalysisMetric {
            name: m.name.as_str().into(),
            phase: m.phase.as_str().into(),
            successful: m.successful,
            failed: m.failed,
            inconclusive: m.inconclusive,
            error: m.error,
            value: newest.and_then(|m| m.value.as_deref()).map(Untrusted::from),
            at: newest.and_then(|m| m.finished_at),
        }
    };
    Analysis {
        name: run.metadata.name.as_str().into(),
        phase: run.status.phase.as_str().into(),
        message: run.status.message.as_str().into(),
        metrics: run.status.metric_results.iter().map(metric).collect(),
    }
}

/// Ready as a Service sees it: a pod that is being deleted gets no more traffic.
fn is_ready(pod: &kept::Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True")
}

fn pod(index: &Index<'_>, pod: &kept::Pod) -> Pod {
    let waiting = pod.status.container_statuses.iter().find_map(|c| c.state.waiting.as_ref());
    // As kubectl words it: what keeps a container from running says more than the phase.
    let phase = match (pod.metadata.deletion_timestamp, waiting) {
        (Some(_), _) => "Terminating",
        (None, Some(w)) if !w.reason.is_empty() => &w.reason,
        _ if !pod.status.reason.is_empty() => &pod.status.reason,
        _ => &pod.status.phase,
    };
    let node = pod.spec.node_name.as_deref().filter(|n| !n.is_empty());
    Pod {
        name: pod.metadata.name.as_str().into(),
        phase: phase.into(),
        ready: is_ready(pod),
        restarts: pod.status.container_statuses.iter().map(|c| c.restart_count).fold(0, u32::saturating_add),
        zone: node.and_then(|n| index.zones.get(n)).map(|z| (*z).into()),
        node: node.map(Untrusted::from),
        since: pod.status.start_time.or(pod.metadata.creation_timestamp),
    }
}

/// The images of a template with the digests its pods run: one line for each digest, so that one tag that became two
/// different images is seen.
fn images(containers: &[kept::Container], pods: &[&kept::Pod]) -> Vec<Image> {
    let mut images = Vec::new();
    for container in containers {
        let (name, named) = match container.image.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (container.image.as_str(), None),
        };
        let running = pods.iter().flat_map(|p| &p.status.container_statuses).filter(|c| c.name == container.name);
        let mut digests: Vec<String> =
            running.filter_map(|c| Some(c.image_id.rsplit_once('@')?.1.to_owned())).collect();
        digests.sort_unstable();
        digests.dedup();
        // A colon before the last slash is the registry's port.
        let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
        let floating = named.is_none() && tag.is_none_or(|t| t == "latest");
        let image = |digest: Option<String>| Image {
            reference: container.image.as_str().into(),
            digest: digest.map(Untrusted::from),
            floating,
        };
        match named {
            Some(digest) => images.push(image(Some(digest))),
            None if digests.is_empty() => images.push(image(None)),
            None => images.extend(digests.into_iter().map(|d| image(Some(d)))),
        }
    }
    images
}

/// Pods that run somewhere, by zone. Pods whose node's zone is not known are in none.
pub fn zones(revisions: &[Revision]) -> Vec<Zone> {
    let mut zones: BTreeMap<&Untrusted, (u32, u32)> = BTreeMap::new();
    for pod in revisions.iter().flat_map(|r| &r.pods) {
        if let Some(zone) = &pod.zone
            && pod.phase.expose() != "Terminating"
        {
            let counts = zones.entry(zone).or_default();
            counts.0 += u32::from(pod.ready);
            counts.1 += 1;
        }
    }
    zones.into_iter().map(|(name, (ready, total))| Zone { name: name.clone(), ready, total }).collect()
}

/// Whole percent, rounded down; `None` of nothing.
pub fn percent(part: u32, whole: u32) -> Option<u32> {
    (part.saturating_mul(100)).checked_div(whole)
}
