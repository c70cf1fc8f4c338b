//! Working a playbook: a pure state machine over [`Run`].
//!
//! [`advance`] takes a run, what happened and the time, and gives the run as it then stands and what has to be done about
//! it. It reads no clock and touches nothing; whoever calls it writes the records first, then the run, if nobody else
//! wrote it meanwhile.
//!
//! - A branch runs to its `end`; then the step that opened it goes on.
//! - A failed step goes its `on_failure`. Without one, the step for exceptions is worked on its behalf; after that, or
//!   where there is none, the failed step is *held*: a person tries again, goes on with a reason, or gives it up. Nothing
//!   that failed passes by itself.
//! - A condition that asks for an unknown value is *undecided*: a person decides, with a reason.
//! - A `timeout` of CACAO fails a step; a time box of ours only tells.

mod act;
mod flow;

use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use sha2::Digest as _;
use sha2::Sha256;

use super::ids;
use super::kinds;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::PersonId;
use crate::model::person::Role;
use crate::model::playbook::Playbook;
use crate::model::playbook::Step;
use crate::model::playbook_run::Event;
use crate::model::playbook_run::Held;
use crate::model::playbook_run::Run;
use crate::model::playbook_run::RunState;
use crate::model::playbook_run::Visit;
use crate::text::Untrusted;

/// Visits of one run: a loop that goes round more often waits for a person.
pub const MOST_VISITS: usize = 2_000;
/// Notes and pieces of evidence of one visit.
pub const MOST_NOTES: usize = 500;
/// Bytes of a note or a reason.
pub const LONGEST_TEXT: usize = 8 << 10;

/// Who does it. `None` where the desk itself does (time passing).
#[derive(Clone, Debug)]
pub struct Actor<'a> {
    pub id: &'a PersonId,
    pub roles: &'a [Role],
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// For the audit log, before the run is written.
    Record { kind: &'static str, body: Value },
    /// Start the playbook of this id for this visit.
    Start { visit: u32, playbook: String },
    /// Tell the run that waits for this one.
    Tell { run: String, visit: u32, ok: bool },
}

/// Why it was not done; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was asked for wrongly.
    #[error("{0}")]
    Usage(String),
    /// It may not be done, or not by them.
    #[error("{0}")]
    Refused(String),
    /// The run has moved on.
    #[error("{0}")]
    Stale(String),
}

pub(super) type Outcome<T> = Result<T, Refusal>;

fn usage<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Refusal::Usage(why.into()))
}

fn refused<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Refusal::Refused(why.into()))
}

fn stale<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Refusal::Stale(why.into()))
}

/// What a run is begun with.
#[derive(Clone, Debug)]
pub struct Begin {
    pub id: String,
    pub alert: Option<AlertId>,
    pub case: Option<CaseId>,
    pub parent: Option<(String, u32)>,
    /// Values of external variables, by name.
    pub values: Vec<(String, Untrusted)>,
}

/// Begins a run.
///
/// # Errors
/// When an external variable has no value, or one is not of its type.
pub fn begin(book: &Playbook, with: Begin, by: &Actor<'_>, now: Timestamp) -> Outcome<(Run, Vec<Effect>)> {
    if book.revoked {
        return refused(format!("{} is revoked by whoever made it", book.key));
    }
    let mut variables = std::collections::BTreeMap::new();
    for (name, v) in &book.variables {
        let held = Held { kind: v.kind.clone(), value: v.value.clone(), constant: v.constant, by: None, at: now };
        variables.insert(name.clone(), held);
    }
    for (name, value) in with.values {
        let name = full_name(&name);
        let Some(held) = variables.get_mut(&name) else {
            return usage(format!("{} has no variable {name}", book.key));
        };
        kinds::check(&held.kind, value.expose()).or_else(|why| usage(format!("{name}: {why}")))?;
        let value = act::as_kept(book, &name, &value, now)?;
        (held.value, held.by) = (Some(value), Some(by.id.clone()));
    }
    let empty = |h: &Held| h.value.as_ref().is_none_or(Untrusted::is_empty);
    let external = |n: &String| book.variables.get(n).is_some_and(|v| v.external);
    let missing: Vec<&str> =
        variables.iter().filter(|(n, h)| external(n) && empty(h)).map(|(n, _)| n.trim_matches('_')).collect();
    if !missing.is_empty() {
        return usage(format!("{} needs a value of: {}", book.key, missing.join(", ")));
    }
    let run = Run {
        id: with.id,
        playbook: book.key.clone(),
        playbook_id: book.id.clone(),
        title: book.title.clone(),
        version: book.hash.clone(),
        alert: with.alert,
        case: with.case,
        started_by: by.id.clone(),
        started_at: now,
        state: RunState::Running,
        ended_at: None,
        ended_why: None,
        signed: None,
        restricted: book.restricted.clone(),
        named: Vec::new(),
        variables,
        deadlines: std::collections::BTreeMap::new(),
        visits: Vec::new(),
        parent: with.parent,
        seq: 0,
    };
    let mut m = Machine { book, run, by: Some(by), now, effects: Vec::new() };
    let (alert, case, parent) = (m.run.alert, m.run.case, m.run.parent.clone());
    m.record("playbook.start", json!({ "alert": alert, "case": case, "parent": parent }));
    m.enter_from(&book.start, None, "", 0);
    Ok((m.run, m.effects))
}

/// One thing happens.
///
/// # Errors
/// Why it cannot; then nothing has changed.
pub fn advance(
    book: &Playbook,
    run: &Run,
    event: &Event,
    by: Option<&Actor<'_>>,
    now: Timestamp,
) -> Outcome<(Run, Vec<Effect>)> {
    if book.hash != run.version {
        return stale(format!("run {} is pinned to version {}, not {}", run.id, &run.version[..12], &book.hash[..12]));
    }
    let mut m = Machine { book, run: run.clone(), by, now, effects: Vec::new() };
    m.happen(event)?;
    Ok((m.run, m.effects))
}

/// `x` or `__x__`, as `__x__`.
pub fn full_name(name: &str) -> String {
    if ids::is_variable(name) { name.to_owned() } else { format!("__{}__", name.trim_matches('_')) }
}

/// The value of a variable where a visit stands.
pub fn value_of(run: &Run, step: Option<&Step>, name: &str) -> Option<String> {
    let own = step.and_then(|s| s.variables.get(name));
    let value = match own {
        Some(v) => v.value.as_ref(),
        None => run.variables.get(name).and_then(|h| h.value.as_ref()),
    };
    value.map(|v| v.expose().to_owned())
}

/// The type a variable of a step is declared with.
pub fn kind_of(run: &Run, step: &Step, name: &str) -> String {
    let own = step.variables.get(name).map(|v| &v.kind);
    own.or_else(|| run.variables.get(name).map(|h| &h.kind)).cloned().unwrap_or_else(|| "string".into())
}

/// A text of the playbook with the values that are known put in, and what is not known named so. Values come from people
/// and alerts: so does the result.
pub fn fill(run: &Run, step: &Step, text: &Untrusted) -> Untrusted {
    let mut out = text.expose().to_owned();
    for name in ids::references(text.expose()) {
        let value = value_of(run, Some(step), &name);
        let value = value.unwrap_or_else(|| format!("<{} not known>", name.trim_matches('_').replace('_', " ")));
        out = out.replace(&format!("{name}:value"), &value);
    }
    Untrusted::new(out)
}

struct Machine<'a> {
    book: &'a Playbook,
    run: Run,
    by: Option<&'a Actor<'a>>,
    now: Timestamp,
    effects: Vec<Effect>,
}

impl Machine<'_> {
    /// One transition: a number of its own, and a record.
    fn record(&mut self, kind: &'static str, mut more: Value) {
        self.run.seq += 1;
        let mut body = json!({
            "run": self.run.id,
            "seq": self.run.seq,
            "playbook": self.run.playbook,
            "version": self.run.version,
        });
        if let (Some(to), Some(from)) = (body.as_object_mut(), more.as_object_mut()) {
            to.append(from);
        }
        self.effects.push(Effect::Record { kind, body });
    }

    /// A record about a visit. What people wrote into a restricted run stands in the log as its hash alone.
    fn record_visit(&mut self, kind: &'static str, n: u32, texts: &[(&str, &Untrusted)], mut more: Value) {
        if let (Some(v), Some(o)) = (self.run.visit(n), more.as_object_mut()) {
            o.insert("visit".into(), n.into());
            o.insert("step".into(), v.step.clone().into());
            o.insert("key".into(), v.key.clone().into());
            for (name, text) in texts {
                o.insert((*name).into(), self.told(text));
            }
        }
        self.record(kind, more);
    }

    fn told(&self, text: &Untrusted) -> Value {
        if self.run.restricted.is_empty() {
            return text.expose().into();
        }
        json!({ "sha256": hex::encode(Sha256::digest(text.expose())) })
    }

    fn visit_mut(&mut self, n: u32) -> Option<&mut Visit> {
        self.run.visits.get_mut(usize::try_from(n).ok()?.checked_sub(1)?)
    }

    fn step_of(&self, n: u32) -> Option<&Step> {
        self.run.visit(n).and_then(|v| self.book.step(&v.step))
    }

    fn after(&self, from: Timestamp, ms: u64) -> Timestamp {
        let span = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX / 2));
        from.checked_add(span).unwrap_or(Timestamp::MAX)
    }

    fn actor(&self) -> Outcome<&Actor<'_>> {
        self.by.ok_or_else(|| Refusal::Refused("somebody has to do this".into()))
    }
}

#[cfg(test)]
#[path = "../run_tests.rs"]
mod tests;
