//! The policy: a TOML file that says what may be done, when, how often, and who must agree.
//!
//! ```toml
//! time_zone = "Europe/Berlin"      # for hours; default UTC
//! max_targets = 20                 # of any one request
//! draft_days = 7                   # a draft nobody touched for so long expires
//!
//! [roles]
//! propose = ["analyst", "lead", "commander", "approver"]
//! approve = ["approver", "lead", "commander"]
//! execute = ["analyst", "lead", "commander", "approver"]
//! release_kill = ["lead", "commander"]
//!
//! [tiers.T3]
//! approvals = 2                    # people besides the requester
//! approve_minutes = 30             # then it expires unapproved
//! execute_minutes = 15             # after that time, this long to start it
//! signed = "agent touch"           # the least an approval must be: key press, agent, agent touch, own machine
//! executor_differs = true          # who asked for it may not start it
//!
//! [[protect]]                      # refused, or with `approvals` only asked of more people
//! targets = ["dc-*", "10.0.0.0/8"]
//! why = "domain controllers and our own networks"
//!
//! [[hours]]                        # may start only then
//! tiers = ["T2", "T3"]
//! days = ["mon", "tue", "wed", "thu", "fri"]
//! from = "07:00"
//! to = "20:00"
//!
//! [[maintenance]]                  # dates in `time_zone`
//! start = "forbidden"              # or "only" (nowhere else), or "allowed" (whatever the hours say)
//! from = "2026-12-23T18:00"
//! to = "2027-01-02T06:00"
//! why = "year-end freeze"
//!
//! [[caps]]
//! actions = ["isolate-*"]
//! per_hour = 10
//! per_target_per_hour = 2
//! per_host_per_hour = 4            # of any action
//!
//! [[ticket]]                       # the change board must know of it; or `ticket = true` in a tier
//! actions = ["restore-*"]
//!
//! [break_glass]                    # one person, alone, with a reason; another one reviews it afterwards
//! roles = ["commander", "lead"]
//! tiers = ["T1", "T2"]
//! review_hours = 24
//!
//! [[escalate]]                     # who is told when nobody decides; it never approves anything
//! after_minutes = 10
//! to = ["commander"]
//!
//! [[budget]]                       # approved and started only while the error budgets allow it
//! actions = ["rollout-*"]
//! slos = ["*"]
//! class = "normal"
//! ```
//!
//! Without a file the defaults hold, which are those of an empty one.

mod more;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use more::{BreakGlassRule, Escalate, Maintenance, Starts, TicketRule};

use super::catalogue::shape_fault;
use super::digest;
use crate::config::doc::{Doc, Table, Value};
use crate::config::fault::{Faults, Place};
use crate::model::action::{Means, Tier};
use crate::model::person::Role;
use crate::model::slo::ChangeClass;

/// The rules with their digest and the file they came from.
#[derive(Clone, Debug)]
pub struct Policy {
    pub rules: Rules,
    pub zone: TimeZone,
    /// SHA-256 (hex) of the file's bytes; of no bytes for the defaults.
    pub digest: String,
    /// Read again before each proposal, approval and start when it changed. `None`: the defaults.
    pub path: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// IANA name.
    pub time_zone: String,
    pub max_targets: usize,
    /// Days from its last edit until a draft that was not submitted expires: 1 to 365.
    pub draft_days: u16,
    pub roles: Roles,
    pub tiers: BTreeMap<Tier, TierRule>,
    pub protect: Vec<Protect>,
    pub hours: Vec<Hours>,
    pub maintenance: Vec<Maintenance>,
    pub caps: Vec<Cap>,
    pub ticket: Vec<TicketRule>,
    pub budget: Vec<Budget>,
    pub break_glass: BreakGlassRule,
    pub escalate: Vec<Escalate>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Roles {
    pub propose: Vec<Role>,
    pub approve: Vec<Role>,
    pub execute: Vec<Role>,
    /// Who may switch the kill switch off again. On: everybody on the roster.
    pub release_kill: Vec<Role>,
}

/// What is left out keeps its default, see [`Rules::tier`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TierRule {
    pub approvals: Option<u8>,
    pub approve_minutes: Option<u32>,
    pub execute_minutes: Option<u32>,
    pub max_targets: Option<usize>,
    /// Roles that may approve this tier; else `roles.approve`.
    pub approve: Option<Vec<Role>>,
    /// The least an approval must be: `key press`, `agent`, `agent touch`, `own machine`.
    pub signed: Option<Means>,
    /// Who asked for it may not start it.
    pub executor_differs: Option<bool>,
    /// The change board must know of it.
    pub ticket: Option<bool>,
}

/// A tier's rule with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierTerms {
    pub approvals: u8,
    pub approve_minutes: u32,
    pub execute_minutes: u32,
    pub max_targets: usize,
    pub approve: Vec<Role>,
    pub signed: Means,
    pub executor_differs: bool,
    pub ticket: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protect {
    /// Names with `*`, or networks such as `10.0.0.0/8`.
    pub targets: Vec<String>,
    #[serde(default = "any")]
    pub actions: Vec<String>,
    pub why: String,
    /// Instead of refusing: at least this many approvals.
    #[serde(default)]
    pub approvals: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    #[serde(default = "any")]
    pub actions: Vec<String>,
    /// Empty: every tier.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// Empty: every day. A span past midnight belongs to the day it begins.
    #[serde(default)]
    pub days: Vec<Day>,
    pub from: String,
    pub to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    #[serde(default = "any")]
    pub actions: Vec<String>,
    /// Targets of one action within 60 minutes.
    #[serde(default)]
    pub per_hour: Option<u64>,
    /// Times one action may hit the same target within 60 minutes.
    #[serde(default)]
    pub per_target_per_hour: Option<u64>,
    /// Times any action at all may hit the same target within 60 minutes.
    #[serde(default)]
    pub per_host_per_hour: Option<u64>,
}

/// Changes that wait while an error budget is spent, or while that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub actions: Vec<String>,
    /// Going back is always allowed. What leads two Deployments of `rollouts.toml` back (by a scale or a switch) is free
    /// where `rollout-abort` is.
    #[serde(default = "ways_back")]
    pub except: Vec<String>,
    /// Objectives that count, `*` wildcard.
    #[serde(default = "any")]
    pub slos: Vec<String>,
    #[serde(default = "normal")]
    pub class: ChangeClass,
}

fn ways_back() -> Vec<String> {
    ["*-abort", "*-undo", "*-pause"].map(str::to_owned).to_vec()
}

fn normal() -> ChangeClass {
    ChangeClass::Normal
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

fn any() -> Vec<String> {
    vec!["*".into()]
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            time_zone: "UTC".into(),
            max_targets: 50,
            draft_days: 7,
            roles: Roles::default(),
            tiers: BTreeMap::new(),
            protect: Vec::new(),
            hours: Vec::new(),
            maintenance: Vec::new(),
            caps: Vec::new(),
            ticket: Vec::new(),
            budget: Vec::new(),
            break_glass: BreakGlassRule::default(),
            escalate: Vec::new(),
        }
    }
}

impl Default for Roles {
    fn default() -> Self {
        use Role::{Analyst, Approver, Commander, Lead};
        Self {
            propose: vec![Analyst, Lead, Commander, Approver],
            approve: vec![Approver, Lead, Commander],
            execute: vec![Analyst, Lead, Commander, Approver],
            release_kill: vec![Lead, Commander],
        }
    }
}

impl Rules {
    pub fn tier(&self, tier: Tier) -> TierTerms {
        let (approvals, approve_minutes, execute_minutes) = match tier {
            Tier::T0 => (0, 60, 60),
            Tier::T1 => (1, 60, 60),
            Tier::T2 => (1, 30, 30),
            Tier::T3 => (2, 30, 15),
        };
        let unset = TierRule::default();
        let r = self.tiers.get(&tier).unwrap_or(&unset);
        TierTerms {
            approvals: r.approvals.unwrap_or(approvals),
            approve_minutes: r.approve_minutes.unwrap_or(approve_minutes),
            execute_minutes: r.execute_minutes.unwrap_or(execute_minutes),
            max_targets: r.max_targets.unwrap_or(self.max_targets).min(self.max_targets),
            approve: r.approve.clone().unwrap_or_else(|| self.roles.approve.clone()),
            signed: r.signed.unwrap_or_default(),
            executor_differs: r.executor_differs.unwrap_or(tier == Tier::T3),
            ticket: r.ticket.unwrap_or_default(),
        }
    }
}

/// `07:30` as minutes since midnight; `24:00` is the end of a day.
pub(super) fn minutes(clock: &str) -> Option<u16> {
    let (h, m) = clock.split_once(':')?;
    let two =
        |s: &str| (s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse::<u16>().ok()).flatten();
    let (h, m) = (two(h)?, two(m)?);
    (m < 60 && (h < 24 || (h == 24 && m == 0))).then_some(h * 60 + m)
}

impl Policy {
    /// The policy without a file.
    pub fn built_in() -> Self {
        Self { rules: Rules::default(), zone: TimeZone::UTC, digest: digest::of_bytes(b""), path: None }
    }

    pub fn load(path: &Path) -> Result<Self, Faults> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Faults::one(Place::Whole(path.to_owned()), format!("cannot be read: {e}")))?;
        let mut read = Self::parse(path, &text)?;
        read.path = Some(path.to_owned());
        Ok(read)
    }

    /// `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Faults> {
        let doc = Doc::parse(path, text.to_owned())?;
        let rules: Rules = toml::from_str(text).map_err(|e| shape_fault(path, text, &e))?;
        let mut faults = Faults::default();
        let mut say = |at: usize, what: String| faults.add(doc.place(at), what);
        let zone = TimeZone::get(&rules.time_zone).unwrap_or_else(|e| {
            say(value_at(&doc.root, "time_zone"), format!("time_zone: expected a name such as Europe/Berlin: {e}"));
            TimeZone::UTC
        });
        if !(1..=365).contains(&rules.draft_days) {
            let found = rules.draft_days;
            say(value_at(&doc.root, "draft_days"), format!("draft_days: expected 1 to 365 days, found {found}"));
        }
        for (h, t) in rules.hours.iter().zip(tables(&doc, "hours")) {
            for (key, clock) in [("from", &h.from), ("to", &h.to)] {
                if minutes(clock).is_none() {
                    say(value_at(t, key), format!("{key}: expected a time such as 07:30, found {clock:?}"));
                }
            }
            if minutes(&h.from) == minutes(&h.to) {
                say(value_at(t, "to"), "to: expected another time than from; a whole day is 00:00 to 24:00".into());
            }
        }
        for (p, t) in rules.protect.iter().zip(tables(&doc, "protect")) {
            if p.targets.is_empty() {
                say(value_at(t, "targets"), "targets: expected at least one name or network".into());
            }
            for bad in p.targets.iter().filter(|s| s.contains('/') && s.parse::<ipnet::IpNet>().is_err()) {
                say(value_at(t, "targets"), format!("targets: expected a network such as 10.0.0.0/8, found {bad:?}"));
            }
        }
        for (c, t) in rules.caps.iter().zip(tables(&doc, "caps")) {
            if c.per_hour.is_none() && c.per_target_per_hour.is_none() && c.per_host_per_hour.is_none() {
                say(t.at, "a cap needs per_hour, per_target_per_hour or per_host_per_hour".into());
            }
        }
        for (m, t) in rules.maintenance.iter().zip(tables(&doc, "maintenance")) {
            if m.from >= m.to {
                say(value_at(t, "to"), "to: expected a time after from".into());
            }
        }
        for (e, t) in rules.escalate.iter().zip(tables(&doc, "escalate")) {
            if e.to.is_empty() && e.people.is_empty() {
                say(t.at, "a rung needs to (roles) or people".into());
            }
            if e.after_minutes == 0 {
                say(value_at(t, "after_minutes"), "after_minutes: expected a number above 0".into());
            }
        }
        if rules.break_glass.review_hours == 0 {
            let t = doc.root.get("break_glass").map_or(doc.root.at, |e| e.node.at);
            say(t, "break_glass: review_hours must be above 0".into());
        }
        for (b, t) in rules.budget.iter().zip(tables(&doc, "budget")) {
            for (key, list) in [("actions", &b.actions), ("slos", &b.slos)] {
                if list.is_empty() {
                    say(value_at(t, key), format!("{key}: expected at least one name"));
                }
            }
        }
        for tier in [Tier::T0, Tier::T1, Tier::T2, Tier::T3] {
            let terms = rules.tier(tier);
            if terms.approve_minutes == 0 || terms.execute_minutes == 0 || terms.max_targets == 0 {
                say(
                    value_at(&doc.root, "tiers"),
                    format!("tiers: the times and max_targets of {tier:?} must be above 0"),
                );
            }
        }
        faults.or(Self { rules, zone, digest: digest::of_bytes(text.as_bytes()), path: None })
    }
}

fn value_at(table: &Table, key: &str) -> usize {
    table.get(key).map_or(table.at, |e| e.node.at)
}

fn tables<'a>(doc: &'a Doc, key: &str) -> Vec<&'a Table> {
    let Some(Value::Array(items)) = doc.root.get(key).map(|e| &e.node.value) else { return Vec::new() };
    items
        .iter()
        .filter_map(|n| match &n.value {
            Value::Table(t) => Some(t),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_can_be_read_and_an_empty_file_is_the_default() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/policy.sample.toml");
        let p = Policy::load(&sample).unwrap();
        assert!(!p.rules.protect.is_empty());
        let empty = Policy::parse(Path::new("p"), "").unwrap();
        assert_eq!((empty.rules, empty.digest), (Policy::built_in().rules, Policy::built_in().digest));
    }

    #[test]
    fn a_tier_keeps_the_defaults_it_does_not_set() {
        let p = Policy::parse(Path::new("p"), "max_targets = 5\n[tiers.T3]\napprovals = 3\nmax_targets = 9\n").unwrap();
        let t3 = p.rules.tier(Tier::T3);
        assert_eq!((t3.approvals, t3.approve_minutes, t3.max_targets), (3, 30, 5));
        assert_eq!(p.rules.tier(Tier::T0).approvals, 0);
        assert_eq!(p.rules.tier(Tier::T2).approvals, 1);
    }

    #[test]
    fn faults_have_a_place() {
        for (text, start) in [
            ("time_zone = \"Mars/Base\"", "p:1:13: time_zone: expected"),
            ("max_target = 3", "p:1:1: unknown field `max_target`"),
            ("draft_days = 0", "p:1:14: draft_days: expected 1 to 365 days, found 0"),
            ("draft_days = 366", "p:1:14: draft_days: expected 1 to 365"),
            ("[[hours]]\nfrom = \"7:00\"\nto = \"20:00\"", "p:2:8: from: expected a time"),
            ("[[hours]]\nfrom = \"07:00\"\nto = \"07:00\"", "p:3:6: to: expected another"),
            ("[[protect]]\ntargets = [\"10.0.0.0/99\"]\nwhy = \"x\"", "p:2:11: targets: expected a network"),
            ("[[caps]]\nactions = [\"x\"]", "p:1:1: a cap needs"),
            ("[[escalate]]\nafter_minutes = 5", "p:1:1: a rung needs"),
            ("[[escalate]]\nafter_minutes = 0\nto = [\"lead\"]", "p:2:17: after_minutes: expected"),
            ("[break_glass]\nreview_hours = 0", "p:1:"),
            (
                "[[maintenance]]\nstart = \"only\"\nfrom = \"2026-01-02T00:00\"\nto = \"2026-01-01T00:00\"\nwhy = \"x\"",
                "p:4:6: to: expected a time after",
            ),
            ("[[budget]]\nactions = []", "p:2:11: actions: expected at least one"),
            ("[[budget]]\nactions = [\"x\"]\nclass = \"big\"", "p:3:"),
            ("[tiers.T9]\napprovals = 1", "p:1:8: unknown variant `T9`"),
            ("[tiers.T1]\napprove_minutes = 0", "p:1:"),
            ("[roles]\napprove = [\"boss\"]", "p:2:"),
        ] {
            let e = Policy::parse(Path::new("p"), text).unwrap_err().to_string();
            assert!(e.starts_with(start), "{text}: {e}");
        }
        let near = Policy::parse(Path::new("p"), "max_target = 3").unwrap_err().to_string();
        assert!(near.ends_with("did you mean \"max_targets\"?"), "{near}");
    }

    #[test]
    fn clock_times() {
        for (s, m) in [("00:00", Some(0)), ("07:30", Some(450)), ("24:00", Some(1440)), ("24:01", None), ("7:30", None)]
        {
            assert_eq!(minutes(s), m);
        }
        for bad in ["", ":", "12:60", "-1:00", "+1:00", "1200"] {
            assert_eq!(minutes(bad), None);
        }
    }
}
