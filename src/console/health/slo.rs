//! Objectives: a line each, and the detail with its burn-down.

use super::super::state::State;
use super::super::state::doc::DocRow;
use super::super::theme::Role;
use super::super::words::{Clock, Said, say};
use super::bars::{Chart, bar, highest, spark};
use super::{Cells, Col, Page, col, maybe, number, percent, since, span, tri};
use crate::model::health::Tri;
use crate::model::slo::{BurnAlert, Slo, SloState, SloStatus, Window};

/// Cells of the burn rate over the window.
const TREND: usize = 5;

pub const COLUMNS: &[Col] = &[
    col("SLO", 0, 0),
    col("TARGET", 8, 3),
    col("NOW", 8, 0),
    col("LEFT", 8, 1),
    col("", 6, 0),
    col("TREND", TREND as u16, 1),
    col("BURN 1h/6h", 10, 2),
    col("OUT IN", 6, 0),
    col("STATE", 9, 0),
];

pub fn state_role(state: SloState) -> Role {
    match state {
        SloState::Healthy => Role::Good,
        SloState::Quiet => Role::Dim,
        SloState::SlowDown | SloState::Stale | SloState::Absent | SloState::Unknown => Role::Warn,
        SloState::Freeze => Role::Bad,
        SloState::Emergency => Role::Critical,
    }
}

/// Its title, or which one it is: two services may each have an `availability`.
pub fn name(d: &Slo) -> Said {
    Said::of(if d.title.is_empty() || d.title == d.name { &d.id } else { &d.title })
}

fn burn_over(x: &SloStatus, seconds: u64) -> Option<f64> {
    x.burn.iter().find(|b| b.window_seconds == seconds).and_then(|b| b.rate)
}

fn out_in(x: &SloStatus) -> Said {
    match (x.left, x.exhausted_in_seconds) {
        (Some(left), _) if left <= 0.0 => say!("over"),
        (_, Some(s)) => span(s),
        _ => say!("-"),
    }
}

pub fn line(d: &Slo, x: &SloStatus, ascii: bool) -> Cells {
    let role = state_role(x.state);
    let known = x.left.filter(|_| x.state.is_known());
    let left = known.map_or_else(|| say!("?"), |l| bar(l, 6, ascii));
    let burns = say!(maybe(burn_over(x, 3600), 1), "/", maybe(burn_over(x, 21_600), 1));
    vec![
        (name(d), Role::Text),
        (percent(Some(x.target), 4), Role::Dim),
        (percent(x.sli, 3), if x.sli.is_some_and(|v| v < x.target) { Role::Bad } else { Role::Text }),
        (left, role),
        (known.map_or_else(Said::new, |l| percent(Some(l), 0)), role),
        (spark(&x.points.iter().map(|q| q.burn).collect::<Vec<_>>(), TREND, ascii), Role::Info),
        (burns, Role::Text),
        (out_in(x), Role::Text),
        (say!(x.state.word()), role),
    ]
}

fn window_words(w: &Window) -> Said {
    match w {
        Window::Rolling { seconds } => say!("rolling ", Said::span(*seconds as i64)),
        Window::Calendar { unit, count, zone, .. } => {
            let unit = Said::of(&format!("{unit:?}").to_lowercase());
            say!("calendar, ", *count, " ", unit, if *count == 1 { "" } else { "s" }, " in ", Said::of(zone))
        }
    }
}

pub fn detail(s: &State, d: &Slo, x: &SloStatus, width: usize) -> Vec<DocRow> {
    let mut p = Page::new(width);
    let role = state_role(x.state);
    p.row(vec![(say!(x.state.word()), role), (say!("   ", x.why).fit(width.saturating_sub(14), "~"), Role::Dim)]);
    standing(&mut p, s, d, x);
    chart(&mut p, x, s.look.ascii);
    burns(&mut p, s, x);
    months(&mut p, x, s.look.ascii);
    p.heading(say!("DEFINITION"));
    p.pair("id", &Said::of(&d.id), Role::Text);
    p.pair("window", &window_words(&d.window), Role::Text);
    p.pair("alerting", &Said::of(&d.alerting), Role::Text);
    p.pair("read from", &Said::of(&d.from), Role::Dim);
    if !d.description.is_empty() {
        p.pair("what", &Said::of(&d.description), Role::Dim);
    }
    for note in &d.notes {
        p.pair("note", &Said::of(note), Role::Warn);
    }
    p.rows
}

fn standing(p: &mut Page, s: &State, d: &Slo, x: &SloStatus) {
    let good = say!(percent(x.sli, 4), " of ", percent(Some(x.target), 4), " promised");
    p.pair("now", &say!(good, "   by ", x.method.word()), Role::Text);
    p.pair("counted", &say!(number(x.good, 0), " good of ", number(x.total, 0)), Role::Dim);
    let seconds = |v: Option<f64>| v.map_or_else(|| say!("?"), |s| say!(number(s / 60.0, 1), " min"));
    match x.left {
        Some(left) => {
            let role = state_role(x.state);
            p.row(vec![
                (say!("budget left").padded(13), Role::Dim),
                (say!(bar(left, 20, s.look.ascii), " ", percent(Some(left), 1)), role),
            ]);
            let spent =
                say!(percent(x.spent, 1), ", ", seconds(x.spent_seconds), " of ", seconds(Some(x.budget_seconds)));
            let events = match (x.spent_events, x.budget_events) {
                (Some(bad), Some(may)) => say!(", ", number(bad, 0), " of ", number(may, 0), " bad events"),
                _ => Said::new(),
            };
            p.pair("spent", &say!(spent, events), Role::Text);
        }
        None => p.pair("budget left", &say!("not known"), Role::Warn),
    }
    p.pair("exhausted", &exhausted(x), Role::Text);
    if !x.exhausts.is_empty() {
        p.pair("by", &Said::of(&x.exhausts), Role::Dim);
    }
    let fresh = match x.newest {
        None => say!("no sample seen"),
        Some(t) => say!("newest sample ", since(s.now, t), " old, may be ", Said::span(d.fresh_seconds as i64)),
    };
    p.pair("coverage", &say!(percent(Some(x.coverage), 1), " of the window; ", fresh), Role::Dim);
}

fn exhausted(x: &SloStatus) -> Said {
    match (x.left, x.exhausted_in_seconds) {
        (Some(left), _) if left <= 0.0 => say!("the budget is spent"),
        (_, Some(s)) => say!("in ", span(s), " at the rate of the last 6 hours"),
        (None, None) => say!("not known"),
        _ => say!("not at the rate of the last 6 hours"),
    }
}

fn chart(p: &mut Page, x: &SloStatus, ascii: bool) {
    p.heading(say!("BUDGET LEFT  ", Said::minute(x.from), " to ", Said::minute(x.until)));
    if x.points.iter().all(|q| q.left.is_none()) {
        p.text(2, &say!("no point of it is known"), Role::Dim);
        return;
    }
    let left: Vec<Option<f64>> = x.points.iter().map(|q| q.left).collect();
    let low = left.iter().flatten().copied().filter(|v| v.is_finite()).fold(0.0, f64::min);
    let width = p.width.saturating_sub(9).clamp(10, 160);
    let height = 7;
    let window = (x.until.as_second() - x.from.as_second()).max(1) as f64;
    let reach = x.points.last().map_or(1.0, |q| (q.at.as_second() - x.from.as_second()) as f64 / window);
    let reach = if reach > 0.98 { 1.0 } else { reach };
    let chart = Chart { width, height, low, high: 1.0, mark: 0.0, reach };
    for (i, row) in chart.draw(&left, ascii).into_iter().enumerate() {
        let value = 1.0 - (1.0 - low) * i as f64 / (height - 1) as f64;
        let label = if i == 0 || i == height - 1 { percent(Some(value), 0) } else { Said::new() };
        let role = if value < 0.0 { Role::Bad } else { Role::Accent };
        p.row(vec![(say!(right(&label, 7), " "), Role::Dim), (row, role)]);
    }
    let shown = ((width as f64) * reach) as usize;
    type Of = fn(&crate::model::slo::BudgetPoint) -> Option<f64>;
    let lines: [(&'static str, Of, &'static str); 2] =
        [("burn", |q| q.burn, " times the rate allowed"), ("events", |q| q.events_per_second, " a second")];
    for (label, of, unit) in lines {
        let values: Vec<Option<f64>> = x.points.iter().map(of).collect();
        let at_most = say!("at most ", number(highest(&values), 2), unit);
        p.row(vec![(say!(right(&say!(label), 7), " "), Role::Dim), (spark(&values, shown.max(1), ascii), Role::Info)]);
        p.row(vec![(say!("        ", at_most), Role::Dim)]);
    }
}

fn right(text: &Said, columns: usize) -> Said {
    say!(Said::repeat(" ", columns.saturating_sub(text.width())), text)
}

fn burns(p: &mut Page, s: &State, x: &SloStatus) {
    p.heading(say!("BURN RATE by window"));
    p.cells(["WINDOW", "BURN", "EVENTS", "COVERED"].map(|h| (say!(h), Role::Dim)).to_vec(), &[8, 8, 10]);
    for b in &x.burn {
        let role = if b.rate.is_some_and(|r| r > 1.0) { Role::Warn } else { Role::Text };
        let cells = vec![
            (Said::span(b.window_seconds as i64), Role::Text),
            (maybe(b.rate, 2), role),
            (number(b.events, 0), Role::Text),
            (percent(Some(b.coverage), 0), Role::Dim),
        ];
        p.cells(cells, &[8, 8, 10]);
    }
    if x.alerts.is_empty() {
        p.text(2, &say!("no burn-rate alert is defined"), Role::Dim);
        return;
    }
    p.heading(say!("ALERTS fire when both windows burn faster"));
    p.cells(["", "SHORT", "LONG", "ABOVE", "STATE"].map(|h| (say!(h), Role::Dim)).to_vec(), &[8, 7, 7, 7]);
    for a in &x.alerts {
        let (word, role) = alert_word(s, a);
        let cells = vec![
            (Said::of(&a.rule.severity), Role::Text),
            (Said::span(a.rule.short_seconds as i64), Role::Text),
            (Said::span(a.rule.long_seconds as i64), Role::Text),
            (number(a.rule.factor, 2), Role::Text),
            (word, role),
        ];
        p.cells(cells, &[8, 7, 7, 7]);
    }
}

fn alert_word(s: &State, a: &BurnAlert) -> (Said, Role) {
    match (a.state, a.since) {
        (Tri::Fail, Some(t)) => (say!("FIRES since ", Clock(t), ", ", since(s.now, t)), Role::Bad),
        (Tri::Fail, None) => (say!("FIRES"), Role::Bad),
        (Tri::Pass, _) => (say!("silent"), Role::Good),
        (Tri::Unknown, _) => tri(Tri::Unknown),
    }
}

fn months(p: &mut Page, x: &SloStatus, ascii: bool) {
    if x.months.is_empty() {
        return;
    }
    p.heading(say!("MONTHS"));
    let widths = [8, 10, 19, 10];
    p.cells(["MONTH", "GOOD", "BUDGET SPENT", "EVENTS", "COVERED"].map(|h| (say!(h), Role::Dim)).to_vec(), &widths);
    for m in &x.months {
        let over = m.spent.is_some_and(|v| v >= 1.0);
        let spent = m.spent.map_or_else(|| say!("?"), |v| say!(bar(v, 8, ascii), " ", percent(Some(v), 0)));
        let cells = vec![
            (Said::of(&m.month), Role::Text),
            (percent(m.sli, 3), Role::Text),
            (spent, if over { Role::Bad } else { Role::Text }),
            (number(m.events, 0), Role::Dim),
            (percent(Some(m.coverage), 0), Role::Dim),
        ];
        p.cells(cells, &widths);
    }
}
