//! What backends and people said about an alert, laid out: text that speaks to its reader, the opinion with its claims
//! and what people said to it, what is being written just now, and questions with their answers.

use jiff::Timestamp;

use super::super::theme::Role;
use super::super::words::{Clock, Said, say};
use super::doc::{Doc, block};
use super::triage::{Asking, Run, Unanswered};
use crate::desk::Detail;
use crate::desk::partial::Partial;
use crate::model::opinion::{Answered, Review};
use crate::model::verdict::{Claim, Verdict};
use crate::text::Untrusted;

/// Findings listed of text that speaks to its reader.
const TAINTS: usize = 8;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinion {
    pub doc: Doc,
    /// Every claim, in the order of the rows, and its row.
    pub claims: Vec<(usize, Claim)>,
    /// Row of the heading of the opinion, and of the last question.
    pub head: usize,
    pub question: Option<usize>,
}

/// What it is made of, besides the alert.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    pub now: Timestamp,
    pub runs: &'a [Run],
    pub unanswered: Option<&'a Unanswered>,
    /// The claim that is looked at.
    pub claim: Option<usize>,
    pub ascii: bool,
    /// The backend that is asked, as the header names it.
    pub backend: Option<&'a Said>,
    pub keys: &'a Keys,
}

/// Keys that the text names, as they are bound now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    pub triage: Said,
    pub accept: Said,
    pub disagree: Said,
    pub propose: Said,
    pub cancel: Said,
}

impl Opinion {
    pub fn of(d: &Detail, around: &Around<'_>, width: usize) -> Self {
        let mut out = Self { doc: Doc::new(width), ..Self::default() };
        out.taint(d);
        out.heading(say!("OPINION advice, not a decision"));
        out.head = out.doc.sections.last().copied().unwrap_or(0);
        let mine = |r: &&Run| r.alert == d.alert.id;
        if let Some(run) = around.runs.iter().filter(mine).find(|r| r.what == Asking::Opinion) {
            out.writing(run, around);
        }
        match d.verdicts.first() {
            Some(v) => out.verdict(d, v, around),
            None if around.runs.iter().filter(mine).any(|r| r.what == Asking::Opinion) => {}
            None => out.doc.text(2, &say!("none yet; ", around.keys.triage, " asks for one"), Role::Dim),
        }
        out.asked(d, around);
        // Something else follows in a narrow pane.
        out.doc.blank();
        out
    }

    fn heading(&mut self, title: Said) {
        self.doc.heading(title);
    }

    /// Findings of the detector: said before anything that rests on that text.
    fn taint(&mut self, d: &Detail) {
        let speaks = d.verdicts.first().is_some_and(|v| v.speaks_to_model);
        if d.taint.is_empty() && !speaks {
            return;
        }
        self.heading(say!("TEXT THAT SPEAKS TO ITS READER"));
        self.doc.text(2, &say!("trust no conclusion that rests on it"), Role::Warn);
        if d.taint.is_empty() {
            self.doc.marked("T", Role::Bad, &say!("found when the opinion was formed"), Role::Warn);
        }
        for t in d.taint.iter().take(TAINTS) {
            let mut what = say!(Said::of(&t.what), " in ", t.field);
            if t.encoded {
                what.push(&", under an encoding");
            }
            self.doc.marked("T", Role::Bad, &what, Role::Warn);
            self.doc.text(6, &say!("\"", t.excerpt, "\""), Role::Dim);
        }
        if d.taint.len() > TAINTS {
            self.doc.text(6, &say!("and ", d.taint.len() - TAINTS, " more"), Role::Dim);
        }
    }

    /// An opinion that is being written: shown as it grows, and marked as what nobody has checked.
    fn writing(&mut self, run: &Run, around: &Around<'_>) {
        self.progress(run, around, "opinion");
        let p = &run.partial;
        if let Some(kind) = p.kind {
            self.doc.text(2, &say!(kind.label(), "   unchecked"), Role::Dim);
        }
        self.unchecked(p);
        for q in &p.questions {
            self.doc.marked("?", Role::Dim, &say!(q), Role::Dim);
        }
        self.doc.blank();
    }

    fn progress(&mut self, run: &Run, around: &Around<'_>, what: &'static str) {
        let waited = Said::span(run.seconds(around.now));
        let name = around.backend.cloned().unwrap_or_else(|| say!("the backend"));
        let (text, role) = if run.stopping {
            (say!("stopping the ", what, ", ", waited), Role::Warn)
        } else if run.pieces == 0 {
            (say!("waiting for ", name, ", ", waited, "; ", around.keys.cancel, " stops it"), Role::Accent)
        } else if run.partial.thinking {
            (say!(name, " is thinking, ", waited, "; ", around.keys.cancel, " stops it"), Role::Accent)
        } else {
            (
                say!("UNCHECKED, still writing: ", name, ", ", waited, "; ", around.keys.cancel, " stops it"),
                Role::Accent,
            )
        };
        self.doc.text(2, &text, role);
    }

    fn unchecked(&mut self, p: &Partial) {
        for c in &p.claims {
            let text = if c.text.is_empty() { say!("...") } else { say!(c.text) };
            self.doc.marked(".", Role::Dim, &text, Role::Text);
            if !c.quote.is_empty() {
                self.doc.text(6, &say!(c.field, ": ", c.quote), Role::Dim);
            }
        }
    }

    fn verdict(&mut self, d: &Detail, v: &Verdict, around: &Around<'_>) {
        let mut head = say!(v.kind.label());
        if let Some(c) = v.confidence {
            head.push(&say!("  ", Said::decimal(f64::from(c), 2)));
        }
        head.push(&say!("   ", v.founded(), " of ", v.claims.len(), " claims founded"));
        self.doc.text(2, &head, Role::Heading);
        let by = by(&v.backend, v.server.as_deref(), &v.model);
        self.doc.text(2, &say!(by, " in ", took(v.took_ms), " at ", Said::moment(v.at)), Role::Dim);
        if v.fallback {
            self.doc.text(2, &say!("FALLBACK the rules stood in: the model did not answer"), Role::Warn);
        }
        if v.text_dependent == Some(true) {
            let text =
                "~ TEXT-DEPENDENT: decide yourself. Without the text an attacker can write, it concluded otherwise.";
            self.doc.text(2, &say!(text), Role::Bad);
        }
        if let Some(r) = &v.remark {
            self.doc.text(2, &say!(r), Role::Dim);
        }
        if let Some(p) = v.advised_priority {
            self.doc.text(2, &say!("^ advises priority ", p.word()), Role::Text);
        }
        self.claims(&v.claims, around);
        for q in &v.questions {
            self.doc.marked("?", Role::Accent, &say!(q), Role::Text);
        }
        for a in &v.suggested_actions {
            let mut said = say!("suggests ", Said::of(&a.action));
            if let Some(t) = &a.target {
                said.push(&say!(" for ", t));
            }
            said.push(&say!("; ", around.keys.propose, " opens it, you choose its targets"));
            self.doc.marked(">", Role::Accent, &said, Role::Text);
        }
        if let Some(p) = &v.playbook {
            self.doc.marked(">", Role::Accent, &say!("playbook ", Said::of(p)), Role::Text);
        }
        self.reviews(d, v, around);
    }

    /// Who said what to it, and how often people agreed before.
    fn reviews(&mut self, d: &Detail, v: &Verdict, around: &Around<'_>) {
        self.doc.blank();
        let of = |r: &&Review| r.request_id == v.request_id;
        for r in d.reviews.iter().filter(of) {
            self.doc.text(2, &review(r), if r.agrees() { Role::Good } else { Role::Warn });
        }
        if !d.reviews.iter().any(|r| of(&r)) {
            let text = say!(around.keys.accept, " agree   ", around.keys.disagree, " say otherwise, with a reason");
            self.doc.text(2, &text, Role::Dim);
        }
        let alike = d.agreement.iter().find(|a| a.backend == v.backend && a.model == v.model);
        let who = if v.backend == "rules" { "the rules" } else { "this model" };
        let said = match alike.map(|a| (a.agreed, a.agreed + a.overridden)) {
            Some((agreed, n)) if n > 0 => say!("people agreed with ", who, " on this rule ", agreed, " of ", n),
            _ => say!("nobody has said yet whether ", who, " can be trusted on this rule"),
        };
        self.doc.text(2, &said, Role::Dim);
    }

    fn claims(&mut self, claims: &[Claim], around: &Around<'_>) {
        for c in claims {
            let here = around.claim == Some(self.claims.len());
            self.claims.push((self.doc.rows.len(), c.clone()));
            let lead = match (here, around.ascii) {
                (false, _) => "  ",
                (true, true) => "> ",
                (true, false) => "\u{25b8} ",
            };
            let role = if here { Role::Heading } else { Role::Text };
            if c.founded {
                self.doc.led(lead, "=", Role::Good, &[(say!(c.text), role)]);
                self.doc.text(6, &say!(c.field, ": ", c.quote), Role::Dim);
            } else {
                self.doc.led(lead, "x", Role::Bad, &[(say!("unfounded: "), Role::Bad), (say!(c.text), Role::Struck)]);
                self.doc.text(6, &say!(c.field, " does not hold \"", c.quote, "\""), Role::Dim);
            }
        }
    }

    fn asked(&mut self, d: &Detail, around: &Around<'_>) {
        let run = around.runs.iter().find(|r| r.alert == d.alert.id && r.what.is_question());
        let failed = around.unanswered.filter(|u| u.alert == d.alert.id);
        if d.asked.is_empty() && run.is_none() && failed.is_none() {
            return;
        }
        self.heading(say!("QUESTIONS asked about it"));
        for a in &d.asked {
            let who = a.by.as_ref().map_or_else(|| say!("somebody"), |p| say!(p));
            self.ask_line(say!(Clock(a.at), " ", who), &a.question);
            self.answer(a, around);
        }
        if let Some(u) = failed {
            self.ask_line(say!("you"), &u.question);
            self.doc.text(4, &say!("no answer: ", u.why), Role::Bad);
        }
        if let Some((run, Asking::Question(question))) = run.map(|r| (r, &r.what)) {
            self.ask_line(say!("you"), question);
            self.progress(run, around, "answer");
            if !run.partial.text.is_empty() {
                self.doc.text(4, &block(&run.partial.text), Role::Text);
            }
            self.unchecked(&run.partial);
        }
    }

    fn ask_line(&mut self, who: Said, question: &Untrusted) {
        self.question = Some(self.doc.rows.len());
        self.doc.led("  ", "?", Role::Accent, &[(say!(who, "  "), Role::Dim), (block(question), Role::Heading)]);
    }

    fn answer(&mut self, a: &Answered, around: &Around<'_>) {
        self.doc.text(4, &block(&a.text), Role::Text);
        self.claims(&a.claims, around);
        let mut by = by(&a.backend, a.server.as_deref(), &a.model);
        by.push(&say!(" in ", took(a.took_ms)));
        if let Some(r) = &a.remark {
            by.push(&say!("; ", r));
        }
        self.doc.text(4, &by, Role::Dim);
    }
}

/// `by openai vllm-a some-model`; rules are their own model.
fn by(backend: &str, server: Option<&str>, model: &Untrusted) -> Said {
    let mut by = say!("by ", Said::of(backend));
    if let Some(s) = server {
        by.push(&say!(" ", Said::of(s)));
    }
    if model.expose() != backend {
        by.push(&say!(" ", model));
    }
    by
}

/// `12 ms` or `2.3 s`.
pub fn took(ms: u64) -> Said {
    if ms < 1000 { say!(ms, " ms") } else { say!(Said::decimal(ms as f64 / 1000.0, 1), " s") }
}

fn review(r: &Review) -> Said {
    let mut said = if r.agrees() {
        say!(r.by, " agreed at ", Clock(r.at))
    } else {
        say!(r.by, " said ", r.kind.label(), " at ", Clock(r.at))
    };
    if !r.reason.is_empty() {
        said.push(&say!(": ", r.reason));
    }
    said
}
