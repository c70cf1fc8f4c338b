//! Objects of a cluster become rollouts: a pure function of what was read.

mod argo;
mod common;
mod deployment;
mod flagger;
pub mod kept;

use std::collections::BTreeMap;
use std::collections::HashMap;

use jiff::Timestamp;

use crate::model::health::SourceWord;
use crate::model::rollout::Rollout;
use crate::model::rollout::RolloutKind;
use crate::model::rollout::RolloutPhase;

pub use kept::Kept;
pub use kept::Kind;

/// Namespace and name.
pub type Key = (String, String);

/// What is known of one cluster. Objects stay when the connection goes: `fresh` says how old they may be.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub cluster: String,
    pub objects: BTreeMap<Kind, BTreeMap<Key, Kept>>,
    /// How the reading of each kind goes, and when it was last known to be up to date.
    pub fresh: BTreeMap<Kind, (SourceWord, Option<Timestamp>)>,
}

/// Two Deployments that are one rollout, as somebody declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// [`RolloutKind::BlueGreen`] or [`RolloutKind::ReplicaCanary`].
    pub kind: RolloutKind,
    pub name: String,
    pub namespace: String,
    /// The Service whose selector points at one of them. A canary by replicas needs none.
    pub service: Option<String>,
    /// Blue, or stable.
    pub first: String,
    /// Green, or canary.
    pub second: String,
}

/// The declared pairs of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(pub Vec<Pair>);

impl Snapshot {
    pub fn put(&mut self, kind: Kind, object: Kept) {
        let meta = object.meta();
        let key = (meta.namespace.clone(), meta.name.clone());
        self.objects.entry(kind).or_default().insert(key, object);
    }

    pub fn remove(&mut self, kind: Kind, key: &Key) {
        if let Some(objects) = self.objects.get_mut(&kind) {
            objects.remove(key);
        }
    }

    /// All of a kind, or all of a kind in one namespace, as a new list has them.
    pub fn replace(&mut self, kind: Kind, namespace: Option<&str>, objects: Vec<Kept>) {
        let known = self.objects.entry(kind).or_default();
        match namespace {
            Some(namespace) => known.retain(|(n, _), _| n != namespace),
            None => known.clear(),
        }
        for object in objects {
            self.put(kind, object);
        }
    }

    fn all(&self, kind: Kind) -> impl Iterator<Item = &Kept> {
        self.objects.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Kept> {
        self.objects.get(&kind)?.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// When this kind was last known to be as it is here.
    fn seen(&self, kind: Kind, now: Timestamp) -> Timestamp {
        match self.fresh.get(&kind) {
            Some((SourceWord::Live, _)) => now,
            Some((_, Some(at))) => *at,
            _ => Timestamp::UNIX_EPOCH,
        }
    }
}

/// Who made whom, found once for all rollouts.
struct Index<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    replica_sets: HashMap<&'a str, Vec<&'a kept::ReplicaSet>>,
    pods: HashMap<&'a str, Vec<&'a kept::Pod>>,
    analyses: HashMap<&'a str, Vec<&'a kept::AnalysisRun>>,
    zones: HashMap<&'a str, &'a str>,
}

impl<'a> Index<'a> {
    fn new(snapshot: &'a Snapshot, now: Timestamp) -> Self {
        let mut index = Self {
            snapshot,
            now,
            replica_sets: HashMap::new(),
            pods: HashMap::new(),
            analyses: HashMap::new(),
            zones: HashMap::new(),
        };
        for kind in [Kind::ReplicaSet, Kind::Pod, Kind::AnalysisRun, Kind::Node] {
            snapshot.all(kind).for_each(|object| index.add(object));
        }
        index
    }

    fn add(&mut self, object: &'a Kept) {
        let owner = object.meta().owner().map(|o| o.uid.as_str());
        match (object, owner) {
            (Kept::ReplicaSet(o), Some(owner)) => self.replica_sets.entry(owner).or_default().push(o),
            (Kept::Pod(o), Some(owner)) => self.pods.entry(owner).or_default().push(o),
            (Kept::AnalysisRun(o), Some(owner)) => self.analyses.entry(owner).or_default().push(o),
            (Kept::Node(o), _) => {
                if let Some(zone) = o.metadata.labels.get(kept::ZONE) {
                    self.zones.insert(&o.metadata.name, zone);
                }
            }
            _ => {}
        }
    }
}

/// All rollouts of a cluster, those first that want a look: failed, paused, moving, unknown, quiet; then by name.
pub fn rollouts(snapshot: &Snapshot, pairs: &Pairs, now: Timestamp) -> Vec<Rollout> {
    let index = Index::new(snapshot, now);
    let mut found: Vec<Rollout> = Vec::new();
    for object in snapshot.all(Kind::Rollout) {
        if let Kept::Rollout(rollout) = object {
            found.push(argo::rollout(&index, rollout));
        }
    }
    for object in snapshot.all(Kind::Canary) {
        if let Kept::Canary(canary) = object {
            found.push(flagger::rollout(&index, canary));
        }
    }
    found.extend(pairs.0.iter().map(|pair| deployment::pair(&index, pair)));
    let paired = |namespace: &str, name: &str| {
        pairs.0.iter().any(|p| p.namespace == namespace && (p.first == name || p.second == name))
            || flagger::leads(&index, namespace, name)
    };
    for object in snapshot.all(Kind::Deployment) {
        if let Kept::Deployment(deployment) = object
            && !paired(&deployment.metadata.namespace, &deployment.metadata.name)
        {
            found.push(deployment::rolling(&index, deployment));
        }
    }
    found.sort_by(|a, b| rank(a.phase).cmp(&rank(b.phase)).then_with(|| a.id.cmp(&b.id)));
    found
}

fn rank(phase: RolloutPhase) -> u8 {
    match phase {
        RolloutPhase::Degraded => 0,
        RolloutPhase::Paused => 1,
        RolloutPhase::Progressing => 2,
        RolloutPhase::Unknown => 3,
        RolloutPhase::Healthy => 4,
    }
}
