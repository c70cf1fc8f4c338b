//! Playbooks that the model drafts: asked for, checked before anybody sees them, reviewed by people.
//!
//! A draft is a document of the store, written by compare-and-set. Every time it is looked at it is checked anew against
//! the case, the catalogue and the policy as they are then; approving it does so too, and a finding of grade error stands
//! in the way. What happened stands in the audit log before it counts.

use jiff::Timestamp;
use serde_json::json;
use sha2::Digest as _;
use sha2::Sha256;

use super::Cancel;
use super::Desk;
use super::DeskError;
use super::Result;
use super::playbook::Library;
use crate::model::ids::AlertId;
use crate::model::ids::CaseId;
use crate::model::ids::PersonId;
use crate::model::opinion::Exchange;
use crate::model::opinion::Purpose;
use crate::model::person::Person;
use crate::model::person::Role;
use crate::model::playbook::Finding;
use crate::model::playbook::Grade;
use crate::model::playbook::Playbook;
use crate::model::playbook::Suggested;
use crate::model::playbook_draft::DraftDecision;
use crate::model::playbook_draft::DraftEdit;
use crate::model::playbook_draft::DraftState;
use crate::model::playbook_draft::PlaybookDraft;
use crate::playbook::Document;
use crate::playbook::draft;
use crate::playbook::draft::Scope;
use crate::playbook::short;
use crate::store::Store;
use crate::store::StoreError;
use crate::text::Untrusted;
use crate::triage::TriageError;
use crate::triage::Writing;
use crate::triage::detect;

pub use crate::playbook::draft::Beside;
pub use crate::playbook::draft::Change;
pub use crate::playbook::draft::Line;

const DRAFT: &str = "playbook.draft";
/// Drafts kept and listed.
const MOST: usize = 1_000;
/// Alerts of a case whose names a draft may use.
const ALERTS: usize = 20;
/// Bytes of an edited draft.
const LONGEST_EDIT: usize = 256 << 10;
const LONGEST_REASON: usize = 8 << 10;
/// Who may let a draft into the library.
const APPROVERS: [Role; 3] = [Role::Lead, Role::Commander, Role::Approver];

/// A draft as people see it: never without its findings.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftPage {
    pub draft: PlaybookDraft,
    pub book: Playbook,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// The short form, as it is edited.
    pub toml: Untrusted,
    /// The playbook of the library it is nearest to: its short name and title.
    pub nearest: Option<(String, Untrusted)>,
    /// The steps of that one beside its own.
    pub beside: Vec<Beside>,
    /// What it has else than that one, line by line of the short form.
    pub diff: Vec<Change>,
    /// Who asked for it or edited it does not approve it (`playbooks.second_person`).
    pub second_person: bool,
}

impl DraftPage {
    /// Findings that stand in the way of approving it.
    pub fn blocking(&self) -> usize {
        self.findings.iter().filter(|f| f.grade == Grade::Error).count()
    }

    /// Why this person cannot be the one who approves it, by what they did to it.
    pub fn not_by(&self, who: &PersonId) -> Option<String> {
        let d = &self.draft;
        match self.second_person {
            true if d.asked_by == *who => Some(format!("{who} asked for it: somebody else approves it")),
            true if d.edits.iter().any(|e| e.by == *who) => Some(format!("{who} edited it: somebody else approves it")),
            _ => None,
        }
    }
}

/// What came of asking for a draft.
#[derive(Clone, Debug)]
pub enum Drafted {
    Draft(Box<DraftPage>),
    /// No model wrote one, and why; the playbooks of the library that fit best instead.
    Nearest {
        why: String,
        suggested: Vec<Suggested>,
    },
}

/// What a draft is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftFor {
    Alert(AlertId),
    Case(CaseId),
}

impl Desk {
    /// Has the configured model draft a playbook for an alert or a case. Without a model, or when it writes nothing that
    /// can be used, the nearest playbooks of the library are named instead.
    pub async fn draft_playbook(&self, by: &PersonId, of: DraftFor, cancel: &Cancel) -> Result<Drafted> {
        self.authorise(by)?;
        let (alerts, scope) = tokio::task::block_in_place(|| self.scope_of(of))?;
        let Some(first) = alerts.first().copied() else {
            return Err(DeskError::No("the case holds no alert to draft a playbook from".into()));
        };
        let nearest = |why: String| -> Result<Drafted> {
            Ok(Drafted::Nearest { why, suggested: tokio::task::block_in_place(|| self.nearest_of(&alerts))? })
        };
        let backends = match self.draft_backends() {
            Ok(b) => b,
            Err(DeskError::Usage(why)) => return nearest(why),
            Err(e) => return Err(e),
        };
        let Some(most) = backends.max_tokens() else {
            return nearest("this desk asks no model (triage.backend)".into());
        };
        let about = tokio::task::block_in_place(|| self.question(first))?;
        let writing = Writing {
            about: crate::triage::Question { by: Some(by.clone()), ..about },
            purpose: Purpose::Draft,
            system: draft::answer::INSTRUCTIONS.to_owned(),
            task: draft::answer::task(&scope),
            schema: draft::answer::schema(&scope, most),
        };
        let asked = json!({ "alert": first, "backend": backends.id() });
        self.audit.append(
            Some(by),
            "playbook.draft.request",
            Some(&writing.about.request_id),
            asked,
            Timestamp::now(),
        )?;
        let written = match self.draft_busy(backends.write(&writing, &|_| {}, cancel)).await {
            Ok(w) => w,
            Err(TriageError::Cancelled) => return Err(DeskError::No("cancelled".into())),
            Err(e) => return nearest(e.to_string()),
        };
        tokio::task::block_in_place(|| {
            self.store.add_exchanges(std::slice::from_ref(&written.exchange))?;
            let sketch = match draft::answer::read(written.json.expose()) {
                Ok(s) => s,
                Err(why) => return nearest(why),
            };
            match self.keep_draft(by, of, &sketch, &scope, &written.exchange) {
                Ok(page) => Ok(Drafted::Draft(Box::new(page))),
                Err(DeskError::No(why)) => nearest(why),
                Err(e) => Err(e),
            }
        })
    }

    fn keep_draft(
        &self,
        by: &PersonId,
        of: DraftFor,
        sketch: &draft::Sketch,
        scope: &Scope,
        exchange: &Exchange,
    ) -> Result<DraftPage> {
        let now = Timestamp::now();
        let id = ulid::Ulid::new().to_string();
        let key = format!("draft-{}", id[16..].to_ascii_lowercase());
        let prompt = prompt_digest(exchange);
        let from = draft::Origin { key: key.clone(), at: now, model: exchange.model.clone(), prompt: prompt.clone() };
        let document = draft::expand(sketch, scope, &from)
            .map_err(|e| DeskError::No(format!("what the model wrote makes no playbook: {e}")))?;
        let made = PlaybookDraft {
            id,
            key,
            title: sketch.title.clone(),
            alert: if let DraftFor::Alert(a) = of { Some(a) } else { None },
            case: if let DraftFor::Case(c) = of { Some(c) } else { None },
            asked_by: by.clone(),
            at: now,
            state: DraftState::Open,
            hash: document.hash().to_owned(),
            backend: exchange.backend.clone(),
            model: exchange.model.clone(),
            model_digest: exchange.model_digest.clone(),
            prompt,
            request_id: exchange.request_id.clone(),
            edits: Vec::new(),
            decided: None,
            document: document.into_json(),
        };
        let page = self.page(made, scope)?;
        self.draft_record(by, "playbook_generated", &page, json!({}), now)?;
        self.store.put_doc(DRAFT, &page.draft.id, &body(&page.draft)?, 0, now)?;
        Ok(page)
    }

    /// Drafts, the newest first. `all`: those that were decided too.
    pub fn playbook_drafts(&self, all: bool) -> Result<Vec<PlaybookDraft>> {
        let mut out = Vec::new();
        for doc in self.store.docs(DRAFT, MOST)? {
            let d = read(&doc.key, &doc.body)?;
            if all || d.state == DraftState::Open {
                out.push(d);
            }
        }
        out.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(out)
    }

    /// A draft, checked now. `word`: its id, its short name, or enough of the id's beginning or end.
    pub fn playbook_draft(&self, word: &str) -> Result<DraftPage> {
        let found = self.find_draft(word)?;
        let (_, scope) = self.scope_of(for_of(&found)?)?;
        self.page(found, &scope)
    }

    fn find_draft(&self, word: &str) -> Result<PlaybookDraft> {
        let upper = word.to_ascii_uppercase();
        let fits = |d: &PlaybookDraft| {
            d.id == upper || d.key == word || (upper.len() >= 4 && (d.id.starts_with(&upper) || d.id.ends_with(&upper)))
        };
        let mut all = self.playbook_drafts(true)?.into_iter().filter(fits);
        match (all.next(), all.next()) {
            (Some(d), None) => Ok(d),
            (Some(_), Some(_)) => Err(DeskError::Usage(format!("{word} fits more than one draft"))),
            (None, _) => Err(DeskError::No(format!("no draft {word}"))),
        }
    }

    /// Puts a draft into the library. `hash`: of what the person was shown.
    pub fn approve_draft(&self, by: &PersonId, word: &str, hash: &str) -> Result<DraftPage> {
        let person = self.authorise(by)?;
        if !APPROVERS.iter().any(|r| person.has(*r)) {
            let words = APPROVERS.map(Role::word).join(", ");
            return Err(DeskError::Refused(format!("a draft is approved by somebody who is one of: {words}")));
        }
        let page = self.open_draft(word, hash)?;
        if let Some(why) = page.not_by(by) {
            return Err(DeskError::Refused(format!("{why}: {}", self.who_may_approve(&page))));
        }
        if page.blocking() > 0 {
            let first = page.findings.first().map(|f| f.message.expose().to_owned()).unwrap_or_default();
            let n = page.blocking();
            return Err(DeskError::Refused(format!(
                "{n} findings stand in the way; the first: {first}. Edit it first"
            )));
        }
        if self.playbooks().get(&page.draft.key).is_some() {
            return Err(DeskError::Refused(format!("there is a playbook {} already", page.draft.key)));
        }
        self.decide_draft(by, page, DraftState::Approved, None, "playbook_approved")
    }

    /// Those who can approve a draft that some cannot, for a refusal.
    fn who_may_approve(&self, page: &DraftPage) -> String {
        let people = self.responder.people();
        let may = |p: &&Person| APPROVERS.iter().any(|r| p.has(*r)) && page.not_by(&p.id).is_none();
        let names: Vec<&str> = people.people.iter().filter(may).map(|p| p.id.as_str()).collect();
        match names.is_empty() {
            true => "nobody on the roster may (playbooks.second_person = false lets one person do both)".into(),
            false => names.join(" or "),
        }
    }

    /// Ends a draft, with a reason.
    pub fn reject_draft(&self, by: &PersonId, word: &str, hash: &str, reason: Untrusted) -> Result<DraftPage> {
        self.authorise(by)?;
        if reason.expose().trim().is_empty() || reason.expose().len() > LONGEST_REASON {
            return Err(DeskError::Usage(format!("a rejection needs a reason, of at most {LONGEST_REASON} bytes")));
        }
        let page = self.open_draft(word, hash)?;
        self.decide_draft(by, page, DraftState::Rejected, Some(reason), "playbook_rejected")
    }

    fn decide_draft(
        &self,
        by: &PersonId,
        page: DraftPage,
        state: DraftState,
        reason: Option<Untrusted>,
        kind: &str,
    ) -> Result<DraftPage> {
        let now = Timestamp::now();
        self.draft_record(by, kind, &page, json!({ "reason": reason }), now)?;
        let before = page.draft.hash.clone();
        let decided = Some(DraftDecision { by: by.clone(), at: now, reason });
        let draft = PlaybookDraft { state, decided, ..page.draft };
        self.write_draft(&draft, &before, now)?;
        Ok(DraftPage { draft, ..page })
    }

    /// Changes an open draft. `text`: its short form, or a CACAO document where it begins with a brace. It stays marked as
    /// generated and keeps its name, and is checked again.
    pub fn edit_draft(&self, by: &PersonId, word: &str, hash: &str, text: &str) -> Result<DraftPage> {
        self.authorise(by)?;
        if text.len() > LONGEST_EDIT {
            return Err(DeskError::Usage(format!("{} bytes; a draft has at most {LONGEST_EDIT}", text.len())));
        }
        let page = self.open_draft(word, hash)?;
        let edited = match text.trim_start().starts_with('{') {
            true => Document::read(text.as_bytes()).map_err(|e| DeskError::Usage(e.to_string()))?,
            false => short::from_toml(std::path::Path::new("draft.toml"), text)
                .map_err(|e| DeskError::Usage(e.to_string()))?,
        };
        let before = document(&page.draft)?;
        let edited = draft::mark::keep(&before, edited, by.as_str()).map_err(DeskError::Usage)?;
        let (now, old) = (Timestamp::now(), page.draft.hash.clone());
        let mut draft = page.draft;
        draft.hash = edited.hash().to_owned();
        draft.edits.push(DraftEdit { by: by.clone(), at: now, hash: draft.hash.clone() });
        draft.title = edited.view(&draft.key).title;
        draft.document = edited.into_json();
        let (_, scope) = self.scope_of(for_of(&draft)?)?;
        let page = self.page(draft, &scope)?;
        self.draft_record(by, "playbook_edited", &page, json!({ "before": old }), now)?;
        self.write_draft(&page.draft, &old, now)?;
        Ok(page)
    }

    /// An open draft, if it is still what the person was shown.
    fn open_draft(&self, word: &str, hash: &str) -> Result<DraftPage> {
        let page = self.playbook_draft(word)?;
        if page.draft.state != DraftState::Open {
            return Err(DeskError::No(format!("draft {} is {} already", page.draft.key, page.draft.state.word())));
        }
        if page.draft.hash != hash {
            return Err(DeskError::No(format!("draft {} changed meanwhile: look at it again", page.draft.key)));
        }
        Ok(page)
    }

    fn write_draft(&self, draft: &PlaybookDraft, before: &str, now: Timestamp) -> Result<()> {
        let changed = || DeskError::No(format!("draft {} changed meanwhile: look at it again", draft.key));
        let doc = self.store.doc(DRAFT, &draft.id)?.ok_or_else(changed)?;
        let stored = read(&draft.id, &doc.body)?;
        if stored.hash != before || stored.state != DraftState::Open {
            return Err(changed());
        }
        match self.store.put_doc(DRAFT, &draft.id, &body(draft)?, doc.rev, now) {
            Ok(_) => Ok(()),
            Err(StoreError::Conflict(_)) => Err(changed()),
            Err(e) => Err(e.into()),
        }
    }

    fn draft_record(
        &self,
        by: &PersonId,
        kind: &str,
        page: &DraftPage,
        more: serde_json::Value,
        now: Timestamp,
    ) -> Result<()> {
        let d = &page.draft;
        let mut codes: Vec<&str> =
            page.findings.iter().filter(|f| f.grade == Grade::Error).map(|f| f.code.as_str()).collect();
        codes.dedup();
        codes.truncate(20);
        let mut facts = json!({
            "draft": d.id, "key": d.key, "sha256": d.hash, "backend": d.backend, "model": d.model,
            "model_sha256": d.model_digest, "prompt_sha256": d.prompt, "exchange": d.request_id, "alert": d.alert,
            "case": d.case, "findings": page.findings.len(), "blocking": page.blocking(), "codes": codes,
        });
        if let (Some(to), Some(from)) = (facts.as_object_mut(), more.as_object()) {
            to.extend(from.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
        }
        self.audit.append(Some(by), kind, Some(&d.id), facts, now)?;
        Ok(())
    }

    /// Checks it and compares it, as everybody sees it.
    fn page(&self, draft: PlaybookDraft, scope: &Scope) -> Result<DraftPage> {
        let document = document(&draft)?;
        let library = self.playbooks();
        let book = document.view(&draft.key);
        let findings = draft::review(&document, scope, &|id| library.get(id).is_some());
        let toml = short::to_toml(&document).map_err(DeskError::No)?;
        let near = draft::nearest(&book, library.books());
        let theirs = near.and_then(|n| library.get(&n.key)).and_then(|i| short::to_toml(&i.document).ok());
        let diff = draft::diff(&theirs.unwrap_or_default(), &toml);
        let beside = near.map(|n| draft::beside(n, &book)).unwrap_or_default();
        let nearest = near.map(|n| (n.key.clone(), n.title.clone()));
        let second_person = self.settings.playbooks.second_person;
        Ok(DraftPage { draft, book, findings, toml: toml.into(), nearest, beside, diff, second_person })
    }

    /// The alerts a draft is for, the riskiest first, and what it may speak of.
    fn scope_of(&self, of: DraftFor) -> Result<(Vec<AlertId>, Scope)> {
        let mut alerts = match of {
            DraftFor::Alert(one) => vec![one],
            DraftFor::Case(case) => {
                let known = self.store.case(case)?;
                known.ok_or_else(|| DeskError::No(format!("there is no case {case}")))?;
                self.alerts_of(case)?
            }
        };
        alerts.truncate(ALERTS);
        let mut scope = Scope::default();
        for id in &alerts {
            let found = self.store.alert(*id)?;
            scope.add(&found.ok_or_else(|| DeskError::No(format!("{id}: there is no such alert")))?.fields);
        }
        scope.offer(&self.catalogue(), |tier| self.responder.approvals_of(tier));
        let own = |name: &&str| scope.knows(name).is_none();
        let elsewhere = self.known.inventory.names().filter(own).map(str::to_owned).collect();
        scope.elsewhere = elsewhere;
        let library = self.library_of_files();
        scope.playbooks = library.books().flat_map(|b| [b.id.clone(), b.key.clone()]).collect();
        scope.speaks = Some(speaks);
        Ok((alerts, scope))
    }

    fn nearest_of(&self, alerts: &[AlertId]) -> Result<Vec<Suggested>> {
        let mut out: Vec<Suggested> = Vec::new();
        for id in alerts {
            for s in self.suggest_playbooks(*id)? {
                match out.iter_mut().find(|o| o.playbook == s.playbook) {
                    Some(known) => known.score = known.score.max(s.score),
                    None => out.push(s),
                }
            }
        }
        out.sort_by_key(|s| std::cmp::Reverse(s.score));
        out.truncate(5);
        Ok(out)
    }

    /// Adds the drafts that were approved. One that is not what was approved is left out.
    pub(super) fn has_drafts(&self) -> bool {
        // What cannot be read is told of where it is read whole.
        self.store.docs(DRAFT, 1).map_or(true, |d| !d.is_empty())
    }

    pub(super) fn add_drafts(&self, library: &mut Library) {
        let all = match self.playbook_drafts(true) {
            Ok(all) => all,
            Err(e) => {
                tracing::warn!(error = %e, "approved drafts are left out of the library");
                return;
            }
        };
        for d in all.iter().rev().filter(|d| d.state == DraftState::Approved) {
            if let (Ok(document), Some(decided)) = (document(d), &d.decided) {
                library.with_draft(document, &d.key, decided.by.as_str());
            }
        }
    }
}

/// What a text does to its reader besides what the playbook room looks for, and whether that is grave.
pub fn speaks(text: &str) -> Vec<(&'static str, bool)> {
    let kinds = detect::kinds(text).into_iter();
    kinds.map(|k| (k.words(), k.steers() && k != detect::Kind::Steer)).collect()
}

fn for_of(d: &PlaybookDraft) -> Result<DraftFor> {
    match (d.alert, d.case) {
        (Some(alert), _) => Ok(DraftFor::Alert(alert)),
        (None, Some(case)) => Ok(DraftFor::Case(case)),
        (None, None) => Err(DeskError::No(format!("draft {} is for nothing", d.key))),
    }
}

fn document(d: &PlaybookDraft) -> Result<Document> {
    let document = Document::of(d.document.clone()).map_err(|e| DeskError::No(format!("draft {}: {e}", d.key)))?;
    if document.hash() != d.hash {
        return Err(DeskError::Refused(format!("draft {} is not what was stored", d.key)));
    }
    Ok(document)
}

fn read(key: &str, body: &str) -> Result<PlaybookDraft> {
    serde_json::from_str(body).map_err(|e| DeskError::No(format!("draft {key} cannot be read: {e}")))
}

fn body(d: &PlaybookDraft) -> Result<String> {
    serde_json::to_string(d).map_err(|e| DeskError::No(format!("draft {} cannot be written: {e}", d.key)))
}

/// SHA-256 over both parts of a prompt, each with its length before it, hex.
pub(super) fn prompt_digest(e: &Exchange) -> String {
    let mut hash = Sha256::new();
    for part in [e.system.as_str(), e.user.expose()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
#[path = "playbook_draft_tests.rs"]
mod tests;
