//! The queue's columns: data, one row per column.

use super::state::State;
use super::theme::Role;
use super::words::{Clock, Said, say};
use crate::model::alert::{AlertRow, Status};
use crate::model::priority::Priority;
use crate::model::risk;
use crate::model::severity::Severity;

/// How a column gets its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Fixed(u16),
    /// At least, share of what is left, at most.
    Flex(u16, u16, u16),
}

/// A column of the queue.
pub struct Column {
    pub word: &'static str,
    pub title: &'static str,
    pub help: &'static str,
    pub width: Width,
    /// Which goes first when there is no room; 0 stays.
    pub shed: u8,
    pub right: bool,
    pub cell: fn(&AlertRow, &State) -> (Said, Role),
}

const fn column(
    word: &'static str,
    title: &'static str,
    width: Width,
    shed: u8,
    help: &'static str,
    cell: fn(&AlertRow, &State) -> (Said, Role),
) -> Column {
    Column { word, title, help, width, shed, right: false, cell }
}

const fn right(mut c: Column) -> Column {
    c.right = true;
    c
}

pub const COLUMNS: &[Column] = &[
    column("priority", "P", Width::Fixed(2), 0, "P0 to P3, what people are held to", |r, _| {
        (say!(r.priority.word()), priority_role(r.priority))
    }),
    right(column("clock", "CLOCK", Width::Fixed(5), 0, "time left to respond; reversed when over", clock_cell)),
    column("severity", "SEV", Width::Fixed(6), 1, "how bad the detector says it is", |r, s| {
        (say!(severity_glyph(r.severity, s.look.ascii), " ", r.severity.short()), severity_role(r.severity))
    }),
    column("rule", "ALERT", Width::Flex(26, 60, 90), 0, "what was detected", |r, _| {
        (Said::from_untrusted(&r.title), Role::Text)
    }),
    column("host", "HOST", Width::Flex(9, 22, 24), 3, "host", |r, _| {
        optional(r.host.as_ref().map(Said::from_untrusted))
    }),
    column("user", "USER", Width::Flex(7, 18, 22), 6, "user", |r, _| {
        optional(r.user.as_ref().map(Said::from_untrusted))
    }),
    right(column("count", "N", Width::Fixed(4), 5, "how often the same alert came", |r, _| {
        let role = if r.count > 1 { Role::Text } else { Role::Dim };
        (if r.count > 9999 { say!("9k+") } else { say!(r.count) }, role)
    })),
    column("state", "STATE", Width::Fixed(9), 2, "new, its owner, snoozed until, or how it was closed", state_cell),
    right(column("id", "ID", Width::Fixed(7), 7, "the alert's number", |r, _| (say!(r.id), Role::Dim))),
    column("src", "SOURCE", Width::Flex(13, 15, 39), 6, "source address", |r, _| optional(r.src_ip.map(|ip| say!(ip)))),
    column("dst", "DESTINATION", Width::Flex(13, 15, 39), 6, "destination address", |r, _| {
        optional(r.dst_ip.map(|ip| say!(ip)))
    }),
    column("technique", "ATT&CK", Width::Fixed(10), 8, "first technique", |r, _| {
        let mut said = r.techniques.first().map(|t| Said::of(t)).unwrap_or_default();
        if r.techniques.len() > 1 {
            said.push(&"+");
        }
        (said, Role::Info)
    }),
    column("format", "FORMAT", Width::Fixed(10), 9, "format it was read as", |r, _| (Said::of(&r.format), Role::Dim)),
    right(column("age", "AGE", Width::Fixed(4), 6, "since it came in", |r, s| {
        (Said::span(s.now.as_second() - r.t_ingest.as_second()), Role::Dim)
    })),
    column("event", "EVENT", Width::Fixed(5), 9, "time of day it happened, UTC", |r, _| {
        optional(r.t_event.map(|t| say!(Clock(t))))
    }),
    column("verdict", "OPINION", Width::Fixed(10), 6, "the backend's opinion; it decides nothing", |r, _| {
        let Some(v) = r.verdict else { return (Said::new(), Role::Dim) };
        let short = match v.kind {
            crate::model::verdict::VerdictKind::TruePositive => "TP",
            crate::model::verdict::VerdictKind::BenignTruePositive => "BTP",
            crate::model::verdict::VerdictKind::FalsePositive => "FP",
            crate::model::verdict::VerdictKind::NeedsInvestigation => "look",
        };
        let mut said = say!(short);
        if let Some(c) = v.confidence {
            said.push(&say!(" ", Said::decimal(f64::from(c), 2)));
        }
        (said, Role::Info)
    }),
    right(column("case", "CASE", Width::Fixed(5), 8, "case it is in", |r, _| optional(r.case.map(|c| say!("#", c))))),
    right(column("asset", "ASSET", Width::Fixed(5), 9, "weight of the asset in percent", |r, _| {
        (say!(r.asset_weight), Role::Dim)
    })),
    right(column("risk", "RISK", Width::Fixed(6), 9, "severity x asset x confidence x age", |r, s| {
        let risk = risk::explain(r.priority, r.asset_weight, r.confidence, r.t_ingest, s.now);
        (Said::decimal(risk.score, usize::from(risk.score < 100.0)), Role::Dim)
    })),
];

/// Columns by name; unknown names are left out and returned.
pub fn by_names(names: &[String]) -> (Vec<usize>, Vec<String>) {
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for name in names {
        match COLUMNS.iter().position(|c| c.word == name.as_str()) {
            Some(i) if known.contains(&i) => {}
            Some(i) => known.push(i),
            None => unknown.push(name.clone()),
        }
    }
    (known, unknown)
}

/// Widths for what fits, as (column, width), one space between each.
pub fn fit(chosen: &[usize], room: u16) -> Vec<(usize, u16)> {
    let mut shown: Vec<usize> = chosen.to_vec();
    let least = |set: &[usize]| -> u16 {
        let sum: u16 = set
            .iter()
            .map(|i| match COLUMNS[*i].width {
                Width::Fixed(n) | Width::Flex(n, _, _) => n,
            })
            .sum();
        sum + (set.len() as u16).saturating_sub(1)
    };
    while shown.len() > 1 && least(&shown) > room {
        let Some(at) = (0..shown.len()).filter(|i| COLUMNS[shown[*i]].shed > 0).max_by_key(|i| COLUMNS[shown[*i]].shed)
        else {
            break;
        };
        shown.remove(at);
    }
    let mut out: Vec<(usize, u16)> = shown
        .iter()
        .map(|i| match COLUMNS[*i].width {
            Width::Fixed(n) | Width::Flex(n, _, _) => (*i, n),
        })
        .collect();
    let mut spare = room.saturating_sub(least(&shown));
    // Twice: what one column does not take because of its limit goes to the others.
    for _ in 0..3 {
        let open = |(i, w): &(usize, u16)| matches!(COLUMNS[*i].width, Width::Flex(_, _, most) if *w < most);
        let shares: u32 = out
            .iter()
            .filter(|c| open(c))
            .map(|(i, _)| if let Width::Flex(_, share, _) = COLUMNS[*i].width { u32::from(share) } else { 0 })
            .sum();
        if spare == 0 || shares == 0 {
            break;
        }
        let now = u32::from(spare);
        for cell in &mut out {
            if let Width::Flex(_, share, most) = COLUMNS[cell.0].width
                && cell.1 < most
            {
                let more = ((now * u32::from(share)).div_ceil(shares) as u16).min(most - cell.1).min(spare);
                cell.1 += more;
                spare -= more;
            }
        }
    }
    out
}

fn optional(text: Option<Said>) -> (Said, Role) {
    match text {
        Some(t) => (t, Role::Text),
        None => (say!("-"), Role::Dim),
    }
}

pub fn priority_role(p: Priority) -> Role {
    match p {
        Priority::P0 => Role::Critical,
        Priority::P1 => Role::Bad,
        Priority::P2 => Role::Warn,
        Priority::P3 => Role::Dim,
    }
}

pub fn severity_role(s: Severity) -> Role {
    match s {
        Severity::Fatal | Severity::Critical => Role::Critical,
        Severity::High => Role::Bad,
        Severity::Medium => Role::Warn,
        Severity::Low => Role::Info,
        Severity::Informational => Role::Dim,
        Severity::Unknown => Role::Accent,
    }
}

pub fn severity_glyph(s: Severity, ascii: bool) -> &'static str {
    match (s, ascii) {
        (Severity::Unknown, _) => "?",
        (Severity::Informational, false) => "\u{2581}",
        (Severity::Low, false) => "\u{2582}",
        (Severity::Medium, false) => "\u{2584}",
        (Severity::High, false) => "\u{2586}",
        (Severity::Critical, false) => "\u{2588}",
        (Severity::Fatal, false) => "\u{25c6}",
        (Severity::Informational, true) => ".",
        (Severity::Low, true) => "-",
        (Severity::Medium, true) => "=",
        (Severity::High, true) => "+",
        (Severity::Critical, true) => "#",
        (Severity::Fatal, true) => "!",
    }
}

/// How a response clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockState {
    /// Somebody has it, or it is closed.
    Stopped,
    Fine(i64),
    /// From 80 % on.
    Soon(i64),
    /// Seconds over.
    Over(i64),
}

pub fn clock(row: &AlertRow, now: jiff::Timestamp) -> ClockState {
    let Some(due) = row.due() else { return ClockState::Stopped };
    let left = due.as_second() - now.as_second();
    let whole = row.priority.response_seconds();
    if left < 0 {
        ClockState::Over(-left)
    } else if (whole - left) * 10 >= whole * 8 {
        ClockState::Soon(left)
    } else {
        ClockState::Fine(left)
    }
}

fn clock_cell(row: &AlertRow, state: &State) -> (Said, Role) {
    match clock(row, state.now) {
        ClockState::Stopped => (say!("-"), Role::Dim),
        ClockState::Fine(s) => (Said::span(s), Role::Text),
        ClockState::Soon(s) => (Said::span(s), Role::Warn),
        ClockState::Over(s) => (say!("-", Said::span(s)), Role::Critical),
    }
}

fn state_cell(row: &AlertRow, state: &State) -> (Said, Role) {
    match row.status {
        Status::New => (say!("new"), Role::Accent),
        Status::Claimed => match &row.owner {
            Some(o) if state.me.as_ref().is_some_and(|m| m.id == *o) => (say!(o), Role::Good),
            Some(o) => (say!(o), Role::Text),
            None => (say!("claimed"), Role::Text),
        },
        Status::Snoozed => {
            let left = row.snoozed_until.map_or(0, |t| t.as_second() - state.now.as_second());
            (say!("zzz ", Said::span(left.max(0))), Role::Dim)
        }
        Status::Closed => (say!("x ", row.disposition.map_or("closed", |d| d.short())), Role::Dim),
        Status::Suppressed => (say!("hidden"), Role::Dim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_columns() -> Vec<usize> {
        by_names(&crate::config::settings::ConsoleSettings::default().columns).0
    }

    #[test]
    fn the_default_columns_exist() {
        let (known, unknown) = by_names(&crate::config::settings::ConsoleSettings::default().columns);
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(known.len(), 8);
    }

    #[test]
    fn widths_never_exceed_the_room() {
        let all: Vec<usize> = (0..COLUMNS.len()).collect();
        for room in 36..220 {
            for set in [&all, &default_columns()] {
                let widths = fit(set, room);
                let sum: u16 = widths.iter().map(|(_, w)| w).sum::<u16>() + widths.len() as u16 - 1;
                assert!(sum <= room, "{room}: {sum}");
            }
        }
    }

    #[test]
    fn eighty_columns_show_all_the_defaults() {
        assert_eq!(fit(&default_columns(), 78).len(), 8);
    }
}
