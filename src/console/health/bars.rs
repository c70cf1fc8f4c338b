//! Bars, sparklines and charts from text cells, each with a twin in ASCII.

use super::super::words::{Said, say};

/// `[######----]`: a share of `width` cells; below 0 nothing of it, above 1 all of it.
pub fn bar(share: f64, width: usize, ascii: bool) -> Said {
    let full = if share.is_finite() { (share.clamp(0.0, 1.0) * width as f64).round() as usize } else { 0 };
    // Something is not shown as nothing, and not all as all.
    let full = match full {
        0 if share > 0.0 => 1,
        n if n == width && share < 1.0 && width > 1 => width - 1,
        n => n,
    };
    let (on, off) = if ascii { ("#", "-") } else { ("\u{2588}", "\u{2591}") };
    say!("[", Said::repeat(on, full), Said::repeat(off, width - full), "]")
}

/// Brought to at most `n` columns: the last value of each, so that a column never hides how it ended.
fn columns(values: &[Option<f64>], n: usize) -> Vec<Option<f64>> {
    let len = values.len();
    if len <= n {
        return values.to_vec();
    }
    (0..n).map(|i| values[((i + 1) * len / n).saturating_sub(1).min(len - 1)]).collect()
}

/// The highest of each column, for what matters when it is high.
fn peaks(values: &[Option<f64>], n: usize) -> Vec<Option<f64>> {
    let len = values.len();
    if len <= n {
        return values.to_vec();
    }
    let peak = |part: &[Option<f64>]| part.iter().flatten().copied().filter(|v| v.is_finite()).reduce(f64::max);
    (0..n).map(|i| peak(&values[i * len / n..((i + 1) * len / n).max(i * len / n + 1)])).collect()
}

/// A line of at most `width` cells, from 0 to the highest value; unknown is a gap.
pub fn spark(values: &[Option<f64>], width: usize, ascii: bool) -> Said {
    const FINE: [&str; 8] =
        ["\u{2581}", "\u{2582}", "\u{2583}", "\u{2584}", "\u{2585}", "\u{2586}", "\u{2587}", "\u{2588}"];
    const COARSE: [&str; 8] = ["_", ".", ":", "-", "=", "+", "*", "#"];
    let steps = if ascii { COARSE } else { FINE };
    let values = peaks(values, width.max(1));
    let top = highest(&values);
    let mut out = Said::new();
    for v in &values {
        match v.filter(|v| v.is_finite()) {
            None => out.push(&" "),
            Some(v) if top > 0.0 => out.push(&steps[((v.max(0.0) / top * 7.0).round() as usize).min(7)]),
            Some(_) => out.push(&steps[0]),
        }
    }
    out
}

pub fn highest(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().copied().filter(|v| v.is_finite()).fold(0.0, f64::max)
}

/// A line chart of `width` by `height` cells between `low` and `high`, with a dotted line at `mark`. Unknown is a gap.
/// `reach` is the share of the width that the values take: time that is still to come is empty.
pub struct Chart {
    pub width: usize,
    pub height: usize,
    pub low: f64,
    pub high: f64,
    pub mark: f64,
    pub reach: f64,
}

impl Chart {
    pub fn draw(&self, values: &[Option<f64>], ascii: bool) -> Vec<Said> {
        let (dots_x, dots_y) = if ascii { (1, 1) } else { (2, 4) };
        let (w, h) = (self.width * dots_x, self.height * dots_y);
        let used = ((w as f64 * self.reach.clamp(0.0, 1.0)) as usize).clamp(1, w);
        let mut grid = vec![vec![false; w]; h];
        let mut marks = vec![vec![false; w]; h];
        let row = |v: f64| {
            let share = ((self.high - v) / (self.high - self.low).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
            ((share * (h - 1) as f64).round() as usize).min(h - 1)
        };
        for x in (0..w).step_by(if ascii { 2 } else { 4 }) {
            marks[row(self.mark)][x] = true;
        }
        let values = columns(values, used);
        let stretch = used as f64 / values.len().max(1) as f64;
        let mut before: Option<usize> = None;
        for x in 0..used {
            let at = ((x as f64 / stretch) as usize).min(values.len().saturating_sub(1));
            let Some(v) = values.get(at).copied().flatten().filter(|v| v.is_finite()) else {
                before = None;
                continue;
            };
            let y = row(v);
            let (a, b) = (before.unwrap_or(y).min(y), before.unwrap_or(y).max(y));
            for line in &mut grid[a..=b] {
                line[x] = true;
            }
            before = Some(y);
        }
        if ascii { letters(&grid, &marks) } else { braille(&grid, &marks, self.width, self.height) }
    }
}

fn letters(grid: &[Vec<bool>], marks: &[Vec<bool>]) -> Vec<Said> {
    let line = |(on, mark): (&Vec<bool>, &Vec<bool>)| {
        let mut said = Said::new();
        for (v, m) in on.iter().zip(mark) {
            said.push(&if *v {
                "*"
            } else if *m {
                "."
            } else {
                " "
            });
        }
        said
    };
    grid.iter().zip(marks).map(line).collect()
}

/// Dots of a braille cell are numbered 1 2 3 7 down its left side and 4 5 6 8 down its right one; dot n is bit n - 1.
fn braille(grid: &[Vec<bool>], marks: &[Vec<bool>], width: usize, height: usize) -> Vec<Said> {
    const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
    let cell = |cx: usize, cy: usize| {
        let mut dots = 0;
        for (dy, bits) in BITS.iter().enumerate() {
            for (dx, bit) in bits.iter().enumerate() {
                let (x, y) = (cx * 2 + dx, cy * 4 + dy);
                if grid[y][x] || marks[y][x] {
                    dots |= bit;
                }
            }
        }
        dots
    };
    (0..height).map(|cy| Said::braille(&(0..width).map(|cx| cell(cx, cy)).collect::<Vec<u8>>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_never_rounds_something_to_nothing_or_to_all() {
        assert_eq!(bar(0.0, 10, true).as_str(), "[----------]");
        assert_eq!(bar(0.001, 10, true).as_str(), "[#---------]");
        assert_eq!(bar(0.58, 10, true).as_str(), "[######----]");
        assert_eq!(bar(0.999, 10, true).as_str(), "[#########-]");
        assert_eq!(bar(1.0, 10, true).as_str(), "[##########]");
        assert_eq!(bar(-0.5, 10, true).as_str(), "[----------]");
        assert_eq!(bar(f64::NAN, 4, true).as_str(), "[----]");
        assert_eq!(bar(0.5, 4, false).width(), 6);
    }

    #[test]
    fn unknown_is_a_gap_and_a_peak_is_kept() {
        assert_eq!(spark(&[Some(0.0), None, Some(7.0)], 3, true).as_str(), "_ #");
        let mut many = vec![Some(0.0); 100];
        many[50] = Some(9.0);
        assert!(spark(&many, 10, true).as_str().contains('#'));
        assert_eq!(spark(&[], 10, true).as_str(), "");
        assert_eq!(spark(&[Some(f64::NAN)], 10, true).as_str(), " ");
    }

    #[test]
    fn a_chart_is_as_large_as_it_says_whatever_it_is_given() {
        let chart = |reach| Chart { width: 20, height: 4, low: -0.5, high: 1.0, mark: 0.0, reach };
        for values in [vec![], vec![None], vec![Some(9.0), None, Some(-9.0)], vec![Some(f64::NAN); 500]] {
            for ascii in [true, false] {
                let rows = chart(0.5).draw(&values, ascii);
                assert_eq!(rows.len(), 4);
                assert!(rows.iter().all(|r| r.width() == 20), "{rows:?}");
            }
        }
        let rows = chart(1.0).draw(&[Some(1.0), Some(-0.5)], true);
        assert!(rows[0].as_str().starts_with('*') && rows[3].as_str().ends_with('*'), "{rows:?}");
        let rows = chart(0.5).draw(&[Some(1.0)], true);
        assert!(!rows[0].as_str()[10..].contains('*'), "what is to come is empty: {rows:?}");
    }
}
