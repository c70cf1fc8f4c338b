//! Who is told when nobody decides. The ladder only ever tells: it approves nothing and stops no clock.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::approve::ESCALATED;
use super::life::Wish;
use super::policy::{Escalate, Rules};
use super::{Inner, RespondError, Responder, Result};
use crate::model::action::{Request, RequestState};
use crate::model::course::Rung;
use crate::model::ids::PersonId;
use crate::model::person::Roster;
use crate::model::query::Glob;

/// The rungs a request has, in the order they are reached, with the times they are due.
pub fn rungs(rules: &Rules, people: &Roster, r: &Request) -> Vec<Rung> {
    let b = &r.body;
    let mut mine: Vec<&Escalate> = rules
        .escalate
        .iter()
        .filter(|e| e.tiers.is_empty() || e.tiers.contains(&b.tier))
        .filter(|e| e.actions.iter().any(|p| Glob::new(p).is_match(&b.action)))
        .collect();
    mine.sort_by_key(|e| e.after_minutes);
    // After its time nobody can do anything about it any more.
    let due = |e: &Escalate| b.created + SignedDuration::from_mins(i64::from(e.after_minutes));
    let rung = |(i, e): (usize, &Escalate)| Rung {
        number: u8::try_from(i + 1).unwrap_or(u8::MAX),
        at: due(e),
        to: told(e, people),
        whom: whom(e),
    };
    mine.into_iter().filter(|e| due(e) <= b.approve_by).enumerate().map(rung).take(usize::from(u8::MAX)).collect()
}

fn told(e: &Escalate, people: &Roster) -> Vec<PersonId> {
    let fits = |p: &&crate::model::person::Person| e.people.contains(&p.id) || e.to.iter().any(|r| p.has(*r));
    people.people.iter().filter(fits).map(|p| p.id.clone()).collect()
}

fn whom(e: &Escalate) -> String {
    let roles = e.to.iter().map(|r| format!("{}s", r.word()));
    let people = e.people.iter().map(ToString::to_string);
    roles.chain(people).collect::<Vec<_>>().join(", ")
}

/// The next rung, once it is due.
pub fn due(rules: &Rules, people: &Roster, r: &Request, now: Timestamp) -> Option<Rung> {
    if r.state != RequestState::Pending {
        return None;
    }
    rungs(rules, people, r).into_iter().nth(r.course.rungs.len()).filter(|rung| rung.at <= now)
}

impl Responder {
    /// Climbs every ladder as far as it is due; safe in several processes at once. Returns how many rungs it took.
    pub fn climb(&self, now: Timestamp) -> Result<usize> {
        let inner = &self.inner;
        let rules = inner.in_force()?;
        let mut n = 0;
        for mut request in inner.store.requests(&[RequestState::Pending], 1000)? {
            while let Some(rung) = due(&rules.policy.rules, &rules.roster, &request, now) {
                match inner.climb(&request, rung, now) {
                    Ok(climbed) => {
                        request = climbed;
                        n += 1;
                    }
                    // Another process took it, or somebody decided.
                    Err(RespondError::Conflict(_) | RespondError::Refused(_)) => break,
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(n)
    }

    /// The rungs that are still to come for a request, as things are.
    pub fn ladder(&self, request: &Request) -> Result<Vec<Rung>> {
        let rules = self.inner.in_force()?;
        Ok(rungs(&rules.policy.rules, &rules.roster, request))
    }
}

impl Inner {
    fn climb(&self, r: &Request, rung: Rung, now: Timestamp) -> Result<Request> {
        let id = &r.body.id;
        let record =
            json!({ "digest": r.digest, "rung": rung.number, "due": rung.at, "to": rung.to, "whom": rung.whom });
        // The log says whether it was reached before, by whatever process, and has the last word: recorded once.
        let new = || {
            let trail = super::run::trail(self, r).map_err(|e| e.to_string())?;
            let there = trail.iter().any(|t| t.kind == ESCALATED && t.body["rung"] == rung.number);
            if there { Err("reached".to_owned()) } else { Ok(()) }
        };
        let _reached_before = self.audit.append_if(None, ESCALATED, Some(id.as_str()), record, now, new)?;
        self.make_so(&self.nobody(now), id, &Wish::Climb { rung })
    }
}
