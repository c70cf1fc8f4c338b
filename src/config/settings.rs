//! Every setting there is, with its default. Unknown keys are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::keys::KeyPolicy;

/// All settings of a desk and its console.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub desk: DeskSettings,
    pub console: ConsoleSettings,
    pub intake: IntakeSettings,
    pub triage: TriageSettings,
    pub playbooks: PlaybookSettings,
    pub respond: RespondSettings,
    pub operate: OperateSettings,
    /// Who else is told of what happens to requests, by name.
    pub notify: BTreeMap<String, NotifySettings>,
    pub secrets: SecretSettings,
    pub log: LogSettings,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeskSettings {
    /// Where the store, the audit log and logs live. Empty: the platform's own data folder.
    pub data_dir: Option<PathBuf>,
    /// Shown in the header, such as `PROD-EU`.
    pub environment: String,
    /// `normal`, `caution` or `danger`: the colour of the environment's name.
    pub environment_class: String,
    pub name: String,
    /// TOML file of people. Empty: `roster.toml` beside the settings file.
    pub roster: Option<PathBuf>,
    /// CSV or TOML of assets (`host,weight[,owner[,role[,note]]]`, weight in percent); TOML of people too.
    pub inventory: Option<PathBuf>,
    /// File of the clocks that run after a data breach. Left out: `breach_clocks.toml` beside the settings file, if there,
    /// else the bundled ones.
    pub breach_clocks: Option<PathBuf>,
    /// Take no action that changes anything.
    pub read_only: bool,
}

impl Default for DeskSettings {
    fn default() -> Self {
        Self {
            data_dir: None,
            environment: "LOCAL".into(),
            environment_class: "normal".into(),
            name: "desk".into(),
            roster: None,
            inventory: None,
            breach_clocks: None,
            read_only: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleSettings {
    pub theme: String,
    pub keymap: String,
    pub mouse: bool,
    /// `off`, `minute` or `second`: how often clocks on screen move by themselves.
    pub clock: String,
    pub ascii: bool,
    /// Queue columns in order, see `watchfloor keys --columns`.
    pub columns: Vec<String>,
    /// Query of the first view.
    pub filter: String,
    pub sort: String,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            theme: "dark".into(),
            keymap: "default".into(),
            mouse: false,
            clock: "minute".into(),
            ascii: false,
            columns: ["priority", "clock", "severity", "rule", "host", "user", "count", "state"]
                .map(String::from)
                .to_vec(),
            filter: "not status:closed not status:suppressed".into(),
            sort: "risk".into(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntakeSettings {
    /// Identity and group keys.
    pub keys: KeyPolicy,
    /// Live sources by name.
    pub sources: BTreeMap<String, SourceSettings>,
    /// Field maps for the generic JSON format, by name.
    pub generic: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceSettings {
    /// Follows a file as `tail -F` does.
    Follow {
        path: PathBuf,
        #[serde(default)]
        format: Option<String>,
    },
    /// Reads what appears in a folder.
    Directory {
        path: PathBuf,
        #[serde(default)]
        format: Option<String>,
    },
    /// Tails an OpenSearch index pattern.
    Opensearch(OpensearchSettings),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpensearchSettings {
    pub url: String,
    pub index: String,
    #[serde(default)]
    pub username: Option<String>,
    /// A secret reference, such as `keyring:opensearch`.
    #[serde(default)]
    pub password: Option<String>,
    /// PEM file of the authority that signed the server's certificate.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    #[serde(default)]
    pub format: Option<String>,
    /// Field the tail sorts by.
    #[serde(default = "default_time_field")]
    pub time_field: String,
    /// Documents per page.
    #[serde(default = "default_page")]
    pub page: usize,
    /// Seconds the tail looks back behind its checkpoint, for documents that become visible late.
    #[serde(default = "default_overlap")]
    pub overlap_seconds: u64,
    #[serde(default = "default_poll")]
    pub poll_seconds: u64,
    #[serde(default = "default_request_timeout")]
    pub timeout_seconds: u64,
    /// Write status, owner and disposition back into the document under `watchfloor`.
    #[serde(default)]
    pub write_back: bool,
    /// Where to start on the first run: `now` or `beginning`.
    #[serde(default = "default_start")]
    pub start: String,
}

fn default_time_field() -> String {
    "@timestamp".into()
}
fn default_page() -> usize {
    1000
}
fn default_overlap() -> u64 {
    120
}
fn default_poll() -> u64 {
    2
}
fn default_request_timeout() -> u64 {
    20
}
fn default_start() -> String {
    "beginning".into()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TriageSettings {
    /// `rules`, `openai` or `local`.
    pub backend: String,
    /// Query of the alerts that are judged without being asked for. Empty: none.
    pub auto: String,
    /// Most of them in an hour.
    pub auto_per_hour: u32,
    /// Most tokens in an hour, of everybody together and of one person. 0: no limit.
    pub tokens_per_hour: u64,
    pub tokens_per_person_per_hour: u64,
    /// Requests of one person at the same time.
    pub requests_per_person: u32,
    /// When to look again without the text an attacker can write: `never`, `tainted` (such text steers) or `always`.
    pub second_look: String,
    /// How long a queued alert waits for a model that is away before rules stand in. 0: not at all.
    pub fallback_after_seconds: u64,
    /// Most tokens of context (not the alert itself) in a prompt.
    pub context_tokens: u32,
    /// Closed alerts count half after so many days, when rules look at how alike ones were disposed of.
    pub half_life_days: u32,
    /// Days that prompts and answers are kept for `triage replay`.
    pub keep_days: u32,
    /// What the machine that runs the model draws, for energy per alert. 0: not known.
    pub watts: u32,
    /// Folder of playbooks (Markdown or CACAO JSON). Left out: `playbooks` beside the settings file, if there.
    pub playbooks: Option<PathBuf>,
    pub openai: OpenaiSettings,
    pub local: LocalSettings,
}

impl Default for TriageSettings {
    fn default() -> Self {
        Self {
            backend: "rules".into(),
            auto: String::new(),
            auto_per_hour: 1_000,
            tokens_per_hour: 0,
            tokens_per_person_per_hour: 0,
            requests_per_person: 4,
            second_look: "tainted".into(),
            fallback_after_seconds: 300,
            context_tokens: 800,
            half_life_days: 30,
            keep_days: 30,
            watts: 0,
            playbooks: None,
            openai: OpenaiSettings::default(),
            local: LocalSettings::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlaybookSettings {
    /// Who asked the model for a playbook, or edited its draft, does not approve it.
    pub second_person: bool,
    /// Indices and patterns that the search of a step may read. Empty: none.
    pub query_indices: Vec<String>,
    /// The OpenSearch source under `intake.sources` whose cluster is asked. Left out: the only one there is.
    pub query_source: Option<String>,
}

impl Default for PlaybookSettings {
    fn default() -> Self {
        Self { second_person: true, query_indices: Vec::new(), query_source: None }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenaiSettings {
    /// Such as `http://127.0.0.1:8000/v1`. Empty when `servers` lists them.
    pub url: String,
    pub model: String,
    /// A secret reference.
    pub api_key: Option<String>,
    pub ca: Option<PathBuf>,
    pub connect_seconds: u64,
    pub first_token_seconds: u64,
    pub idle_seconds: u64,
    pub max_tokens: u32,
    /// Requests at the same time to one server.
    pub concurrency: u32,
    /// The server's scheduling policy is `priority` (vLLM): tell it how urgent each request is.
    pub priority: bool,
    /// Keeps this desk's prefix cache apart from other users of the server (vLLM).
    pub cache_salt: Option<String>,
    /// A pool, by name. What a server leaves out is taken from above.
    pub servers: BTreeMap<String, ServerSettings>,
}

impl Default for OpenaiSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            api_key: None,
            ca: None,
            connect_seconds: 10,
            first_token_seconds: 60,
            idle_seconds: 30,
            max_tokens: 700,
            concurrency: 8,
            priority: false,
            cache_salt: None,
            servers: BTreeMap::new(),
        }
    }
}

/// One server of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    pub url: String,
    pub model: Option<String>,
    pub api_key: Option<String>,
    pub ca: Option<PathBuf>,
    pub concurrency: Option<u32>,
    /// Asked only when all others are out.
    pub backup: bool,
}

/// A model run inside this process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSettings {
    /// A name of `watchfloor model list`, or the path of a GGUF file. Empty: the one `model use` chose.
    pub model: String,
    /// Where models are kept. Left out: `models` in the data folder.
    pub dir: Option<PathBuf>,
    /// Tokens of context shared by what runs at the same time.
    pub context_tokens: u32,
    /// 0: all cores but one.
    pub threads: u32,
    /// Layers on a GPU. 0: none; 999: all.
    pub gpu_layers: u32,
    /// Alerts at the same time.
    pub batch: u32,
    pub max_tokens: u32,
    /// Idle seconds after which the model leaves memory. 0: never.
    pub unload_seconds: u64,
    /// Folder of backend libraries, for builds with `dynamic-backends`.
    pub backends: Option<PathBuf>,
    /// Base address of the hub that `model pull org/name:file` asks.
    pub hub: String,
    /// Where the hub's token is, if it wants one.
    pub hub_token: Option<String>,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            model: String::new(),
            dir: None,
            context_tokens: 4_096,
            threads: 0,
            gpu_layers: 0,
            batch: 4,
            max_tokens: 700,
            unload_seconds: 600,
            backends: None,
            hub: "https://huggingface.co".into(),
            hub_token: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RespondSettings {
    /// TOML file of actions. Empty: `actions.toml` beside the settings file, if it is there.
    pub catalogue: Option<PathBuf>,
    /// TOML file of the policy. Empty: `policy.toml` beside the settings file, if it is there.
    pub policy: Option<PathBuf>,
    /// Whose keys may sign approvals, as of `ssh-keygen -Y verify`. Empty: `allowed_signers` beside the settings file,
    /// if it is there; without one approvals are key presses.
    pub allowed_signers: Option<PathBuf>,
    /// Keys that count no longer: a list or a KRL. Empty: `revoked_keys` beside the settings file, if it is there.
    pub revoked_keys: Option<PathBuf>,
    /// Stands in the namespace of every signature, `approve-v1@ORGANISATION`.
    pub organisation: String,
    /// The change board that gives tickets to requests whose policy wants one.
    pub cab: CabSettings,
}

/// A change board that is asked over HTTP. Without an address people name the ticket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CabSettings {
    pub url: Option<String>,
    /// Secret reference of the key that signs what is sent there.
    pub secret: Option<String>,
    /// PEM file of the authority that signed the server's certificate.
    pub ca: Option<PathBuf>,
    /// Without a word for so long the request is denied.
    pub wait_minutes: u32,
    /// Between two questions.
    pub poll_seconds: u64,
    /// Of one try.
    pub timeout_seconds: u64,
}

impl Default for CabSettings {
    fn default() -> Self {
        Self { url: None, secret: None, ca: None, wait_minutes: 60, poll_seconds: 15, timeout_seconds: 10 }
    }
}

impl Default for RespondSettings {
    fn default() -> Self {
        Self {
            catalogue: None,
            policy: None,
            allowed_signers: None,
            revoked_keys: None,
            organisation: "watchfloor".into(),
            cab: CabSettings::default(),
        }
    }
}

/// Somebody who is told of what happens to requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifySettings {
    /// `webhook`, `slack`, `pagerduty`, `opsgenie`, `servicenow` or `jira`.
    pub kind: String,
    /// Left out: the vendor's own, where there is one.
    pub url: Option<String>,
    /// A secret reference: the key of a webhook's signature, the address of a Slack webhook, PagerDuty's routing key, an
    /// API key, a password or token.
    pub secret: Option<String>,
    /// With it `secret` is its password; without, a bearer token.
    pub username: Option<String>,
    /// Happenings told, by their words. Empty: all.
    pub events: Vec<String>,
    /// Requests below it are not told: `T0` to `T3`.
    pub min_tier: String,
    /// PEM file of the authority that signed the server's certificate.
    pub ca: Option<PathBuf>,
    pub timeout_seconds: u64,
    /// ServiceNow: `incident` or `change_request`.
    pub table: String,
    /// Jira: key of the project.
    pub project: String,
    /// Jira.
    pub issue_type: String,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            kind: String::new(),
            url: None,
            secret: None,
            username: None,
            events: Vec::new(),
            min_tier: "T0".into(),
            ca: None,
            timeout_seconds: 10,
            table: "incident".into(),
            project: String::new(),
            issue_type: "Task".into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretSettings {
    /// Behind `keyring:`: `auto`, `secret-service` or `keyutils`.
    pub keyring: String,
    /// Of a HashiCorp Vault or OpenBao server, for `vault:`. Empty: `VAULT_ADDR`.
    pub vault_addr: Option<String>,
    /// A secret reference that is not itself `vault:`. Empty: `env:VAULT_TOKEN`.
    pub vault_token: Option<String>,
    /// PEM file of the authority that signed the server's certificate. Empty: `VAULT_CACERT`, else the system's.
    pub vault_ca: Option<PathBuf>,
    /// Empty: `VAULT_NAMESPACE`.
    pub vault_namespace: Option<String>,
    pub vault_timeout_seconds: u64,
    /// How long a `cmd:` program may take.
    pub command_timeout_seconds: u64,
}

impl Default for SecretSettings {
    fn default() -> Self {
        Self {
            keyring: "auto".into(),
            vault_addr: None,
            vault_token: None,
            vault_ca: None,
            vault_namespace: None,
            vault_timeout_seconds: 10,
            command_timeout_seconds: 10,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// As `tracing`'s filter directives, such as `info,watchfloor::intake=debug`.
    pub level: String,
    /// Daily files kept.
    pub keep: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".into(), keep: 14 }
    }
}

/// The platform this desk depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperateSettings {
    /// Folder of objectives (OpenSLO, Sloth, Pyrra or TOML). Left out: `slos` beside the settings file, if there.
    pub slos: Option<PathBuf>,
    /// TOML file of rollout gates. Left out: `rollouts.toml` beside the settings file, if there.
    pub rollouts: Option<PathBuf>,
    /// TOML file of what must be recoverable and where backups are. Left out: `backups.toml` beside the settings file.
    pub backups: Option<PathBuf>,
    /// TOML file of services that are probed and what was promised. Left out: `sla.toml` beside the settings file.
    pub sla: Option<PathBuf>,
    pub refresh_seconds: u64,
    /// Questions at the same time to one server.
    pub parallel: u32,
    /// Prometheus servers by name.
    pub prometheus: BTreeMap<String, PrometheusSettings>,
    /// Kubernetes clusters by name.
    pub kubernetes: BTreeMap<String, KubernetesSettings>,
}

impl Default for OperateSettings {
    fn default() -> Self {
        Self {
            slos: None,
            rollouts: None,
            backups: None,
            sla: None,
            refresh_seconds: 60,
            parallel: 16,
            prometheus: BTreeMap::new(),
            kubernetes: BTreeMap::new(),
        }
    }
}

/// One Prometheus server, or saved answers of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrometheusSettings {
    /// Such as `http://127.0.0.1:9090`. Empty when `file` is given.
    pub url: String,
    /// OpenMetrics text or a saved `query_range` answer, instead of a server.
    pub file: Option<PathBuf>,
    pub username: Option<String>,
    /// Secret references.
    pub password: Option<String>,
    pub token: Option<String>,
    pub ca: Option<PathBuf>,
    /// Left out: 20.
    pub timeout_seconds: Option<u64>,
}

/// One cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSettings {
    /// Left out: `KUBECONFIG`, `~/.kube/config`, or the service account of the pod this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Left out: the file's current one.
    pub context: Option<String>,
    /// Namespaces looked at. Empty: all.
    pub namespaces: Vec<String>,
    /// The identity that changes things. Without it nothing can be changed.
    pub write_kubeconfig: Option<PathBuf>,
    pub write_context: Option<String>,
    /// Left out: 20.
    pub timeout_seconds: Option<u64>,
}
