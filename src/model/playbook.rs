//! Playbooks as the desk understands them: what a CACAO 2.0 document (OASIS, Security Playbooks Version 2.0) says, read
//! into types. The document itself is kept beside it and is what is stored, hashed and exported.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::text::Untrusted;

/// How far something may go, FIRST Traffic Light Protocol 2.0; each may go less far than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tlp {
    #[serde(rename = "TLP:CLEAR")]
    Clear,
    #[serde(rename = "TLP:GREEN")]
    Green,
    #[serde(rename = "TLP:AMBER")]
    Amber,
    #[serde(rename = "TLP:AMBER+STRICT")]
    AmberStrict,
    #[serde(rename = "TLP:RED")]
    Red,
}

impl Tlp {
    pub const ALL: [Self; 5] = [Self::Clear, Self::Green, Self::Amber, Self::AmberStrict, Self::Red];

    pub fn word(self) -> &'static str {
        match self {
            Self::Clear => "TLP:CLEAR",
            Self::Green => "TLP:GREEN",
            Self::Amber => "TLP:AMBER",
            Self::AmberStrict => "TLP:AMBER+STRICT",
            Self::Red => "TLP:RED",
        }
    }

    /// `TLP:GREEN`, `green`, in any case.
    pub fn of(word: &str) -> Option<Self> {
        let upper = word.to_ascii_uppercase();
        let bare = upper.strip_prefix("TLP:").unwrap_or(&upper);
        Self::ALL.into_iter().find(|t| t.word().strip_prefix("TLP:") == Some(bare))
    }
}

/// Who is to read what is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    Public,
    Community,
    Clients,
    Organisation,
    /// People named one by one.
    Named,
}

impl Audience {
    /// The strictest marking that may still go there.
    pub fn may_read(self) -> Tlp {
        match self {
            Self::Public => Tlp::Clear,
            Self::Community => Tlp::Green,
            Self::Clients => Tlp::Amber,
            Self::Organisation => Tlp::AmberStrict,
            Self::Named => Tlp::Red,
        }
    }
}

/// How bad a finding of the linter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// It cannot be worked as it is written.
    Error,
    /// It can be worked, and somebody will stumble.
    Warning,
    /// It departs from the standard in a way that harms nobody.
    Note,
}

impl Grade {
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that is wrong with a playbook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    pub grade: Grade,
    /// JSON pointer (RFC 6901) into the document. The document's author chose its words.
    pub at: Untrusted,
    /// A stable word such as `missing-step`.
    pub code: String,
    /// What is wrong and what was expected; may quote the document.
    pub message: Untrusted,
}

/// The life cycle of NIST SP 800-61r3, by the CSF 2.0 function each phase belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Prepare,
    Detect,
    Analyze,
    Contain,
    Eradicate,
    Recover,
    Communicate,
    Improve,
}

impl Phase {
    pub const ALL: [Self; 8] = [
        Self::Prepare,
        Self::Detect,
        Self::Analyze,
        Self::Contain,
        Self::Eradicate,
        Self::Recover,
        Self::Communicate,
        Self::Improve,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Detect => "detect",
            Self::Analyze => "analyze",
            Self::Contain => "contain",
            Self::Eradicate => "eradicate",
            Self::Recover => "recover",
            Self::Communicate => "communicate",
            Self::Improve => "improve",
        }
    }

    /// The categories of SP 800-61r3 (tables 2 and 3), which are those of CSF 2.0.
    pub fn csf(self) -> &'static str {
        match self {
            Self::Prepare => "GV, ID, PR",
            Self::Detect => "DE.CM, DE.AE",
            Self::Analyze => "RS.MA, RS.AN",
            Self::Contain | Self::Eradicate => "RS.MI",
            Self::Recover => "RC.RP",
            Self::Communicate => "RS.CO, RC.CO",
            Self::Improve => "ID.IM",
        }
    }

    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.word() == word)
    }
}

/// A variable as a playbook or a step declares it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// A word of `variable-type-ov`, such as `string` or `ipv4-addr`.
    pub kind: String,
    pub description: Untrusted,
    /// `None`: not known yet. An empty text is a value.
    pub value: Option<Untrusted>,
    pub constant: bool,
    /// Whoever starts the playbook gives its value.
    pub external: bool,
}

/// The label of a playbook that a model wrote. It stays with the document whatever becomes of it.
pub const GENERATED: &str = "GENERATED";

/// What is known of how a model wrote a playbook. The document's author chose the words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// As its server names it.
    pub model: Option<Untrusted>,
    /// SHA-256 of the prompt, hex.
    pub prompt: Option<Untrusted>,
    /// When, as it is written.
    pub at: Option<Untrusted>,
    /// People who changed it since, in order.
    pub edited_by: Vec<Untrusted>,
}

/// What the signature beside a playbook's file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Signature {
    Unsigned,
    /// By a person of the file of allowed signers.
    Good {
        by: String,
        /// `SHA256:...`.
        key: String,
    },
    /// It fits its key; nothing here says whose that is.
    Unknown {
        key: String,
    },
    /// It does not hold, and why.
    Bad {
        why: String,
    },
}

impl Signature {
    /// In words. The names in them come from a file of this desk's people.
    pub fn words(&self) -> String {
        match self {
            Self::Unsigned => "unsigned".to_owned(),
            Self::Good { by, key } => format!("signed by {by} ({key})"),
            Self::Unknown { key } => format!("signed by {key}, and nothing says whose key that is"),
            Self::Bad { why } => format!("BAD SIGNATURE: {why}"),
        }
    }
}

/// What a step does, and where it goes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepKind {
    Start,
    End,
    Action,
    /// Another playbook by its id.
    Playbook(String),
    /// Heads of branches that are worked at the same time.
    Parallel(Vec<String>),
    If {
        condition: Untrusted,
        yes: String,
        no: Option<String>,
    },
    While {
        condition: Untrusted,
        body: String,
    },
    Switch {
        on: Untrusted,
        /// Value and head of the branch; `default` takes what no other takes.
        cases: Vec<(String, String)>,
    },
}

impl StepKind {
    /// The word CACAO uses.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Action => "action",
            Self::Playbook(_) => "playbook-action",
            Self::Parallel(_) => "parallel",
            Self::If { .. } => "if-condition",
            Self::While { .. } => "while-condition",
            Self::Switch { .. } => "switch-condition",
        }
    }

    /// Heads of the branches it opens, with the word each is known by.
    pub fn branches(&self) -> Vec<(String, &str)> {
        match self {
            Self::Start | Self::End | Self::Action | Self::Playbook(_) => Vec::new(),
            Self::Parallel(heads) => heads.iter().enumerate().map(|(i, h)| ((i + 1).to_string(), h.as_str())).collect(),
            Self::If { yes, no, .. } => {
                let no = no.iter().map(|n| ("no".to_owned(), n.as_str()));
                [("yes".to_owned(), yes.as_str())].into_iter().chain(no).collect()
            }
            Self::While { body, .. } => vec![("again".to_owned(), body.as_str())],
            Self::Switch { cases, .. } => cases.iter().map(|(v, h)| (v.clone(), h.as_str())).collect(),
        }
    }
}

/// One command of an action step. Shown to people; nothing is run from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// A word of `command-type-ov` or one of ours (`x-...`); letters, digits and hyphens.
    pub kind: String,
    pub text: Untrusted,
    pub description: Untrusted,
    /// The rest of it: headers, content, targets of a catalogue action.
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// The catalogue action a step proposes.
pub const ACTION: &str = "x-action";
/// An Ansible playbook, a query for OpenSearch.
pub const ANSIBLE: &str = "x-ansible";
pub const OPENSEARCH: &str = "x-opensearch";

/// Every asset has a backup that is young enough and proven.
pub const BACKUPS_FRESH: &str = "backups-fresh";
/// What a desk can find out itself.
pub const FACTS: [&str; 1] = [BACKUPS_FRESH];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub id: String,
    /// A short name to type, unique in its playbook.
    pub key: String,
    pub kind: StepKind,
    pub name: Untrusted,
    pub description: Untrusted,
    pub delay_ms: Option<u64>,
    /// After so long the step has failed.
    pub timeout_ms: Option<u64>,
    /// After so long somebody should be told; the step goes on.
    pub box_ms: Option<u64>,
    pub on_completion: Option<String>,
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
    pub variables: BTreeMap<String, Variable>,
    pub in_args: Vec<String>,
    pub out_args: Vec<String>,
    /// Who does it, as the playbook names them.
    pub who: Option<Untrusted>,
    pub targets: Vec<Untrusted>,
    pub commands: Vec<Command>,
    pub phase: Option<Phase>,
    /// RE&CT response actions, such as `RA3301`.
    pub react: Vec<String>,
    pub techniques: Vec<String>,
    pub look_at: Option<Untrusted>,
    /// What to attach.
    pub attach: Vec<Untrusted>,
    pub stop_when: Option<Untrusted>,
    /// Who must put their name to it before it is done: roles of the roster, or others such as `legal`.
    pub sign_off: Vec<String>,
    /// A question for the model; the answer is advice.
    pub prompt: Option<Untrusted>,
}

impl Step {
    /// Whether it carries a search.
    pub fn searches(&self) -> bool {
        self.commands.iter().any(|c| c.kind == OPENSEARCH)
    }

    /// Where it goes when it succeeded.
    pub fn next(&self) -> Option<&str> {
        self.on_success.as_deref().or(self.on_completion.as_deref())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playbook {
    /// `playbook--UUID`.
    pub id: String,
    /// A short name to type.
    pub key: String,
    pub title: Untrusted,
    pub description: Untrusted,
    /// When this version was made, as it is written.
    pub modified: Untrusted,
    pub revoked: bool,
    pub types: Vec<Untrusted>,
    /// The strictest of its markings; `None`: not marked.
    pub tlp: Option<Tlp>,
    pub techniques: Vec<String>,
    /// Patterns over rule id, rule name and title, with `*` and `?`; lower case.
    pub rules: Vec<String>,
    /// Words of alerts it is for; lower case.
    pub words: Vec<String>,
    /// Only people of these roles, and those named, see its runs; empty: everybody does.
    pub restricted: Vec<String>,
    /// A model wrote it.
    pub generated: Option<Generated>,
    /// Variables whose value the desk finds out itself, and what it finds out: words of [`FACTS`].
    pub facts: BTreeMap<String, String>,
    /// Variables that hold a time from which deadlines count, and which: words of the file of clocks, such as `aware`.
    pub clocks: BTreeMap<String, String>,
    /// Variables that are one of a few words.
    pub choices: BTreeMap<String, Vec<String>>,
    pub variables: BTreeMap<String, Variable>,
    pub start: String,
    pub exception: Option<String>,
    /// In the order of the document.
    pub steps: Vec<Step>,
    /// SHA-256 of the document in canonical form (RFC 8785), hex: the version a run is pinned to.
    pub hash: String,
}

impl Playbook {
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|s| s.id == id)
    }

    /// By id or by its short name.
    pub fn find(&self, word: &str) -> Option<&Step> {
        self.step(word).or_else(|| self.steps.iter().find(|s| s.key == word))
    }

    /// The variable a condition asks for whose value the desk finds out.
    pub fn fact_of(&self, step: &Step) -> Option<&str> {
        let asked = match &step.kind {
            StepKind::If { condition, .. } | StepKind::While { condition, .. } => condition,
            StepKind::Switch { on, .. } => on,
            _ => return None,
        };
        self.facts.keys().map(String::as_str).find(|name| asked.expose().contains(*name))
    }

    /// Steps people do.
    pub fn work(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|s| matches!(s.kind, StepKind::Action | StepKind::Playbook(_)))
    }
}

/// A playbook that may fit an alert, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggested {
    pub playbook: String,
    pub title: Untrusted,
    /// Higher fits better; only for ordering.
    pub score: u32,
    pub why: Vec<Untrusted>,
}
