//! The decision screen. The upper part holds our own words and the request's canonical fields; what the requester
//! wrote stands below in a box of its own, and model text never comes here.

use jiff::Timestamp;
use ratatui::layout::Rect;

use super::super::action::Do;
use super::super::layout;
use super::super::state::Decide;
use super::super::state::doc::{Doc, block};
use super::super::state::overlay::Deciding;
use super::super::theme::Role;
use super::super::update::approvals_hold_ms;
use super::super::words::{Clock, Said, say};
use super::paint::Canvas;
use super::{doc_rows, key_of};
use crate::model::action::{ReceiptState, Request, RequestState, Suggested, Tier};
use crate::model::course::MessageKind;

pub fn draw(c: &mut Canvas<'_>, d: &Decide) {
    let body = layout::body(c.state);
    let r = &d.request;
    let role = match d.what {
        Deciding::Look => Role::Bar,
        _ => Role::Critical,
    };
    let band = Rect::new(body.x, body.y, body.width, 1);
    let word = match (d.what, r.state) {
        (Deciding::Approve, _) => "APPROVE?",
        (Deciding::Execute, _) => "RUN NOW?",
        (Deciding::Look, RequestState::Pending) => "WAITING",
        (Deciding::Look, RequestState::Draft) => "DRAFT",
        (Deciding::Look, _) => "REQUEST",
    };
    let text = say!(word, "  ", Said::of(tail(r.body.id.as_str())), "  ", r.body.tier.word(), "  ", r.state.word());
    let signers = r.approvals.iter().fold(Said::new(), |mut s, a| {
        s.push(&say!(if s.is_empty() { "" } else { " " }, a.by));
        s
    });
    let needs = say!("needs ", r.body.approvals_needed, ", has ", r.approvals.len());
    let until = if r.state == RequestState::Approved { r.body.execute_by } else { r.body.approve_by };
    let expires = say!("  expires ", Clock(until));
    let mut have = needs.clone();
    // Who has signed is told where there is room; it stands below too.
    if !signers.is_empty()
        && text.width() + needs.width() + signers.width() + expires.width() + 7 <= usize::from(band.width)
    {
        have.push(&say!(" (", signers, ")"));
    }
    have.push(&expires);
    if r.state == RequestState::Draft {
        have = say!("kept until ", Said::minute(r.body.approve_by), " UTC");
    }
    let gap = usize::from(band.width).saturating_sub(text.width() + have.width() + 3).max(2);
    c.band(band, role, &say!(text, Said::repeat(" ", gap), have));

    // A refusal is said whole.
    let room = usize::from(body.width.saturating_sub(2));
    let said: Vec<Said> = d.error.iter().flat_map(|e| e.wrap(room)).take(4).collect();
    let foot = 2 + said.len().max(1) as u16;
    let text = Rect::new(body.x + 1, body.y + 1, body.width.saturating_sub(2), body.height.saturating_sub(foot + 1));
    let doc = lay_out(d, c.state.now, usize::from(text.width));
    let scroll = d.scroll.min(doc.rows.len().saturating_sub(usize::from(text.height)));
    doc_rows(c, text, &doc.rows, scroll);
    if doc.rows.len() > usize::from(text.height) {
        let more = super::extent(scroll, usize::from(text.height), doc.rows.len());
        c.put_right(text.x, text.bottom(), text.width, &more, Role::Dim);
    }
    decision(c, d, &said, Rect::new(body.x, body.bottom() - foot, body.width, foot));
}

/// The last letters of an id: what people say to each other.
fn tail(id: &str) -> &str {
    id.get(id.len().saturating_sub(6)..).unwrap_or(id)
}

fn lay_out(d: &Decide, now: Timestamp, width: usize) -> Doc {
    let r = &d.request;
    let b = &r.body;
    let mut doc = Doc::new(width);
    let by = match b.suggested_by {
        Suggested::Person => "their own idea",
        Suggested::Playbook => "from a playbook",
        Suggested::Model => "SUGGESTED BY THE MODEL",
    };
    let verb = if r.was_asked() { " asked at " } else { " kept it at " };
    doc.pair(say!("WHO"), &say!(b.requester, verb, Clock(b.created), ", ", by), Role::Text);
    let n = b.targets.len();
    let what = say!(Said::of(&b.action), " on ", n, if n == 1 { " target" } else { " targets" });
    doc.pair(say!("WHAT"), &what, Role::Heading);
    for (name, value) in &b.params {
        doc.pair(Said::new(), &say!(Said::of(name), " = ", Said::of(value)), Role::Text);
    }
    for command in &b.commands {
        doc.pair(Said::new(), &Said::of(&command.argv.join(" ")), Role::Dim);
    }
    let reach =
        say!(n, if n == 1 { " target, " } else { " targets, " }, b.tier.word(), ": ", Said::of(&b.targets.join("  ")));
    doc.pair(say!("TARGETS"), &reach, Role::Text);
    changes(&mut doc, r);
    match &b.undo {
        Some(u) => doc.pair(say!("UNDO"), &say!(Said::of(u), ", on the same targets"), Role::Text),
        None => doc.pair(say!("UNDO"), &say!("THERE IS NO UNDO"), Role::Critical),
    }
    for f in &r.findings {
        let (word, role) = if f.refuses { ("REFUSED", Role::Bad) } else { ("POLICY", Role::Warn) };
        doc.pair(say!(word), &Said::of(&f.text), role);
    }
    standing(&mut doc, d);
    time_left(&mut doc, d, now);
    aside(&mut doc, r, now);
    let head = b.audit_head.split(':').next().unwrap_or("?");
    let digest = say!(
        "sha256 ",
        Said::of(&r.digest),
        "   policy ",
        Said::of(b.policy_digest.get(..8).unwrap_or("?")),
        "   audit record ",
        Said::of(head)
    );
    if r.was_asked() {
        doc.pair(say!("DIGEST"), &digest, Role::Dim);
    }
    for a in &r.approvals {
        doc.pair(say!("APPROVED"), &say!("by ", a.by, " at ", Clock(a.at), ", ", a.means.word()), Role::Good);
    }
    if !b.alerts.is_empty() {
        let mut ids = Said::new();
        for id in b.alerts.iter().take(20) {
            ids.push(&say!("#", *id, " "));
        }
        doc.pair(say!("ALERTS"), &ids, Role::Text);
    }
    if let Some(d) = &r.denied {
        doc.pair(say!("DENIED"), &say!("by ", d.by, " at ", Clock(d.at)), Role::Bad);
    }
    if let Some(n) = &r.note {
        doc.pair(say!("NOTE"), &Said::of(n), Role::Warn);
    }
    receipts(&mut doc, r);
    fence(&mut doc, "reason given by the requester (untrusted text, shown as typed):", &block(&b.reason), width);
    if let Some(g) = &r.course.glass {
        fence(&mut doc, "why the glass was broken (untrusted text, shown as typed):", &block(&g.reason), width);
        if let Some(v) = &g.review {
            fence(&mut doc, "what the review found (untrusted text, shown as typed):", &block(&v.text), width);
        }
    }
    if !r.course.thread.is_empty() {
        let mut said = Said::new();
        for m in &r.course.thread {
            let verb = if m.kind == MessageKind::Question { " asks at " } else { " answers at " };
            said.push(&say!(if said.is_empty() { "" } else { "\n" }, m.by, verb, Clock(m.at), ": ", block(&m.text)));
        }
        fence(&mut doc, "asked and answered (untrusted text, shown as typed):", &said, width);
    }
    if let Some(d) = &r.denied {
        fence(&mut doc, "reason given for the denial (untrusted text, shown as typed):", &block(&d.reason), width);
    }
    for p in r.preview.iter().filter(|p| !p.diff.is_empty()) {
        fence(
            &mut doc,
            "what the dry run printed (untrusted text):",
            &say!(Said::of(&p.target), ": ", block(&p.diff)),
            width,
        );
    }
    doc
}

/// Both deadlines, and who is told while nobody decides.
fn time_left(doc: &mut Doc, d: &Decide, now: Timestamp) {
    let b = &d.request.body;
    let until = |at: Timestamp| {
        let left = at.as_second() - now.as_second();
        if left < 0 { say!(Clock(at), ", over") } else { say!(Clock(at), ", ", Said::span(left), " left") }
    };
    match d.request.state {
        RequestState::Pending => {
            let text = say!("to approve until ", until(b.approve_by), "; to start until ", Clock(b.execute_by));
            let hurry = b.approve_by.as_second() - now.as_second() < 300;
            doc.pair(say!("TIME"), &text, if hurry { Role::Warn } else { Role::Text });
        }
        RequestState::Draft => {
            let left = Said::span(b.approve_by.as_second() - now.as_second());
            doc.pair(say!("TIME"), &say!("to submit within ", left, "; an edit begins that time anew"), Role::Text);
        }
        RequestState::Approved => doc.pair(say!("TIME"), &say!("to start until ", until(b.execute_by)), Role::Text),
        _ => {}
    }
    let reached = &d.request.course.rungs;
    for (i, rung) in reached.iter().chain(d.ladder.iter().skip(reached.len())).enumerate() {
        let (verb, role) = if i < reached.len() { ("told", Role::Warn) } else { ("to be told", Role::Dim) };
        let label = if i == 0 { say!("LADDER") } else { Said::new() };
        let text = say!("rung ", rung.number, ": ", Said::of(&rung.whom), " ", verb, " at ", Clock(rung.at));
        doc.pair(label, &text, role);
    }
}

/// What else happened along the way, in our words.
fn aside(doc: &mut Doc, r: &Request, now: Timestamp) {
    if let Some(old) = &r.body.replaces {
        doc.pair(say!("INSTEAD OF"), &say!(Said::of(old.as_str())), Role::Text);
    }
    if let Some(t) = &r.course.ticket {
        doc.pair(say!("TICKET"), &Said::of(t), Role::Text);
    }
    if let Some(q) = r.course.open_question().filter(|_| !r.state.is_final()) {
        doc.pair(
            say!("ASKED"),
            &say!("by ", q.by, " at ", Clock(q.at), ", not answered yet; it stands below"),
            Role::Warn,
        );
    }
    let Some(g) = &r.course.glass else { return };
    let text = say!("BROKEN by ", g.by, " at ", Clock(g.at), ", ", g.means.word(), ": it runs on their word alone");
    doc.pair(say!("GLASS"), &text, Role::Critical);
    let (text, role) = match &g.review {
        Some(v) if v.justified => (say!("justified, says ", v.by, " at ", Clock(v.at)), Role::Good),
        Some(v) => (say!("NOT justified, says ", v.by, " at ", Clock(v.at)), Role::Bad),
        None if g.overdue(now) => (say!("OVERDUE since ", Said::moment(g.review_due), " UTC"), Role::Critical),
        None => (say!("by somebody else until ", Said::moment(g.review_due), " UTC"), Role::Warn),
    };
    doc.pair(say!("REVIEW"), &text, role);
}

/// What the policy would say to this person's approval now.
fn standing(doc: &mut Doc, d: &Decide) {
    match &d.standing {
        None => {}
        Some(Err(e)) => doc.pair(say!("NOW"), &say!("what the policy says is not known: ", e), Role::Warn),
        Some(Ok(found)) => {
            let known = |text: &str| d.request.findings.iter().any(|f| !f.refuses && f.text == text);
            for f in found.iter().filter(|f| f.refuses || !known(&f.text)) {
                let (word, role) = if f.refuses { ("BLOCKED", Role::Bad) } else { ("NOW", Role::Warn) };
                doc.pair(say!(word), &Said::of(&f.text), role);
            }
        }
    }
    if let Some(why) = &d.over {
        doc.pair(say!("OVERRIDE"), &say!("you set the error budget aside: ", Said::of(why)), Role::Critical);
    }
}

fn changes(doc: &mut Doc, r: &Request) {
    if !r.was_asked() {
        doc.pair(say!("CHANGES"), &say!("not tried yet: policy and dry run are asked when it is submitted"), Role::Dim);
        return;
    }
    if r.preview.is_empty() {
        doc.pair(say!("CHANGES"), &say!("no dry run: the executor cannot tell beforehand"), Role::Warn);
        return;
    }
    let changed = r.preview.iter().filter(|p| p.would_change.is_some_and(|n| n > 0)).count();
    let same = r.preview.iter().filter(|p| p.would_change == Some(0) && !p.failed).count();
    let failed = r.preview.iter().filter(|p| p.failed).count();
    let unknown = r.preview.iter().filter(|p| p.would_change.is_none() && !p.failed).count();
    let mut said = say!("dry run: ", changed, " would change, ", same, " already so");
    if unknown > 0 {
        said.push(&say!(", ", unknown, " unknown"));
    }
    if failed > 0 {
        said.push(&say!(", ", failed, " FAILED"));
    }
    let role = if failed > 0 {
        Role::Bad
    } else if unknown > 0 {
        Role::Warn
    } else {
        Role::Text
    };
    doc.pair(say!("CHANGES"), &said, role);
}

fn receipts(doc: &mut Doc, r: &Request) {
    if r.receipts.is_empty() {
        return;
    }
    doc.heading(say!("RECEIPTS one per target"));
    for receipt in &r.receipts {
        let (word, role) = match receipt.state {
            ReceiptState::Pending => ("pending", Role::Dim),
            ReceiptState::Done => ("done", Role::Good),
            ReceiptState::Failed => ("FAILED", Role::Bad),
            ReceiptState::Unknown => ("UNKNOWN: it may have happened", Role::Critical),
            ReceiptState::Skipped => ("skipped", Role::Dim),
        };
        let changed = match receipt.changed {
            Some(n) => say!("changed=", n),
            None => say!("changed=?"),
        };
        let line = say!(word, "  ", changed, "  ", Clock(receipt.at), "  ", receipt.detail);
        doc.labelled(Said::of(&receipt.target), 18, &line, role);
    }
}

/// Text somebody else wrote, in a box that our own words never stand in.
fn fence(doc: &mut Doc, title: &'static str, text: &Said, width: usize) {
    doc.blank();
    doc.rows.push(vec![(say!("| ", title), Role::Fence)]);
    for line in text.wrap(width.saturating_sub(6)).into_iter().take(200) {
        doc.rows.push(vec![(say!("|   "), Role::Fence), (line, Role::Text)]);
    }
}

/// What can be done now, and how. Only our words.
fn decision(c: &mut Canvas<'_>, d: &Decide, error: &[Said], area: Rect) {
    let s = c.state;
    c.rule(Rect::new(area.x, area.y, area.width, 1));
    let (x, y, room) = (area.x + 1, area.y + 1, area.width.saturating_sub(2));
    for (i, line) in error.iter().enumerate() {
        c.put(x, y + 1 + i as u16, room, line, Role::Bad);
    }
    if d.changed.is_some() {
        let text = say!(
            "IT HAS CHANGED since you opened it: nothing can be signed here. ",
            key_of(s, Do::Reread),
            " shows it as it is now."
        );
        c.put(x, y, room, &text, Role::Critical);
        return;
    }
    if d.busy {
        c.put(x, y, room, &say!("sent, waiting for the desk"), Role::Accent);
        return;
    }
    let verb = match d.what {
        Deciding::Look => {
            c.put(x, y, room, &look_words(c, &d.request), Role::Text);
            return;
        }
        Deciding::Approve => "sign",
        Deciding::Execute => "run",
    };
    let waited = s.now.as_millisecond() - d.opened.as_millisecond();
    if !d.armed && waited < approvals_hold_ms() {
        c.put(x, y, room, &say!("read it first"), Role::Dim);
        return;
    }
    if error.is_empty() && d.what == Deciding::Approve {
        blocked(c, d, x, y + 1, room);
    }
    match d.request.body.tier {
        Tier::T0 | Tier::T1 => {
            let at = c.put(x, y, room, &say!("y"), Role::Accent);
            c.put(at, y, room, &say!(" to ", verb), Role::Text);
        }
        Tier::T2 => {
            let mut at = c.put(x, y, room, &say!("type  "), Role::Text);
            c.ground = Some(Role::Input);
            at = c.put(at, y, 6, &say!(" ", Said::of(&d.code), " "), Role::Heading);
            c.ground = None;
            at = c.put(at, y, room, &say!("  to ", verb, ":  "), Role::Text);
            c.put(at, y, 6, &Said::of(&d.typed), Role::Accent);
        }
        Tier::T3 => {
            let asked = d.asked().unwrap_or_default();
            if d.typing {
                let at = c.put(x, y, room, &say!("type  ", Said::of(asked), "  to ", verb, ":  "), Role::Text);
                let line = [d.typed.clone()];
                c.input(Rect::new(at, y, area.right().saturating_sub(at + 1), 1), &line, (0, d.typed.len()), true);
            } else {
                let text = say!(key_of(s, Do::TypeName), "  then type  ", Said::of(asked), "  to ", verb);
                c.put(x, y, room, &text, Role::Text);
            }
        }
    }
}

/// Below the way to sign: that it would be refused, and what a commander can do.
fn blocked(c: &mut Canvas<'_>, d: &Decide, x: u16, y: u16, room: u16) {
    let s = c.state;
    if d.over.is_some() {
        c.put(x, y, room, &say!("this signs it OVER THE ERROR BUDGET, in your name"), Role::Critical);
    } else if !d.against().is_empty() {
        let may = Do::OverBudget.enabled(s).is_ok() && d.against().iter().any(|t| t.contains("error budget"));
        let more = if may { say!("; ", key_of(s, Do::OverBudget), " sets the budget aside") } else { Said::new() };
        c.put(x, y, room, &say!("BLOCKED as it stands, signing it is refused", more), Role::Bad);
    }
}

fn look_words(c: &Canvas<'_>, r: &Request) -> Said {
    let s = c.state;
    let mine = s.my_id().is_some_and(|me| *me == r.body.requester);
    let signed = s.my_id().is_some_and(|me| r.approvals.iter().any(|a| a.by == *me));
    match r.state {
        RequestState::Pending if mine => {
            let (w, e) = (key_of(s, Do::Withdraw), key_of(s, Do::EditRequest));
            say!("you asked for this: somebody else must approve it. ", w, " withdraws it, ", e, " edits it")
        }
        RequestState::Draft => {
            let (submits, edits) = (key_of(s, Do::SubmitRequest), key_of(s, Do::EditRequest));
            let drops = key_of(s, Do::Withdraw);
            say!("asked of nobody yet: ", submits, " submits it, ", edits, " edits it, ", drops, " drops it")
        }
        RequestState::Pending if signed => say!("you have approved it; another person is needed"),
        RequestState::Pending => say!("it waits for approval"),
        RequestState::Approved => say!("approved: ", key_of(s, Do::Execute), " runs it, once"),
        RequestState::Executing => say!("it is running"),
        RequestState::Failed => say!("it failed: ", key_of(s, Do::RetryFailed), " asks again for what did not work"),
        RequestState::Done if r.body.undo.is_some() => {
            say!("it is done: ", key_of(s, Do::UndoRequest), " asks for it to be taken back")
        }
        state => say!("it is ", state.word(), ": nothing more can happen to it"),
    }
}
