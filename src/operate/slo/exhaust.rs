//! What would exhaust a budget, in words.

use crate::model::slo::Slo;
use crate::model::slo::SloStatus;

/// Such as `41 min of full outage, or 3x the present rate for 9.0 days`.
pub fn words(status: &SloStatus, present: Option<f64>, slo: &Slo) -> String {
    let Some(left) = status.left else { return "not known".into() };
    let left_seconds = left * status.budget_seconds;
    if left <= 0.0 {
        return format!("it is spent: {} over", time(-left_seconds));
    }
    let outage = format!("{} of full outage", time(left_seconds));
    let allowed = 1.0 - slo.target;
    match present.map(|b| b * allowed).filter(|bad| *bad > 0.0) {
        // More than everything cannot be bad.
        Some(bad) if bad * 3.0 < 1.0 => {
            format!("{outage}, or 3x the present rate for {}", time(left_seconds / (bad * 3.0)))
        }
        Some(bad) => format!("{outage}, or the present rate for {}", time(left_seconds / bad)),
        None => format!("{outage}, or 1 % bad for {}", time(left_seconds / 0.01)),
    }
}

/// In the largest unit that leaves at least two of it.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}
