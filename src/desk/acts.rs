//! What people do to alerts: recorded first, then done.

use jiff::Timestamp;
use serde_json::json;

use super::Desk;
use super::DeskError;
use super::Result;
use crate::model::act::Act;
use crate::model::act::ActReport;
use crate::model::case::SavedView;
use crate::model::case::Suppression;
use crate::model::ids::AlertId;
use crate::model::ids::PersonId;
use crate::model::ids::SuppressionId;
use crate::model::person::Role;
use crate::store::Store;
use crate::text::Untrusted;

/// Longest time a suppression may last, in days: what nobody renews comes back.
const SUPPRESSION_MAX_DAYS: i64 = 366;

impl Desk {
    /// One act over several alerts. The audit record is durable before the first alert changes.
    pub fn act(&self, by: &PersonId, act: &Act, ids: &[AlertId]) -> Result<ActReport> {
        let person = self.authorise(by)?;
        check_act(act)?;
        if let Act::Assign { to } = act {
            let people = self.roster();
            let Some(target) = people.get(to) else {
                return Err(DeskError::Usage(format!("{to} is not in the roster")));
            };
            if target.read_only() {
                return Err(DeskError::Refused(format!("{to} may read only and cannot hold alerts")));
            }
        }
        if ids.is_empty() {
            return Err(DeskError::Usage("no alert named".into()));
        }
        if let Act::Merge { case: Some(case), .. } = act {
            self.open_case(*case)?;
        }
        let now = Timestamp::now();
        let body = json!({ "act": act, "ids": ids });
        let record = self.audit.append(Some(&person.id), &format!("alert.{}", act.word()), None, body, now)?;
        let report = self.store.act(act, ids, by, now)?;
        if !report.refused.is_empty() {
            let body = json!({ "of": record.seq, "refused": report.refused });
            self.audit.append(Some(&person.id), "alert.refused", None, body, now)?;
        }
        Ok(report)
    }

    /// Takes back this person's newest act that can be taken back. Answers with its word.
    pub fn undo(&self, by: &PersonId) -> Result<(String, ActReport)> {
        let person = self.authorise(by)?;
        let Some((undo, what, _)) = self.store.last_undoable(by)? else {
            return Err(DeskError::No("nothing of yours is left to undo".into()));
        };
        let now = Timestamp::now();
        self.audit.append(Some(&person.id), "alert.undo", None, json!({ "undo": undo, "act": what }), now)?;
        let report = self.store.undo(undo, by, now)?;
        Ok((what, report))
    }

    pub fn put_view(&self, by: &PersonId, view: &SavedView) -> Result<()> {
        self.authorise(by)?;
        self.parse_query(&view.query, by).map_err(|e| DeskError::Usage(format!("view {}: {e}", view.name)))?;
        Ok(self.store.put_view(view)?)
    }

    pub fn drop_view(&self, by: &PersonId, name: &str) -> Result<bool> {
        self.authorise(by)?;
        Ok(self.store.drop_view(name)?)
    }

    /// Hides what `query` matches, from now until `expires`, in this person's name.
    pub fn add_suppression(
        &self,
        by: &PersonId,
        query: &str,
        reason: &Untrusted,
        expires: Timestamp,
    ) -> Result<SuppressionId> {
        let person = self.authorise(by)?;
        if !(person.has(Role::Lead) || person.has(Role::Commander) || person.has(Role::Analyst)) {
            return Err(DeskError::Refused("a suppression needs an analyst, a lead or a commander".into()));
        }
        let parsed = self.parse_query(query, by).map_err(|e| DeskError::Usage(e.to_string()))?;
        if parsed == crate::model::query::Query::All {
            return Err(DeskError::Refused("a suppression must say what it hides; this would hide everything".into()));
        }
        if reason.expose().trim().is_empty() {
            return Err(DeskError::Usage("a suppression needs a reason".into()));
        }
        let now = Timestamp::now();
        let last = now + jiff::SignedDuration::from_hours(24 * SUPPRESSION_MAX_DAYS);
        if expires <= now || expires > last {
            return Err(DeskError::Usage(format!("a suppression ends within {SUPPRESSION_MAX_DAYS} days from now")));
        }
        let body = json!({ "query": query, "reason": reason, "expires": expires });
        self.audit.append(Some(by), "suppression.add", None, body, now)?;
        let suppression = Suppression {
            id: SuppressionId(0),
            query: query.to_owned(),
            owner: by.clone(),
            reason: reason.clone(),
            created: now,
            expires,
            hidden: 0,
        };
        Ok(self.store.add_suppression(&suppression)?)
    }

    pub fn end_suppression(&self, by: &PersonId, id: SuppressionId) -> Result<bool> {
        self.authorise(by)?;
        let now = Timestamp::now();
        self.audit.append(Some(by), "suppression.end", None, json!({ "id": id }), now)?;
        Ok(self.store.end_suppression(id, now)?)
    }
}

/// An act that says too little is refused before anything is recorded.
fn check_act(act: &Act) -> Result<()> {
    let missing = match act {
        Act::Close { reason, .. } if blank(reason) => "closing needs a reason",
        Act::Snooze { reason, .. } if blank(reason) => "a snooze needs a reason",
        Act::Snooze { until, .. } if *until <= Timestamp::now() => "a snooze ends in the future",
        Act::Prioritise { reason, .. } if blank(reason) => "a priority set by hand needs a reason",
        Act::Note { text } if blank(text) => "an empty note says nothing",
        Act::Merge { case: None, title } if blank(title) => "a new case needs a title",
        _ => return Ok(()),
    };
    Err(DeskError::Usage(missing.into()))
}

fn blank(text: &Untrusted) -> bool {
    text.expose().trim().is_empty()
}
