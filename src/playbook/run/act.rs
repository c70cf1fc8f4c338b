//! What people do to a run, and what time does.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;
use sha2::Digest as _;
use sha2::Sha256;

use super::Effect;
use super::LONGEST_TEXT;
use super::MOST_NOTES;
use super::Machine;
use super::Outcome;
use super::full_name;
use super::refused;
use super::stale;
use super::usage;
use jiff::Timestamp;

use crate::model::ids::PersonId;
use crate::model::ids::RequestId;
use crate::model::person::Role;
use crate::model::playbook::Playbook;
use crate::model::playbook::StepKind;
use crate::model::playbook_run::Advice;
use crate::model::playbook_run::DeadlineMark;
use crate::model::playbook_run::DeadlineWord;
use crate::model::playbook_run::Event;
use crate::model::playbook_run::Evidence;
use crate::model::playbook_run::Held;
use crate::model::playbook_run::Note;
use crate::model::playbook_run::RunState;
use crate::model::playbook_run::SignOff;
use crate::model::playbook_run::Visit;
use crate::model::playbook_run::VisitState;
use crate::model::when;
use crate::playbook::ids;
use crate::playbook::kinds;
use crate::text::Untrusted;

/// Answers of models kept with one step.
const MOST_ADVICE: usize = 20;
const ROLES: [Role; 6] = [Role::Analyst, Role::Lead, Role::Commander, Role::Approver, Role::Facilitator, Role::Auditor];

impl Machine<'_> {
    pub(super) fn happen(&mut self, event: &Event) -> Outcome<()> {
        let after_the_end = matches!(
            event,
            Event::Note { .. }
                | Event::Attach { .. }
                | Event::Proposed { .. }
                | Event::Advise { .. }
                | Event::Deadline { .. }
                | Event::Tick
                | Event::Admit { .. }
        );
        if self.run.state != RunState::Running && !after_the_end {
            return stale(format!("run {} is {}", self.run.id, self.run.state.word()));
        }
        match event {
            Event::Take { visit, over } => self.take(*visit, *over),
            Event::Assign { visit, to } => self.assign(*visit, to),
            Event::Done { visit, outputs } => self.done(*visit, outputs),
            Event::Fail { visit, reason } => self.fail(*visit, reason),
            Event::Skip { visit, reason } => self.skip(*visit, reason),
            Event::Retry { visit } => self.retry(*visit),
            Event::Decide { visit, branch, reason } => self.decide(*visit, branch, reason),
            Event::Sign { visit, role, named } => self.sign(*visit, role, named.as_ref()),
            Event::Note { visit, text } => self.note(*visit, text),
            Event::Attach { visit, evidence } => self.attach(*visit, evidence),
            Event::Proposed { visit, request } => self.proposed(*visit, request),
            Event::Advise { visit, advice } => self.advise(*visit, advice),
            Event::Set { name, value } => self.set(name, value.as_ref()),
            Event::Deadline { clock, word, text } => self.deadline(clock, *word, text),
            Event::Admit { person } => self.admit(person),
            Event::Cancel { reason } => self.cancel(reason),
            Event::Tick => self.tick(),
            Event::Begun { visit, child } => self.begun(*visit, child),
            Event::Ended { visit, ok } => self.ended(*visit, *ok),
        }
    }

    /// The visit, if it is in one of these states.
    fn in_state(&self, n: u32, states: &[VisitState]) -> Outcome<&Visit> {
        let Some(v) = self.run.visit(n) else {
            return usage(format!("run {} has no step number {n}", self.run.id));
        };
        if states.contains(&v.state) {
            return Ok(v);
        }
        let wanted = states.iter().map(|s| s.word()).collect::<Vec<_>>().join(" or ");
        stale(format!("step {n} ({}) is {}, not {wanted}", v.key, v.state.word()))
    }

    fn take(&mut self, n: u32, over: bool) -> Outcome<()> {
        let v = self.in_state(n, &[VisitState::Ready, VisitState::Active])?;
        let me = self.actor()?.id.clone();
        match &v.owner {
            Some(o) if *o == me && v.state == VisitState::Active => return Ok(()),
            Some(o) if *o != me && !over => return refused(format!("{o} has it; to take it over, say so")),
            _ => {}
        }
        let before = v.owner.clone().filter(|o| *o != me);
        let taken_over = before.is_some();
        let playbook = match self.step_of(n).map(|s| &s.kind) {
            Some(StepKind::Playbook(id)) if v.child.is_none() => Some(id.clone()),
            _ => None,
        };
        self.begin_work(n, me);
        if let Some(v) = self.visit_mut(n).filter(|_| taken_over) {
            v.assigned = false;
        }
        self.record_visit("playbook.step.take", n, &[], json!({ "from": before }));
        if let Some(playbook) = playbook {
            self.effects.push(Effect::Start { visit: n, playbook });
        }
        Ok(())
    }

    fn begin_work(&mut self, n: u32, me: PersonId) {
        let now = self.now;
        if let Some(v) = self.visit_mut(n) {
            v.owner = Some(me);
            v.state = VisitState::Active;
            v.began_at = v.began_at.or(Some(now));
        }
    }

    fn assign(&mut self, n: u32, to: &PersonId) -> Outcome<()> {
        let v = self.run.visit(n).filter(|v| !v.state.over());
        let Some(v) = v else { return stale(format!("step {n} is over")) };
        let from = v.owner.clone();
        self.actor()?;
        if let Some(v) = self.visit_mut(n) {
            v.owner = Some(to.clone());
            v.assigned = true;
        }
        self.record_visit("playbook.step.assign", n, &[], json!({ "from": from, "to": to }));
        Ok(())
    }

    /// Whose step it is may work it; a step nobody has is theirs from then on.
    fn may_work(&self, n: u32) -> Outcome<PersonId> {
        let v = self.in_state(n, &[VisitState::Ready, VisitState::Active])?;
        let me = self.actor()?.id;
        match &v.owner {
            Some(o) if o != me => refused(format!("{o} has step {n} ({}): take it over first", v.key)),
            _ => Ok(me.clone()),
        }
    }

    fn done(&mut self, n: u32, given: &BTreeMap<String, Option<Untrusted>>) -> Outcome<()> {
        let me = self.may_work(n)?;
        self.all_signed(n)?;
        let outputs = self.outputs(n, given)?;
        self.begin_work(n, me.clone());
        let mut said = serde_json::Map::new();
        for (name, value) in &outputs {
            said.insert(name.clone(), value.as_ref().map_or(Value::Null, |v| self.told(v)));
        }
        let now = self.now;
        let local = self.step_of(n).map(|s| s.variables.clone()).unwrap_or_default();
        for (name, value) in outputs.iter().filter(|(n, _)| !local.contains_key(*n)) {
            if let Some(h) = self.run.variables.get_mut(name) {
                (h.value, h.by, h.at) = (value.clone(), Some(me.clone()), now);
            }
        }
        if let Some(v) = self.visit_mut(n) {
            v.outputs = outputs;
        }
        self.record_visit("playbook.step.done", n, &[], json!({ "outputs": said }));
        self.succeed(n, VisitState::Done);
        self.undecided_again();
        Ok(())
    }

    /// Everything the step gives, each of its type.
    fn outputs(
        &self,
        n: u32,
        given: &BTreeMap<String, Option<Untrusted>>,
    ) -> Outcome<BTreeMap<String, Option<Untrusted>>> {
        let Some(step) = self.step_of(n) else { return stale("the step is not in the playbook") };
        let mut out = BTreeMap::new();
        for (name, value) in given {
            let name = full_name(name);
            if !step.out_args.contains(&name) {
                let known = step.out_args.iter().map(|n| n.trim_matches('_')).collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "nothing".into() } else { known };
                return usage(format!("{name} is nothing this step gives; it gives {known}"));
            }
            let kind = self.kind_of(n, &name);
            let kept = match value {
                Some(value) => {
                    kinds::check(&kind, value.expose()).or_else(|why| usage(format!("{name}: {why}")))?;
                    Some(as_kept(self.book, &name, value, self.now)?)
                }
                None => None,
            };
            out.insert(name, kept);
        }
        let lacks = |name: &&String| !out.contains_key(*name);
        let missing: Vec<String> = step.out_args.iter().filter(lacks).map(|name| self.asked(n, name)).collect();
        if !missing.is_empty() {
            return usage(format!("this step gives {} (`?` where it is not known)", missing.join(", ")));
        }
        Ok(out)
    }

    fn kind_of(&self, n: u32, name: &str) -> String {
        let own = self.step_of(n).and_then(|s| s.variables.get(name)).map(|v| v.kind.clone());
        own.or_else(|| self.run.variables.get(name).map(|h| h.kind.clone())).unwrap_or_else(|| "string".into())
    }

    fn asked(&self, n: u32, name: &str) -> String {
        format!("{} ({})", name.trim_matches('_'), self.kind_of(n, name))
    }

    fn all_signed(&self, n: u32) -> Outcome<()> {
        let (Some(step), Some(v)) = (self.step_of(n), self.run.visit(n)) else { return Ok(()) };
        let open = step.sign_off.iter().filter(|r| !v.signed.iter().any(|s| s.role == **r));
        let open: Vec<&str> = open.map(String::as_str).collect();
        if open.is_empty() { Ok(()) } else { refused(format!("not signed off yet by: {}", open.join(", "))) }
    }

    fn fail(&mut self, n: u32, reason: &Untrusted) -> Outcome<()> {
        long_enough(reason)?;
        let held = self.run.visit(n).is_some_and(|v| v.state == VisitState::Held);
        let me = if held { self.actor()?.id.clone() } else { self.may_work(n)? };
        if let Some(v) = self.visit_mut(n) {
            v.reason = Some(reason.clone());
            v.owner.get_or_insert(me);
        }
        let kind = if held { "playbook.step.given_up" } else { "playbook.step.fail" };
        self.record_visit(kind, n, &[("reason", reason)], json!({}));
        if held {
            self.give_up(n)
        } else {
            self.fail_now(n)
        }
        Ok(())
    }

    fn skip(&mut self, n: u32, reason: &Untrusted) -> Outcome<()> {
        long_enough(reason)?;
        self.in_state(n, &[VisitState::Waiting, VisitState::Ready, VisitState::Active, VisitState::Held])?;
        let actor = self.actor()?;
        let signed = self.step_of(n).is_some_and(|s| !s.sign_off.is_empty());
        // Who may not sign may not go past what wants signatures.
        if signed && !actor.roles.iter().any(|r| matches!(r, Role::Lead | Role::Commander)) {
            return refused("a step that wants signatures is skipped by a lead or a commander");
        }
        if let Some(v) = self.visit_mut(n) {
            v.reason = Some(reason.clone());
        }
        self.record_visit("playbook.step.skip", n, &[("reason", reason)], json!({}));
        self.succeed(n, VisitState::Skipped);
        Ok(())
    }

    fn retry(&mut self, n: u32) -> Outcome<()> {
        self.in_state(n, &[VisitState::Held])?;
        self.actor()?;
        self.record_visit("playbook.step.retry", n, &[], json!({}));
        self.again(n);
        Ok(())
    }

    fn decide(&mut self, n: u32, branch: &str, reason: &Untrusted) -> Outcome<()> {
        long_enough(reason)?;
        self.in_state(n, &[VisitState::Undecided])?;
        self.actor()?;
        let words: Vec<String> =
            self.step_of(n).map(|s| s.kind.branches().into_iter().map(|b| b.0).collect()).unwrap_or_default();
        if branch != "on" && !words.iter().any(|w| w == branch) {
            return usage(format!("{branch:?} is no branch of it: {} or on", words.join(", ")));
        }
        let commands = self.actor()?.roles.contains(&Role::Commander);
        if let Some(fact) = self.step_of(n).and_then(|s| self.book.fact_of(s)).filter(|_| !commands) {
            return refused(format!(
                "{} is for the desk to find out: past it goes a commander",
                fact.trim_matches('_')
            ));
        }
        if let Some(v) = self.visit_mut(n) {
            v.reason = Some(reason.clone());
        }
        self.record_visit("playbook.step.decide", n, &[("reason", reason)], json!({ "branch": branch }));
        self.decided(n, Some(branch).filter(|b| *b != "on"));
        Ok(())
    }

    fn sign(&mut self, n: u32, role: &str, named: Option<&Untrusted>) -> Outcome<()> {
        let v = self.in_state(n, &[VisitState::Ready, VisitState::Active])?;
        let actor = self.actor()?;
        let wanted = self.step_of(n).map(|s| s.sign_off.clone()).unwrap_or_default();
        if !wanted.iter().any(|w| w == role) {
            return usage(format!("this step asks for no {role}; it asks for: {}", wanted.join(", ")));
        }
        if v.signed.iter().any(|s| s.role == role) {
            return stale(format!("{role} has signed already"));
        }
        // By person: nobody signs twice, in whatever role.
        if v.signed.iter().any(|s| s.by == *actor.id) {
            return refused("you have signed this step already: another person is needed");
        }
        let of_roster = ROLES.into_iter().find(|r| r.word() == role);
        match (of_roster, named) {
            (Some(r), _) if !actor.roles.contains(&r) => return refused(format!("you are no {role}")),
            (None, None) => {
                return usage(format!("{role} is not in the roster: say who gave it, and where it is kept"));
            }
            (None, Some(who)) => long_enough(who)?,
            _ => {}
        }
        let sign = SignOff { role: role.to_owned(), by: actor.id.clone(), named: named.cloned(), at: self.now };
        if let Some(v) = self.visit_mut(n) {
            v.signed.push(sign);
        }
        let texts: Vec<(&str, &Untrusted)> = named.map(|t| ("named", t)).into_iter().collect();
        self.record_visit("playbook.step.sign", n, &texts, json!({ "role": role }));
        Ok(())
    }

    fn note(&mut self, n: u32, text: &Untrusted) -> Outcome<()> {
        long_enough(text)?;
        let Some(v) = self.run.visit(n) else { return usage(format!("no step number {n}")) };
        if v.notes.len() >= MOST_NOTES {
            return refused(format!("step {n} has {MOST_NOTES} notes already"));
        }
        let note = Note { by: self.actor()?.id.clone(), at: self.now, text: text.clone() };
        if let Some(v) = self.visit_mut(n) {
            v.notes.push(note);
        }
        self.record_visit("playbook.step.note", n, &[("text", text)], json!({}));
        Ok(())
    }

    fn attach(&mut self, n: u32, evidence: &Evidence) -> Outcome<()> {
        let Some(v) = self.run.visit(n) else { return usage(format!("no step number {n}")) };
        if v.evidence.len() >= MOST_NOTES {
            return refused(format!("step {n} has {MOST_NOTES} pieces of evidence already"));
        }
        self.actor()?;
        if v.evidence.iter().any(|e| e.sha256 == evidence.sha256 && e.name == evidence.name) {
            return Ok(());
        }
        if let Some(v) = self.visit_mut(n) {
            v.evidence.push(evidence.clone());
        }
        let body = json!({ "sha256": evidence.sha256, "bytes": evidence.bytes });
        self.record_visit("playbook.step.attach", n, &[("name", &evidence.name)], body);
        Ok(())
    }

    /// Kept also where the step is over by now: the request is there, and the run says so.
    fn proposed(&mut self, n: u32, request: &RequestId) -> Outcome<()> {
        let Some(v) = self.run.visit(n) else { return usage(format!("no step number {n}")) };
        self.actor()?;
        if v.requests.contains(request) {
            return Ok(());
        }
        if v.requests.len() >= MOST_NOTES {
            return refused(format!("step {n} has {MOST_NOTES} requests already"));
        }
        if let Some(v) = self.visit_mut(n) {
            v.requests.push(request.clone());
        }
        self.record_visit("playbook.step.propose", n, &[], json!({ "request": request }));
        Ok(())
    }

    /// Kept beside the step: neither its state nor what it gives is touched.
    fn advise(&mut self, n: u32, advice: &Advice) -> Outcome<()> {
        self.actor()?;
        let Some(v) = self.run.visit(n) else { return stale(format!("run {} has no step number {n}", self.run.id)) };
        if v.advice.len() >= MOST_ADVICE {
            return refused(format!("step {n} ({}) was asked {MOST_ADVICE} times already", v.key));
        }
        if let Some(v) = self.visit_mut(n) {
            v.advice.push(advice.clone());
        }
        let facts = json!({
            "model": advice.model, "prompt_sha256": advice.prompt, "exchange": advice.request_id,
            "answer_sha256": hex::encode(Sha256::digest(advice.text.expose())),
        });
        self.record_visit("playbook.step.advice", n, &[], facts);
        Ok(())
    }

    fn set(&mut self, name: &str, value: Option<&Untrusted>) -> Outcome<()> {
        let name = full_name(name);
        if self.book.facts.contains_key(&name) {
            return refused(format!("{} is found out by the desk itself", name.trim_matches('_')));
        }
        let by = self.actor()?.id.clone();
        let Some(h) = self.run.variables.get(&name) else {
            return usage(format!("{} has no variable {name}", self.run.playbook));
        };
        if h.constant {
            return refused(format!("{name} is a constant"));
        }
        if let Some(v) = value {
            kinds::check(&h.kind, v.expose()).or_else(|why| usage(format!("{name}: {why}")))?;
        }
        let value = value.map(|v| as_kept(self.book, &name, v, self.now)).transpose()?;
        let told = value.as_ref().map(|v| self.told(v));
        let held = Held { value, by: Some(by), at: self.now, ..h.clone() };
        self.run.variables.insert(name.clone(), held);
        self.record("playbook.set", json!({ "name": name, "value": told }));
        self.undecided_again();
        Ok(())
    }

    /// The clock goes on after the playbook's end, and so may what is said of it.
    fn deadline(&mut self, clock: &str, word: Option<DeadlineWord>, text: &Untrusted) -> Outcome<()> {
        if self.book.clocks.is_empty() || !ids::is_plain(clock) {
            return usage(format!("{} has no deadline {clock}", self.run.playbook));
        }
        long_enough(text)?;
        let by = self.actor()?.id.clone();
        let before = self.run.deadlines.get(clock).map(|m| m.word);
        match word {
            Some(word) if before == Some(word) => return stale(format!("{clock}: {} already", word.word())),
            None if before.is_none() => return stale(format!("{clock} is open")),
            Some(word) => {
                let mark = DeadlineMark { word, by, at: self.now, text: text.clone() };
                self.run.deadlines.insert(clock.to_owned(), mark);
            }
            None => {
                self.run.deadlines.remove(clock);
            }
        }
        let text = self.told(text);
        self.record("playbook.deadline", json!({ "clock": clock, "is": word, "was": before, "text": text }));
        Ok(())
    }

    /// What was not known may be known now.
    fn undecided_again(&mut self) {
        let open = self.run.visits.iter().filter(|v| v.state == VisitState::Undecided).map(|v| v.n);
        let open: Vec<u32> = open.collect();
        open.into_iter().for_each(|n| self.ask_again(n));
    }

    fn admit(&mut self, person: &PersonId) -> Outcome<()> {
        let actor = self.actor()?;
        if self.run.restricted.is_empty() {
            return usage("everybody sees this run");
        }
        if !actor.roles.iter().any(|r| self.run.restricted.iter().any(|w| w == r.word())) {
            return refused(format!("only {} may admit others", self.run.restricted.join(", ")));
        }
        if !self.run.named.contains(person) {
            self.run.named.push(person.clone());
            self.record("playbook.admit", json!({ "person": person }));
        }
        Ok(())
    }

    fn cancel(&mut self, reason: &Untrusted) -> Outcome<()> {
        long_enough(reason)?;
        self.actor()?;
        self.finish(RunState::Cancelled, Some(reason.clone()));
        Ok(())
    }

    fn tick(&mut self) -> Outcome<()> {
        if self.run.state != RunState::Running {
            return Ok(());
        }
        let now = self.now;
        for n in self.run.visits.iter().map(|v| v.n).collect::<Vec<_>>() {
            let Some(v) = self.run.visit(n).filter(|_| self.run.state == RunState::Running) else { continue };
            if v.state == VisitState::Waiting && v.ready_at <= now {
                if let Some(v) = self.visit_mut(n) {
                    v.state = VisitState::Ready;
                }
                self.record_visit("playbook.step.ready", n, &[], json!({}));
            }
            let Some(v) = self.run.visit(n) else { continue };
            if !matches!(v.state, VisitState::Ready | VisitState::Active) {
                continue;
            }
            if v.fails_at.is_some_and(|t| t <= now) {
                let why = Untrusted::new("ACTION_TIMEOUT");
                if let Some(v) = self.visit_mut(n) {
                    v.reason = Some(why.clone());
                }
                self.record_visit("playbook.step.fail", n, &[], json!({ "reason": why }));
                self.fail_now(n);
            } else if !v.overdue && v.box_until.is_some_and(|t| t <= now) {
                if let Some(v) = self.visit_mut(n) {
                    v.overdue = true;
                }
                self.record_visit("playbook.step.overdue", n, &[], json!({}));
            }
        }
        Ok(())
    }

    fn begun(&mut self, n: u32, child: &str) -> Outcome<()> {
        self.in_state(n, &[VisitState::Ready, VisitState::Active])?;
        if let Some(v) = self.visit_mut(n) {
            v.child = Some(child.to_owned());
        }
        self.record_visit("playbook.step.begun", n, &[], json!({ "child": child }));
        Ok(())
    }

    fn ended(&mut self, n: u32, ok: bool) -> Outcome<()> {
        self.in_state(n, &[VisitState::Ready, VisitState::Active])?;
        if ok {
            self.record_visit("playbook.step.done", n, &[], json!({ "child": "done" }));
            self.succeed(n, VisitState::Done);
        } else {
            if let Some(v) = self.visit_mut(n) {
                v.reason = Some(Untrusted::new("the playbook it waited for failed"));
            }
            self.record_visit("playbook.step.fail", n, &[], json!({ "child": "failed" }));
            self.fail_now(n);
        }
        Ok(())
    }
}

/// A value as the run keeps it: of a variable with choices, one of them; of one from which deadlines count, the time.
pub(super) fn as_kept(book: &Playbook, name: &str, value: &Untrusted, now: Timestamp) -> Outcome<Untrusted> {
    let shown = name.trim_matches('_');
    match book.choices.get(name) {
        Some(words) if !words.iter().any(|w| w == value.expose()) => {
            return usage(format!("{shown}: one of {} was expected", words.join(", ")));
        }
        _ => {}
    }
    if !book.clocks.contains_key(name) {
        return Ok(value.clone());
    }
    match when::past(value.expose(), now) {
        Ok(at) => Ok(Untrusted::new(format!("{at:.0}"))),
        Err(why) => usage(format!("{}: {why}", shown.replace('_', " "))),
    }
}

/// Reasons and notes say something, and not a book.
fn long_enough(text: &Untrusted) -> Outcome<()> {
    match text.expose() {
        t if t.trim().is_empty() => usage("say why, in words"),
        t if t.len() > LONGEST_TEXT => usage(format!("{} bytes; at most {LONGEST_TEXT}", t.len())),
        _ => Ok(()),
    }
}
