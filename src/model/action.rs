//! Response actions: the catalogue, a request, its approvals and receipts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::course::Course;
use super::ids::{AlertId, CaseId, PersonId, RequestId};
use super::rollout::RolloutVerb;
use crate::text::Untrusted;

/// How much harm it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Reads only.
    T0,
    /// Reversible.
    T1,
    /// Disruptive.
    T2,
    /// Irreversible, or many targets.
    T3,
}

impl Tier {
    pub fn word(self) -> &'static str {
        match self {
            Self::T0 => "T0 read",
            Self::T1 => "T1 reversible",
            Self::T2 => "T2 disruptive",
            Self::T3 => "T3 irreversible",
        }
    }
}

/// What a parameter may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ParamType {
    /// A DNS or inventory name.
    Host,
    User,
    Ip,
    Domain,
    Url,
    Sha256,
    Integer {
        min: i64,
        max: i64,
    },
    Choice {
        of: Vec<String>,
    },
    /// `CLUSTER/NAMESPACE/NAME`.
    Object,
    /// An index or a snapshot of OpenSearch.
    Index,
    /// A backup as its maker calls it: a snapshot of OpenSearch, the full id of one of restic.
    Snapshot,
    /// Free text, at most this many characters.
    Text {
        max: usize,
    },
    /// Text of several lines, at most this many bytes.
    Document {
        max: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamDef {
    pub name: String,
    #[serde(rename = "is")]
    pub kind: ParamType,
    #[serde(default)]
    pub help: String,
    #[serde(default)]
    pub default: Option<String>,
}

/// How it runs. Commands are argument vectors, never shell text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Executor {
    /// `ansible-playbook`, limited to the approved targets; `--check --diff` is the dry run.
    Ansible {
        playbook: String,
        inventory: String,
        #[serde(default)]
        extra_args: Vec<String>,
        /// Of Ansible's vault; a secret reference.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vault_password: Option<String>,
        #[serde(default = "default_timeout")]
        timeout_seconds: u64,
    },
    /// One JSON POST per target. `body` is a template: `{{target}}`, `{{param.NAME}}`, `{{request.id}}`,
    /// `{{reason}}` stand for JSON string contents.
    Http {
        url: String,
        /// Header name to value; a value may be a secret reference.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        body: serde_json::Value,
        /// PEM file of the authority that signed the server's certificate; no other is then trusted. Empty: the
        /// system's.
        #[serde(default)]
        ca: Option<String>,
        /// Of one try.
        #[serde(default = "default_timeout")]
        timeout_seconds: u64,
        /// The server takes the same `idempotency-key` twice for once: then what may have got lost is sent again.
        #[serde(default)]
        idempotent: bool,
        /// Signs each POST, so that the server knows who sent it.
        #[serde(default)]
        sign: Option<HttpSign>,
    },
    /// One program on each target, through the system's `ssh`.
    Ssh(SshRun),
    /// A snapshot of an OpenSearch cluster, taken or restored; targets are indices, the parameter `snapshot` its name.
    OpensearchSnapshot {
        verb: SnapshotVerb,
        #[serde(flatten)]
        access: SnapshotAccess,
    },
    /// `restic forget` of the targets, full ids of snapshots.
    Restic {
        #[serde(flatten)]
        access: ResticAccess,
    },
    /// A patch to a rollout or Service of a cluster in the settings.
    Kubernetes { verb: RolloutVerb },
    /// A backup of Velero in a cluster of the settings; a target is `CLUSTER/VELERO-NAMESPACE/BACKUP`.
    Velero {
        verb: VeleroVerb,
        #[serde(default = "default_timeout")]
        timeout_seconds: u64,
    },
    /// Puts a new policy or roster in the place of the one that governs this desk. The desk's own: no catalogue may hold
    /// it.
    Govern { what: Governed, path: String },
    /// Changes nothing outside a throwaway desk; used by the demo and by drills.
    Demo {
        #[serde(default)]
        millis_per_target: u64,
        /// What the dry run says each target would change.
        #[serde(default)]
        changes: String,
    },
}

/// A file that says who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Governed {
    Policy,
    Roster,
}

impl Governed {
    pub const ALL: [Self; 2] = [Self::Policy, Self::Roster];

    pub fn word(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Roster => "roster",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotVerb {
    Take,
    Restore,
    /// Restored under other names, counted, and removed again.
    Drill,
    /// Targets are snapshots.
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VeleroVerb {
    Take,
    Restore,
    Delete,
    /// Restored aside, tried, and removed again.
    Drill,
}

/// HMAC-SHA256 over `TIMESTAMP.BODY` (seconds since 1970, a dot, the body's bytes), sent as `sha256=HEX`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSign {
    /// A secret reference.
    pub secret: String,
    #[serde(default = "signature_header")]
    pub header: String,
    #[serde(default = "timestamp_header")]
    pub timestamp_header: String,
}

fn signature_header() -> String {
    "x-watchfloor-signature".into()
}

fn timestamp_header() -> String {
    "x-watchfloor-timestamp".into()
}

/// A fixed program on listed hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshRun {
    /// The program there and its arguments. `{{target}}`, `{{request.id}}` or `{{param.NAME}}` stands for a whole
    /// argument. The login shell there must read single quotes as a POSIX shell does.
    pub argv: Vec<String>,
    /// Hosts it may run on: `NAME`, or `NAME=ADDRESS` or `NAME=ADDRESS:PORT` where the address is another; keys of such
    /// a host stand in `known_hosts` under `NAME`.
    pub hosts: Vec<String>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// File of the hosts' keys. A host whose key does not stand there is not spoken to.
    pub known_hosts: String,
    /// Private key. Empty: keys of an agent.
    #[serde(default)]
    pub identity_file: Option<String>,
    /// Socket of the agent. Empty: that of the environment.
    #[serde(default)]
    pub agent: Option<String>,
    /// Hosts at the same time.
    #[serde(default = "ssh_parallel")]
    pub parallel: usize,
    /// Of one host.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
}

fn ssh_port() -> u16 {
    22
}

fn ssh_parallel() -> usize {
    4
}

/// A repository of restic and how to get at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResticAccess {
    pub repository: String,
    /// A secret reference.
    pub password: String,
    /// What else the repository needs, such as `AWS_ACCESS_KEY_ID`; a value may be a secret reference.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default = "restic_program")]
    pub program: String,
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
}

fn restic_program() -> String {
    "/usr/bin/restic".into()
}

/// A repository of snapshots and how to get at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotAccess {
    pub url: String,
    pub repository: String,
    #[serde(default)]
    pub username: Option<String>,
    /// A secret reference.
    #[serde(default)]
    pub password: Option<String>,
    /// PEM file, as of `http`.
    #[serde(default)]
    pub ca: Option<String>,
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
}

fn default_timeout() -> u64 {
    300
}

impl Executor {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ansible { .. } => "ansible",
            Self::Http { .. } => "http",
            Self::Ssh(_) => "ssh",
            Self::OpensearchSnapshot { .. } => "opensearch_snapshot",
            Self::Restic { .. } => "restic",
            Self::Kubernetes { .. } => "kubernetes",
            Self::Velero { .. } => "velero",
            Self::Govern { .. } => "govern",
            Self::Demo { .. } => "demo",
        }
    }

    /// Whether its targets are backups that are gone afterwards.
    pub fn removes_backups(&self) -> bool {
        matches!(
            self,
            Self::Restic { .. }
                | Self::OpensearchSnapshot { verb: SnapshotVerb::Delete, .. }
                | Self::Velero { verb: VeleroVerb::Delete, .. }
        )
    }
}

/// Which targets an action takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetRule {
    /// What a target is.
    #[serde(rename = "is")]
    pub kind: ParamType,
    /// Patterns (`*` wildcard) a target must match one of; empty: any.
    #[serde(default)]
    pub allow: Vec<String>,
    #[serde(default = "default_max_targets")]
    pub max: usize,
}

fn default_max_targets() -> usize {
    20
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionDef {
    /// Lower case words joined by `-`, such as `isolate-host`.
    pub name: String,
    pub title: String,
    #[serde(default)]
    pub help: String,
    pub tier: Tier,
    pub targets: TargetRule,
    #[serde(default)]
    pub params: Vec<ParamDef>,
    /// The action that undoes it.
    #[serde(default)]
    pub undo: Option<String>,
    /// Ends the response clock of the alerts it was proposed for (t_contain).
    #[serde(default)]
    pub contains: bool,
    pub executor: Executor,
}

/// Who thought of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suggested {
    Person,
    Playbook,
    Model,
}

/// What a person proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    pub action: String,
    pub targets: Vec<String>,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    #[serde(default)]
    pub alerts: Vec<AlertId>,
    #[serde(default)]
    pub case: Option<CaseId>,
    pub reason: Untrusted,
    #[serde(default = "default_suggested")]
    pub suggested_by: Suggested,
}

fn default_suggested() -> Suggested {
    Suggested::Person
}

/// What exactly will be sent for one target: the argument vector, or the HTTP body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// All targets this command touches (Ansible runs them together).
    pub targets: Vec<String>,
    /// The exact bytes: argv entries, or method, URL and body. Secrets stand here as references.
    pub argv: Vec<String>,
    /// Digests of files the command reads (playbook, inventory), path to SHA-256 hex.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// What is signed over: canonical JSON (RFC 8785) of exactly this, SHA-256. Any change voids every approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestBody {
    pub id: RequestId,
    pub action: String,
    pub tier: Tier,
    pub targets: Vec<String>,
    pub params: BTreeMap<String, String>,
    pub commands: Vec<Command>,
    pub alerts: Vec<AlertId>,
    pub case: Option<CaseId>,
    pub reason: Untrusted,
    pub suggested_by: Suggested,
    pub requester: PersonId,
    pub created: Timestamp,
    /// No approval after this.
    pub approve_by: Timestamp,
    /// No start after this.
    pub execute_by: Timestamp,
    /// Approvals needed besides the requester.
    pub approvals_needed: u8,
    /// SHA-256 (hex) of the policy file and of the catalogue entry in force.
    pub policy_digest: String,
    pub action_digest: String,
    /// `SIZE:ROOT` of the audit log when it was proposed.
    pub audit_head: String,
    pub undo: Option<String>,
    pub contains: bool,
    /// The request this one was made from, such as one taken back to be edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<RequestId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    Pending = 0,
    Approved = 1,
    Executing = 2,
    Done = 3,
    Failed = 4,
    Expired = 5,
    Denied = 6,
    Withdrawn = 7,
    /// Something it was approved for is no longer so.
    Stale = 8,
    /// Kept by its author, and asked of nobody yet: no dry run, no digest.
    Draft = 9,
}

impl RequestState {
    /// In the order of their ids.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Approved,
        Self::Executing,
        Self::Done,
        Self::Failed,
        Self::Expired,
        Self::Denied,
        Self::Withdrawn,
        Self::Stale,
        Self::Draft,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
            Self::Stale => "stale",
        }
    }

    pub fn is_final(self) -> bool {
        !matches!(self, Self::Draft | Self::Pending | Self::Approved | Self::Executing)
    }

    pub fn id(self) -> i64 {
        self as i64
    }

    pub fn from_id(id: i64) -> Option<Self> {
        usize::try_from(id).ok().and_then(|i| Self::ALL.get(i).copied())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub by: PersonId,
    pub at: Timestamp,
    /// The digest the approver saw.
    pub digest: String,
    /// How it was given.
    pub means: Means,
    /// What was signed, and the signature. `None`: a key press.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// How an approval was given, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Means {
    /// Unsigned: the kernel says whose process it was.
    #[default]
    #[serde(rename = "key press")]
    KeyPress,
    /// Signed on the desk's machine through an agent, by a key held in software.
    #[serde(rename = "agent")]
    Agent,
    /// The same by a security key that was touched.
    #[serde(rename = "agent touch")]
    AgentTouch,
    /// Signed on the approver's own machine, by a program that showed what it signed.
    #[serde(rename = "own machine")]
    OwnMachine,
}

impl Means {
    pub fn word(self) -> &'static str {
        match self {
            Self::KeyPress => "key press",
            Self::Agent => "agent",
            Self::AgentTouch => "agent touch",
            Self::OwnMachine => "own machine",
        }
    }
}

/// A statement and its signature, both as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Canonical JSON; its bytes are what was signed.
    pub statement: String,
    /// Armoured SSHSIG.
    pub signature: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptState {
    Pending,
    Done,
    Failed,
    /// It may have happened: a time-out, a kill, a lost connection.
    Unknown,
    Skipped,
}

/// What became of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub target: String,
    pub state: ReceiptState,
    /// Ansible's `changed`; `None`: not known.
    pub changed: Option<u32>,
    /// What the executor said, bounded.
    pub detail: Untrusted,
    pub at: Timestamp,
}

/// What the dry run found for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    pub target: String,
    /// `None`: the executor cannot tell.
    pub would_change: Option<u32>,
    pub failed: bool,
    pub diff: Untrusted,
}

/// A finding of the policy: shown to the approver; a refusal stops the proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub refuses: bool,
    pub text: String,
}

/// What a draft would become if it were proposed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub tier: Tier,
    pub commands: Vec<Command>,
    pub approvals_needed: u8,
    pub preview: Vec<Preview>,
    /// Those that refuse would stop the proposal.
    pub findings: Vec<Finding>,
}

/// A request with all that has happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub body: RequestBody,
    /// SHA-256 of the body's canonical JSON, hex.
    pub digest: String,
    pub state: RequestState,
    pub approvals: Vec<Approval>,
    pub denied: Option<Denial>,
    pub preview: Vec<Preview>,
    pub findings: Vec<Finding>,
    pub receipts: Vec<Receipt>,
    pub executor: Option<PersonId>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// Why it is stale or failed, in our words.
    pub note: Option<String>,
    /// What else happened along the way; nothing of it is signed.
    #[serde(default, skip_serializing_if = "Course::is_empty")]
    pub course: Course,
    /// Goes up with every change; writes are conditional on it.
    pub rev: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    pub by: PersonId,
    pub at: Timestamp,
    pub reason: Untrusted,
}

impl Request {
    /// To which nothing has happened yet.
    pub fn new(body: RequestBody, digest: impl Into<String>, state: RequestState) -> Self {
        Self {
            body,
            digest: digest.into(),
            state,
            approvals: Vec::new(),
            denied: None,
            preview: Vec::new(),
            findings: Vec::new(),
            receipts: Vec::new(),
            executor: None,
            started: None,
            finished: None,
            note: None,
            course: Course::default(),
            rev: 0,
        }
    }

    /// Whether it may leave `Approved` for `Executing` now. `kill`: who set the kill switch, and when. The error names
    /// what is in the way.
    pub fn may_begin(&self, digest: &str, kill: Option<(&PersonId, Timestamp)>, now: Timestamp) -> Result<(), String> {
        if let Some((by, at)) = kill {
            return Err(format!("the kill switch, set by {by} at {at},"));
        }
        if self.state != RequestState::Approved {
            return Err(format!("its state, now {},", self.state.word()));
        }
        if self.digest != digest {
            return Err("its digest".into());
        }
        if now > self.body.execute_by {
            return Err(format!("its time to start, which ended at {},", self.body.execute_by));
        }
        Ok(())
    }

    /// Whether it was ever more than a draft: only what was asked of others has a digest.
    pub fn was_asked(&self) -> bool {
        self.state != RequestState::Draft && !self.digest.is_empty()
    }

    /// What its author would propose again.
    pub fn as_draft(&self) -> Draft {
        let b = &self.body;
        Draft {
            action: b.action.clone(),
            targets: b.targets.clone(),
            params: b.params.clone(),
            alerts: b.alerts.clone(),
            case: b.case,
            reason: b.reason.clone(),
            suggested_by: b.suggested_by,
        }
    }
}
