//! Every setting, once: what it means, what it may be, and an example. The loader, `config explain`, the sample and
//! the nearest-name suggestions all read this table; a test holds it against [`super::Settings`].

use std::path::{Path, PathBuf};

use super::secret::Reference;

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A path; a relative one starts beside the settings file.
    Path,
    /// An `http` or `https` address without user and password.
    Url,
    Bool,
    /// A whole number in this range.
    Whole(i64, i64),
    Texts,
    /// A list of these words.
    Words(&'static [&'static str]),
    /// Where a secret is, never the secret.
    Secret,
    /// A filter as typed after `/`.
    Query,
    /// `tracing` filter directives.
    LogFilter,
}

/// One setting. `*` in its path stands for a name of the user's.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub path: &'static str,
    pub kind: Kind,
    pub about: &'static str,
    /// As written in TOML, for the sample; `""` shows the default.
    pub example: &'static str,
    /// For settings of a source: the kinds of source that have it. Empty: all.
    pub only: &'static [&'static str],
    /// Must be there wherever its table is.
    pub needed: bool,
}

const fn key(path: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { path, kind, about, example: "", only: &[], needed: false }
}

impl Key {
    const fn like(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    const fn of(mut self, only: &'static [&'static str]) -> Self {
        self.only = only;
        self
    }

    const fn needed(mut self) -> Self {
        self.needed = true;
        self
    }

    pub fn segments(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('.')
    }

    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Whether this is the setting at a path with names filled in.
    pub fn is_at<S: AsRef<str>>(&self, path: &[S]) -> bool {
        self.segments().count() == path.len() && self.segments().zip(path).all(|(k, p)| k == "*" || k == p.as_ref())
    }
}

/// A table of settings, with its own words in the sample.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub path: &'static str,
    pub about: &'static str,
}

pub const SECTIONS: &[Section] = &[
    Section { path: "desk", about: "The desk: what it is called, where it keeps things, who works at it." },
    Section { path: "console", about: "The screen." },
    Section { path: "intake.keys", about: "When two records are the same alert, and when two alerts are one story." },
    Section {
        path: "intake.sources.*",
        about: "Live sources, one table each, named as you like. Names go into checkpoints: renaming a source makes it \
                start anew.",
    },
    Section {
        path: "intake.generic.*",
        about: "Field maps for JSON of no known format, one table each: our field = where it is in the record. A \
                source uses one by format = \"generic:NAME\".",
    },
    Section { path: "triage", about: "Opinions. They may raise an alert's priority and change nothing else." },
    Section { path: "triage.openai", about: "Any server that speaks the OpenAI chat API, for backend = \"openai\"." },
    Section {
        path: "triage.openai.servers.*",
        about: "A pool of such servers, one table each, named as you like: the least busy is asked.",
    },
    Section { path: "triage.local", about: "A model inside this program, for backend = \"local\"." },
    Section { path: "playbooks", about: "Playbooks that people follow, and those a model drafted." },
    Section { path: "respond", about: "What may be done, and who must agree." },
    Section { path: "respond.cab", about: "The change board: asked for a ticket where the policy wants one." },
    Section { path: "operate", about: "The platform this desk depends on: objectives, rollouts, backups." },
    Section { path: "operate.prometheus.*", about: "Prometheus servers, one table each, named as you like." },
    Section { path: "operate.kubernetes.*", about: "Kubernetes clusters, one table each, named as you like." },
    Section {
        path: "notify.*",
        about: "Who else is told of what happens to requests, one table each, named as you like.",
    },
    Section { path: "secrets", about: "Where secret references are looked up." },
    Section { path: "log", about: "Structured logs: DATA/log/watchfloor.YYYY-MM-DD.jsonl." },
];

const KEY_FIELDS: &[&str] = &[
    "record", "format", "title", "rule", "severity", "host", "user", "process", "src_ip", "dst_ip", "dst_port", "day",
    "hour",
];
/// [`Happening`](crate::model::happening::Happening)'s words.
const HAPPENINGS: &[&str] = &[
    "proposed",
    "approved",
    "denied",
    "withdrawn",
    "expired",
    "void",
    "started",
    "done",
    "failed",
    "break-glass",
    "escalated",
    "review-overdue",
    "reviewed",
    "changed-outside",
    "test",
];
const SECONDS: Kind = Kind::Whole(1, 3600);
const OPENSEARCH: &[&str] = &["opensearch"];

pub const KEYS: &[Key] = &[
    key(
        "desk.data_dir",
        Kind::Path,
        "Folder of the store, the audit log and the logs. Left out: the platform's own data folder.",
    )
    .like("\"/var/lib/watchfloor\""),
    key("desk.environment", Kind::Text, "Shown at the top of every screen.").like("\"PROD-EU\""),
    key("desk.environment_class", Kind::Word(&["normal", "caution", "danger"]), "Colour of the environment's name."),
    key("desk.name", Kind::Text, "What this desk is called in audit records and exports."),
    key("desk.roster", Kind::Path, "TOML file of people. Left out: roster.toml beside this file, else you alone.")
        .like("\"roster.toml\""),
    key(
        "desk.inventory",
        Kind::Path,
        "CSV or TOML of assets (host,weight[,owner[,role[,note]]]), TOML of people too; weight in percent, 100 is ordinary.",
    )
    .like("\"assets.csv\""),
    key(
        "desk.breach_clocks",
        Kind::Path,
        "File of the clocks that run after a data breach. Left out: breach_clocks.toml beside this file, else the bundled.",
    )
    .like("\"breach_clocks.toml\""),
    key("desk.read_only", Kind::Bool, "Take no action that changes anything."),
    key(
        "console.theme",
        Kind::Text,
        "A theme of `watchfloor themes`: a bundled one, or themes/NAME.toml beside this file.",
    ),
    key(
        "console.keymap",
        Kind::Text,
        "A keymap of `watchfloor keys --list`: a bundled one, or keymaps/NAME.toml beside this file.",
    ),
    key(
        "console.mouse",
        Kind::Bool,
        "Let the mouse choose rows and tabs. The terminal's own selection then needs shift.",
    ),
    key(
        "console.clock",
        Kind::Word(&["off", "minute", "second"]),
        "How often clocks on screen move by themselves. off: an idle screen sends nothing.",
    ),
    key("console.ascii", Kind::Bool, "Draw with ASCII only."),
    key("console.columns", Kind::Texts, "Columns of the queue, in order; see `watchfloor keys --columns`."),
    key("console.filter", Kind::Query, "Filter of the first view, as typed after `/`."),
    key("console.sort", Kind::Word(&["risk", "newest", "oldest", "severity"]), "Order of the queue."),
    key(
        "intake.keys.identity",
        Kind::Words(KEY_FIELDS),
        "Fields that make two records the same alert, which is then counted, not repeated.",
    ),
    key("intake.keys.group", Kind::Words(KEY_FIELDS), "Fields that make two alerts parts of one story."),
    key("intake.sources.*.kind", Kind::Word(&["follow", "directory", "opensearch"]), "What kind of source it is.")
        .like("\"follow\"")
        .needed(),
    key("intake.sources.*.path", Kind::Path, "The file to follow as `tail -F` does, or the folder to watch.")
        .like("\"/var/ossec/logs/alerts/alerts.json\"")
        .of(&["follow", "directory"])
        .needed(),
    key("intake.sources.*.format", Kind::Text, "Format of its records. Left out: each is recognised by itself.")
        .like("\"wazuh\""),
    key("intake.sources.*.url", Kind::Url, "Address of the cluster.")
        .like("\"https://opensearch.example:9200\"")
        .of(OPENSEARCH)
        .needed(),
    key("intake.sources.*.index", Kind::Text, "Index, alias or pattern to tail.")
        .like("\"wazuh-alerts-*\"")
        .of(OPENSEARCH)
        .needed(),
    key("intake.sources.*.username", Kind::Text, "Who we are there; reading rights are enough without write_back.")
        .like("\"watchfloor\"")
        .of(OPENSEARCH),
    key("intake.sources.*.password", Kind::Secret, "Where the password is.")
        .like("\"keyring:opensearch\"")
        .of(OPENSEARCH),
    key("intake.sources.*.ca", Kind::Path, "PEM file of the authority that signed the cluster's certificate.")
        .like("\"opensearch-ca.pem\"")
        .of(OPENSEARCH),
    key("intake.sources.*.time_field", Kind::Text, "Field the tail sorts by.").like("\"@timestamp\"").of(OPENSEARCH),
    key("intake.sources.*.page", Kind::Whole(1, 10_000), "Documents per page.").like("1000").of(OPENSEARCH),
    key(
        "intake.sources.*.overlap_seconds",
        Kind::Whole(0, 86_400),
        "How far the tail looks back each time, for documents that become visible late.",
    )
    .like("120")
    .of(OPENSEARCH),
    key("intake.sources.*.poll_seconds", SECONDS, "Pause between looks.").like("2").of(OPENSEARCH),
    key("intake.sources.*.timeout_seconds", SECONDS, "How long one request may take.").like("20").of(OPENSEARCH),
    key(
        "intake.sources.*.write_back",
        Kind::Bool,
        "Write status, owner and disposition back into the document, under `watchfloor`.",
    )
    .like("false")
    .of(OPENSEARCH),
    key("intake.sources.*.start", Kind::Word(&["beginning", "now"]), "Where the first run begins.")
        .like("\"beginning\"")
        .of(OPENSEARCH),
    key("intake.generic.*.*", Kind::Text, "Where our field is in the record, such as `event.host.name`.")
        .like("\"event.host.name\""),
    key(
        "triage.backend",
        Kind::Word(&["rules", "openai", "local"]),
        "Who gives opinions: our own rules, a model server, or a model inside this program.",
    ),
    key("triage.auto", Kind::Query, "Alerts judged without being asked for, as typed after `/`. Empty: none.")
        .like("\"status:new verdict:none\""),
    key("triage.auto_per_hour", Kind::Whole(1, 1_000_000), "Most of those in an hour."),
    key("triage.tokens_per_hour", Kind::Whole(0, 1_000_000_000_000), "Most model tokens in an hour. 0: no limit."),
    key(
        "triage.tokens_per_person_per_hour",
        Kind::Whole(0, 1_000_000_000_000),
        "Most model tokens one person may use in an hour. 0: no limit.",
    ),
    key("triage.requests_per_person", Kind::Whole(1, 1_000), "Requests of one person at the same time."),
    key(
        "triage.second_look",
        Kind::Word(&["never", "tainted", "always"]),
        "When to ask again without the text an attacker can write. tainted: when such text tries to steer the reader.",
    ),
    key(
        "triage.fallback_after_seconds",
        Kind::Whole(0, 86_400),
        "How long a queued alert waits for a model that is away before rules stand in.",
    ),
    key("triage.context_tokens", Kind::Whole(0, 100_000), "Most tokens of context, besides the alert, in a prompt."),
    key("triage.half_life_days", Kind::Whole(1, 3_650), "Age at which a closed alert counts half as experience."),
    key("triage.keep_days", Kind::Whole(0, 3_650), "Days that prompts and answers are kept for `triage replay`."),
    key(
        "triage.watts",
        Kind::Whole(0, 1_000_000),
        "What the model's machine draws, for energy per alert. 0: not known.",
    ),
    key(
        "triage.playbooks",
        Kind::Path,
        "Folder of playbooks, Markdown or CACAO JSON. Left out: playbooks beside this file, if there.",
    )
    .like("\"playbooks\""),
    key("triage.openai.url", Kind::Url, "Address up to and with the version.").like("\"http://127.0.0.1:8000/v1\""),
    key("triage.openai.model", Kind::Text, "Name of the model there.").like("\"qwen3-8b\""),
    key("triage.openai.api_key", Kind::Secret, "Where the key is, if the server wants one.").like("\"keyring:model\""),
    key("triage.openai.ca", Kind::Path, "PEM file of the authority that signed the server's certificate.")
        .like("\"model-ca.pem\""),
    key("triage.openai.connect_seconds", SECONDS, "How long connecting may take."),
    key("triage.openai.first_token_seconds", SECONDS, "How long the first word may take."),
    key("triage.openai.idle_seconds", SECONDS, "How long the model may pause between words."),
    key("triage.openai.max_tokens", Kind::Whole(1, 1_000_000), "The longest answer."),
    key("triage.openai.concurrency", Kind::Whole(1, 10_000), "Requests at the same time to one server."),
    key(
        "triage.openai.priority",
        Kind::Bool,
        "Tell the server how urgent each request is. Only for vLLM with `--scheduling-policy priority`.",
    ),
    key(
        "triage.openai.cache_salt",
        Kind::Text,
        "Keeps this desk's part of the server's prefix cache apart from others' (vLLM).",
    )
    .like("\"soc-desk\""),
    key("triage.openai.servers.*.url", Kind::Url, "Address up to and with the version.")
        .like("\"http://127.0.0.1:8000/v1\"")
        .needed(),
    key("triage.openai.servers.*.model", Kind::Text, "Name of the model there.").like("\"qwen3-8b\""),
    key("triage.openai.servers.*.api_key", Kind::Secret, "Where its key is.").like("\"keyring:model-a\""),
    key("triage.openai.servers.*.ca", Kind::Path, "PEM file of the authority that signed its certificate.")
        .like("\"model-ca.pem\""),
    key("triage.openai.servers.*.concurrency", Kind::Whole(1, 10_000), "Requests at the same time.").like("16"),
    key("triage.openai.servers.*.backup", Kind::Bool, "Asked only when all others are out.").like("false"),
    key("triage.local.model", Kind::Text, "A name of `watchfloor model list`, or the path of a GGUF file.")
        .like("\"qwen3-4b\""),
    key("triage.local.dir", Kind::Path, "Where models are kept. Left out: models in the data folder.")
        .like("\"/srv/models\""),
    key("triage.local.context_tokens", Kind::Whole(512, 1_000_000), "Tokens of context shared by what runs at once."),
    key("triage.local.threads", Kind::Whole(0, 1_024), "Threads that compute. 0: all cores but one."),
    key("triage.local.gpu_layers", Kind::Whole(0, 999), "Layers of the model on a GPU. 0: none; 999: all."),
    key("triage.local.batch", Kind::Whole(1, 64), "Alerts judged at the same time."),
    key("triage.local.max_tokens", Kind::Whole(64, 100_000), "The longest answer."),
    key(
        "triage.local.unload_seconds",
        Kind::Whole(0, 86_400),
        "Idle time after which the model leaves memory. 0: never.",
    ),
    key("triage.local.backends", Kind::Path, "Folder of backend libraries, for builds with dynamic backends.")
        .like("\"/usr/lib/watchfloor\""),
    key("triage.local.hub", Kind::Url, "Hub that `model pull ORG/NAME:FILE` asks."),
    key("triage.local.hub_token", Kind::Secret, "Where the hub's token is, if it wants one.").like("\"keyring:hub\""),
    key(
        "playbooks.second_person",
        Kind::Bool,
        "Who asked the model for a playbook, or edited its draft, does not approve it. false: for a desk of one person.",
    ),
    key(
        "playbooks.query_indices",
        Kind::Texts,
        "Indices and patterns that the search of a playbook's step may read, with the rights of that source. Empty: none.",
    )
    .like("[\"alerts-*\"]"),
    key(
        "playbooks.query_source",
        Kind::Text,
        "The OpenSearch source, by its name under intake.sources, that is asked. Left out: the only one there is.",
    )
    .like("\"cluster\""),
    key("respond.catalogue", Kind::Path, "TOML file of actions. Left out: actions.toml beside this file, if there.")
        .like("\"actions.toml\""),
    key("respond.policy", Kind::Path, "TOML file of the policy. Left out: policy.toml beside this file, if there.")
        .like("\"policy.toml\""),
    key("respond.allowed_signers", Kind::Path, "Whose keys may sign approvals (ssh-keygen's ALLOWED SIGNERS). Left out: allowed_signers beside this file, if there.")
        .like("\"allowed_signers\""),
    key("respond.revoked_keys", Kind::Path, "Keys that count no longer: a list or a KRL. Left out: revoked_keys beside this file, if there.")
        .like("\"revoked_keys\""),
    key("respond.organisation", Kind::Text, "Stands in the namespace of every signature, approve-v1@ORGANISATION."),
    key("respond.cab.url", Kind::Url, "Where changes are opened. Left out: people name the ticket.")
        .like("\"https://changes.example/api/changes\""),
    key("respond.cab.secret", Kind::Secret, "Where the key is that signs what is sent there.").like("\"keyring:cab\""),
    key("respond.cab.ca", Kind::Path, "PEM file of the authority that signed its certificate.").like("\"cab-ca.pem\""),
    key("respond.cab.wait_minutes", Kind::Whole(1, 10_080), "Without a word for so long the request is denied."),
    key("respond.cab.poll_seconds", SECONDS, "Seconds between two questions how a change stands."),
    key("respond.cab.timeout_seconds", SECONDS, "How long one try may take."),
    key("operate.slos", Kind::Path, "Folder of objectives. Left out: slos beside this file, if there.")
        .like("\"slos\""),
    key("operate.rollouts", Kind::Path, "TOML file of rollout gates. Left out: rollouts.toml beside this file, if there.")
        .like("\"rollouts.toml\""),
    key("operate.backups", Kind::Path, "TOML file of assets and their backups. Left out: backups.toml beside this file, if there.")
        .like("\"backups.toml\""),
    key("operate.sla", Kind::Path, "TOML file of probed services. Left out: sla.toml beside this file, if there.")
        .like("\"sla.toml\""),
    key("operate.refresh_seconds", SECONDS, "Seconds between two looks at objectives and backups."),
    key("operate.parallel", Kind::Whole(1, 256), "Questions at the same time to one server."),
    key("operate.prometheus.*.url", Kind::Url, "Its address.").like("\"http://127.0.0.1:9090\""),
    key("operate.prometheus.*.file", Kind::Path, "OpenMetrics text or a saved query_range answer, instead of a server.")
        .like("\"metrics.om\""),
    key("operate.prometheus.*.username", Kind::Text, "For basic authentication.").like("\"watchfloor\""),
    key("operate.prometheus.*.password", Kind::Secret, "Where its password is.").like("\"keyring:prometheus\""),
    key("operate.prometheus.*.token", Kind::Secret, "Where a bearer token is.").like("\"keyring:prometheus\""),
    key("operate.prometheus.*.ca", Kind::Path, "PEM file of the authority that signed its certificate.")
        .like("\"prometheus-ca.pem\""),
    key("operate.prometheus.*.timeout_seconds", SECONDS, "Longest wait for an answer. Left out: 20.").like("20"),
    key("operate.kubernetes.*.kubeconfig", Kind::Path, "Left out: KUBECONFIG, ~/.kube/config, or the pod's own account.")
        .like("\"kubeconfig\""),
    key("operate.kubernetes.*.context", Kind::Text, "Left out: the file's current one.").like("\"prod\""),
    key("operate.kubernetes.*.namespaces", Kind::Texts, "Namespaces looked at. Empty: all.").like("[\"soc\"]"),
    key("operate.kubernetes.*.write_kubeconfig", Kind::Path, "The identity that changes things. Left out: nothing can be changed.")
        .like("\"kubeconfig-write\""),
    key("operate.kubernetes.*.write_context", Kind::Text, "Its context. Left out: the file's current one.").like("\"prod-write\""),
    key("operate.kubernetes.*.timeout_seconds", SECONDS, "Longest wait for an answer. Left out: 20.").like("20"),
    key(
        "notify.*.kind",
        Kind::Word(&["webhook", "slack", "pagerduty", "opsgenie", "servicenow", "jira"]),
        "What is told.",
    )
    .like("\"webhook\"")
    .needed(),
    key("notify.*.url", Kind::Url, "Its address. Left out: the vendor's own (pagerduty, opsgenie), or the secret (slack).")
        .like("\"https://hooks.example/soc\""),
    key(
        "notify.*.secret",
        Kind::Secret,
        "Key of a webhook's signature, address of a Slack webhook, routing key, API key, password or token.",
    )
    .like("\"keyring:soc-hook\""),
    key("notify.*.username", Kind::Text, "With it the secret is its password; without, a bearer token.")
        .like("\"watchfloor\""),
    key("notify.*.events", Kind::Words(HAPPENINGS), "What is told. Empty: all. A broken glass is told to everybody.")
        .like("[\"proposed\", \"failed\", \"escalated\"]"),
    key("notify.*.min_tier", Kind::Word(&["T0", "T1", "T2", "T3"]), "Requests below it are not told.").like("\"T2\""),
    key("notify.*.ca", Kind::Path, "PEM file of the authority that signed its certificate.").like("\"hooks-ca.pem\""),
    key("notify.*.timeout_seconds", SECONDS, "How long one try may take.").like("10"),
    key("notify.*.table", Kind::Word(&["incident", "change_request"]), "Table of ServiceNow.").like("\"incident\""),
    key("notify.*.project", Kind::Text, "Key of Jira's project.").like("\"SOC\""),
    key("notify.*.issue_type", Kind::Text, "Name of Jira's issue type.").like("\"Task\""),
    key(
        "secrets.keyring",
        Kind::Word(&["auto", "secret-service", "keyutils"]),
        "What `keyring:` means. auto: the Secret Service if there is a session bus, else the kernel's keyring.",
    ),
    key("secrets.vault_addr", Kind::Url, "Address of the Vault or OpenBao server. Left out: VAULT_ADDR.")
        .like("\"https://vault.example:8200\""),
    key("secrets.vault_token", Kind::Secret, "Where its token is. Left out: env:VAULT_TOKEN.")
        .like("\"file:~/.vault-token\""),
    key(
        "secrets.vault_ca",
        Kind::Path,
        "PEM file of the authority that signed its certificate. Left out: VAULT_CACERT, else the system's.",
    )
    .like("\"vault-ca.pem\""),
    key("secrets.vault_namespace", Kind::Text, "Its namespace. Left out: VAULT_NAMESPACE.").like("\"soc\""),
    key("secrets.vault_timeout_seconds", SECONDS, "How long it may take to answer."),
    key("secrets.command_timeout_seconds", SECONDS, "How long a `cmd:` program may take."),
    key("log.level", Kind::LogFilter, "What is logged, such as \"info,watchfloor::intake=debug\"."),
    key("log.keep", Kind::Whole(1, 3650), "Daily files kept."),
];

impl Kind {
    /// With its article, for "expected ..., found ...".
    pub fn expected(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Path => "a path".to_owned(),
            Self::Url => "an address that begins with http:// or https://".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Texts => "a list of texts".to_owned(),
            Self::Words(words) => format!("a list of {}", words.join(", ")),
            Self::Secret => "a secret reference".to_owned(),
            Self::Query => "a filter".to_owned(),
            Self::LogFilter => "filter directives".to_owned(),
        }
    }

    /// What is wrong with a text of this kind, if anything.
    pub fn check_text(&self, text: &str) -> Result<(), String> {
        match self {
            Self::Word(words) | Self::Words(words) if !words.contains(&text) => {
                Err(match super::fault::nearest(text, words.iter().copied()) {
                    Some(near) => format!("{text:?} is none of {}; did you mean {near:?}?", words.join(", ")),
                    None => format!("{text:?} is none of {}", words.join(", ")),
                })
            }
            Self::Path if text.is_empty() => Err("expected a path, found an empty text".to_owned()),
            Self::Url => check_url(text),
            Self::Secret => text.parse::<Reference>().map(drop).map_err(|e| e.to_string()),
            Self::Query => {
                let me = crate::model::ids::PersonId::new("me");
                crate::model::query::parse(text, me.as_ref()).map(drop).map_err(|e| format!("filter {e}"))
            }
            Self::LogFilter => tracing_subscriber::EnvFilter::try_new(text)
                .map(drop)
                .map_err(|e| format!("not filter directives: {e}")),
            _ => Ok(()),
        }
    }
}

/// Empty is allowed: it means "not set".
fn check_url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    match reqwest::Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err("an address must hold no user or password; those have settings of their own".to_owned())
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        _ => Err(format!("expected {}", Kind::Url.expected())),
    }
}

/// `~/` is the home folder; anything else relative starts at `base`.
pub fn absolute(path: &str, base: &Path, home: Option<&str>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => base.join(path),
    }
}

/// A path of names, quoted where TOML would.
pub fn dotted<S: AsRef<str>>(path: &[S]) -> String {
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let words: Vec<String> = path
        .iter()
        .map(|s| if plain(s.as_ref()) { s.as_ref().to_owned() } else { format!("{:?}", s.as_ref()) })
        .collect();
    words.join(".")
}
