//! The platform's health in words: what stands in each line of a list, and in its detail. Pure: of the newest reading,
//! the time and the width there is.

mod backup;
mod bars;
mod checklist;
mod hand;
mod rollout;
mod sla;
mod slo;
mod summary;

use super::state::doc::DocRow;
use super::state::{State, Tab};
use super::theme::Role;
use super::words::{Said, say};
use crate::desk::Platform;
use crate::model::health::Tri;
pub use hand::{asset_in_hand, is_backup_act, offer_of, offer_words, requests_about, rollout_in_hand};
pub use rollout::{strip, waits};
pub use summary::{badge, empty, sources, summary, trouble};

/// A column of a list.
pub struct Col {
    pub head: &'static str,
    /// Columns it takes; 0: what is left, and never less than [`FLEX`].
    pub width: u16,
    /// 0 stays; of the others the highest goes first where there is little room.
    pub rank: u8,
}

const fn col(head: &'static str, width: u16, rank: u8) -> Col {
    Col { head, width, rank }
}

/// What a column that takes the rest has at least.
pub const FLEX: u16 = 12;

/// The columns that fit, as (which, how wide).
pub fn fit(cols: &[Col], width: u16) -> Vec<(usize, u16)> {
    let mut kept: Vec<usize> = (0..cols.len()).collect();
    loop {
        let need: u16 = kept.iter().map(|i| if cols[*i].width == 0 { FLEX } else { cols[*i].width } + 1).sum();
        let worst = kept.iter().copied().max_by_key(|i| (cols[*i].rank, *i)).filter(|i| cols[*i].rank > 0);
        match worst {
            Some(worst) if need > width + 1 => kept.retain(|i| *i != worst),
            _ => break,
        }
    }
    let fixed: u16 = kept.iter().map(|i| cols[*i].width + 1).sum();
    let flexible = kept.iter().filter(|i| cols[**i].width == 0).count().max(1) as u16;
    let each = (width + 1).saturating_sub(fixed) / flexible;
    kept.into_iter().map(|i| (i, if cols[i].width == 0 { each.max(1) } else { cols[i].width })).collect()
}

/// One cell a column.
pub type Cells = Vec<(Said, Role)>;

pub fn columns(tab: Tab) -> &'static [Col] {
    match tab {
        Tab::Sla => sla::COLUMNS,
        Tab::Checklists => checklist::COLUMNS,
        Tab::Rollouts => rollout::COLUMNS,
        Tab::Backups => backup::COLUMNS,
        _ => slo::COLUMNS,
    }
}

/// What the cursor stands on, in the order of the list.
pub fn ids(p: &Platform, tab: Tab) -> Vec<String> {
    match tab {
        Tab::Slo => p.slos.iter().map(|(s, _)| s.id.clone()).collect(),
        Tab::Sla => p.sla.iter().map(|m| format!("{} {}", m.service, m.month)).collect(),
        Tab::Checklists => p.checklists.iter().map(|r| r.list.name.clone()).collect(),
        Tab::Rollouts => p.rollouts.iter().map(|r| r.id.to_string()).collect(),
        Tab::Backups => p.assets.iter().map(|a| a.asset.name.clone()).collect(),
        _ => Vec::new(),
    }
}

/// The line the cursor is on.
pub fn index(s: &State, tab: Tab) -> Option<usize> {
    let ids = ids(&s.platform, tab);
    let cursor = s.spots.get(&tab).and_then(|spot| spot.cursor.as_ref());
    let at = cursor.and_then(|c| ids.iter().position(|id| id == c));
    at.or_else(|| (!ids.is_empty()).then_some(0))
}

/// One line of the list.
pub fn line(s: &State, tab: Tab, at: usize) -> Cells {
    let p = &s.platform;
    let none = Vec::new;
    match tab {
        Tab::Slo => p.slos.get(at).map_or_else(none, |(d, x)| slo::line(d, x, s.look.ascii)),
        Tab::Sla => p.sla.get(at).map_or_else(none, sla::line),
        Tab::Checklists => p.checklists.get(at).map_or_else(none, |r| checklist::line(r, s.now)),
        Tab::Rollouts => p.rollouts.get(at).map_or_else(none, |r| rollout::line(r, s.now)),
        Tab::Backups => p.assets.get(at).map_or_else(none, |a| backup::line(a, s.now)),
        _ => none(),
    }
}

/// What the line under the cursor is called.
pub fn title(s: &State, tab: Tab) -> Said {
    let p = &s.platform;
    let at = index(s, tab).unwrap_or(0);
    let title = match tab {
        Tab::Slo => p.slos.get(at).map(|(d, _)| slo::name(d)),
        Tab::Sla => p.sla.get(at).map(|m| Said::of(&format!("{} in {}", m.service, m.month))),
        Tab::Checklists => p.checklists.get(at).map(|r| Said::of(&r.list.title)),
        Tab::Rollouts => p.rollouts.get(at).map(|r| Said::of(&r.id.to_string())),
        Tab::Backups => p.assets.get(at).map(|a| Said::of(&a.asset.name)),
        _ => None,
    };
    title.unwrap_or_default()
}

/// Why the line under the cursor is as it is, for a screen on which nothing stands beside the list.
pub fn gist(s: &State, tab: Tab) -> Option<(Said, Role)> {
    let at = index(s, tab)?;
    match tab {
        Tab::Slo => s.platform.slos.get(at).map(|(_, x)| (say!(x.why), slo::state_role(x.state))),
        Tab::Rollouts => s.platform.rollouts.get(at).map(rollout::gist),
        Tab::Backups => {
            let a = s.platform.assets.get(at)?;
            Some((Said::of(a.why.first()?), backup::grade_role(a.grade)))
        }
        _ => None,
    }
    .filter(|(words, _)| !words.is_empty())
}

/// All about the line under the cursor.
pub fn detail(s: &State, tab: Tab, width: usize) -> Vec<DocRow> {
    let p = &s.platform;
    let Some(at) = index(s, tab) else { return Vec::new() };
    let width = width.max(20);
    let none = Vec::new;
    match tab {
        Tab::Slo => p.slos.get(at).map_or_else(none, |(d, x)| slo::detail(s, d, x, width)),
        Tab::Sla => p.sla.get(at).map_or_else(none, |m| sla::detail(m, width)),
        Tab::Checklists => p.checklists.get(at).map_or_else(none, |r| checklist::detail(r, width)),
        Tab::Rollouts => p.rollouts.get(at).map_or_else(none, |r| rollout::detail(s, r, width)),
        Tab::Backups => p.assets.get(at).map_or_else(none, |a| backup::detail(s, a, width)),
        _ => none(),
    }
}

// --- what the panes share ----------------------------------------------------------------------

fn tri_role(t: Tri) -> Role {
    match t {
        Tri::Pass => Role::Good,
        Tri::Unknown => Role::Warn,
        Tri::Fail => Role::Bad,
    }
}

fn tri(t: Tri) -> (Said, Role) {
    (say!(if t == Tri::Fail { "FAIL" } else { t.word() }), tri_role(t))
}

/// A share in percent with at most so many places: `99.9 %`, `-50 %`; what is no number is `?`.
fn percent(share: Option<f64>, places: usize) -> Said {
    match share.filter(|v| v.is_finite()) {
        None => say!("?"),
        Some(v) => say!(number(v * 100.0, places), " %"),
    }
}

/// As few places as tell the number to `places`.
fn number(value: f64, places: usize) -> Said {
    if !value.is_finite() {
        return say!("?");
    }
    let full = Said::decimal(value, places);
    let text = full.as_str();
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    Said::of(if text == "-0" { "0" } else { text })
}

fn maybe(value: Option<f64>, places: usize) -> Said {
    value.map_or_else(|| say!("?"), |v| number(v, places))
}

/// A length of time, also of part of a second and of years.
fn span(seconds: f64) -> Said {
    match seconds {
        s if !s.is_finite() => say!("?"),
        s if s.abs() >= 315_360_000.0 => say!("> 10y"),
        s => Said::span(s as i64),
    }
}

fn since(now: jiff::Timestamp, at: jiff::Timestamp) -> Said {
    Said::span((now.as_second() - at.as_second()).max(0))
}

/// `in 3h`, or `2h ago`.
fn when(now: jiff::Timestamp, at: jiff::Timestamp) -> Said {
    let s = at.as_second() - now.as_second();
    if s >= 0 { say!("in ", Said::span(s)) } else { say!(Said::span(s), " ago") }
}

/// Rows being written, for a width.
struct Page {
    width: usize,
    rows: Vec<DocRow>,
}

impl Page {
    fn new(width: usize) -> Self {
        Self { width, rows: Vec::new() }
    }

    fn heading(&mut self, title: Said) {
        if self.rows.last().is_some_and(|r| !r.is_empty()) {
            self.rows.push(Vec::new());
        }
        self.rows.push(vec![(title, Role::Heading)]);
    }

    fn row(&mut self, row: DocRow) {
        self.rows.push(row);
    }

    fn text(&mut self, indent: usize, text: &Said, role: Role) {
        for line in text.wrap(self.width.saturating_sub(indent).max(10)) {
            self.rows.push(vec![(Said::repeat(" ", indent), Role::Text), (line, role)]);
        }
    }

    /// `label       value`, wrapped under itself.
    fn pair(&mut self, label: &'static str, value: &Said, role: Role) {
        const LABEL: usize = 13;
        for (i, line) in value.wrap(self.width.saturating_sub(LABEL).max(10)).into_iter().enumerate() {
            let head = if i == 0 { say!(label) } else { Said::new() };
            self.rows.push(vec![(head.padded(LABEL), Role::Dim), (line, role)]);
        }
    }

    /// Cells of fixed widths, the last one as wide as the rest.
    fn cells(&mut self, cells: Cells, widths: &[usize]) {
        let mut row: DocRow = vec![(say!("  "), Role::Text)];
        for (i, (text, role)) in cells.into_iter().enumerate() {
            match widths.get(i) {
                Some(w) => row.push((say!(text.fit(*w, "~").padded(*w), " "), role)),
                None => row.push((text, role)),
            }
        }
        self.rows.push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_give_way_by_rank_and_the_rest_goes_to_the_name() {
        let cols = [col("NAME", 0, 0), col("A", 10, 2), col("B", 10, 1), col("C", 5, 0)];
        assert_eq!(fit(&cols, 60), [(0, 32), (1, 10), (2, 10), (3, 5)]);
        assert_eq!(fit(&cols, 30), [(0, 13), (2, 10), (3, 5)]);
        assert_eq!(fit(&cols, 10), [(0, 4), (3, 5)]);
    }

    #[test]
    fn numbers_say_no_more_than_they_know() {
        assert_eq!(percent(Some(0.999), 3).as_str(), "99.9 %");
        assert_eq!(percent(Some(0.9985), 3).as_str(), "99.85 %");
        assert_eq!(percent(Some(-0.5), 1).as_str(), "-50 %");
        assert_eq!(percent(Some(f64::NAN), 1).as_str(), "?");
        assert_eq!(percent(None, 1).as_str(), "?");
        assert_eq!(number(-0.000_1, 1).as_str(), "0");
        assert_eq!(number(100.0, 0).as_str(), "100", "a number's own zeros stay");
        assert_eq!(span(f64::INFINITY).as_str(), "?");
    }
}
