//! Which changes the budgets allow.

use crate::model::health::Tri;
use crate::model::slo::BudgetBand;
use crate::model::slo::ChangeClass;
use crate::model::slo::GateAnswer;
use crate::model::slo::Slo;
use crate::model::slo::SloState;
use crate::model::slo::SloStatus;
use crate::text::clean;

/// The policy: below 50 % spent healthy, below 75 % slow down, below 100 % frozen for normal changes, then for all but
/// emergencies.
pub fn bands() -> Vec<BudgetBand> {
    let band = |from: f64, word: &str, allows: &[ChangeClass]| BudgetBand {
        from,
        word: word.to_owned(),
        allows: allows.to_vec(),
    };
    vec![
        band(0.0, "healthy", &ChangeClass::ALL),
        band(0.5, "slow down", &ChangeClass::ALL),
        band(0.75, "freeze", &[ChangeClass::Critical, ChangeClass::Emergency]),
        band(1.0, "emergency freeze", &[ChangeClass::Emergency]),
    ]
}

/// Whether a change of this class may go ahead. Fails when a budget forbids it, is unknown when one is not known and
/// none forbids it. Quiet is no evidence of harm: it passes, for the evaluator calls quiet only what was seen to have no
/// traffic. Without objectives nothing is known.
pub fn gate(slos: &[(Slo, SloStatus)], class: ChangeClass, bands: &[BudgetBand]) -> GateAnswer {
    if slos.is_empty() {
        return GateAnswer { class, answer: Tri::Unknown, reasons: vec!["there are no objectives to go by".into()] };
    }
    let mut held: Vec<(Tri, f64, String)> = slos.iter().filter_map(|(_, s)| hold(s, class, bands)).collect();
    held.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then_with(|| a.2.cmp(&b.2)));
    let answer = held.iter().fold(Tri::Pass, |worst, h| worst.and(h.0));
    GateAnswer { class, answer, reasons: held.into_iter().map(|h| h.2).collect() }
}

/// Why this objective holds the change: the word, how much is spent, the line.
fn hold(status: &SloStatus, class: ChangeClass, bands: &[BudgetBand]) -> Option<(Tri, f64, String)> {
    let id = &status.id;
    if status.state == SloState::Quiet {
        return None;
    }
    let spent = match status.spent {
        Some(spent) if status.state.is_known() && spent.is_finite() => spent,
        _ => {
            let line = format!("{id}: {}: {}", status.state.word(), clean(&status.why));
            return Some((Tri::Unknown, 0.0, line));
        }
    };
    // Less than nothing spent (more good than all) is in the first band.
    let band = bands.iter().filter(|b| spent >= b.from).max_by(|a, b| a.from.total_cmp(&b.from));
    let Some(band) = band.or_else(|| bands.iter().min_by(|a, b| a.from.total_cmp(&b.from))) else {
        return Some((Tri::Unknown, spent, format!("{id}: there is no band to judge {:.1} % spent by", spent * 100.0)));
    };
    (!band.allows.contains(&class)).then(|| {
        let line = format!(
            "{id}: {:.1} % of the budget spent, {} from {:.0} %: no {} changes",
            spent * 100.0,
            band.word,
            band.from * 100.0,
            class.word()
        );
        (Tri::Fail, spent, line)
    })
}
