//! The report of a drill in Markdown. (JSON is the data itself.)

use super::super::schedule::span;
use crate::model::health::Tri;
use crate::model::recovery::CLEANUP;
use crate::model::recovery::DrillReport;
use crate::operate::sla::report::escape_markdown as plain;

fn answer(word: Tri, yes: &str, no: &str, unknown: &str) -> String {
    match word {
        Tri::Pass => yes.to_owned(),
        Tri::Fail => no.to_owned(),
        Tri::Unknown => unknown.to_owned(),
    }
}

/// In one sentence how it went.
pub fn summary(r: &DrillReport) -> String {
    let took = r.recovery_seconds.map_or(String::new(), |s| format!(" in {}", span(s)));
    let goal = r.objective_seconds.map_or(String::new(), |s| format!(", allowed are {}", span(s as f64)));
    match r.outcome {
        Tri::Pass => format!("restored and working{took}{goal}"),
        Tri::Fail => "could not be restored, or did not work".to_owned(),
        Tri::Unknown => "not known: the drill did not come to its end".to_owned(),
    }
}

pub fn markdown(r: &DrillReport) -> String {
    let name = if r.drill.is_empty() { "asked for by hand" } else { &r.drill };
    let mut out = format!("# Recovery drill: {}\n\n", plain(name));
    out.push_str(&format!("**Result: {}.**\n\n", plain(&summary(r))));
    let people =
        |all: &[crate::model::ids::PersonId]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let time = |t: Option<jiff::Timestamp>| {
        t.map_or("not known".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
    };
    let rows = [
        ("Request", r.request.to_string()),
        ("Assets", r.assets.join(", ")),
        ("Backup", format!("{}/{}", r.source, r.backup)),
        ("Backup begun", time(r.backup_start)),
        ("Drill begun", time(r.started)),
        ("Drill ended", time(Some(r.ended))),
        ("Asked by", r.asked_by.to_string()),
        ("Approved by", people(&r.approved_by)),
        ("Run by", r.run_by.as_ref().map_or("nobody".to_owned(), ToString::to_string)),
        ("Reason", r.reason.expose().to_owned()),
        ("Within its objective", answer(r.within_objective, "yes", "no", "not known")),
        ("Removed again", answer(r.cleaned, "yes", "NO", "not known")),
    ];
    out.push_str("| | |\n|---|---|\n");
    for (what, said) in rows {
        out.push_str(&format!("| {what} | {} |\n", plain(&said)));
    }
    out.push_str("\n## Steps\n\n");
    if r.steps.is_empty() {
        out.push_str("None is recorded.\n");
    } else {
        out.push_str("| step | result | seconds | said |\n|---|---|---:|---|\n");
    }
    for s in &r.steps {
        let word = answer(s.outcome, "ok", "failed", "unknown");
        let name = if s.name == CLEANUP { "cleanup (not counted)" } else { &s.name };
        out.push_str(&format!("| {} | {word} | {:.1} | {} |\n", plain(name), s.seconds, plain(s.said.expose())));
    }
    if let Some(note) = &r.note {
        out.push_str(&format!("\n{}\n", plain(note)));
    }
    out
}
