//! Rollouts: a line each, and the detail a person decides by.

use jiff::Timestamp;

use super::super::state::State;
use super::super::state::doc::DocRow;
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::bars::spark;
use super::hand::{offer_words, requests_about};
use super::{Cells, Col, Page, col, maybe, number, percent, since, slo, tri};
use crate::model::action::RequestState;
use crate::model::health::Tri;
use crate::model::rollout::{Gate, Revision, Rollout, RolloutPhase, Step};
use crate::model::slo::ChangeClass;

pub const COLUMNS: &[Col] = &[
    col("ROLLOUT", 0, 0),
    col("KIND", 14, 3),
    col("PHASE", 11, 0),
    col("STEP", 6, 1),
    col("WEIGHT set/is", 13, 0),
    col("AGE", 4, 1),
    col("GATES", 18, 0),
];

pub fn phase_role(phase: RolloutPhase) -> Role {
    match phase {
        RolloutPhase::Healthy => Role::Good,
        RolloutPhase::Progressing => Role::Accent,
        RolloutPhase::Paused | RolloutPhase::Unknown => Role::Warn,
        RolloutPhase::Degraded => Role::Bad,
    }
}

/// The worst of its gates; `None`: it has none.
pub fn gates(r: &Rollout) -> Option<Tri> {
    r.gates.iter().map(|g| g.answer).reduce(Tri::and)
}

/// It stands still because a step of its own says so: a person goes on. That is no fault.
pub fn waits(r: &Rollout) -> bool {
    r.phase == RolloutPhase::Paused && r.stuck.as_ref().is_some_and(|(_, at)| r.paused_since == Some(*at))
}

/// The worst that is to be said of it, in a line.
pub fn gist(r: &Rollout) -> (Said, Role) {
    if let Some(g) = r.gates.iter().find(|g| g.answer == Tri::Fail) {
        return (say!(Said::of(&g.name), " FAILS: ", Said::of(&g.why)), Role::Bad);
    }
    match (&r.stuck, &r.advice) {
        (Some((what, _)), _) if !waits(r) => (say!("stuck: ", what), Role::Bad),
        (_, Some(a)) => (say!("advice: ", a.verb.map_or("hold", |v| v.word()), ": ", Said::of(&a.why)), Role::Accent),
        (Some(_), None) => (say!("waits for a person"), Role::Warn),
        (None, None) => (say!(r.message), Role::Dim),
    }
}

fn gate_words(r: &Rollout) -> (Said, Role) {
    let n = |t: Tri| r.gates.iter().filter(|g| g.answer == t).count();
    let (fail, unknown, pass) = (n(Tri::Fail), n(Tri::Unknown), n(Tri::Pass));
    match gates(r) {
        None => (say!("no gates"), Role::Dim),
        Some(Tri::Fail) if unknown > 0 => (say!(fail, " FAIL ", unknown, " unknown"), Role::Bad),
        Some(Tri::Fail) => (say!(fail, " FAIL ", pass, " pass"), Role::Bad),
        Some(Tri::Unknown) => (say!(unknown, " unknown ", pass, " pass"), Role::Warn),
        Some(Tri::Pass) => (say!(pass, " pass"), Role::Good),
    }
}

fn weight(w: Option<u32>) -> Said {
    w.map_or_else(|| say!("-"), |w| say!(w))
}

/// When the newest revision came.
fn began(r: &Rollout) -> Option<Timestamp> {
    r.revisions.iter().filter_map(|v| v.since).max()
}

pub fn line(r: &Rollout, now: Timestamp) -> Cells {
    let step = match r.step {
        Some(at) if !r.steps.is_empty() => say!(at.min(r.steps.len()), "/", r.steps.len()),
        _ => say!("-"),
    };
    let stuck = r.stuck.is_some() && !waits(r);
    let phase = if stuck { say!("STUCK") } else { say!(r.phase.word()) };
    vec![
        (Said::of(&r.id.name), Role::Text),
        (say!(r.kind.word()), Role::Dim),
        (phase, if stuck { Role::Bad } else { phase_role(r.phase) }),
        (step, Role::Text),
        (say!(weight(r.set_weight), " / ", weight(r.actual_weight), " %"), Role::Text),
        (began(r).map_or_else(|| say!("?"), |t| since(now, t)), Role::Dim),
        gate_words(r),
    ]
}

/// `5% ok > 25% ok > [50% 03:12 left] > 100%`: each weight with the pauses and analyses that follow it.
pub fn strip(r: &Rollout, now: Timestamp) -> DocRow {
    let mut stages: Vec<(usize, usize, Option<u32>)> = Vec::new();
    for (i, step) in r.steps.iter().enumerate() {
        match (step, stages.last_mut()) {
            (Step::Weight { percent }, _) => stages.push((i, i, Some(*percent))),
            (_, Some(stage)) => stage.1 = i,
            (_, None) => stages.push((i, i, None)),
        }
    }
    if !stages.is_empty() && stages.last().is_some_and(|s| s.2 != Some(100)) {
        stages.push((r.steps.len(), r.steps.len(), Some(100)));
    }
    let at = r.step.unwrap_or(0);
    let all = r.step.is_some_and(|n| n >= r.steps.len());
    let mut row = DocRow::new();
    for (i, (first, last, percent)) in stages.iter().enumerate() {
        if i > 0 {
            row.push((say!(" > "), Role::Dim));
        }
        let name = percent.map_or_else(|| say!("start"), |p| say!(p, "%"));
        row.push(if r.aborted {
            (name, Role::Dim)
        } else if all || at > *last {
            (say!(name, " ok"), Role::Good)
        } else if at >= *first && r.step.is_some() {
            (say!("[", name, stage_words(r, at, now), "]"), Role::Heading)
        } else {
            (name, Role::Dim)
        });
    }
    if r.aborted {
        row.push((say!("   ABORTED"), Role::Bad));
    }
    row
}

fn stage_words(r: &Rollout, at: usize, now: Timestamp) -> Said {
    let left = |until: i64| {
        let left = until - now.as_second();
        if left > 0 { say!(" ", Said::countdown(left), " left") } else { say!(" time is over") }
    };
    match (r.steps.get(at), r.paused_since) {
        (Some(Step::Pause { seconds: Some(s) }), Some(t)) => left(t.as_second().saturating_add(*s as i64)),
        (Some(Step::Pause { seconds: None }), _) => say!(" waits for a promote"),
        (Some(Step::Analysis), _) => say!(" analysis"),
        (Some(Step::Experiment), _) => say!(" experiment"),
        _ => r.advice.as_ref().and_then(|a| a.due).map_or_else(Said::new, |due| left(due.as_second())),
    }
}

pub fn detail(s: &State, r: &Rollout, width: usize) -> Vec<DocRow> {
    let mut p = Page::new(width);
    head(&mut p, s, r);
    p.heading(say!("STEPS"));
    if r.steps.is_empty() {
        p.text(2, &say!("none: ", r.kind.word()), Role::Dim);
    } else {
        let mut row = vec![(say!("  "), Role::Text)];
        row.extend(strip(r, s.now));
        p.row(row);
    }
    let set = say!("set ", weight(r.set_weight), " %, is ", weight(r.actual_weight), " %");
    p.pair("weight", &set, Role::Text);
    let pods = say!(r.updated, " updated, ", r.ready, " ready, ", r.available, " available of ", r.replicas);
    p.pair("pods", &pods, Role::Text);
    if let Some(active) = &r.active {
        p.pair("active", &Said::of(active), Role::Text);
    }
    next(&mut p, s, r);
    waiting(&mut p, s, r);
    gate_cards(&mut p, s, r);
    tree(&mut p, s, r);
    zones(&mut p, r);
    p.heading(say!("OBJECT"));
    p.pair("is", &say!(Said::of(&r.object), ", ", r.kind.word()), Role::Dim);
    p.pair("version", &say!("generation ", r.generation, ", resource ", Said::of(&r.resource_version)), Role::Dim);
    p.pair("seen", &say!(since(s.now, r.seen), " ago"), Role::Dim);
    for c in &r.conditions {
        let at = c.since.map_or_else(Said::new, |t| say!(", ", since(s.now, t)));
        p.text(2, &say!(c.kind, " ", c.status, at, "  ", c.reason, "  ", c.message), Role::Dim);
    }
    p.rows
}

fn head(p: &mut Page, s: &State, r: &Rollout) {
    let mut row = vec![(say!(r.phase.word()), phase_role(r.phase))];
    if !r.message.is_empty() {
        row.push((say!("   ", r.message).fit(p.width.saturating_sub(12), "~"), Role::Dim));
    }
    p.row(row);
    match &r.stuck {
        Some((what, at)) if waits(r) => {
            p.pair("WAITS", &say!("for a person, since ", since(s.now, *at), ": ", what), Role::Warn);
        }
        Some((what, at)) => p.pair("STUCK", &say!("for ", since(s.now, *at), ": ", what), Role::Bad),
        None => {}
    }
    if let Some(a) = &r.advice {
        let verb = a.verb.map_or("hold", |v| v.word());
        let role = if a.verb.is_none() { Role::Warn } else { Role::Accent };
        p.pair("advice", &say!(verb, ": ", Said::of(&a.why)), role);
    }
    if let Some(until) = r.fast_rollback_until {
        let left = until.as_second() - s.now.as_second();
        let (words, role) = if left > 0 {
            (say!("fast for ", Said::countdown(left), ": the old pods are still there"), Role::Good)
        } else {
            (say!("slow: the old pods are gone, going back starts new ones"), Role::Warn)
        };
        p.pair("way back", &words, role);
    }
}

fn gate_cards(p: &mut Page, s: &State, r: &Rollout) {
    p.heading(say!("GATES"));
    if r.gates.is_empty() {
        p.text(2, &say!("none are defined for it (operate.rollouts in the settings)"), Role::Dim);
    }
    for g in &r.gates {
        let (word, role) = tri(g.answer);
        p.row(vec![(say!("  ", Said::of(&g.name).fit(22, "~").padded(23)), Role::Text), (word, role)]);
        let figures = figures(s, g);
        if !figures.is_empty() {
            p.text(4, &figures, Role::Text);
        }
        p.text(4, &Said::of(&g.why), if g.answer == Tri::Pass { Role::Dim } else { role });
        if g.history.len() > 1 {
            let values: Vec<Option<f64>> = g.history.iter().map(|(_, v)| *v).collect();
            p.row(vec![
                (say!("    "), Role::Text),
                (spark(&values, p.width.saturating_sub(6), s.look.ascii), Role::Info),
            ]);
        }
    }
}

fn figures(s: &State, g: &Gate) -> Said {
    let mut out = Said::new();
    if g.canary.is_some() || g.stable.is_some() {
        out.push(&say!("canary ", maybe(g.canary, 4), "  stable ", maybe(g.stable, 4), "  "));
    }
    if let Some(limit) = g.limit {
        let word = if g.limit_word.is_empty() { say!("limit") } else { Said::of(&g.limit_word) };
        out.push(&say!(word, " ", number(limit, 4), "  "));
    }
    if let Some(n) = g.samples {
        out.push(&say!(n, " samples  "));
    }
    if let Some(n) = g.events {
        out.push(&say!(number(n, 0), " events  "));
    }
    if let Some(t) = g.newest {
        out.push(&say!(since(s.now, t), " old"));
    }
    out
}

/// Requests about it that somebody has to decide or run.
fn waiting(p: &mut Page, s: &State, r: &Rollout) {
    let mut all = requests_about(s, r).peekable();
    if all.peek().is_none() {
        return;
    }
    p.heading(say!("REQUESTS about it"));
    for q in all {
        let left = usize::from(q.body.approvals_needed).saturating_sub(q.approvals.len());
        let span = |until: Timestamp| Said::span((until.as_second() - s.now.as_second()).max(0));
        let next = match q.state {
            RequestState::Pending => say!("needs ", left, " more, ", span(q.body.approve_by), " left"),
            RequestState::Approved => say!("to be run within ", span(q.body.execute_by)),
            _ => Said::new(),
        };
        p.row(vec![
            (say!("  ", Said::of(&q.body.action), "  "), Role::Text),
            (say!(q.state.word()), Role::Warn),
            (say!("  by ", q.body.requester, "  ", next), Role::Dim),
        ]);
    }
}

/// What the budgets leave, and what the key that proposes would send.
fn next(p: &mut Page, s: &State, r: &Rollout) {
    let normal = s.platform.gate.iter().find(|g| g.class == ChangeClass::Normal);
    let left = s.platform.slos.iter().filter_map(|(d, x)| Some((d, x.left.filter(|_| x.state.is_known())?)));
    let lowest = left.min_by(|a, b| a.1.total_cmp(&b.1));
    if normal.is_some() || lowest.is_some() {
        let (word, role) = match normal.map(|g| g.answer) {
            Some(Tri::Pass) => ("open for normal changes", Role::Good),
            Some(Tri::Fail) => ("CLOSED for normal changes", Role::Bad),
            Some(Tri::Unknown) | None => ("not known for normal changes", Role::Warn),
        };
        let least =
            lowest.map_or_else(Said::new, |(d, l)| say!("; least left: ", percent(Some(l), 0), " of ", slo::name(d)));
        p.pair("budget", &say!(word, least), role);
        if let Some(why) = normal.filter(|g| g.answer != Tri::Pass).and_then(|g| g.reasons.first()) {
            p.text(13, &Said::of(why), Role::Dim);
        }
    }
    let fits: Vec<_> = s.platform.offers(r).into_iter().filter(|o| o.patch.is_ok()).collect();
    let Some(first) = fits.first() else {
        p.pair("can be done", &say!("nothing from here"), Role::Dim);
        return;
    };
    p.pair("can be done", &offer_words(r, first), Role::Text);
    if let Some(patch) = first.patch.as_ref().ok().filter(|patch| !patch.is_empty()) {
        p.text(13, &say!("sends ", Said::of(patch)), Role::Dim);
    }
    let mut also = Said::new();
    for o in fits.iter().skip(1) {
        let word = if o.full { "promote in full" } else { o.verb.word() };
        also.push(&say!(if also.is_empty() { "also " } else { ", " }, word));
    }
    if !also.is_empty() {
        p.text(13, &also, Role::Dim);
    }
}

fn tree(p: &mut Page, s: &State, r: &Rollout) {
    p.heading(say!("REVISIONS"));
    if r.revisions.is_empty() {
        p.text(2, &say!("none seen"), Role::Dim);
    }
    let (fork, last) = if s.look.ascii { ("|- ", "`- ") } else { ("\u{251c}\u{2500} ", "\u{2514}\u{2500} ") };
    for v in &r.revisions {
        revision(p, s, v);
        let n = v.pods.len() + v.analyses.len();
        for (i, pod) in v.pods.iter().enumerate() {
            let branch = if i + 1 == n { last } else { fork };
            let role = if pod.ready { Role::Good } else { Role::Warn };
            let zone = pod.zone.as_ref().map_or_else(Said::new, |z| say!("  ", z));
            let restarts = if pod.restarts > 0 { say!("  ", pod.restarts, " restarts") } else { Said::new() };
            let age = pod.since.map_or_else(Said::new, |t| say!("  ", since(s.now, t)));
            p.row(vec![
                (say!("    ", branch, "pod ", pod.name, "  "), Role::Text),
                (say!(pod.phase, if pod.ready { ", ready" } else { ", not ready" }), role),
                (say!(age, zone), Role::Dim),
                (restarts, Role::Warn),
            ]);
        }
        for (i, a) in v.analyses.iter().enumerate() {
            let branch = if v.pods.len() + i + 1 == n { last } else { fork };
            p.row(vec![
                (say!("    ", branch, "analysis ", a.name, "  "), Role::Text),
                (say!(a.phase), analysis_role(a.phase.expose())),
                (say!("  ", a.message), Role::Dim),
            ]);
            for m in &a.metrics {
                let value = m.value.as_ref().map_or_else(|| say!("?"), |v| say!(v));
                let counts = say!(m.successful, " good, ", m.failed, " failed, ", m.inconclusive, " open, ", m.error);
                p.text(10, &say!(m.name, " ", m.phase, ": ", value, "; ", counts, " errors"), Role::Dim);
            }
        }
    }
}

fn analysis_role(phase: &str) -> Role {
    match phase {
        "Successful" => Role::Good,
        "Failed" | "Error" => Role::Bad,
        "Running" | "Pending" => Role::Accent,
        _ => Role::Warn,
    }
}

fn revision(p: &mut Page, s: &State, v: &Revision) {
    let number = v.number.map_or_else(|| say!("revision ?"), |n| say!("revision ", n));
    let role = match v.role.as_str() {
        "stable" | "active" => Role::Good,
        "canary" | "preview" => Role::Accent,
        _ => Role::Dim,
    };
    let age = v.since.map_or_else(Said::new, |t| say!("  ", since(s.now, t)));
    p.row(vec![
        (say!("  ", number, "  "), Role::Heading),
        (say!(Said::of(&v.role), "  "), role),
        (say!(v.replica_set, "  ", v.ready, " of ", v.desired, " ready", age), Role::Text),
    ]);
    for image in &v.images {
        let mut row = vec![(say!("    image ", image.reference), Role::Dim)];
        if image.floating {
            row.push((say!("  FLOATS: the tag can move"), Role::Warn));
        }
        p.row(row);
        if let Some(d) = &image.digest {
            p.text(6, &say!(d), Role::Dim);
        }
    }
}

fn zones(p: &mut Page, r: &Rollout) {
    if r.zones.is_empty() {
        return;
    }
    p.heading(match r.zone_minimum {
        Some(n) => say!("ZONES, each at least ", n, " ready"),
        None => say!("ZONES"),
    });
    for z in &r.zones {
        let short = r.zone_minimum.is_some_and(|n| z.ready < n);
        p.row(vec![
            (say!("  ", say!(z.name).padded(16)), Role::Text),
            (say!(z.ready, " of ", z.total, " ready"), if short { Role::Bad } else { Role::Text }),
            (say!(if short { "  TOO FEW" } else { "" }), Role::Bad),
        ]);
    }
}
