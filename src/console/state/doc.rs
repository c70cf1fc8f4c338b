//! Text laid out for a width: built once when its alert is loaded or the width changes, so that a frame only copies
//! the lines it shows.

use super::super::theme::Role;
use super::super::words::{Said, Show, say};
use crate::desk::Detail;
use crate::model::alert::{Disposition, ObservableKind};
use crate::model::technique;
use crate::text::{Untrusted, clean_block, defang};

/// One line of the screen.
pub type DocRow = Vec<(Said, Role)>;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Doc {
    pub width: usize,
    pub rows: Vec<DocRow>,
    /// Rows on which a section begins.
    pub sections: Vec<usize>,
}

impl Doc {
    pub fn new(width: usize) -> Self {
        Self { width: width.max(20), rows: Vec::new(), sections: Vec::new() }
    }

    pub fn blank(&mut self) {
        self.rows.push(Vec::new());
    }

    pub fn heading(&mut self, title: Said) {
        if self.rows.last().is_some_and(|r| !r.is_empty()) {
            self.blank();
        }
        self.sections.push(self.rows.len());
        self.rows.push(vec![(title, Role::Heading)]);
    }

    /// Wrapped text, every line indented.
    pub fn text(&mut self, indent: usize, text: &Said, role: Role) {
        for line in text.wrap(self.width.saturating_sub(indent)) {
            self.rows.push(vec![(Said::repeat(" ", indent), Role::Text), (line, role)]);
        }
    }

    /// `label      value`, the value wrapped under itself.
    pub fn pair(&mut self, label: Said, value: &Said, role: Role) {
        self.labelled(label, 11, value, role);
    }

    pub fn labelled(&mut self, label: Said, column: usize, value: &Said, role: Role) {
        let indent = column + 2;
        if label.width() > column {
            self.rows.push(vec![(label, Role::Dim)]);
            self.text(indent, value, role);
            return;
        }
        for (i, line) in value.wrap(self.width.saturating_sub(indent)).into_iter().enumerate() {
            let head = if i == 0 { label.clone() } else { Said::new() };
            self.rows.push(vec![(head.padded(indent), Role::Dim), (line, role)]);
        }
    }

    /// A mark, then text wrapped beside it.
    pub fn marked(&mut self, mark: &'static str, mark_role: Role, text: &Said, role: Role) {
        self.led("  ", mark, mark_role, &[(text.clone(), role)]);
    }

    /// Two columns of lead, a mark, then pieces wrapped beside it as one text.
    pub fn led(&mut self, lead: &'static str, mark: &'static str, mark_role: Role, pieces: &[(Said, Role)]) {
        let mut whole = Said::new();
        for (text, _) in pieces {
            whole.push(text);
        }
        let mut ends = pieces.iter().map(|(text, role)| (text.as_str().len(), *role)).collect::<Vec<_>>().into_iter();
        let (mut left, mut role) = ends.next().unwrap_or((usize::MAX, Role::Text));
        for (i, line) in whole.wrap(self.width.saturating_sub(4)).into_iter().enumerate() {
            let mut row = if i == 0 {
                vec![(say!(lead), Role::Accent), (say!(mark, " "), mark_role)]
            } else {
                vec![(say!("    "), Role::Text)]
            };
            // Wrapping drops spaces at the ends of lines: a boundary between pieces may slip by one, never a word.
            let mut rest = line;
            while left < rest.as_str().len() {
                let (head, tail) = rest.split(left);
                row.push((head, role));
                rest = tail;
                (left, role) = ends.next().unwrap_or((usize::MAX, role));
            }
            left = left.saturating_sub(rest.as_str().len() + 1);
            row.push((rest, role));
            self.rows.push(row);
        }
    }
}

fn put(doc: &mut Doc, label: &'static str, value: Option<impl Show>, role: Role) {
    if let Some(v) = value {
        doc.pair(say!(label), &say!(v), role);
    }
}

/// The alert: facts first, then what the desk knows besides, then every field. The opinion belongs before the row that
/// comes back with it.
///
/// `key`: that starts a playbook.
pub fn of_alert(detail: &Detail, width: usize, key: &Said) -> (Doc, usize) {
    let mut doc = Doc::new(width);
    playbook(&mut doc, detail, key);
    facts(&mut doc, detail);
    doc.blank();
    let gap = doc.rows.len();
    context(&mut doc, detail);
    timeline(&mut doc, detail);
    if !detail.fields.is_empty() {
        doc.heading(say!("FIELDS ", detail.fields.len(), " of the record"));
        for field in &detail.fields {
            doc.labelled(Said::from_untrusted(&field.path), 28.min(width / 3), &block(&field.value), Role::Text);
        }
    }
    (doc, gap)
}

/// One line: the playbook at work on it, else the one that fits, and why.
fn playbook(doc: &mut Doc, d: &Detail, key: &Said) {
    if let Some(w) = d.at_work.first() {
        let said = say!(w.title, ": ", w.state.word(), ", begun by ", w.started_by);
        doc.pair(say!("playbook"), &said, Role::Accent);
    } else if let Some(s) = &d.suggested {
        doc.rows.push(super::super::case::suggested(s, key, doc.width));
    }
}

/// Several lines of untrusted text.
pub fn block(text: &Untrusted) -> Said {
    say!(clean_block(text))
}

fn facts(doc: &mut Doc, d: &Detail) {
    let a = &d.alert;
    let f = &a.fields;
    doc.heading(say!("FACTS as the source gave them"));
    // The head of the pane shows it already, unless it is too long for one line.
    let title = Said::from_untrusted(&f.title);
    if title.width() + 10 > doc.width {
        doc.pair(say!("title"), &title, Role::Text);
    }
    let mut severity = say!(f.severity.word());
    if let Some(own) = &f.source_severity {
        severity.push(&say!("   (source says ", own, ")"));
    }
    doc.pair(say!("severity"), &severity, super::super::columns::severity_role(f.severity));
    match (&f.rule_id, &f.rule_name) {
        (Some(id), Some(name)) => doc.pair(say!("rule"), &say!(id, "  ", name), Role::Text),
        (Some(one), None) | (None, Some(one)) => doc.pair(say!("rule"), &say!(one), Role::Text),
        (None, None) => {}
    }
    for (i, t) in f.techniques.iter().enumerate() {
        let name = technique::lookup(t).map_or("", |t| t.name);
        let label = if i == 0 { "ATT&CK" } else { "" };
        doc.pair(say!(label), &say!(Said::of(t), "  ", name), Role::Info);
    }
    put(doc, "host", f.host.as_ref(), Role::Text);
    put(doc, "user", f.user.as_ref(), Role::Text);
    put(doc, "process", f.process.as_ref(), Role::Text);
    put(doc, "command", f.command_line.as_ref(), Role::Text);
    addresses(doc, d);
    for o in &f.observables {
        let value = match o.kind {
            ObservableKind::Url | ObservableKind::Domain | ObservableKind::Email | ObservableKind::Ip => {
                say!(defang(&o.value))
            }
            _ => Said::from_untrusted(&o.value),
        };
        doc.pair(say!(observable_word(o.kind)), &value, Role::Text);
    }
    put(doc, "happened", f.t_event.map(Said::moment), Role::Text);
    put(doc, "raised", f.t_alert.map(Said::moment), Role::Text);
    doc.pair(say!("came in"), &say!(Said::moment(a.t_ingest), " UTC"), Role::Text);
    if a.count > 1 {
        doc.pair(say!("repeated"), &say!(a.count, " times, last ", Said::moment(a.last_seen)), Role::Text);
    }
    let mut from = say!(Said::of(&a.format), " from ", a.source);
    if let Some(p) = &f.product {
        from.push(&say!(" (", p, ")"));
    }
    doc.pair(say!("source"), &from, Role::Dim);
    doc.pair(say!("raw"), &say!(a.raw_len, " bytes, sha256 ", Said::of(&a.raw_sha256)), Role::Dim);
}

fn addresses(doc: &mut Doc, d: &Detail) {
    let f = &d.alert.fields;
    let end = |ip: Option<std::net::IpAddr>, port: Option<u16>| {
        let mut said = ip.map_or_else(|| say!("?"), |ip| say!(ip));
        if let Some(p) = port {
            said.push(&say!(" port ", p));
        }
        said
    };
    match (f.src_ip.is_some() || f.src_port.is_some(), f.dst_ip.is_some() || f.dst_port.is_some()) {
        (true, true) => {
            doc.pair(
                say!("traffic"),
                &say!(end(f.src_ip, f.src_port), "  to  ", end(f.dst_ip, f.dst_port)),
                Role::Text,
            );
        }
        (true, false) => doc.pair(say!("from"), &end(f.src_ip, f.src_port), Role::Text),
        (false, true) => doc.pair(say!("to"), &end(f.dst_ip, f.dst_port), Role::Text),
        (false, false) => {}
    }
}

pub fn observable_word(kind: ObservableKind) -> &'static str {
    match kind {
        ObservableKind::Ip => "address",
        ObservableKind::Domain => "domain",
        ObservableKind::Url => "url",
        ObservableKind::Email => "mail",
        ObservableKind::File => "file",
        ObservableKind::Md5 => "md5",
        ObservableKind::Sha1 => "sha1",
        ObservableKind::Sha256 => "sha256",
        ObservableKind::Hash => "hash",
        ObservableKind::Registry => "registry",
        ObservableKind::Host => "other host",
        ObservableKind::User => "other user",
        ObservableKind::Process => "process",
        ObservableKind::Other => "other",
    }
}

fn context(doc: &mut Doc, d: &Detail) {
    doc.heading(say!("CONTEXT what the desk knows besides; not evidence"));
    let r = &d.risk;
    let risk = say!(
        "severity ",
        Said::decimal(r.severity, 0),
        " x asset ",
        Said::decimal(r.asset, 2),
        " x confidence ",
        Said::decimal(r.confidence, 2),
        " x age ",
        Said::decimal(r.age, 2),
        " = ",
        Said::decimal(r.score, 1)
    );
    doc.pair(say!("risk"), &risk, Role::Text);
    if let Some(c) = d.alert.case {
        doc.pair(say!("case"), &say!("#", c), Role::Text);
    }
    if let Some(c) = &d.alert.closing {
        let mut how = say!(c.disposition.word(), " by ", c.by, " at ", Said::moment(c.at), ": ", c.reason);
        if let Some(comment) = &c.comment {
            how.push(&say!(" / ", comment));
        }
        doc.pair(say!("closed"), &how, Role::Text);
    }
    let told = d.context.iter().any(|c| c.told);
    for c in &d.context {
        let (text, role) = match c.told || !told {
            true => (block(&c.text), Role::Text),
            false => (say!(block(&c.text), "  (not told to the model)"), Role::Dim),
        };
        doc.pair(Said::of(&c.label), &text, role);
    }
    if !d.context.iter().any(|c| c.label == "past") {
        for p in d.past.iter().filter(|p| p.total > 0) {
            doc.pair(say!(p.alike), &past_line(&p.counts, p.total), Role::Text);
        }
    }
    if d.related.is_empty() {
        if d.past.iter().all(|p| p.total == 0) {
            doc.text(2, &say!("nothing alike has been seen before"), Role::Dim);
        }
        return;
    }
    doc.heading(say!("RELATED same story, host, user or address"));
    for row in &d.related {
        let gap = row.t_ingest.as_second() - d.alert.t_ingest.as_second();
        let when = if gap == 0 {
            say!("same second")
        } else {
            say!(Said::span(gap), if gap < 0 { " before" } else { " after" })
        };
        let mut line = say!("#", row.id, "  ", row.severity.short(), "  ", row.title);
        if let Some(h) = &row.host {
            line.push(&say!("  ", h));
        }
        doc.labelled(when, 11, &line, Role::Text);
    }
}

/// `closed FP 47, TP 1 of 60 seen`.
pub fn past_line(counts: &[(Disposition, u64)], total: u64) -> Said {
    let closed: Vec<&(Disposition, u64)> = counts.iter().filter(|(_, n)| *n > 0).collect();
    if closed.is_empty() {
        return say!("none closed of ", total, " seen");
    }
    let mut said = say!("closed ");
    for (i, (d, n)) in closed.iter().enumerate() {
        said.push(&say!(if i == 0 { "" } else { ", " }, d.short(), " ", *n));
    }
    said.push(&say!(" of ", total, " seen"));
    said
}

fn timeline(doc: &mut Doc, d: &Detail) {
    doc.heading(say!("TIMELINE and notes"));
    if d.timeline.is_empty() {
        doc.text(2, &say!("nothing yet"), Role::Dim);
    }
    for e in &d.timeline {
        let who = e.by.as_ref().map_or_else(|| say!("desk"), |p| say!(p));
        let role = if e.kind == "note" { Role::Heading } else { Role::Text };
        let mut line = say!(who, "  ", Said::of(&e.kind));
        if !e.text.is_empty() {
            line.push(&say!(": ", block(&e.text)));
        }
        doc.labelled(Said::moment(e.at), 19, &line, role);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_dispositions_read_as_a_sentence() {
        let said = past_line(&[(Disposition::FalsePositive, 47), (Disposition::TruePositive, 1)], 60);
        assert_eq!(said.as_str(), "closed FP 47, TP 1 of 60 seen");
        assert_eq!(past_line(&[], 3).as_str(), "none closed of 3 seen");
    }

    #[test]
    fn long_labels_stand_on_their_own_line() {
        let mut doc = Doc::new(40);
        doc.pair(say!("a label that is long"), &say!("value"), Role::Text);
        assert_eq!(doc.rows.len(), 2);
    }

    #[test]
    fn pieces_wrap_as_one_text_and_keep_their_roles() {
        let mut doc = Doc::new(24);
        doc.led(
            "  ",
            "x",
            Role::Bad,
            &[(say!("unfounded: "), Role::Bad), (say!("the command hides its script"), Role::Struck)],
        );
        let of = |role| {
            let pieces: Vec<_> =
                doc.rows.iter().flatten().filter(|(_, r)| *r == role).map(|(s, _)| s.as_str()).collect();
            pieces.join(" ").split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(Role::Struck), "the command hides its script");
        assert_eq!(of(Role::Bad), "x unfounded:");
        assert!(doc.rows.iter().all(|r| r.iter().map(|(s, _)| s.width()).sum::<usize>() <= 24));
    }
}
