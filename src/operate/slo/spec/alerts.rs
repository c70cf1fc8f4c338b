//! Burn-rate alerts by name, and those that can never fire.

use crate::model::slo::BurnRule;
use crate::model::slo::Window;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// `(severity, short, long, factor)`.
type Row = (&'static str, u64, u64, f64);

/// SRE Workbook, chapter 5, table 5-8: 2 % of a 30-day budget in 1 h, 5 % in 6 h, 10 % in 3 d.
const WORKBOOK: [Row; 3] =
    [("page", 5 * MINUTE, HOUR, 14.4), ("page", 30 * MINUTE, 6 * HOUR, 6.0), ("ticket", 6 * HOUR, 3 * DAY, 1.0)];

/// Sloth's alert windows of 30 days: the Workbook's, and 10 % in 1 d.
const SLOTH: [Row; 4] = [
    ("page", 5 * MINUTE, HOUR, 14.4),
    ("page", 30 * MINUTE, 6 * HOUR, 6.0),
    ("ticket", 2 * HOUR, DAY, 3.0),
    ("ticket", 6 * HOUR, 3 * DAY, 1.0),
];

/// Pyrra's, for 28 days; its windows grow and shrink with the objective's.
const PYRRA: [Row; 4] = [
    ("page", 5 * MINUTE, HOUR, 14.0),
    ("page", 30 * MINUTE, 6 * HOUR, 7.0),
    ("ticket", 2 * HOUR, DAY, 2.0),
    ("ticket", 6 * HOUR, 4 * DAY, 1.0),
];

/// Names of presets that can be asked for.
pub const PRESETS: [&str; 3] = ["workbook", "sloth", "none"];

/// The rules of a preset; `none` has none.
pub fn preset(name: &str) -> Option<Vec<BurnRule>> {
    match name {
        "workbook" => Some(rules(&WORKBOOK)),
        "sloth" => Some(rules(&SLOTH)),
        "none" => Some(Vec::new()),
        _ => None,
    }
}

/// Pyrra's rules for a window, rounded to minutes.
pub fn pyrra(window_seconds: u64) -> Vec<BurnRule> {
    let scaled = |s: u64| {
        let exact = u128::from(s) * u128::from(window_seconds) / u128::from(28 * DAY);
        u64::try_from((exact + 30) / 60 * 60).unwrap_or(u64::MAX).max(MINUTE)
    };
    let mut all = rules(&PYRRA);
    for rule in &mut all {
        rule.short_seconds = scaled(rule.short_seconds);
        rule.long_seconds = scaled(rule.long_seconds);
    }
    all
}

fn rules(rows: &[Row]) -> Vec<BurnRule> {
    let rule = |&(severity, short_seconds, long_seconds, factor): &Row| BurnRule {
        severity: severity.to_owned(),
        short_seconds,
        long_seconds,
        factor,
    };
    rows.iter().map(rule).collect()
}

/// What is odd about the rules of an objective, a line each: a burn rate is at most `1 / (1 - target)` (everything is
/// bad), so a rule above that never fires; and one that looks further back than the objective does compares with
/// events whose budget is long forgiven.
pub fn notes(rules: &[BurnRule], target: f64, window: &Window) -> Vec<String> {
    let most = 1.0 / (1.0 - target);
    let mut out = Vec::new();
    for r in rules {
        let name = format!("the {} alert at {}x over {}", r.severity, r.factor, super::words::span(r.long_seconds));
        // Firing means above, so a factor that is just reached does not fire either.
        if r.factor >= most - 1e-9 {
            out.push(format!(
                "{name} can never fire: with a target of {} the burn rate is at most {}",
                super::words::percent(target),
                super::words::number(most)
            ));
        }
        if matches!(window, Window::Rolling { seconds } if r.long_seconds > *seconds) {
            out.push(format!("{name} looks further back than the objective's own window"));
        }
    }
    out
}
