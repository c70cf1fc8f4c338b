//! The question a step carries for the model: filled with what the run knows, asked when a person wants it, the answer
//! kept with the step as advice. It sets no output and moves no state.

use jiff::Timestamp;
use serde_json::json;

use super::Cancel;
use super::Desk;
use super::DeskError;
use super::Result;
use super::playbook_draft::prompt_digest;
use crate::model::ids::AlertId;
use crate::model::ids::PersonId;
use crate::model::playbook::Step;
use crate::model::playbook_run::Advice;
use crate::model::playbook_run::Event;
use crate::model::playbook_run::Run;
use crate::playbook::ids;
use crate::playbook::run::fill;
use crate::playbook::run::value_of;
use crate::store::Store;
use crate::text::Untrusted;
use crate::triage::Ask;
use crate::triage::Question;
use crate::triage::TriageError;

/// Pairs of what is known that go with a question, and values in one of them.
const PAIRS: usize = 4;
/// Quotes kept of an answer.
const QUOTES: usize = 5;

impl Desk {
    /// Asks the model the question of a step. The record says who asked and what; what comes back is advice.
    pub async fn ask_step(&self, by: &PersonId, run: &str, visit: u32, cancel: &Cancel) -> Result<Run> {
        self.authorise(by)?;
        let (run, book) = tokio::task::block_in_place(|| self.playbook_run(Some(by), run))?;
        let at = run.visit(visit);
        let at = at.ok_or_else(|| DeskError::Usage(format!("run {} has no step number {visit}", run.id)))?;
        let step = book.step(&at.step).filter(|s| s.prompt.is_some());
        let Some((step, prompt)) = step.and_then(|s| Some((s, s.prompt.as_ref()?))) else {
            return Err(DeskError::No(format!("step {visit} ({}) asks the model nothing", at.key)));
        };
        let backends = self.draft_backends()?;
        if backends.max_tokens().is_none() {
            return Err(DeskError::No(
                "a step's question takes a model, and this desk asks none (triage.backend)".into(),
            ));
        }
        let alert = tokio::task::block_in_place(|| self.alert_of(&run))?;
        let about = tokio::task::block_in_place(|| self.question(alert))?;
        let about = Question { by: Some(by.clone()), ..about };
        let request_id = about.request_id.clone();
        let (text, before) = asked(&run, step, prompt);
        let body = json!({ "run": run.id, "visit": visit, "key": at.key, "alert": alert, "backend": backends.id() });
        self.audit.append(Some(by), "playbook.step.ask", Some(&run.id), body, Timestamp::now())?;
        let ask = Ask { about, text, before };
        let answer = self.draft_busy(backends.ask(&ask, &|_| {}, cancel)).await;
        let (answered, exchanges) = answer.map_err(|e| match e {
            TriageError::Cancelled => DeskError::No("cancelled".into()),
            e => DeskError::No(e.to_string()),
        })?;
        let Some(exchange) = exchanges.first() else {
            // Something else than the model stood in: that is no advice.
            let why = answered.remark.map_or_else(|| "the model did not answer".to_owned(), Untrusted::into_exposed);
            return Err(DeskError::Unreachable(why));
        };
        let advice = Advice {
            by: by.clone(),
            at: answered.at,
            question: fill(&run, step, prompt),
            text: answered.text.clone(),
            quotes: answered.claims.iter().take(QUOTES).map(|c| (c.quote.clone(), c.founded)).collect(),
            model: answered.model.clone(),
            prompt: prompt_digest(exchange),
            request_id,
        };
        tokio::task::block_in_place(|| {
            // What a restricted run knows is not for everybody who sees the alert.
            if run.restricted.is_empty() {
                self.store.add_exchanges(&exchanges)?;
            }
            self.playbook_event(by, &run.id, &Event::Advise { visit, advice: Box::new(advice) })
        })
    }

    /// What the run is for; of a case the riskiest of its alerts.
    fn alert_of(&self, run: &Run) -> Result<AlertId> {
        let of_case = || run.case.and_then(|c| self.alerts_of(c).ok()).and_then(|all| all.first().copied());
        let nothing = || DeskError::No("this run is for no alert: there is nothing to ask about".into());
        run.alert.or_else(of_case).ok_or_else(nothing)
    }
}

/// The question with names where values belong, and the values apart: they come from people and alerts, and in a prompt
/// stand inside the fence, never among what is asked.
pub(super) fn asked(run: &Run, step: &Step, prompt: &Untrusted) -> (Untrusted, Vec<(Untrusted, Untrusted)>) {
    let names = ids::references(prompt.expose());
    let mut text = prompt.expose().to_owned();
    let mut known = Vec::new();
    for name in &names {
        let bare = name.trim_matches('_');
        text = text.replace(&format!("{name}:value"), &format!("\"{bare}\""));
        let value = value_of(run, Some(step), name).unwrap_or_else(|| "not known".into());
        known.push(format!("{bare} = {value}"));
    }
    if !known.is_empty() {
        text.push_str("\n(What is in quotes is a name; its value stands in what was said before.)");
    }
    let each = known.len().div_ceil(PAIRS).max(1);
    let pair = |all: &[String]| ("What is known?".into(), Untrusted::new(all.join("; ")));
    (text.into(), known.chunks(each).map(pair).collect())
}
