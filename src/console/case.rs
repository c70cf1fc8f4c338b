//! A case in words: what it is about, the playbooks worked in it, what they kept, how it ended. Pure.

use jiff::Timestamp;

use super::action::{Do, Scope};
use super::playbook::{done_of, run_clock, run_role};
use super::state::State;
use super::state::doc::{Doc, block};
use super::theme::Role;
use super::words::{Said, say};
use crate::desk::case::CaseView;
use crate::model::playbook::Suggested;
use crate::model::playbook_run::RunState;

/// Alerts and requests that are listed.
const LISTED: usize = 12;

/// Keys as they are bound now, for sentences.
pub struct Keys {
    playbook: Said,
    alerts: Said,
    run: Said,
    close: Said,
}

impl Keys {
    pub fn of(s: &State) -> Self {
        let key = |act: Do, scopes: &[Scope]| match s.look.keymap.hint(act, scopes) {
            Some(k) => Said::of(&k),
            None => say!(":", act.word()),
        };
        let cases = [Scope::Cases];
        Self {
            playbook: key(Do::CasePlaybook, &cases),
            alerts: key(Do::CaseAlerts, &cases),
            run: key(Do::CaseRun, &cases),
            close: key(Do::CloseCase, &cases),
        }
    }
}

pub fn text(v: &CaseView, width: usize, now: Timestamp, keys: &Keys) -> Doc {
    let mut doc = Doc::new(width);
    let c = &v.case;
    doc.text(0, &say!("#", c.id, "  ", c.title), Role::Heading);
    doc.pair(say!("opened"), &say!(Said::moment(c.opened_at), " UTC by ", c.opened_by), Role::Dim);
    match (&v.closing, c.closed_at) {
        (Some(how), Some(at)) => {
            let said = say!(Said::moment(at), " UTC by ", how.by, ": ", how.disposition.word());
            doc.pair(say!("CLOSED"), &said, Role::Good);
            doc.pair(say!("summary"), &block(&how.summary), Role::Text);
        }
        (None, Some(at)) => doc.pair(say!("CLOSED"), &say!(Said::moment(at), " UTC"), Role::Good),
        (_, None) => {
            let at_work = v.runs.iter().any(|r| r.state == RunState::Running);
            let said = if at_work {
                say!("a playbook is at work; ", keys.run, " opens it")
            } else {
                say!(keys.close, " closes it with its alerts")
            };
            doc.pair(say!("open"), &said, Role::Text);
            match v.suggested.first() {
                Some(s) if v.runs.is_empty() => doc.rows.push(suggested(s, &keys.playbook, doc.width)),
                _ => {}
            }
        }
    }
    playbooks(&mut doc, v, now);
    evidence(&mut doc, v);
    doc.heading(say!("ALERTS ", c.alerts, "   (", keys.alerts, " shows them in the queue)"));
    for a in v.alerts.iter().take(LISTED) {
        let host = a.host.as_ref().map_or_else(Said::new, |h| say!("  ", h));
        let said = say!("#", a.id, "  ", a.severity.short(), "  ", a.status.word(), "  ", a.title, host);
        doc.text(2, &said, Role::Text);
    }
    if v.alerts.len() > LISTED {
        doc.text(2, &say!("and ", v.alerts.len() - LISTED, " more"), Role::Dim);
    }
    if !v.requests.is_empty() {
        doc.heading(say!("ACTIONS that were asked for"));
        for r in v.requests.iter().take(LISTED) {
            let on = Said::of(&r.body.targets.join(" "));
            let said = say!(r.state.word(), "  ", Said::of(&r.body.action), "  ", on, "  by ", r.body.requester);
            doc.text(2, &said, Role::Text);
        }
    }
    doc
}

/// One line: which playbook fits, and why.
pub fn suggested(s: &Suggested, key: &Said, width: usize) -> super::state::doc::DocRow {
    let mut why = Said::new();
    for w in &s.why {
        why.push(if why.is_empty() { &": " } else { &"; " });
        why.push(&say!(w));
    }
    let lead = say!("playbook").padded(13);
    let tail = say!("  ", key, " starts it");
    let room = width.saturating_sub(lead.width() + tail.width());
    let said = say!(s.title, why).fit(room, "~");
    vec![(lead, Role::Dim), (said, Role::Accent), (tail, Role::Dim)]
}

fn playbooks(doc: &mut Doc, v: &CaseView, now: Timestamp) {
    if v.runs.is_empty() {
        return;
    }
    doc.heading(say!("PLAYBOOKS"));
    for r in &v.runs {
        let (clock, _) = run_clock(r, now);
        let open = r.open().next().map_or_else(Said::new, |o| say!(", now at ", Said::of(&o.key)));
        let who = say!("  begun by ", r.started_by, ", ", done_of(r), open, "  ", clock);
        doc.rows.push(vec![
            (say!("  ", r.state.word(), "  "), run_role(r.state)),
            (say!(r.title), Role::Text),
            (who, Role::Dim),
        ]);
    }
}

fn evidence(doc: &mut Doc, v: &CaseView) {
    if v.evidence.is_empty() {
        return;
    }
    doc.heading(say!("EVIDENCE ", v.evidence.len(), " files, kept by what is in them"));
    for e in &v.evidence {
        let hash = Said::of(e.evidence.sha256.get(..12).unwrap_or("?"));
        let of = say!(Said::of(&e.playbook), " step ", e.visit, " ", Said::of(&e.step));
        let role = if e.gone { Role::Bad } else { Role::Text };
        let gone = if e.gone { "GONE  " } else { "" };
        let said = say!(gone, e.evidence.name, "  ", e.evidence.bytes, " bytes  sha256 ", hash, "  ", of);
        doc.text(2, &say!(said, "  by ", e.evidence.by), role);
    }
}
