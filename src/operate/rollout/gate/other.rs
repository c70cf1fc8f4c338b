//! Gates besides the error ratio: pods ready, zones, the error budget, the controller's own analysis.

use jiff::{SignedDuration, Timestamp};

use super::gate;
use crate::model::health::Tri;
use crate::model::rollout::{Analysis, Gate, Revision, Zone};
use crate::model::sla::ChecklistRun;
use crate::model::slo::GateAnswer;
use crate::operate::checklist::answer_of;
use crate::text::clean;

/// Restarts of one pod from which on it is a crash loop.
const RESTARTS: u32 = 3;

/// Whether pods that come up may still come up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// When the stage began.
    pub since: Timestamp,
    pub seconds: i64,
}

impl Patience {
    /// Before its end something that is not there yet is unknown, after it a failure.
    fn answer(self, now: Timestamp) -> Tri {
        if now <= self.since + SignedDuration::from_secs(self.seconds) { Tri::Unknown } else { Tri::Fail }
    }
}

/// Every pod of the new revision is ready. `None`: the revision was not found.
pub fn ready(revision: Option<&Revision>, patience: Patience, now: Timestamp) -> Gate {
    let Some(r) = revision else { return gate("ready", Tri::Unknown, "the new revision is not known") };
    let numbers = |mut g: Gate| {
        g.canary = Some(f64::from(r.ready));
        g.limit = Some(f64::from(r.desired));
        g.limit_word = "at least".into();
        g
    };
    if let Some(pod) = r.pods.iter().find(|p| !p.ready && p.restarts >= RESTARTS) {
        let name = clean(&pod.name);
        return numbers(gate("ready", Tri::Fail, format!("{} restarted {} times", name.as_str(), pod.restarts)));
    }
    if r.desired == 0 {
        return numbers(gate("ready", Tri::Unknown, "the new revision is to have no pods"));
    }
    let ready = r.ready.min(r.available);
    if ready >= r.desired {
        return numbers(gate("ready", Tri::Pass, format!("{ready} of {} pods ready", r.desired)));
    }
    let why = match patience.answer(now) {
        Tri::Fail => format!("{ready} of {} pods ready after {} s", r.desired, patience.seconds),
        _ => format!("{ready} of {} pods ready yet", r.desired),
    };
    numbers(gate("ready", patience.answer(now), why))
}

/// Each zone has its minimum of ready pods. `None`: nothing is asked of zones.
pub fn zones(zones: &[Zone], minimum: Option<u32>, patience: Patience, now: Timestamp) -> Option<Gate> {
    let minimum = minimum?;
    let numbers = |mut g: Gate, worst: Option<u32>| {
        g.canary = worst.map(f64::from);
        g.limit = Some(f64::from(minimum));
        g.limit_word = "at least".into();
        g
    };
    let Some(worst) = zones.iter().min_by_key(|z| z.ready) else {
        return Some(numbers(gate("zones", Tri::Unknown, "in which zones the pods are is not known"), None));
    };
    let name = clean(&worst.name);
    let which = if name.as_str().is_empty() { "a zone without a name" } else { name.as_str() };
    if worst.name.expose().is_empty() {
        return Some(numbers(gate("zones", Tri::Unknown, "pods on nodes whose zone is not known"), Some(worst.ready)));
    }
    let (answer, why) = if worst.ready >= minimum {
        (Tri::Pass, format!("at least {} ready in each of {} zones", worst.ready, zones.len()))
    } else {
        (patience.answer(now), format!("{which} has {} ready pods, at least {minimum} must be", worst.ready))
    };
    Some(numbers(gate("zones", answer, why), Some(worst.ready)))
}

/// What the error budgets say of this change. `None`: nobody knows, and that is no pass.
pub fn budget(answer: Option<&GateAnswer>) -> Gate {
    match answer {
        None => gate("budget", Tri::Unknown, "how the error budgets stand is not known"),
        Some(a) if a.answer == Tri::Pass => gate("budget", Tri::Pass, format!("open for {} changes", a.class.word())),
        Some(a) if a.reasons.is_empty() => gate("budget", a.answer, format!("closed for {} changes", a.class.word())),
        Some(a) => gate("budget", a.answer, a.reasons.join("; ")),
    }
}

/// The controller's own analysis runs of the new revision: every one must have succeeded. `None`: there are none.
pub fn analysis(runs: &[Analysis]) -> Option<Gate> {
    let worst = runs.iter().map(|a| (phase(a), a)).max_by_key(|(tri, _)| *tri)?;
    let (answer, run) = worst;
    let said = clean(&run.message);
    let word = clean(&run.phase);
    let name = clean(&run.name);
    let tail = if said.as_str().is_empty() { String::new() } else { format!(": {}", said.as_str()) };
    let word = if word.as_str().is_empty() { "without a phase" } else { word.as_str() };
    Some(gate("analysis", answer, format!("{} is {word}{tail}", name.as_str())))
}

/// The checklist that must be signed before anything goes on. `None`: it could not be read.
pub fn readiness(list: &str, run: Option<&ChecklistRun>, valid: i64, now: Timestamp) -> Gate {
    let Some(run) = run else {
        return gate("readiness", Tri::Unknown, format!("the checklist {list} could not be read"));
    };
    let of = |want: Tri| run.list.items.iter().filter(|i| answer_of(run, &i.id).0 == want).count();
    let Some((by, at)) = &run.signed else {
        let why = format!("{list} is not signed: {} of {} items pass", of(Tri::Pass), run.list.items.len());
        return gate("readiness", Tri::Fail, why);
    };
    if now.duration_since(*at) > SignedDuration::from_secs(valid) {
        return gate("readiness", Tri::Fail, format!("{by} signed {list} at {at:.0}, which is too long ago"));
    }
    // What the desk no longer sees was seen when it was signed; what it sees failing is news.
    let failing: Vec<&str> =
        run.list.items.iter().filter(|i| answer_of(run, &i.id).0 == Tri::Fail).map(|i| i.id.as_str()).collect();
    if !failing.is_empty() {
        let why = format!("{by} signed {list}, but these fail now: {}", failing.join(", "));
        return gate("readiness", Tri::Fail, why);
    }
    gate("readiness", Tri::Pass, format!("{by} signed {list} at {at:.0}"))
}

/// What was asked of the new side before it serves: each address with its answer. `None`: nothing was asked yet.
pub fn smoke(answers: Option<&[(String, Result<String, String>)]>, patience: Patience, now: Timestamp) -> Gate {
    let Some(answers) = answers.filter(|a| !a.is_empty()) else {
        return gate("smoke", Tri::Unknown, "the new side was not asked yet");
    };
    match answers.iter().find_map(|(url, a)| a.as_ref().err().map(|why| (url, why))) {
        Some((url, why)) => gate("smoke", patience.answer(now), format!("{url}: {why}")),
        None => {
            gate("smoke", Tri::Pass, format!("{} of {} addresses answer as they should", answers.len(), answers.len()))
        }
    }
}

/// Argo's phases: `Successful`, `Failed`, `Error`; `Pending`, `Running`, `Inconclusive` and what comes later hold.
fn phase(a: &Analysis) -> Tri {
    match a.phase.expose() {
        "Successful" => Tri::Pass,
        "Failed" | "Error" => Tri::Fail,
        _ => Tri::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rollout::Pod;
    use crate::model::slo::ChangeClass;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap()
    }

    const PATIENCE: fn() -> Patience = || Patience { since: at(0), seconds: 300 };

    fn revision(desired: u32, ready: u32) -> Revision {
        Revision {
            number: Some(2),
            replica_set: "web-6d4b".into(),
            hash: "6d4b".into(),
            role: "canary".into(),
            images: vec![],
            desired,
            ready,
            available: ready,
            since: None,
            pods: vec![],
            analyses: vec![],
        }
    }

    #[test]
    fn pods_are_waited_for_and_then_fail() {
        let g = |r: &Revision, t| ready(Some(r), PATIENCE(), at(t)).answer;
        assert_eq!(g(&revision(5, 5), 10), Tri::Pass);
        assert_eq!(g(&revision(5, 4), 300), Tri::Unknown);
        assert_eq!(g(&revision(5, 4), 301), Tri::Fail);
        assert_eq!(g(&revision(0, 0), 301), Tri::Unknown, "no pods prove nothing");
        assert_eq!(ready(None, PATIENCE(), at(1)).answer, Tri::Unknown);
        let mut unavailable = revision(5, 5);
        unavailable.available = 3;
        assert_eq!(g(&unavailable, 10), Tri::Unknown, "ready, but not for long enough");
        let mut crash = revision(5, 4);
        crash.pods.push(Pod {
            name: "web-6d4b-a".into(),
            phase: "Running".into(),
            ready: false,
            restarts: 3,
            zone: None,
            node: None,
            since: None,
        });
        assert_eq!(g(&crash, 10), Tri::Fail);
    }

    #[test]
    fn each_zone_has_its_minimum() {
        let zone = |name: &str, ready| Zone { name: name.into(), ready, total: 4 };
        let g = |z: &[Zone], t| zones(z, Some(2), PATIENCE(), at(t)).unwrap().answer;
        assert_eq!(g(&[zone("a", 2), zone("b", 3)], 10), Tri::Pass);
        assert_eq!(g(&[zone("a", 9), zone("b", 1)], 10), Tri::Unknown);
        assert_eq!(g(&[zone("a", 9), zone("b", 1)], 400), Tri::Fail);
        assert_eq!(g(&[], 400), Tri::Unknown);
        assert!(zones(&[], None, PATIENCE(), at(1)).is_none());
    }

    #[test]
    fn a_checklist_passes_while_it_is_signed_and_nothing_of_it_fails() {
        use crate::model::ids::PersonId;
        use crate::model::sla::{CheckItem, Checklist, Tick};
        let item = |id: &str| CheckItem {
            id: id.into(),
            section: "s".into(),
            text: "t".into(),
            owner: "lead".into(),
            evidence: "e".into(),
            auto: None,
        };
        let tick = |id: &str, answer| Tick { item: id.into(), answer, by: None, at: at(0), evidence: "".into() };
        let list =
            Checklist { name: "ready".into(), title: "Ready".into(), hard: true, items: vec![item("a"), item("b")] };
        let run = |b, signed: Option<i64>| ChecklistRun {
            list: list.clone(),
            ticks: vec![tick("a", Tri::Pass), tick("b", b)],
            answer: b,
            signed: signed.map(|t| (PersonId::new("carol").unwrap(), at(t))),
        };
        let g = |run: &ChecklistRun, t| readiness("ready", Some(run), 3_600, at(t)).answer;
        assert_eq!(readiness("ready", None, 3_600, at(0)).answer, Tri::Unknown);
        assert_eq!(g(&run(Tri::Pass, None), 10), Tri::Fail, "not signed");
        assert_eq!(g(&run(Tri::Pass, Some(0)), 3_600), Tri::Pass);
        assert_eq!(g(&run(Tri::Pass, Some(0)), 3_601), Tri::Fail, "too long ago");
        assert_eq!(g(&run(Tri::Fail, Some(0)), 10), Tri::Fail, "the desk sees it failing since");
        assert_eq!(g(&run(Tri::Unknown, Some(0)), 10), Tri::Pass, "it was seen when it was signed");
    }

    #[test]
    fn the_budget_and_analyses_hold_what_they_do_not_know() {
        assert_eq!(budget(None).answer, Tri::Unknown);
        for (answer, reasons) in
            [(Tri::Pass, vec![]), (Tri::Fail, vec!["web/api: 80 % spent".to_owned()]), (Tri::Unknown, vec![])]
        {
            let a = GateAnswer { class: ChangeClass::Normal, answer, reasons };
            assert_eq!(budget(Some(&a)).answer, answer);
            assert!(!budget(Some(&a)).why.is_empty());
        }
        let run =
            |phase: &str| Analysis { name: "ok".into(), phase: phase.into(), message: "".into(), metrics: vec![] };
        assert!(analysis(&[]).is_none());
        for (phases, want) in [
            (&["Successful"][..], Tri::Pass),
            (&["Successful", "Running"], Tri::Unknown),
            (&["Inconclusive"], Tri::Unknown),
            (&["successful"], Tri::Unknown),
            (&[""], Tri::Unknown),
            (&["Running", "Failed"], Tri::Fail),
            (&["Error"], Tri::Fail),
        ] {
            let runs: Vec<Analysis> = phases.iter().map(|p| run(p)).collect();
            assert_eq!(analysis(&runs).unwrap().answer, want, "{phases:?}");
        }
    }
}
