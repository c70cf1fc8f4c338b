//! Parts of the policy about time, other people, and one person alone.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::model::action::Tier;
use crate::model::ids::PersonId;
use crate::model::person::Role;

fn any() -> Vec<String> {
    vec!["*".into()]
}

/// What a window of maintenance says of starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Starts {
    /// A freeze: nothing starts.
    Forbidden,
    /// Whatever the hours say.
    Allowed,
    /// Nowhere but in windows like this one.
    Only,
}

/// A window with dates, in the policy's time zone; a time that the clock change leaves out or repeats counts as it is
/// written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    pub start: Starts,
    pub from: DateTime,
    /// Not within it any more.
    pub to: DateTime,
    #[serde(default = "any")]
    pub actions: Vec<String>,
    /// Empty: every tier.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// As of `[[protect]]`.
    #[serde(default = "any")]
    pub targets: Vec<String>,
    pub why: String,
}

/// What the change board must know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketRule {
    #[serde(default = "any")]
    pub actions: Vec<String>,
    /// Empty: every tier.
    #[serde(default)]
    pub tiers: Vec<Tier>,
}

/// Who may run what alone, in an emergency. What `[[protect]]` refuses stays refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakGlassRule {
    /// Nobody: empty.
    pub roles: Vec<Role>,
    pub tiers: Vec<Tier>,
    /// Until then somebody else must have looked at it.
    pub review_hours: u32,
}

impl Default for BreakGlassRule {
    fn default() -> Self {
        Self { roles: vec![Role::Commander, Role::Lead], tiers: vec![Tier::T1, Tier::T2], review_hours: 24 }
    }
}

/// A rung of the ladder: who is told when nobody decided for so long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalate {
    /// Since it was proposed.
    pub after_minutes: u32,
    #[serde(default)]
    pub to: Vec<Role>,
    #[serde(default)]
    pub people: Vec<PersonId>,
    #[serde(default = "any")]
    pub actions: Vec<String>,
    /// Empty: every tier.
    #[serde(default)]
    pub tiers: Vec<Tier>,
}
