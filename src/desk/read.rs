//! Reading: what the panes and the command line show.

use jiff::Timestamp;

use super::Desk;
use super::DeskError;
use super::Detail;
use super::Link;
use super::Past;
use super::Result;
use crate::audit::AuditFilter;
use crate::intake::format;
use crate::model::alert::AlertRow;
use crate::model::alert::DeadLetter;
use crate::model::audit::AuditRecord;
use crate::model::audit::Head;
use crate::model::case::Case;
use crate::model::case::SavedView;
use crate::model::case::Suppression;
use crate::model::ids::AlertId;
use crate::model::ids::PersonId;
use crate::model::query;
use crate::model::query::Count;
use crate::model::query::Page;
use crate::model::query::Query;
use crate::model::query::QueryError;
use crate::model::query::SortKey;
use crate::model::risk;
use crate::store::Changes;
use crate::store::Store;

/// Related alerts, timeline lines and verdicts shown beside one alert.
const RELATED: usize = 50;
const TIMELINE: usize = 200;
const VERDICTS: usize = 10;
const REVIEWS: usize = 50;
const ANSWERS: usize = 50;

impl Desk {
    /// Grows with every change any process makes to this desk; cheap.
    pub fn revision(&self) -> Result<u64> {
        Ok(self.store.revision()?)
    }

    pub fn changes(&self, since: u64, limit: usize) -> Result<Changes> {
        Ok(self.store.changes(since, limit)?)
    }

    pub fn parse_query(&self, text: &str, me: &PersonId) -> std::result::Result<Query, QueryError> {
        query::parse(text, Some(me))
    }

    pub fn rows(&self, query: &Query, sort: SortKey, page: Page, limit: usize) -> Result<Vec<AlertRow>> {
        Ok(self.store.rows(query, sort, page, limit, Timestamp::now())?)
    }

    pub fn rows_by_id(&self, ids: &[AlertId]) -> Result<Vec<AlertRow>> {
        Ok(self.store.rows_by_id(ids)?)
    }

    pub fn count(&self, query: &Query, cap: u64) -> Result<Count> {
        Ok(self.store.count(query, cap, Timestamp::now())?)
    }

    pub fn position(&self, query: &Query, sort: SortKey, id: AlertId, cap: u64) -> Result<Count> {
        Ok(self.store.position(query, sort, id, cap, Timestamp::now())?)
    }

    pub fn detail(&self, id: AlertId) -> Result<Option<Detail>> {
        let Some(alert) = self.store.alert(id)? else { return Ok(None) };
        let raw = self.store.raw(id)?.unwrap_or_default();
        let fields = format::leaves(&alert.format, &raw);
        let risk = risk::explain(
            alert.priority,
            alert.asset_weight,
            alert.fields.confidence,
            alert.t_ingest,
            Timestamp::now(),
        );
        let past = self.store.past_dispositions(id)?;
        // How the whole desk closes is no likeness a person asks for.
        let past = past.into_iter().filter(|p| p.alike != "all");
        let past = past.map(|p| Past { alike: p.alike, counts: p.counts, total: p.total }).collect();
        let budget = self.settings.triage.context_tokens as usize;
        Ok(Some(Detail {
            risk,
            related: self.store.related(id, RELATED)?,
            past,
            timeline: self.store.timeline(id, TIMELINE)?,
            verdicts: self.store.verdicts(id, VERDICTS)?,
            reviews: self.store.reviews(id, REVIEWS)?,
            agreement: self.store.agreement(id)?,
            context: crate::triage::context::lines(&self.context(&alert)?, budget),
            taint: crate::triage::detect::taints(&fields),
            asked: self.store.answers(id, ANSWERS)?,
            suggested: self.suggest_playbooks(id)?.into_iter().next(),
            at_work: self.runs_for(id)?,
            fields,
            alert,
        }))
    }

    /// The original bytes.
    pub fn raw(&self, id: AlertId) -> Result<Option<Vec<u8>>> {
        Ok(self.store.raw(id)?)
    }

    /// Bytes of repeats of this alert that differ from the first, newest first.
    pub fn repeats(&self, id: AlertId, limit: usize) -> Result<Vec<(Timestamp, Vec<u8>)>> {
        Ok(self.store.repeats(id, limit)?)
    }

    pub fn views(&self) -> Result<Vec<SavedView>> {
        Ok(self.store.views()?)
    }

    pub fn cases(&self, limit: usize) -> Result<Vec<Case>> {
        Ok(self.store.cases(limit)?)
    }

    pub fn suppressions(&self) -> Result<Vec<Suppression>> {
        Ok(self.store.suppressions()?)
    }

    /// What a suppression with this query would have hidden: how many (up to 100,000) and the newest of them.
    pub fn preview_suppression(&self, query: &str) -> Result<(Count, Vec<AlertRow>)> {
        let query = query::parse(query, None).map_err(|e| DeskError::Usage(e.to_string()))?;
        let count = self.count(&query, 100_000)?;
        let rows = self.rows(&query, SortKey::Newest, Page::First, 50)?;
        Ok((count, rows))
    }

    pub fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        Ok(self.store.dead_letters(limit)?)
    }

    /// How many dead letters there are.
    pub fn dead_letter_count(&self) -> Result<u64> {
        Ok(self.store.dead_letter_count()?)
    }

    /// How the live sources are doing.
    pub fn links(&self) -> Vec<Link> {
        self.links.lock().map(|l| l.clone()).unwrap_or_default()
    }

    pub fn audit_head(&self) -> Result<Head> {
        Ok(self.audit.head()?)
    }

    pub fn audit_records(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditRecord>> {
        Ok(self.audit.records(filter, limit)?)
    }
}
