//! Forms, lists to pick from, text to read, and the filter line.

use ratatui::layout::Rect;

use super::super::action::Do;
use super::super::layout;
use super::super::state::overlay::{Field, FieldKind, FilterInput, Form, Picker, Preview, Review, Sheet, Trial};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::paint::Canvas;
use super::{doc_rows, extent, key_of};
use crate::text::clean_block;

/// `/` with what the desk says of the text, and a mark under the column it does not understand.
pub fn filter(c: &mut Canvas<'_>, area: Rect, f: &FilterInput) {
    let label = say!(" filter ");
    let x = c.put(area.x, area.y, area.width, &label, Role::Accent);
    let room = area.width.saturating_sub(x + 1);
    let (lines, cursor) = f.input.lines();
    c.input(Rect::new(x, area.y, room, 1), lines, cursor, true);
    let below = Rect::new(area.x, area.y + 1, area.width, 1);
    c.fill(below, Role::Bar);
    c.ground = Some(Role::Bar);
    match &f.parsed {
        Some((text, Err(e))) if *text == f.input.text() => {
            // The marks stand under the fault itself; the message beside them, on whichever side has room.
            let at = x + (e.column.saturating_sub(1) as u16).min(room.saturating_sub(1));
            let marks = Said::repeat("^", e.len.clamp(1, 20)).fit(usize::from(area.right().saturating_sub(at)), "^");
            let end = c.put(at, below.y, area.right().saturating_sub(at), &marks, Role::Bad);
            let words = Said::of(&e.message);
            let w = words.width() as u16;
            if end + 1 + w <= area.right() || at < area.width / 2 {
                c.put(end + 1, below.y, area.right().saturating_sub(end + 1), &words, Role::Bad);
            } else {
                let from = at.saturating_sub(w + 1);
                c.put(from, below.y, at.saturating_sub(from + 1), &words, Role::Bad);
            }
        }
        _ => {
            let hint = say!(
                "such as  sev>=high host:web-* status:new age<2h not src:10.0.0.0/8   ",
                key_of(c.state, Do::FormOlder),
                " older"
            );
            c.put(x, below.y, room, &hint, Role::Dim);
        }
    }
    c.ground = None;
}

/// Lines a hint takes at most.
const HINT: usize = 4;

/// The hint below a field; nothing where it stands beside it.
fn hint_below(field: &Field, room: u16, label: u16) -> Vec<Said> {
    let beside = match &field.kind {
        FieldKind::Text(i) => !i.many && fits_beside(field, room, label),
        FieldKind::Choice { .. } => false,
    };
    if beside || field.hint.is_empty() {
        return Vec::new();
    }
    let mut lines = field.hint.wrap(usize::from(room.saturating_sub(label)));
    lines.truncate(HINT);
    lines
}

fn fits_beside(field: &Field, room: u16, label: u16) -> bool {
    let hint = field.hint.width() as u16;
    hint > 0 && hint < room.saturating_sub(label) / 3
}

/// Lines a field takes in so many columns.
fn height(field: &Field, room: u16, label: u16) -> u16 {
    let below = hint_below(field, room, label).len() as u16;
    match &field.kind {
        // More than any screen has.
        FieldKind::Text(i) if i.tall => 500,
        FieldKind::Text(i) if i.many => (i.lines().0.len() as u16 + 1).clamp(4, 8) + below.max(1),
        FieldKind::Text(_) => 1 + below.max(1),
        FieldKind::Choice { options, .. } => {
            let (mut lines, mut at) = (1, 0);
            for (_, words) in options {
                let w = words.width() as u16 + 4;
                if at > 0 && at + w > room.saturating_sub(label) {
                    lines += 1;
                    at = 0;
                }
                at += w + 1;
            }
            lines + 1 + below
        }
    }
}

pub fn form(c: &mut Canvas<'_>, f: &Form) {
    let s = c.state;
    let tall = f.fields.iter().any(|f| matches!(&f.kind, FieldKind::Text(i) if i.tall));
    let width = if tall { 150 } else { 84 }.min(s.size.0.saturating_sub(4));
    let inner = usize::from(width.saturating_sub(4));
    let lead: Vec<(Said, Role)> =
        f.lead.iter().flat_map(|(t, r)| t.wrap(inner).into_iter().map(|l| (l, *r))).take(6).collect();
    let trial = f.trial.as_ref().map(|t| trial_rows(t, s.now, inner)).unwrap_or_default();
    let preview = if f.preview.is_some() { 6 } else { trial.len() as u16 };
    let label = label_width(f);
    let fields: u16 = f.fields.iter().map(|f| height(f, inner as u16, label)).sum();

    let want = lead.len() as u16 + fields + preview + 4;
    let area = layout::centred(s, width, want);
    c.frame(area, &f.title, Role::Accent);
    let x = area.x + 2;
    let room = area.width.saturating_sub(4);
    let mut y = area.y + 1;
    for (text, role) in &lead {
        c.put(x, y, room, text, *role);
        y += 1;
    }
    if !lead.is_empty() {
        y += 1;
    }
    // The field with the focus is always on screen, whatever has to go.
    let last = area.bottom().saturating_sub(2);
    let mut from = 0;
    while f.fields[from..=f.focus.min(f.fields.len().saturating_sub(1))]
        .iter()
        .map(|f| height(f, room, label))
        .sum::<u16>()
        > last.saturating_sub(y)
        && from < f.focus
    {
        from += 1;
    }
    for (i, field) in f.fields.iter().enumerate().skip(from) {
        if y >= last {
            break;
        }
        draw_field(
            c,
            Rect::new(x, y, room, height(field, room, label).min(last - y)),
            field,
            i == f.focus && f.busy.is_none(),
            label,
        );
        y += height(field, room, label);
    }
    if let Some((query, result)) = &f.preview {
        suppression_preview(c, Rect::new(x, y, room, last.saturating_sub(y)), query, result);
    }
    let shown = usize::from(last.saturating_sub(y));
    for (i, (text, role)) in trial.iter().take(shown).enumerate() {
        let more = (i + 1 == shown && trial.len() > shown).then(|| trial.len() - i);
        match more {
            Some(n) => c.put(x, y, room, &say!("... and ", n, " lines more: the request shows all"), Role::Dim),
            None => c.put(x, y, room, text, *role),
        };
        y += 1;
    }
    let foot = area.bottom().saturating_sub(2);
    if let Some(since) = f.busy {
        let waited = s.now.as_second() - since.as_second();
        c.put(x, foot, room, &say!("sent, waiting for the desk (", Said::span(waited), ")"), Role::Accent);
    } else if let Some(e) = &f.error {
        c.put(x, foot, room, e, Role::Bad);
    }
}

/// What a proposal would send, and what it would change: before it is made.
fn trial_rows(t: &Trial, now: jiff::Timestamp, width: usize) -> Vec<(Said, Role)> {
    let mut rows: Vec<(Said, Role)> = Vec::new();
    let mut add = |text: &Said, role: Role| rows.extend(text.wrap(width).into_iter().map(|l| (l, role)));
    let tried = match &t.result {
        None if t.in_flight => {
            let waited = (now.as_second() - t.since.as_second()).clamp(0, 3600);
            add(&say!("finding out what it would do, for ", Said::span(waited)), Role::Accent);
            return rows;
        }
        None => {
            add(&say!("what it would do is shown here once the fields are filled in"), Role::Dim);
            return rows;
        }
        Some(Err(e)) => {
            add(&say!("CANNOT BE PROPOSED: ", e), Role::Bad);
            return rows;
        }
        Some(Ok(tried)) => tried,
    };
    for f in &tried.findings {
        let (word, role) = if f.refuses { ("REFUSED: ", Role::Bad) } else { ("policy: ", Role::Warn) };
        add(&say!(word, Said::of(&f.text)), role);
    }
    let needs = tried.approvals_needed;
    let who =
        if needs == 0 { say!("needs nobody else") } else { say!("needs ", needs, " approval(s) by somebody else") };
    for command in &tried.commands {
        // What was seen of the object (the fourth part) is for the machine; the decision screen shows it.
        add(
            &say!("SENDS  ", Said::of(&command.argv.iter().take(3).cloned().collect::<Vec<_>>().join(" "))),
            Role::Text,
        );
    }
    if tried.preview.is_empty() {
        add(&say!("no dry run: the executor cannot tell beforehand; ", who), Role::Warn);
    }
    for p in &tried.preview {
        let (word, role) = match (p.failed, p.would_change) {
            (true, _) => ("the dry run FAILED", Role::Bad),
            (_, Some(0)) => ("the dry run changes nothing", Role::Warn),
            (_, None) => ("the dry run does not know what changes", Role::Warn),
            (_, Some(_)) => ("the dry run changes", Role::Heading),
        };
        add(&say!(word, "; it ", who), role);
        for line in clean_block(&p.diff).as_str().lines() {
            let role = match line.as_bytes().first() {
                Some(b'+') => Role::Good,
                Some(b'-') => Role::Bad,
                _ => Role::Text,
            };
            add(&say!("  ", Said::of(line)), role);
        }
    }
    rows
}

/// The box below an alert into which a question is typed.
pub fn ask(c: &mut Canvas<'_>, area: Rect, f: &Form) {
    c.frame(area, &f.title, Role::Accent);
    let Some(Field { kind: FieldKind::Text(input), hint, .. }) = f.fields.first() else { return };
    let text = Rect::new(area.x + 2, area.y + 1, area.width.saturating_sub(4), area.height.saturating_sub(3));
    let (lines, cursor) = input.lines();
    c.input(text, lines, cursor, true);
    match &f.error {
        Some(e) => c.put(text.x, text.bottom(), text.width, e, Role::Bad),
        None => c.put(text.x, text.bottom(), text.width, hint, Role::Dim),
    };
}

/// Columns of the labels of a form, with the gap after them: more where names that are not ours are longer.
fn label_width(f: &Form) -> u16 {
    let longest = f.fields.iter().filter_map(|f| f.name.as_ref()).map(|n| n.chars().count()).max().unwrap_or(0);
    (longest as u16 + 2).clamp(13, 24)
}

fn draw_field(c: &mut Canvas<'_>, area: Rect, field: &Field, focus: bool, wide: u16) {
    let label = field.name.as_ref().map_or_else(|| say!(field.label), |n| Said::of(&n.replace('_', " ")));
    c.put(area.x, area.y, wide - 1, &label, if focus { Role::Accent } else { Role::Dim });
    let x = area.x + wide;
    let room = area.width.saturating_sub(wide);
    match &field.kind {
        FieldKind::Text(input) => {
            let below = hint_below(field, area.width, wide);
            let lines = if input.many { area.height.saturating_sub(below.len().max(1) as u16).max(1) } else { 1 };
            let hint = field.hint.width() as u16;
            let beside = !input.many && fits_beside(field, area.width, wide);
            let w = if beside { room - hint - 2 } else { room };
            let (text, cursor) = input.lines();
            c.input(Rect::new(x, area.y, w, lines), text, cursor, focus);
            if beside {
                c.put(x + w + 2, area.y, hint, &field.hint, Role::Dim);
            }
            for (line, y) in below.iter().zip(area.y + lines..area.bottom()) {
                c.put(x, y, room, line, Role::Dim);
            }
        }
        FieldKind::Choice { options, chosen } => {
            let (mut at, mut y) = (x, area.y);
            for (i, (key, words)) in options.iter().enumerate() {
                let here = *chosen == Some(i);
                if at > x && at + words.width() as u16 + 4 > area.right() {
                    (at, y) = (x, y + 1);
                }
                if y >= area.bottom() {
                    break;
                }
                c.ground = here.then_some(if focus { Role::Cursor } else { Role::Input });
                let mark = if here { if c.state.look.ascii { "*" } else { "\u{25cf}" } } else { " " };
                at = c.put(at, y, area.right().saturating_sub(at), &say!(mark), Role::Mark);
                at = c.put(at, y, area.right().saturating_sub(at), &Said::of(&key.to_string()), Role::Accent);
                at = c.put(at, y, area.right().saturating_sub(at), &say!(" ", words, " "), Role::Text);
                c.ground = None;
                at += 1;
            }
            for (line, y) in hint_below(field, area.width, wide).iter().zip(y + 1..area.bottom()) {
                c.put(x, y, room, line, Role::Dim);
            }
        }
    }
}

fn suppression_preview(c: &mut Canvas<'_>, area: Rect, query: &str, result: &Preview) {
    let mut y = area.y;
    match result {
        Err(e) => {
            c.put(area.x, y, area.width, e, Role::Bad);
        }
        Ok((count, rows)) => {
            let n = say!(count.n, if count.exact { "" } else { "+" });
            let role = if count.n > 100 { Role::Warn } else { Role::Text };
            let all = if query.trim().is_empty() { " (everything!)" } else { "" };
            c.put(area.x, y, area.width, &say!("would have hidden ", n, " alerts", all), role);
            for row in rows {
                y += 1;
                if y >= area.bottom() {
                    break;
                }
                let line = say!(row.severity.short(), "  ", row.title);
                c.put(area.x + 2, y, area.width.saturating_sub(2), &line, Role::Dim);
            }
        }
    }
}

pub fn picker(c: &mut Canvas<'_>, p: &Picker) {
    let s = c.state;
    let want = p.items.len() as u16 + 4;
    let area = layout::centred(s, 92, want.max(8) + 2);
    c.frame(area, &p.title, Role::Accent);
    let x = area.x + 2;
    let room = area.width.saturating_sub(4);
    let (lines, cursor) = p.input.lines();
    c.input(Rect::new(x, area.y + 1, room, 1), lines, cursor, true);
    // What does not fit into the line under the cursor stands in full below.
    let below = 2.min(area.height.saturating_sub(5));
    let body = Rect::new(x, area.y + 2, room, area.height.saturating_sub(3 + below));
    if p.shown.is_empty() {
        let none = if p.items.is_empty() { say!("there is nothing to pick from") } else { say!("nothing matches") };
        c.put(x, body.y, room, &none, Role::Dim);
        return;
    }
    let rows = usize::from(body.height).max(1);
    let from = (p.at + 1).saturating_sub(rows);
    let label = p.items.iter().map(|i| i.label.width()).max().unwrap_or(0).clamp(10, usize::from(room) / 2) as u16;
    for (i, at) in p.shown.iter().enumerate().skip(from).take(rows) {
        let Some(item) = p.items.get(*at) else { continue };
        let y = body.y + (i - from) as u16;
        if i == p.at {
            c.ground = Some(Role::Cursor);
            c.fill(Rect::new(area.x + 1, y, area.width.saturating_sub(2), 1), Role::Cursor);
        }
        let off = item.disabled.is_some();
        c.put(x, y, label, &item.label, if off { Role::Dim } else { Role::Text });
        let rest = room.saturating_sub(label + 2);
        let detail = item.disabled.as_ref().map_or_else(|| item.detail.clone(), |why| say!("not now: ", why));
        c.put(x + label + 2, y, rest, &detail, Role::Dim);
        c.ground = None;
    }
    if let Some(item) = p.current().filter(|i| below > 0 && i.detail.width() as u16 > room.saturating_sub(label + 2)) {
        for (line, y) in item.detail.wrap(usize::from(room)).iter().zip(body.bottom()..body.bottom() + below) {
            c.put(x, y, room, line, Role::Text);
        }
    }
    if p.shown.len() > rows {
        let text = say!(" ", p.at + 1, " of ", p.shown.len(), " ");
        c.put_right(area.x, area.bottom() - 1, area.width - 2, &text, Role::Dim);
    }
}

/// A draft: the frame says on every page of it that a model wrote it.
pub fn review(c: &mut Canvas<'_>, r: &Review) {
    let area = layout::review(c.state);
    let d = &r.page.draft;
    let title = say!("GENERATED draft ", Said::of(&d.key), ", ", d.state.word());
    c.frame(area, &title, Role::Warn);
    let body = Rect::new(area.x + 2, area.y + 1, area.width.saturating_sub(4), area.height.saturating_sub(2));
    doc_rows(c, body, &r.doc.rows, r.scroll);
    let text = extent(r.scroll, usize::from(body.height), r.doc.rows.len());
    c.put_right(area.x, area.bottom() - 1, area.width.saturating_sub(2), &text, Role::Dim);
}

pub fn sheet(c: &mut Canvas<'_>, s: &Sheet) {
    let full = layout::sheet(c.state);
    let (_, height) = layout::sheet_size(c.state);
    let want = (s.doc.rows.len() as u16).saturating_add(2);
    let area = if want < full.height { layout::centred(c.state, full.width, want) } else { full };
    c.frame(area, &s.title, Role::Accent);
    let body = Rect::new(area.x + 2, area.y + 1, area.width.saturating_sub(4), area.height.saturating_sub(2));
    doc_rows(c, body, &s.doc.rows, s.scroll);
    let text = extent(s.scroll, height, s.doc.rows.len());
    c.put_right(area.x, area.bottom() - 1, area.width.saturating_sub(2), &text, Role::Dim);
}
