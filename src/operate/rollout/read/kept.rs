//! What is kept of the objects of a cluster: the fields that are used, under the names the API gives them, and nothing
//! else (an object's managed fields are often larger than all of these).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// A kind of object that is listed and watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Deployment,
    ReplicaSet,
    Pod,
    Service,
    Node,
    /// Of Argo Rollouts.
    Rollout,
    /// Of Argo Rollouts.
    AnalysisRun,
    /// Of Flagger.
    Canary,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Node,
        Self::Service,
        Self::Deployment,
        Self::ReplicaSet,
        Self::Rollout,
        Self::AnalysisRun,
        Self::Canary,
        Self::Pod,
    ];

    /// Folder of the API, and the plural.
    const fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment => ("/apis/apps/v1", "deployments"),
            Self::ReplicaSet => ("/apis/apps/v1", "replicasets"),
            Self::Pod => ("/api/v1", "pods"),
            Self::Service => ("/api/v1", "services"),
            Self::Node => ("/api/v1", "nodes"),
            Self::Rollout => ("/apis/argoproj.io/v1alpha1", "rollouts"),
            Self::AnalysisRun => ("/apis/argoproj.io/v1alpha1", "analysisruns"),
            Self::Canary => ("/apis/flagger.app/v1beta1", "canaries"),
        }
    }

    pub const fn plural(self) -> &'static str {
        self.place().1
    }

    pub fn namespaced(self) -> bool {
        self != Self::Node
    }

    /// Path of the collection.
    pub fn path(self, namespace: Option<&str>) -> String {
        let (folder, plural) = self.place();
        match namespace {
            Some(namespace) if self.namespaced() => format!("{folder}/namespaces/{namespace}/{plural}"),
            _ => format!("{folder}/{plural}"),
        }
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    Deployment(Deployment),
    ReplicaSet(ReplicaSet),
    Pod(Pod),
    Service(Service),
    Node(Node),
    Rollout(Box<ArgoRollout>),
    AnalysisRun(AnalysisRun),
    Canary(Canary),
}

impl Kept {
    /// # Errors
    /// In words: which field is of which wrong shape.
    pub fn parse(kind: Kind, json: &str) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::Deployment => Self::Deployment(serde_json::from_str(json)?),
            Kind::ReplicaSet => Self::ReplicaSet(serde_json::from_str(json)?),
            Kind::Pod => Self::Pod(serde_json::from_str(json)?),
            Kind::Service => Self::Service(serde_json::from_str(json)?),
            Kind::Node => Self::Node(serde_json::from_str(json)?),
            Kind::Rollout => Self::Rollout(serde_json::from_str(json)?),
            Kind::AnalysisRun => Self::AnalysisRun(serde_json::from_str(json)?),
            Kind::Canary => Self::Canary(serde_json::from_str(json)?),
        })
    }

    pub fn meta(&self) -> &Meta {
        match self {
            Self::Deployment(o) => &o.metadata,
            Self::ReplicaSet(o) => &o.metadata,
            Self::Pod(o) => &o.metadata,
            Self::Service(o) => &o.metadata,
            Self::Node(o) => &o.metadata,
            Self::Rollout(o) => &o.metadata,
            Self::AnalysisRun(o) => &o.metadata,
            Self::Canary(o) => &o.metadata,
        }
    }
}

/// `null` is as good as nothing, as everywhere in the API.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Of the annotations those that say which revision this is, and until when it stays.
fn few_annotations<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    const USED: [&str; 3] = [REVISION, ARGO_REVISION, SCALE_DOWN];
    let mut all: BTreeMap<String, String> = or_default(d)?;
    all.retain(|key, _| USED.contains(&key.as_str()));
    Ok(all)
}

pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const ARGO_REVISION: &str = "rollout.argoproj.io/revision";
/// When Argo Rollouts takes an old ReplicaSet's pods away.
pub const SCALE_DOWN: &str = "scale-down-deadline";
pub const ARGO_HASH: &str = "rollouts-pod-template-hash";
pub const HASH: &str = "pod-template-hash";
pub const ZONE: &str = "topology.kubernetes.io/zone";

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    pub creation_timestamp: Option<Timestamp>,
    pub deletion_timestamp: Option<Timestamp>,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "few_annotations")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<Owner>,
}

impl Meta {
    /// The object that made this one.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner_references.iter().find(|o| o.controller).or(self.owner_references.first())
    }

    pub fn revision(&self) -> Option<u64> {
        [ARGO_REVISION, REVISION].iter().find_map(|k| self.annotations.get(*k)?.parse().ok())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owner {
    pub uid: String,
    #[serde(deserialize_with = "or_default")]
    pub controller: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    #[serde(deserialize_with = "or_default")]
    pub message: String,
    pub last_transition_time: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Template {
    pub metadata: TemplateMeta,
    pub spec: TemplateSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TemplateMeta {
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TemplateSpec {
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Container {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub image: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Deployment {
    pub metadata: Meta,
    pub spec: DeploymentSpec,
    pub status: WorkloadStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DeploymentSpec {
    /// Left out means 1.
    pub replicas: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub paused: bool,
    pub template: Template,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    pub observed_generation: i64,
    pub replicas: u32,
    pub updated_replicas: u32,
    pub ready_replicas: u32,
    pub available_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ReplicaSet {
    pub metadata: Meta,
    pub spec: ReplicaSetSpec,
    pub status: WorkloadStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ReplicaSetSpec {
    pub replicas: Option<u32>,
    pub template: Template,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: Meta,
    pub spec: PodSpec,
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    pub node_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    #[serde(deserialize_with = "or_default")]
    pub phase: String,
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    pub start_time: Option<Timestamp>,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<PodCondition>,
    #[serde(deserialize_with = "or_default")]
    pub container_statuses: Vec<ContainerStatus>,
}

/// Of a pod's conditions only that one is used which says whether it is ready.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PodCondition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub name: String,
    pub restart_count: u32,
    #[serde(rename = "imageID", deserialize_with = "or_default")]
    pub image_id: String,
    #[serde(deserialize_with = "or_default")]
    pub state: ContainerState,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    pub waiting: Option<Waiting>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Waiting {
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Service {
    pub metadata: Meta,
    pub spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    #[serde(deserialize_with = "or_default")]
    pub selector: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Node {
    pub metadata: Meta,
}

/// Rollout of Argo Rollouts, as its CRD of 1.2 to 1.9 has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ArgoRollout {
    pub metadata: Meta,
    pub spec: ArgoSpec,
    pub status: ArgoStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ArgoSpec {
    pub replicas: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub paused: bool,
    pub strategy: ArgoStrategy,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArgoStrategy {
    pub canary: Option<ArgoCanary>,
    pub blue_green: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ArgoCanary {
    /// Each is an object with one key.
    #[serde(deserialize_with = "or_default")]
    pub steps: Vec<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArgoStatus {
    #[serde(deserialize_with = "or_default")]
    pub phase: String,
    #[serde(deserialize_with = "or_default")]
    pub message: String,
    #[serde(deserialize_with = "or_default")]
    pub abort: bool,
    /// A number as text since 1.0; before that a hash.
    #[serde(deserialize_with = "or_default")]
    pub observed_generation: String,
    pub current_step_index: Option<usize>,
    #[serde(deserialize_with = "or_default")]
    pub current_pod_hash: String,
    #[serde(rename = "stableRS", deserialize_with = "or_default")]
    pub stable_rs: String,
    #[serde(deserialize_with = "or_default")]
    pub pause_conditions: Vec<PauseCondition>,
    pub replicas: u32,
    pub updated_replicas: u32,
    pub ready_replicas: u32,
    pub available_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub canary: ArgoCanaryStatus,
    #[serde(deserialize_with = "or_default")]
    pub blue_green: ArgoBlueGreenStatus,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PauseCondition {
    pub reason: String,
    pub start_time: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ArgoCanaryStatus {
    pub weights: Option<ArgoWeights>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ArgoWeights {
    pub canary: ArgoWeight,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ArgoWeight {
    pub weight: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArgoBlueGreenStatus {
    #[serde(deserialize_with = "or_default")]
    pub active_selector: String,
    #[serde(deserialize_with = "or_default")]
    pub preview_selector: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AnalysisRun {
    pub metadata: Meta,
    pub status: AnalysisStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisStatus {
    #[serde(deserialize_with = "or_default")]
    pub phase: String,
    #[serde(deserialize_with = "or_default")]
    pub message: String,
    #[serde(deserialize_with = "or_default")]
    pub metric_results: Vec<MetricResult>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct MetricResult {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub phase: String,
    pub successful: u32,
    pub failed: u32,
    pub inconclusive: u32,
    pub error: u32,
    /// Oldest first.
    #[serde(deserialize_with = "or_default")]
    pub measurements: Vec<Measurement>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Measurement {
    pub value: Option<String>,
    pub finished_at: Option<Timestamp>,
}

/// Canary of Flagger.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Canary {
    pub metadata: Meta,
    pub spec: CanarySpec,
    pub status: CanaryStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CanarySpec {
    pub target_ref: TargetRef,
    #[serde(deserialize_with = "or_default")]
    pub suspend: bool,
    #[serde(deserialize_with = "or_default")]
    pub analysis: CanaryAnalysis,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    pub kind: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryAnalysis {
    pub step_weight: Option<u32>,
    pub max_weight: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub step_weights: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStatus {
    #[serde(deserialize_with = "or_default")]
    pub phase: String,
    pub canary_weight: u32,
    pub failed_checks: u32,
    pub last_transition_time: Option<Timestamp>,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}
