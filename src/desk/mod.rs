//! The running engine: wires the rooms below it, owns tasks and shutdown. The doors (`console`, `cli`, later `serve`)
//! talk to a [`Desk`] and to nothing below it but `model`, `text` and `config`.
//!
//! Methods are blocking unless they are `async`; the console's effect runner calls the blocking ones on a blocking
//! thread. Every write takes the person it is done for and is refused, with words, when that person may not do it or
//! when the audit log cannot take its record.

mod acts;
pub mod bench;
pub mod case;
pub mod checkpoint;
mod context;
mod demo;
mod error;
pub mod eval;
pub mod inspect;
mod intake;
mod live;
pub mod models;
pub mod notify;
mod open;
pub mod operate_acts;
pub mod operate_backup;
pub mod operate_checklist;
pub mod operate_drill;
pub mod operate_gates;
mod operate_offer;
pub mod operate_prune;
pub mod operate_rollout;
pub mod operate_sla;
mod operate_slo;
pub mod operate_spec;
mod platform;
pub mod playbook;
mod playbook_ask;
pub mod playbook_draft;
mod playbook_facts;
mod playbook_fill;
mod playbook_offer;
pub mod playbook_propose;
mod playbook_query;
pub mod playbook_runs;
pub mod playbook_signature;
mod read;
mod respond;
mod respond_life;
pub mod scenario;
pub mod sign;
mod triage;
mod types;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use crate::audit::Audit;
use crate::config::Settings;
use crate::model::ids::PersonId;
use crate::model::person::Person;
use crate::model::person::Role;
use crate::model::person::Roster;
use crate::respond::Responder;
use crate::store::sqlite::SqliteStore;
use crate::triage::Backends;

pub use crate::intake::Summary;
pub use crate::intake::pipeline::RetrySummary;
pub use crate::store::Changes;
pub use crate::triage::Cancel;
pub use crate::triage::Health;
pub use crate::triage::partial;
/// The audit log's own plain parts, for the doors.
pub mod audit {
    pub use crate::audit::AuditFilter;
    pub use crate::audit::VerifyReport;
    pub use crate::audit::to_csv;
    pub use crate::audit::to_ndjson;
    pub use crate::audit::verify;
    pub use crate::audit::verify_heads;
}

pub use context::Known;
pub use demo::Demo;
pub use error::DeskError;
pub use live::Live;
pub use open::AssetWeight;
pub use open::DeskOptions;
pub use open::SecretResolver;
pub use operate_offer::Offer;
pub use operate_offer::OfferedAct;
pub use operate_offer::PairOffers;
pub use platform::Platform;
pub use playbook_fill::Filled;
pub use playbook_offer::Asked;
pub use playbook_offer::Offered;
pub use playbook_propose::StepOffer;
pub use types::AtWork;
pub use types::Detail;
pub use types::Link;
pub use types::LinkState;
pub use types::Past;

/// What a desk method answers.
pub type Result<T> = std::result::Result<T, DeskError>;

/// A desk: one data folder, its people, its rooms. Share it as `Arc<Desk>`.
pub struct Desk {
    data_dir: PathBuf,
    settings: Settings,
    me: Option<Person>,
    read_only: bool,
    exercise: Option<String>,
    notices: Vec<String>,
    store: Arc<SqliteStore>,
    audit: Arc<Audit>,
    responder: Responder,
    secrets: SecretResolver,
    assets: AssetWeight,
    known: Known,
    links: Arc<Mutex<Vec<Link>>>,
    health: Mutex<Option<Health>>,
    /// Shared with the responder, which asks it for the budgets.
    platform: Arc<Mutex<Arc<Platform>>>,
    /// By name, made when first asked.
    backends: Mutex<BTreeMap<String, Backends>>,
    /// Answers that people of this process wait for.
    asking: AtomicUsize,
    /// The playbooks of its folder, and what the folder was when they were read.
    library: Mutex<Option<(playbook::Stamp, Arc<playbook::Library>)>>,
    /// A throwaway desk full of old records judges them as of their time.
    clock: Option<jiff::Timestamp>,
}

impl Desk {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn data_dir(&self) -> &std::path::Path {
        &self.data_dir
    }

    /// The people as they are now.
    pub fn roster(&self) -> Arc<Roster> {
        self.responder.people()
    }

    /// The person at this terminal: the kernel's uid looked up in the roster.
    pub fn me(&self) -> Option<Person> {
        self.me.clone()
    }

    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// The banner of a desk where nothing is real.
    pub fn exercise(&self) -> Option<String> {
        self.exercise.clone()
    }

    /// What the people of this desk should know about how it came to be, such as that nobody can approve.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// People the console may switch between: those of a demo desk, nobody anywhere else.
    pub fn switchable_people(&self) -> Vec<Person> {
        if self.exercise.is_some() { self.roster().people.clone() } else { Vec::new() }
    }

    /// The time by which experience ages.
    fn now(&self) -> jiff::Timestamp {
        self.clock.unwrap_or_else(jiff::Timestamp::now)
    }

    /// Refuses unless `by` is the person at this terminal (or any person of a demo desk) and may change things.
    fn authorise(&self, by: &PersonId) -> Result<Person> {
        if self.read_only {
            return Err(DeskError::Refused("this console is read-only".into()));
        }
        let people = self.roster();
        let Some(person) = people.get(by) else {
            return Err(DeskError::Refused(format!("{by} is not in the roster")));
        };
        let here = self.exercise.is_some() || self.me.as_ref().is_some_and(|me| me.id == *by);
        if !here {
            return Err(DeskError::Refused(format!("you are not {by}: the operating system says who you are")));
        }
        if person.read_only() {
            return Err(DeskError::Refused(format!("{by} may read only (roles: {})", roles(person))));
        }
        Ok(person.clone())
    }
}

fn roles(person: &Person) -> String {
    if person.roles.is_empty() {
        return "none".into();
    }
    person.roles.iter().map(|r: &Role| r.word()).collect::<Vec<_>>().join(", ")
}
