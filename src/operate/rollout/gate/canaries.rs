//! Recorded canaries: each bug of naive gates by name, played look by look through gates and stage machine. None of the
//! bad ones may ever be advised to be promoted; every good one must be.
//!
//! The records are in `tests/fixtures/rollout/canaries.ndjson`. [`generate`] made them: `WATCHFLOOR_WRITE_FIXTURES=1
//! cargo test --lib gate::canaries` writes them anew. One line is one stage of 23 looks, 30 s apart; value `i` of a
//! series is there from look `i` on, `null` is a scrape that did not happen, and values are texts as Prometheus has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::other;
use super::other::Patience;
use super::ratio::{Against, Baseline, Counter, Judged, Limits, Reading, Side, judge};
use crate::model::health::Tri;
use crate::model::rollout::{Analysis, Pod, Revision, RolloutPhase, RolloutVerb, Zone};
use crate::model::slo::{ChangeClass, GateAnswer};
use crate::operate::rollout::stage::{Facts, StagePlan, advance};

const STEP: i64 = 30;
const LOOKS: usize = 23;
const START: i64 = 1_795_000_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Series {
    labels: BTreeMap<String, String>,
    /// Seconds from the stage's beginning to the first sample.
    start: i64,
    values: Vec<Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Answer {
    Found(Vec<Series>),
    Failed { error: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Recorded {
    id: String,
    errors: Answer,
    total: Answer,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Case {
    name: String,
    /// `promote`, `hold` or `abort`.
    expect: String,
    weight: Option<u32>,
    canary: Recorded,
    /// `None`: frozen, or missing.
    stable: Option<Recorded>,
    /// Errors and requests.
    frozen: Option<(f64, f64)>,
    pods: (u32, u32),
    restarts: u32,
    zones: Vec<(String, u32)>,
    budget: Option<Tri>,
    analysis: Option<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rollout")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

/// What is there at a look.
fn seen(answer: &Answer, look: usize) -> Reading {
    let series = match answer {
        Answer::Failed { error } => return Err(error.clone()),
        Answer::Found(series) => series,
    };
    let counter = |s: &Series| {
        let all = s.values.iter().enumerate().take(look + 1);
        let sample = |(i, v): (usize, &Option<String>)| {
            Some((at(s.start + i64::try_from(i).unwrap() * STEP), v.as_ref()?.parse::<f64>().unwrap()))
        };
        Counter { labels: s.labels.clone(), samples: all.filter_map(sample).collect() }
    };
    // A series is there once it has a sample.
    Ok(series.iter().map(counter).filter(|c| !c.samples.is_empty()).collect())
}

fn side(r: &Recorded, look: usize) -> Side {
    Side { id: r.id.clone(), errors: seen(&r.errors, look), total: seen(&r.total, look) }
}

fn facts(case: &Case, look: usize) -> Facts {
    let now = at(i64::try_from(look).unwrap() * STEP);
    let against = match (&case.stable, case.frozen) {
        (Some(s), _) => Against::Live(side(s, look)),
        (None, Some((errors, total))) => {
            Against::Frozen { id: STABLE.into(), baseline: Baseline { errors, total, at: at(0) } }
        }
        (None, None) => Against::Missing { id: STABLE.into() },
    };
    let Judged { gate, measured, baseline } =
        judge(&side(&case.canary, look), &against, &Limits::default(), at(0), now);
    let patience = Patience { since: at(0), seconds: 300 };
    let zones: Vec<Zone> =
        case.zones.iter().map(|(name, ready)| Zone { name: name.as_str().into(), ready: *ready, total: 4 }).collect();
    let runs: Vec<Analysis> = case
        .analysis
        .iter()
        .map(|p| Analysis { name: "run".into(), phase: p.as_str().into(), message: "".into(), metrics: vec![] })
        .collect();
    let budget = case.budget.map(|answer| GateAnswer { class: ChangeClass::Normal, answer, reasons: vec![] });
    let mut gates = vec![gate, other::ready(Some(&revision(case)), patience, now), other::budget(budget.as_ref())];
    gates.extend(other::zones(&zones, Some(2), patience, now));
    gates.extend(other::analysis(&runs));
    Facts {
        revision: Some(case.canary.id.clone()),
        phase: RolloutPhase::Paused,
        aborted: false,
        weight: case.weight,
        switched: None,
        old_is_gone: None,
        gates,
        measured,
        baseline,
    }
}

fn revision(case: &Case) -> Revision {
    let pod = Pod {
        name: "web-6d4b7f9c8-aa".into(),
        phase: "Running".into(),
        ready: case.pods.1 >= case.pods.0,
        restarts: case.restarts,
        zone: None,
        node: None,
        since: None,
    };
    Revision {
        number: Some(2),
        replica_set: "web-6d4b7f9c8".into(),
        hash: "6d4b7f9c8".into(),
        role: "canary".into(),
        images: vec![],
        desired: case.pods.0,
        ready: case.pods.1,
        available: case.pods.1,
        since: None,
        pods: vec![pod],
        analyses: vec![],
    }
}

/// What it comes to: the first promotion that is advised, else the last advice. With why.
fn play(case: &Case) -> (&'static str, String) {
    let plan = StagePlan::default();
    let mut state = None;
    let mut last = ("hold", String::new());
    for look in 0..LOOKS {
        let now = at(i64::try_from(look).unwrap() * STEP);
        let (next, advice) = advance(&plan, state.as_ref(), &facts(case, look), now);
        state = next;
        last = match advice.verb {
            None => ("hold", advice.why),
            Some(RolloutVerb::Promote) => return ("promote", advice.why),
            Some(_) => ("abort", advice.why),
        };
    }
    last
}

#[test]
fn two_hundred_bad_canaries_none_promoted_and_every_good_one_is() {
    let text = std::fs::read_to_string(folder().join("canaries.ndjson")).unwrap();
    let cases: Vec<Case> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|c| {
            let (got, why) = play(c);
            (got != c.expect).then(|| format!("{}: expected {}, got {got}: {why}", c.name, c.expect))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let good = cases.iter().filter(|c| c.expect == "promote").count();
    assert!(cases.len() - good >= 200 && good >= 30, "{} bad, {good} good", cases.len() - good);
}

#[test]
fn the_records_are_those_the_generator_makes() {
    let path = folder().join("canaries.ndjson");
    let made: String = generate().iter().map(|c| format!("{}\n", serde_json::to_string(c).unwrap())).collect();
    if std::env::var_os("WATCHFLOOR_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == made, "write them anew, see the top of this file");
}

// --- the generator ---------------------------------------------------------------------------------

const CANARY: &str = "6d4b7f9c8";
const STABLE: &str = "54fd9c6b7";

/// A counter of one pod: each step's growth.
fn series(hash: &str, pod: &str, code: &str, first: u64, steps: &dyn Fn(u64) -> u64) -> Series {
    let labels = [("__name__", "http_requests_total"), ("namespace", "shop"), ("code", code)]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .chain([("pod".to_owned(), format!("web-{hash}-{pod}"))])
        .collect();
    let mut sum = first;
    let values = (0..LOOKS as u64)
        .map(|i| {
            sum += if i == 0 { 0 } else { steps(i) };
            Some(sum.to_string())
        })
        .collect();
    Series { labels, start: 0, values }
}

/// Two pods with `traffic` requests a step each, one error every `every` steps (0: none).
fn recorded(hash: &str, traffic: u64, every: u64, seed: u64) -> Recorded {
    let total = |pod, first| series(hash, pod, "all", first, &|i| traffic + (i * 7 + seed * 3) % 5);
    let errors = |pod, first, shift: u64| {
        series(hash, pod, "500", first, &move |i| u64::from(every > 0 && (i + shift).is_multiple_of(every)))
    };
    Recorded {
        id: hash.into(),
        errors: Answer::Found(vec![errors("aa", 0, seed), errors("bb", 3, seed + 1)]),
        total: Answer::Found(vec![total("aa", 10 * seed), total("bb", 1000)]),
    }
}

/// A good one: canary 1 error in about 90 requests, stable 1 in about 60.
fn good(name: &str, weight: u32, seed: u64) -> Case {
    let frozen = weight == 100;
    Case {
        name: format!("{name} #{seed}"),
        expect: "promote".into(),
        weight: Some(weight),
        canary: recorded(CANARY, 30, 3, seed),
        stable: (!frozen).then(|| recorded(STABLE, 30, 2, seed + 1)),
        frozen: frozen.then_some((40.0, 2400.0)),
        pods: (2, 2),
        restarts: 0,
        zones: vec![("a".into(), 2), ("b".into(), 3)],
        budget: Some(Tri::Pass),
        analysis: None,
    }
}

fn list(a: &mut Answer) -> &mut Vec<Series> {
    match a {
        Answer::Found(s) => s,
        Answer::Failed { .. } => panic!("there are series to change"),
    }
}

/// Sets values `range` of every series.
fn set(a: &mut Answer, range: std::ops::Range<usize>, to: Option<&str>) {
    for s in list(a) {
        for v in &mut s.values[range.clone()] {
            *v = to.map(str::to_owned);
        }
    }
}

fn failed(error: &str) -> Answer {
    Answer::Failed { error: error.into() }
}

fn shift(r: &mut Recorded, seconds: i64) {
    for s in list(&mut r.errors).iter_mut().chain(list(&mut r.total)) {
        s.start += seconds;
    }
}

/// A counter that begins again at zero at look `at`.
fn restart(s: &mut Series, at: usize) {
    let before: u64 = s.values[at - 1].as_ref().unwrap().parse().unwrap();
    for v in s.values[at..].iter_mut().flatten() {
        *v = (v.parse::<u64>().unwrap() - before).to_string();
    }
}

type Spoil = fn(&mut Case, u64);

/// Name, what must come of it, what is wrong with it.
const BAD: &[(&str, &str, Spoil)] = &[
    ("empty total", "hold", |c, _| c.canary.total = Answer::Found(vec![])),
    ("empty errors treated as zero", "hold", |c, _| c.canary.errors = Answer::Found(vec![])),
    ("everything empty", "hold", |c, _| {
        (c.canary.total, c.canary.errors) = (Answer::Found(vec![]), Answer::Found(vec![]));
    }),
    ("stable empty", "hold", |c, _| c.stable.as_mut().unwrap().total = Answer::Found(vec![])),
    ("stable errors empty", "hold", |c, _| c.stable.as_mut().unwrap().errors = Answer::Found(vec![])),
    ("HTTP 503 as empty errors", "hold", |c, _| c.canary.errors = failed("HTTP 503")),
    ("HTTP 422 as empty total", "hold", |c, _| c.canary.total = failed("HTTP 422: parse error")),
    ("stable times out", "hold", |c, _| c.stable.as_mut().unwrap().total = failed("no answer in 20 s")),
    ("NaN total compares false", "hold", |c, k| set(&mut c.canary.total, 1 + k as usize..LOOKS, Some("NaN"))),
    ("NaN errors compare false", "hold", |c, k| set(&mut c.canary.errors, k as usize..LOOKS, Some("NaN"))),
    ("Inf total makes the ratio zero", "hold", |c, _| set(&mut c.canary.total, 2..LOOKS, Some("+Inf"))),
    ("negative errors", "hold", |c, _| set(&mut c.canary.errors, 1..LOOKS, Some("-4"))),
    ("one sample", "hold", |c, k| {
        let i = k as usize;
        for a in [&mut c.canary.total, &mut c.canary.errors] {
            set(a, 0..i, None);
            set(a, i + 1..LOOKS, None);
        }
    }),
    ("stable has one sample", "hold", |c, _| {
        let s = c.stable.as_mut().unwrap();
        set(&mut s.total, 0..LOOKS - 1, None);
        set(&mut s.errors, 0..LOOKS - 1, None);
    }),
    ("stale from the middle", "hold", |c, k| {
        let i = 6 + k as usize * 2;
        set(&mut c.canary.total, i..LOOKS, None);
        set(&mut c.canary.errors, i..LOOKS, None);
    }),
    ("stale errors beside fresh requests", "hold", |c, _| set(&mut c.canary.errors, 9..LOOKS, None)),
    ("stable stale", "hold", |c, _| set(&mut c.stable.as_mut().unwrap().total, 9..LOOKS, None)),
    ("an hour old: time zone", "hold", |c, k| shift(&mut c.canary, -3600 * (1 + k as i64))),
    ("an hour ahead: time zone", "hold", |c, k| shift(&mut c.canary, 3600 * (1 + k as i64))),
    ("clock two minutes ahead", "hold", |c, _| shift(&mut c.canary, 120)),
    ("stable from yesterday", "hold", |c, _| shift(c.stable.as_mut().unwrap(), -86_400)),
    ("swapped labels", "hold", |c, _| {
        c.canary = recorded(CANARY, 30, 1, 9);
        let stable = c.stable.as_mut().unwrap();
        std::mem::swap(&mut c.canary.total, &mut stable.total);
        std::mem::swap(&mut c.canary.errors, &mut stable.errors);
    }),
    ("both queries find the same series", "hold", |c, _| {
        let id = std::mem::replace(&mut c.canary, c.stable.clone().unwrap()).id;
        c.canary.id = id;
    }),
    ("same revision on both sides", "hold", |c, _| c.canary.id = STABLE.into()),
    ("labels name no revision", "hold", |c, _| {
        for s in list(&mut c.canary.total) {
            s.labels.remove("pod");
        }
    }),
    ("series of the canary before", "hold", |c, _| {
        for s in list(&mut c.canary.total).iter_mut().chain(list(&mut c.canary.errors)) {
            s.labels.insert("pod".into(), "web-77aa77aa7-aa".into());
        }
    }),
    ("hash only inside another word", "hold", |c, _| {
        for s in list(&mut c.canary.total) {
            s.labels.insert("pod".into(), format!("web-1{CANARY}2-aa"));
        }
    }),
    ("stable = 0 makes the quotient infinite", "abort", |c, k| {
        c.stable = Some(recorded(STABLE, 30, 0, k));
        c.canary = recorded(CANARY, 30, 1, k);
    }),
    ("stable = 0, a few errors", "hold", |c, k| {
        c.stable = Some(recorded(STABLE, 30, 0, k));
        c.canary = recorded(CANARY, 30, 11, k);
    }),
    ("stable = 0 of 0", "hold", |c, _| set(&mut c.stable.as_mut().unwrap().total, 0..LOOKS, Some("500"))),
    ("mean of ratios hides the busy pod", "abort", |c, _| {
        let busy = series(CANARY, "aa", "all", 0, &|_| 400);
        let quiet = (0..4).map(|i| series(CANARY, &format!("q{i}"), "all", 0, &|_| 1));
        c.canary.total = Answer::Found(std::iter::once(busy).chain(quiet).collect());
        c.canary.errors = Answer::Found(vec![series(CANARY, "aa", "500", 0, &|_| 24)]);
    }),
    ("success rate for error rate", "abort", |c, _| {
        c.canary.errors = Answer::Found(vec![series(CANARY, "aa", "200", 0, &|_| 29)]);
    }),
    ("a share instead of a counter", "hold", |c, _| set(&mut c.canary.errors, 0..LOOKS, Some("0.031"))),
    ("percent instead of a counter", "hold", |c, _| set(&mut c.canary.errors, 0..LOOKS, Some("3.7"))),
    ("errors and requests swapped", "hold", |c, _| std::mem::swap(&mut c.canary.errors, &mut c.canary.total)),
    ("counter reset makes the rate negative", "abort", |c, k| {
        c.canary.errors = Answer::Found(vec![series(CANARY, "aa", "500", 90_000, &|_| 6)]);
        restart(&mut list(&mut c.canary.errors)[0], 8 + k as usize);
    }),
    ("a gauge that goes up and down", "hold", |c, _| {
        for s in list(&mut c.canary.total) {
            for (i, v) in s.values.iter_mut().enumerate() {
                *v = Some((500 + (i % 2) * 90).to_string());
            }
        }
    }),
    ("no traffic on the canary", "hold", |c, _| {
        set(&mut c.canary.total, 0..LOOKS, Some("1000"));
        set(&mut c.canary.errors, 0..LOOKS, Some("2"));
    }),
    ("too few requests", "hold", |c, k| {
        c.canary.total = Answer::Found(vec![series(CANARY, "aa", "all", 0, &|_| 3)]);
        c.canary.errors = Answer::Found(vec![series(CANARY, "aa", "500", k, &|_| 0)]);
    }),
    ("above 5 % though below twice a bad stable", "abort", |c, k| {
        c.canary.errors = Answer::Found(vec![series(CANARY, "aa", "500", k, &|_| 4)]);
        c.stable.as_mut().unwrap().errors = Answer::Found(vec![series(STABLE, "aa", "500", k, &|_| 3)]);
    }),
    ("three times a good stable, below 5 %", "abort", |c, k| {
        c.canary.errors = Answer::Found(vec![series(CANARY, "aa", "500", k, &|_| 2)]);
        c.stable = Some(recorded(STABLE, 60, 4, k));
    }),
    ("late burst drowns in a long good stage", "abort", |c, k| {
        let errors = series(CANARY, "aa", "500", k, &|i| if i >= 17 { 5 } else { 0 });
        c.canary.errors = Answer::Found(vec![errors]);
    }),
    ("each error counter is born with its errors", "abort", |c, _| {
        let born = |i: usize| {
            let mut s = series(CANARY, "aa", &format!("5{i:02}"), 9, &|_| 0);
            s.values[..4 + i].fill(None);
            s
        };
        c.canary.errors =
            Answer::Found(std::iter::once(series(CANARY, "aa", "500", 0, &|_| 0)).chain((1..13).map(born)).collect());
    }),
    ("two values at the same time", "hold", |c, _| {
        let mut twin = list(&mut c.canary.total)[0].clone();
        twin.labels.insert("replica".into(), "b".into());
        let s = &mut list(&mut c.canary.total)[0];
        s.start = -STEP;
        s.values.rotate_left(1);
        s.values[LOOKS - 1] = Some("1".into());
        s.values[1..].iter_mut().step_by(2).for_each(|v| *v = Some("1".into()));
    }),
    ("one of two pods went silent", "hold", |c, k| {
        list(&mut c.canary.total)[1].values[8 + k as usize..].fill(None);
    }),
    ("pods not ready", "abort", |c, k| c.pods = (2 + k as u32, 1)),
    ("a pod in a crash loop", "abort", |c, k| (c.pods, c.restarts) = ((2, 1), 3 + k as u32)),
    ("no pods wanted", "hold", |c, _| c.pods = (0, 0)),
    ("a zone below its minimum", "abort", |c, _| c.zones[0].1 = 1),
    ("zones not known", "hold", |c, _| c.zones.clear()),
    ("budget spent", "hold", |c, _| c.budget = Some(Tri::Fail)),
    ("budget not known", "hold", |c, k| c.budget = if k % 2 == 0 { None } else { Some(Tri::Unknown) }),
    ("analysis failed", "abort", |c, k| c.analysis = Some(if k % 2 == 0 { "Failed" } else { "Error" }.into())),
    ("analysis inconclusive", "hold", |c, k| {
        c.analysis = Some(["Inconclusive", "Running", "Pending", ""][k as usize % 4].into());
    }),
    ("weight not known", "hold", |c, _| c.weight = None),
];

fn generate() -> Vec<Case> {
    let mut out = Vec::new();
    for (name, expect, spoil) in BAD {
        for k in 0..4 {
            let mut case = good(name, [5, 25, 50, 25][k as usize], k);
            case.expect = (*expect).into();
            spoil(&mut case, k);
            out.push(case);
        }
    }
    for k in 0..4 {
        let mut case = good("100 %, the baseline is gone", 100, k);
        (case.expect, case.frozen) = ("hold".into(), None);
        out.push(case);
        let mut case = good("100 %, the stable side is asked live", 100, k);
        let mut idle = recorded(STABLE, 30, 2, k);
        set(&mut idle.total, 0..LOOKS, Some("70000"));
        set(&mut idle.errors, 0..LOOKS, Some("40"));
        (case.expect, case.stable, case.frozen) = ("hold".into(), Some(idle), None);
        out.push(case);
        let mut case = good("100 %, worse than the frozen baseline", 100, k);
        (case.expect, case.frozen) = ("abort".into(), Some((3.0, 2400.0)));
        out.push(case);
    }
    for k in 0..4 {
        let weight = [5, 25, 50, 100][k as usize];
        let add = |name: &str, change: &dyn Fn(&mut Case), out: &mut Vec<Case>| {
            let mut case = good(name, weight, k);
            change(&mut case);
            out.push(case);
        };
        add("good", &|_| {}, &mut out);
        add("good without any error", &|c| c.canary = recorded(CANARY, 30, 0, k), &mut out);
        add("good, a pod was replaced", &|c| restart(&mut list(&mut c.canary.total)[0], 9), &mut out);
        add("good, a scrape is missing", &|c| set(&mut c.canary.total, 7..8, None), &mut out);
        add("good, analysis too", &|c| c.analysis = Some("Successful".into()), &mut out);
        add("good, clocks ten seconds apart", &|c| shift(&mut c.canary, 10), &mut out);
        add("good, busy", &|c| c.canary = recorded(CANARY, 3000, 1, k), &mut out);
        add(
            "good, neither side has an error",
            &|c| {
                c.canary = recorded(CANARY, 30, 0, k);
                c.stable = c.stable.as_ref().map(|_| recorded(STABLE, 30, 0, k));
                c.frozen = c.frozen.map(|_| (0.0, 2400.0));
            },
            &mut out,
        );
        add(
            "good, one rare kind of error appears",
            &|c| {
                let mut s = series(CANARY, "aa", "503", 1, &|_| 0);
                s.values[..9].fill(None);
                list(&mut c.canary.errors).push(s);
            },
            &mut out,
        );
    }
    out
}
