//! A case as a whole: its alerts, the playbooks worked in it, the evidence they kept, and how it was closed.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::Desk;
use super::DeskError;
use super::Result;
use crate::model::act::Act;
use crate::model::action::Request;
use crate::model::alert::AlertRow;
use crate::model::alert::Disposition;
use crate::model::alert::Status;
use crate::model::case::Case;
use crate::model::case::Closing;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::PersonId;
use crate::model::playbook::Suggested;
use crate::model::playbook_run::Evidence;
use crate::model::playbook_run::Run;
use crate::model::playbook_run::RunState;
use crate::model::query::Page;
use crate::model::query::Query;
use crate::model::query::SortKey;
use crate::playbook::evidence;
use crate::playbook::summary;
use crate::store::Store;
use crate::text::Untrusted;
use crate::text::front;

const CLOSING: &str = "case.closing";
/// Alerts of a case that are shown and closed with it, and requests that are looked through.
const ALERTS: usize = 500;
const REQUESTS: usize = 500;
/// Bytes of a summary.
const SUMMARY: usize = 8 << 10;

/// A piece of evidence, and the step that kept it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseEvidence {
    pub run: String,
    pub playbook: String,
    /// The step's short name, and its number in the run.
    pub step: String,
    pub visit: u32,
    pub evidence: Evidence,
    /// It is not where it was kept.
    pub gone: bool,
}

/// Everything about a case that this person may see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseView {
    pub case: Case,
    pub closing: Option<Closing>,
    /// Riskiest first.
    pub alerts: Vec<AlertRow>,
    /// Newest first.
    pub runs: Vec<Run>,
    pub evidence: Vec<CaseEvidence>,
    /// Newest first.
    pub requests: Vec<Request>,
    /// Playbooks that fit its alerts, the best first.
    pub suggested: Vec<Suggested>,
    /// What it could be closed with, drawn from the runs everybody may see.
    pub summary: Untrusted,
}

impl Desk {
    /// `No` when there is no such case.
    pub fn case_view(&self, by: Option<&PersonId>, id: CaseId) -> Result<CaseView> {
        let case = self.store.case(id)?.ok_or_else(|| DeskError::No(format!("there is no case {id}")))?;
        let alerts = self.rows_of(id)?;
        let mut runs = self.playbook_runs(by)?;
        runs.retain(|r| r.case == Some(id));
        let folder = self.evidence_folder();
        let mut kept = Vec::new();
        for run in &runs {
            kept.extend(run.visits.iter().flat_map(|v| v.evidence.iter().map(move |e| (v, e))).map(|(v, e)| {
                CaseEvidence {
                    run: run.id.clone(),
                    playbook: run.playbook.clone(),
                    step: v.key.clone(),
                    visit: v.n,
                    evidence: e.clone(),
                    gone: !evidence::path(&folder, &e.sha256).exists(),
                }
            }));
        }
        kept.sort_by_key(|e| e.evidence.at);
        let mine =
            |r: &Request| r.body.case == Some(id) || r.body.alerts.iter().any(|a| alerts.iter().any(|x| x.id == *a));
        let requests = self.requests(&[], REQUESTS)?.into_iter().filter(mine).collect();
        let mut said = String::new();
        for run in runs.iter().rev().filter(|r| r.restricted.is_empty() && r.state != RunState::Running) {
            let (run, book) = self.playbook_run(by, &run.id)?;
            said.push_str(summary::of(&run, &book).expose());
            said.push('\n');
        }
        let suggested = self.fitting(alerts.iter().take(super::playbook_offer::LOOKED_AT).map(|r| r.id))?;
        Ok(CaseView {
            closing: self.closing(id)?,
            evidence: kept,
            requests,
            suggested,
            summary: Untrusted::new(front(said.trim_end(), SUMMARY)),
            alerts,
            runs,
            case,
        })
    }

    fn rows_of(&self, id: CaseId) -> Result<Vec<AlertRow>> {
        let nobody = PersonId::new("-").ok_or_else(|| DeskError::No("nobody".into()))?;
        let query: Query =
            self.parse_query(&format!("case:{id}"), &nobody).map_err(|e| DeskError::No(e.to_string()))?;
        self.rows(&query, SortKey::Risk, Page::First, ALERTS)
    }

    fn closing(&self, id: CaseId) -> Result<Option<Closing>> {
        let doc = self.store.doc(CLOSING, &id.to_string())?;
        let read = |d: crate::store::Doc| serde_json::from_str(&d.body);
        doc.map(read).transpose().map_err(|e| DeskError::No(format!("how case {id} was closed cannot be read: {e}")))
    }

    /// Closes it, and the alerts in it that are open, with the same disposition. Refused while a playbook is at work in it.
    pub fn close_case(
        &self,
        by: &PersonId,
        id: CaseId,
        disposition: Disposition,
        summary: &Untrusted,
    ) -> Result<CaseView> {
        let person = self.authorise(by)?;
        let case = self.store.case(id)?.ok_or_else(|| DeskError::No(format!("there is no case {id}")))?;
        if case.closed_at.is_some() {
            return Err(DeskError::No(format!("case {id} is closed already")));
        }
        match summary.expose() {
            t if t.trim().is_empty() => return Err(DeskError::Usage("say what came of it, in words".into())),
            t if t.len() > SUMMARY => {
                return Err(DeskError::Usage(format!("the summary is {} bytes long, at most {SUMMARY}", t.len())));
            }
            _ => {}
        }
        let at_work = self.playbook_runs(Some(by))?;
        if let Some(run) = at_work.iter().find(|r| r.case == Some(id) && r.state == RunState::Running) {
            let title = crate::text::clean(&run.title).as_str().to_owned();
            return Err(DeskError::Refused(format!("the playbook {title:?} is at work in it: end or cancel it first")));
        }
        let now = Timestamp::now();
        let open: Vec<AlertId> =
            self.rows_of(id)?.into_iter().filter(|r| r.status != Status::Closed).map(|r| r.id).collect();
        let closing = Closing { by: person.id.clone(), at: now, disposition, summary: summary.clone() };
        let body = json!({ "case": id, "disposition": disposition, "summary": summary, "alerts": open });
        self.audit.append(Some(by), "case.close", None, body, now)?;
        let text = serde_json::to_string(&closing).map_err(|e| DeskError::No(e.to_string()))?;
        let key = id.to_string();
        let rev = self.store.doc(CLOSING, &key)?.map_or(0, |d| d.rev);
        self.store.put_doc(CLOSING, &key, &text, rev, now)?;
        if !open.is_empty() {
            let first = summary.expose().lines().next().unwrap_or_default();
            let reason = Untrusted::new(format!("case {id} closed: {}", front(first, 200)));
            self.act(by, &Act::Close { disposition, reason, comment: None }, &open)?;
        }
        self.store.close_case(id, Some(now))?;
        self.case_view(Some(by), id)
    }

    /// Opens it again; its alerts stay as they are.
    pub fn reopen_case(&self, by: &PersonId, id: CaseId, reason: &Untrusted) -> Result<CaseView> {
        self.authorise(by)?;
        let case = self.store.case(id)?.ok_or_else(|| DeskError::No(format!("there is no case {id}")))?;
        if case.closed_at.is_none() {
            return Err(DeskError::No(format!("case {id} is open")));
        }
        if reason.expose().trim().is_empty() {
            return Err(DeskError::Usage("say why, in words".into()));
        }
        self.audit.append(Some(by), "case.reopen", None, json!({ "case": id, "reason": reason }), Timestamp::now())?;
        self.store.close_case(id, None)?;
        self.case_view(Some(by), id)
    }

    /// The case a playbook is worked in: the one that is named, the alert's, or a new one with the alert in it.
    pub(super) fn case_for(
        &self,
        by: &PersonId,
        alert: Option<AlertId>,
        case: Option<CaseId>,
    ) -> Result<Option<CaseId>> {
        let found = alert.map(|id| self.store.alert(id)).transpose()?.flatten();
        let case = case.or(found.as_ref().and_then(|a| a.case));
        if let Some(id) = case {
            self.open_case(id)?;
            return Ok(Some(id));
        }
        let Some(alert) = found else { return Ok(None) };
        let title = Untrusted::new(front(alert.fields.title.expose(), 200));
        let title =
            if title.expose().trim().is_empty() { Untrusted::new(format!("alert {}", alert.id)) } else { title };
        Ok(self.act(by, &Act::Merge { case: None, title }, &[alert.id])?.case)
    }

    /// Refuses where it is closed.
    pub(super) fn open_case(&self, id: CaseId) -> Result<()> {
        match self.store.case(id)? {
            Some(c) if c.closed_at.is_some() => {
                Err(DeskError::Refused(format!("case {id} is closed: it has to be opened again first")))
            }
            _ => Ok(()),
        }
    }
}
