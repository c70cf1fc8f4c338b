//! How triage is doing: the model and its servers, the queue, speed against its goals, what was said and whether people
//! agreed, what it cost.

use ratatui::layout::Rect;

use super::super::action::Do;
use super::super::effect::STATS_HOURS;
use super::super::layout::Panes;
use super::super::state::doc::DocRow;
use super::super::state::opinion::took;
use super::super::state::{Backend, Load};
use super::super::theme::Role;
use super::super::words::{Clock, Said, say};
use super::paint::Canvas;
use super::{doc_rows, extent, key_of};
use crate::model::opinion::{Agreement, TriageStats};

/// Goals of the design: the model's answer, and the whole of an alert's analysis, both at the 95th percentile.
const MODEL_GOAL_MS: u64 = 3_000;
const ANALYSIS_GOAL_MS: u64 = 30_000;
/// From so many columns on, quality stands beside speed.
const WIDE: u16 = 130;
const LABEL: usize = 16;

pub fn draw(c: &mut Canvas<'_>, panes: &Panes) {
    let area = Rect::new(1, panes.context.y, panes.list.width.saturating_sub(2), panes.list.height + 1);
    let (left, right) =
        if area.width >= WIDE { (area.width * 11 / 20, area.width * 9 / 20 - 2) } else { (area.width, 0) };
    let mut rows = now(c);
    let mut beside = Vec::new();
    match &c.state.triage.stats {
        Some(s) if s.verdicts > 0 || s.queue.asked > 0 => {
            stale(c, &mut rows);
            rows.extend(speed(s));
            let more = if right > 0 { &mut beside } else { &mut rows };
            more.extend(quality(s));
            more.extend(agreement(s, usize::from(if right > 0 { right } else { left })));
            rows.extend(cost(c, s));
        }
        Some(_) => rows.extend(nothing(c)),
        None => rows.extend(loading(c)),
    }
    rows.extend(servers(c));
    let height = usize::from(area.height);
    let from = c.state.triage.scroll.min(rows.len().saturating_sub(height));
    doc_rows(c, Rect { width: left, ..area }, &rows, from);
    if right > 0 {
        doc_rows(c, Rect { x: area.x + left + 2, width: right, ..area }, &beside, 0);
    }
    c.put_right(area.x, area.y, left, &extent(from, height, rows.len()), Role::Dim);
}

fn head(title: &'static str) -> [DocRow; 2] {
    [Vec::new(), vec![(say!(title), Role::Heading)]]
}

fn line(label: &'static str, value: Said, role: Role) -> DocRow {
    vec![(say!("  ", say!(label).padded(LABEL)), Role::Dim), (value, role)]
}

fn of(mut row: DocRow, more: impl IntoIterator<Item = (Said, Role)>) -> DocRow {
    row.extend(more);
    row
}

// --- now ---------------------------------------------------------------------------------------

/// What is known without asking the store: the model, the queue, what is judged by itself.
fn now(c: &Canvas<'_>) -> Vec<DocRow> {
    let s = c.state;
    let mut rows =
        vec![vec![(say!("Triage"), Role::Heading), (say!("   the last ", STATS_HOURS, " hours"), Role::Dim)]];
    rows.push(match &s.facts.backend {
        None => line("model", say!("not asked yet"), Role::Dim),
        Some(b) if b.name.as_str() == "rules" => line("model", say!("none: the rules judge"), Role::Text),
        Some(b) if !b.up => {
            of(line("model", say!("RULES ONLY"), Role::Warn), [(say!("  ", b.name, " is down: ", b.detail), Role::Dim)])
        }
        Some(b) => of(line("model", b.name.clone(), Role::Good), [(say!("  up   ", load_words(b)), Role::Text)]),
    });
    let q = &s.facts.queue;
    let far = match s.bulk() {
        Some((done, asked)) => say!(done, " of ", asked, " done, ", q.running, " running, ", q.waiting, " waiting"),
        None if q.waiting + q.running > 0 => say!(q.running, " running, ", q.waiting, " waiting"),
        None => say!("empty"),
    };
    let mut row = line("queue", far, if s.bulk().is_some() { Role::Accent } else { Role::Text });
    if q.waiting + q.running > 0 {
        row.push((say!("   ", key_of(s, Do::CancelQueue), " stops it"), Role::Dim));
    }
    rows.push(row);
    if let Some(why) = &q.held {
        rows.push(line("held", Said::of(why), Role::Warn));
    }
    rows.push(if s.setup.auto.is_empty() {
        line("by itself", say!("nothing; triage.auto in the settings names what"), Role::Dim)
    } else {
        let rate = say!("   at most ", s.setup.auto_per_hour, " an hour");
        of(line("by itself", Said::of(&s.setup.auto), Role::Text), [(rate, Role::Dim)])
    });
    rows
}

fn load_words(b: &Backend) -> Said {
    let n = |v: Option<u32>| v.map_or_else(|| say!("?"), |n| say!(n));
    say!(n(b.running), " running, ", n(b.waiting), " waiting")
}

fn loading(c: &Canvas<'_>) -> Vec<DocRow> {
    let s = c.state;
    let text = match &s.triage.load {
        Load::Broken { what, since, .. } => {
            let lines = [
                (say!("the figures cannot be shown: ", what), Role::Bad),
                (say!("since ", Clock(*since), "; tried again when something changes, or on refresh"), Role::Dim),
                (say!("what is above and below, and the other tabs, still works"), Role::Dim),
            ];
            return std::iter::once(Vec::new())
                .chain(lines.into_iter().map(|(t, r)| vec![(say!("  ", t), r)]))
                .collect();
        }
        Load::Waiting { since } => {
            let waited = s.now.as_second() - since.as_second();
            let mut said = say!("loading the figures from the store");
            if waited > 1 {
                said.push(&say!(", for ", Said::span(waited)));
            }
            said
        }
        Load::Ready { .. } => say!("loading the figures from the store"),
    };
    vec![Vec::new(), vec![(say!("  ", text), Role::Dim)]]
}

/// Old figures are shown on, and called old.
fn stale(c: &Canvas<'_>, rows: &mut Vec<DocRow>) {
    if let Load::Broken { what, last_good, .. } = &c.state.triage.load {
        let good = last_good.map_or_else(Said::new, |t| say!("; these are of ", Clock(t)));
        rows.push(vec![(say!("  the figures cannot be loaded: ", what, good), Role::Bad)]);
    }
}

fn nothing(c: &Canvas<'_>) -> Vec<DocRow> {
    let s = c.state;
    let lines = [
        say!("no opinions in the last ", STATS_HOURS, " hours"),
        say!("on an alert of the queue, ", key_of(s, Do::Triage), " asks for one; marked alerts are queued together"),
        say!(":", Do::TriageFilter.word(), " queues all that match the filter"),
    ];
    std::iter::once(Vec::new()).chain(lines.into_iter().map(|l| vec![(say!("  ", l), Role::Dim)])).collect()
}

// --- figures -----------------------------------------------------------------------------------

fn speed(s: &TriageStats) -> Vec<DocRow> {
    let mut rows = Vec::from(head("SPEED"));
    let rate = |v: f64| Said::decimal(v, usize::from(v < 10.0));
    rows.push(of(
        line("opinions", say!(s.verdicts), Role::Text),
        [(say!("   by a model ", rate(s.per_hour), " an hour, now ", rate(s.per_hour_now), " an hour"), Role::Dim)],
    ));
    let ms = |v: Option<u64>| v.map_or_else(|| say!("?"), took);
    rows.push(line("half within", ms(s.took_p50), Role::Text));
    rows.push(of(line("95 % within", ms(s.took_p95), Role::Text), goals(s)));
    rows.push(line("first word", say!("95 % within ", ms(s.first_token_p95)), Role::Text));
    rows
}

/// Whether the goals are met; without a figure that is not known, which is not met.
fn goals(s: &TriageStats) -> Vec<(Said, Role)> {
    let goal = |what: &'static str, limit: u64| {
        let text = say!("   ", what, " < ", limit / 1000, " s ");
        let (word, role) = match s.took_p95 {
            _ if s.by_model == 0 && limit == MODEL_GOAL_MS => ("not asked", Role::Dim),
            None => ("unknown", Role::Dim),
            Some(ms) if ms < limit => ("met", Role::Good),
            Some(_) => ("MISSED", Role::Bad),
        };
        [(text, Role::Dim), (say!(word), role)]
    };
    goal("model", MODEL_GOAL_MS).into_iter().chain(goal("analysis", ANALYSIS_GOAL_MS)).collect()
}

fn percent(part: u64, whole: u64) -> Said {
    if whole == 0 { say!("?") } else { say!(Said::decimal(part as f64 * 100.0 / whole as f64, 0), " %") }
}

fn quality(s: &TriageStats) -> Vec<DocRow> {
    let mut rows = Vec::from(head("QUALITY"));
    let [tp, btp, fp, look] = s.kinds;
    rows.push(line("verdicts", say!("TP ", tp, "   BTP ", btp, "   FP ", fp, "   look ", look), Role::Text));
    let role = if s.founded == s.claims { Role::Text } else { Role::Warn };
    rows.push(line("grounded", say!(percent(s.founded, s.claims), " of ", s.claims, " claims by models"), role));
    let role = if s.fallbacks > 0 { Role::Warn } else { Role::Text };
    let share = say!(percent(s.fallbacks, s.verdicts), ", rules stood in ", s.fallbacks, " times");
    rows.push(line("fallback", share, role));
    rows.push(line("text-dependent", say!("~ ", s.text_dependent), Role::Text));
    rows.push(line("raised", say!("^ ", s.raised), Role::Text));
    rows
}

fn agreement(s: &TriageStats, width: usize) -> Vec<DocRow> {
    let mut rows = Vec::from(head("AGREEMENT of people"));
    let said: Vec<&Agreement> = s.agreement.iter().filter(|a| a.rate().is_some()).collect();
    if said.is_empty() {
        rows.push(vec![(say!("  nobody has agreed or disagreed yet"), Role::Dim)]);
    }
    let wide = width.saturating_sub(40).clamp(14, 40);
    for a in said {
        let n = a.agreed + a.overridden;
        let rule = if a.rule.is_empty() { say!("all rules") } else { say!(a.rule) };
        let role = match a.rate() {
            Some(r) if r >= 0.9 => Role::Good,
            Some(r) if r >= 0.7 => Role::Text,
            _ => Role::Warn,
        };
        rows.push(vec![
            (
                say!("  ", rule.fit(wide, "~").padded(wide), "  "),
                if a.rule.is_empty() { Role::Heading } else { Role::Text },
            ),
            (say!(percent(a.agreed, n)).padded(6), role),
            (say!(say!(a.agreed, " of ", n).padded(12), a.model), Role::Dim),
        ]);
    }
    rows
}

/// `812 k`, `41 M`.
fn many(n: u64) -> Said {
    match n {
        0..10_000 => say!(n),
        10_000..10_000_000 => say!(n / 1_000, " k"),
        _ => say!(n / 1_000_000, " M"),
    }
}

fn cost(c: &Canvas<'_>, s: &TriageStats) -> Vec<DocRow> {
    let mut rows = Vec::from(head("COST"));
    if s.by_model == 0 {
        rows.push(vec![(say!("  no model was asked"), Role::Dim)]);
        return rows;
    }
    let cached = percent(s.cached_tokens, s.prompt_tokens);
    let tokens = say!(many(s.prompt_tokens), " in, ", cached, " of them cached, ", many(s.completion_tokens), " out");
    let each = say!("   ", (s.prompt_tokens + s.completion_tokens) / s.by_model, " an alert");
    rows.push(of(line("tokens", tokens, Role::Text), [(each, Role::Dim)]));
    let seconds = s.served_ms as f64 / 1000.0 / s.by_model as f64;
    let hint = (say!("   GPU-seconds where slots share no batch"), Role::Dim);
    rows.push(of(line("slot time", say!(Said::decimal(seconds, 2), " s an alert"), Role::Text), [hint]));
    rows.push(match c.state.setup.watts {
        0 => line("energy", say!("not known: triage.watts is not set"), Role::Dim),
        watts => {
            let wh = seconds * f64::from(watts) / 3600.0;
            let at = (say!("   at ", watts, " W"), Role::Dim);
            of(line("energy", say!(Said::decimal(wh, 3), " Wh an alert"), Role::Text), [at])
        }
    });
    rows
}

// --- servers -----------------------------------------------------------------------------------

fn servers(c: &Canvas<'_>) -> Vec<DocRow> {
    let Some(b) = c.state.facts.backend.as_ref().filter(|b| b.name.as_str() != "rules") else { return Vec::new() };
    let mut rows = Vec::from(head("SERVERS"));
    let cell = |text: Said, w: usize| text.fit(w, "~").padded(w + 1);
    let heads = [("NAME", 14), ("STATE", 6), ("RUN", 4), ("WAIT", 4), ("KV", 5), ("HITS", 5), ("TTFT95", 7)];
    let mut row = vec![(say!("  "), Role::Dim)];
    row.extend(heads.map(|(t, w)| (cell(say!(t), w), Role::Dim)));
    rows.push(row);
    let all = if b.servers.is_empty() { std::slice::from_ref(b) } else { b.servers.as_slice() };
    let share = |v: Option<f32>| v.map_or_else(|| say!("?"), |v| say!(Said::decimal(f64::from(v) * 100.0, 0), " %"));
    let count = |v: Option<u32>| v.map_or_else(|| say!("?"), |n| say!(n));
    for server in all {
        let (word, role) = if server.up { ("up", Role::Good) } else { ("OUT", Role::Bad) };
        let ttft = server.ttft_p95_ms.map_or_else(|| say!("?"), took);
        let detail = if server.backup { say!("backup; ", server.detail) } else { server.detail.clone() };
        rows.push(vec![
            (say!("  "), Role::Text),
            (cell(server.name.clone(), 14), Role::Text),
            (cell(say!(word), 6), role),
            (cell(count(server.running), 4), Role::Text),
            (cell(count(server.waiting), 4), Role::Text),
            (cell(share(server.kv_cache), 5), Role::Text),
            (cell(share(server.prefix_hits), 5), Role::Text),
            (cell(ttft, 7), Role::Text),
            (detail, Role::Dim),
        ]);
    }
    rows
}
