//! What the desk knows about an alert besides its own record, gathered from the store, the inventory and the playbooks.

use std::sync::Arc;

use jiff::SignedDuration;
use jiff::Timestamp;

use super::Desk;
use super::DeskError;
use super::Result;
use crate::config::inventory::Inventory;
use crate::config::playbooks::Playbooks;
use crate::intake::format;
use crate::model::alert::Alert;
use crate::model::alert::AlertRow;
use crate::model::alert::Disposition;
use crate::model::case::Case;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::store::PastDispositions;
use crate::store::Store;
use crate::text::Untrusted;
use crate::triage::Context;
use crate::triage::Neighbour;
use crate::triage::PastCount;
use crate::triage::PlaybookRef;
use crate::triage::Question;

/// Neighbours kept, looked at by each thing they can share and each side, and how far away in time they may be.
const NEIGHBOURS: usize = 20;
const LOOKED_AT: usize = 16;
const NEAR_SECONDS: i64 = 3_600;
/// Rules are counted over so long.
const SEEN_DAYS: i64 = 30;
/// Open cases named.
const CASES: usize = 5;
/// Steps of a playbook told.
const STEPS: usize = 5;

/// What the people of a desk wrote down about their hosts, their accounts and their work.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub inventory: Arc<Inventory>,
    pub playbooks: Arc<Playbooks>,
}

impl Desk {
    /// What a backend is asked about an alert.
    pub(super) fn question(&self, id: AlertId) -> Result<Question> {
        let alert = self.store.alert(id)?.ok_or_else(|| DeskError::No(format!("{id}: there is no such alert")))?;
        let raw = self.store.raw(id)?.unwrap_or_default();
        Ok(Question {
            fields: format::leaves(&alert.format, &raw),
            context: self.context(&alert)?,
            request_id: ulid::Ulid::new().to_string(),
            by: None,
            alert,
        })
    }

    /// Costs the same however many alerts there are.
    pub(super) fn context(&self, alert: &Alert) -> Result<Context> {
        let (now, half_life) = (self.now(), self.settings.triage.half_life_days);
        let near = self.near(alert)?;
        let seen = self.store.seen(alert.id, now - SignedDuration::from_hours(24 * SEEN_DAYS))?;
        let cases = self.open_cases(alert, &near)?;
        let f = &alert.fields;
        let inventory = &self.known.inventory;
        Ok(Context {
            at: Some(now),
            past: self.store.past_dispositions(alert.id)?.iter().map(|p| past(p, now, half_life)).collect(),
            neighbours: near.into_iter().map(|(n, _)| n).collect(),
            techniques: f.techniques.clone(),
            rule_seen: seen.rule,
            all_seen: seen.all,
            cases,
            asset: f.host.as_ref().and_then(|n| inventory.asset(n.expose())).cloned(),
            identity: f.user.as_ref().and_then(|n| inventory.person(n.expose())).cloned(),
            playbook: self.playbook(alert),
        })
    }

    /// Nearest in time first, with the case each is in.
    fn near(&self, alert: &Alert) -> Result<Vec<(Neighbour, Option<CaseId>)>> {
        let mut out: Vec<(Neighbour, Option<CaseId>)> = Vec::new();
        for near in self.store.neighbours(alert.id, LOOKED_AT)? {
            let seconds = seconds_between(alert, &near.row);
            if seconds.abs() <= NEAR_SECONDS {
                out.push((neighbour(&near.row, seconds, near.shares), near.row.case));
            }
        }
        out.sort_by_key(|(n, _)| (n.seconds.unsigned_abs(), n.id.0));
        out.truncate(NEIGHBOURS);
        Ok(out)
    }

    /// Its own case and the open ones of its neighbours, nearest first.
    fn open_cases(&self, alert: &Alert, near: &[(Neighbour, Option<CaseId>)]) -> Result<Vec<Case>> {
        let mut ids: Vec<CaseId> = Vec::new();
        for id in alert.case.into_iter().chain(near.iter().filter_map(|(_, case)| *case)) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let mut out = Vec::new();
        for id in ids {
            let open = self.store.case(id)?.filter(|c| c.closed_at.is_none());
            out.extend(open.filter(|_| out.len() < CASES));
        }
        Ok(out)
    }

    fn playbook(&self, alert: &Alert) -> Option<PlaybookRef> {
        let f = &alert.fields;
        let rule: Vec<&str> = [&f.rule_id, &f.rule_name].into_iter().flatten().map(Untrusted::expose).collect();
        let book = self.known.playbooks.matching(&f.techniques, &rule, f.title.expose())?;
        Some(PlaybookRef {
            name: book.name.clone(),
            title: book.title.clone(),
            first_steps: book.steps.iter().take(STEPS).cloned().collect(),
        })
    }
}

/// By when the things happened where both records say so, else by when they came in.
fn seconds_between(alert: &Alert, row: &AlertRow) -> i64 {
    let between = |from: Timestamp, to: Timestamp| to.as_second().saturating_sub(from.as_second());
    match (alert.fields.t_event, row.t_event) {
        (Some(own), Some(other)) => between(own, other),
        _ => between(alert.t_ingest, row.t_ingest),
    }
}

fn neighbour(row: &AlertRow, seconds: i64, shares: Vec<&'static str>) -> Neighbour {
    Neighbour {
        id: row.id,
        title: row.title.clone(),
        seconds,
        shares,
        severity: row.severity,
        techniques: row.techniques.clone(),
        disposition: row.disposition,
        verdict: row.verdict.map(|v| v.kind),
    }
}

fn past(p: &PastDispositions, now: Timestamp, half_life_days: u32) -> PastCount {
    let n = |d: Disposition| p.counts.iter().find(|c| c.0 == d).map_or(0, |c| c.1);
    PastCount {
        alike: p.alike.to_owned(),
        true_positive: n(Disposition::TruePositive),
        benign_true_positive: n(Disposition::BenignTruePositive),
        false_positive: n(Disposition::FalsePositive),
        undetermined: n(Disposition::Undetermined),
        total: p.total,
        weighted: p.weighted(now, half_life_days),
        last_closed: p.last_closed,
    }
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
