use proptest::prelude::*;

use super::*;
use crate::model::slo::CalendarUnit;
use crate::model::slo::ChangeClass;
use crate::model::slo::Indicator;
use crate::model::slo::Method;
use crate::model::slo::MetricQuery;
use crate::model::slo::Window;
use crate::operate::slo::gate::bands;
use crate::operate::slo::gate::gate;
use crate::operate::slo::series::Events;
use crate::operate::slo::series::Part;
use crate::operate::slo::series::Sample;
use crate::operate::slo::series::Signal;
use crate::operate::slo::series::Track;

const DAY: i64 = 86_400;
/// 2026-10-31T00:00:00Z
const NOW: i64 = 1_793_404_800;

fn slo(target: f64, seconds: u64) -> Slo {
    let query = |q: &str| MetricQuery { source: None, query: q.into() };
    Slo {
        id: "api/availability".into(),
        service: "api".into(),
        name: "availability".into(),
        title: String::new(),
        description: String::new(),
        target,
        window: Window::Rolling { seconds },
        method: Method::Occurrences,
        indicator: Indicator::Ratio { good: None, bad: Some(query("bad_total")), total: query("all_total") },
        alerting: "workbook".into(),
        burn_rules: vec![BurnRule { severity: "page".into(), short_seconds: 300, long_seconds: 3_600, factor: 14.4 }],
        fresh_seconds: 300,
        labels: Default::default(),
        from: "a.yml:1".into(),
        notes: Vec::new(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// A counter that ends now, grown by `rate(t)` a second, one sample every `step` seconds.
fn counter(seconds: i64, step: i64, rate: impl Fn(i64) -> f64) -> Track {
    let mut value = 0.0;
    (NOW - seconds..=NOW)
        .step_by(usize::try_from(step).unwrap())
        .map(|t| {
            value += rate(t) * step as f64;
            Sample { at: t * 1000, value }
        })
        .collect()
}

fn pair(bad: Track, total: Track) -> Series {
    let signal =
        Signal::Counters { part: Part::Bad, tracks: vec![bad.into()], total: vec![total.into()], none_yet: false };
    Series::new(signal, 300_000)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn oracle_of_the_design_99_9_promised_99_85_measured_over_30_days() {
    let series = pair(counter(30 * DAY, 300, |_| 0.0015), counter(30 * DAY, 300, |_| 1.0));
    let s = evaluate(&slo(0.999, 2_592_000), &series, now());
    assert!(close(s.sli.unwrap(), 0.9985), "{:?}", s.sli);
    assert!(close(s.budget_seconds, 2_592.0));
    assert!(close(s.spent_seconds.unwrap(), 3_888.0), "{:?}", s.spent_seconds);
    assert!(close(s.spent.unwrap(), 1.5));
    assert!(close(s.left.unwrap(), -0.5), "not clamped");
    assert_eq!(s.state, SloState::Emergency);
    assert_eq!(s.state.word(), "exhausted");
    assert_eq!(s.exhausted_in_seconds, Some(0.0));
    assert!(close(s.coverage, 1.0));
    assert_eq!(s.points.len(), 240);
    assert!(close(s.points[239].left.unwrap(), -0.5));
    assert!(s.burn.iter().all(|b| close(b.rate.unwrap(), 1.5)), "{:?}", s.burn);
}

#[test]
fn increase_is_that_of_prometheus() {
    // Of promql/testdata/functions.test: `http_requests{path="/foo"} 0+10x10` every 5 m, increase over 50 m is 100; and
    // `/bar` 0+10x5 0+10x5, with a reset, 90.
    let track = |values: &[f64]| -> Track {
        values.iter().zip(0..).map(|(v, i)| Sample { at: i * 300_000, value: *v }).collect()
    };
    let grow: Vec<f64> = (0..=10).map(|i| f64::from(i) * 10.0).collect();
    let reset = [0., 10., 20., 30., 40., 50., 0., 10., 20., 30., 40.];
    for (values, expected) in [(&grow[..], 100.0), (&reset[..], 90.0)] {
        let series = pair(Vec::new(), track(values));
        let meter = Meter::new(&series, Method::Occurrences);
        assert!(close(meter.events(0, 3_000_000).unwrap(), expected), "{expected}");
    }
    // Two samples in the middle of a span reach half a distance to each side, and at the start no further than zero.
    let series = pair(Vec::new(), track(&[5., 15.]));
    let meter = Meter::new(&series, Method::Occurrences);
    assert!(close(meter.events(-3_000_000, 3_000_000).unwrap(), 10.0 * (300.0 + 150.0 + 150.0) / 300.0));
    let series = pair(Vec::new(), track(&[1., 11.]));
    let meter = Meter::new(&series, Method::Occurrences);
    assert!(close(meter.events(-3_000_000, 3_000_000).unwrap(), 10.0 * (300.0 + 30.0 + 150.0) / 300.0));
}

#[test]
fn what_is_not_known_says_why() {
    let target = slo(0.999, 2_592_000);
    let total = || counter(30 * DAY, 300, |_| 1.0);
    let quiet = evaluate(&target, &pair(counter(30 * DAY, 300, |_| 0.0), counter(30 * DAY, 300, |_| 0.0)), now());
    assert_eq!((quiet.state, quiet.sli, quiet.spent), (SloState::Quiet, None, None));
    assert_eq!(quiet.alerts[0].state, Tri::Pass, "no traffic burns nothing");

    let absent = evaluate(&target, &pair(Vec::new(), Vec::new()), now());
    assert_eq!((absent.state, absent.alerts[0].state), (SloState::Absent, Tri::Unknown));
    let half = evaluate(&target, &pair(Vec::new(), total()), now());
    assert_eq!((half.state, half.sli), (SloState::Absent, None), "a counter of bad that is not there is not zero");
    let mut none_yet = pair(Vec::new(), total());
    if let Signal::Counters { none_yet, .. } = &mut none_yet.signal {
        *none_yet = true;
    }
    assert_eq!(evaluate(&target, &none_yet, now()).state, SloState::Healthy);

    let later = now() + jiff::SignedDuration::from_secs(3_600);
    let stale = evaluate(&target, &pair(counter(30 * DAY, 300, |_| 0.0), total()), later);
    assert_eq!(stale.state, SloState::Stale);
    assert!(stale.why.expose().contains("60 min old"), "{:?}", stale.why);

    let failed = evaluate(&target, &Series::failed("connection refused"), now());
    assert_eq!(failed.state, SloState::Unknown);
    assert!(failed.why.expose().contains("connection refused"));

    let week = |r: f64| pair(counter(7 * DAY, 300, move |_| r), counter(7 * DAY, 300, |_| 1.0));
    assert_eq!(evaluate(&target, &week(0.0), now()).state, SloState::Unknown, "a week of thirty days");
    assert_eq!(evaluate(&target, &week(0.01), now()).state, SloState::Emergency, "spent whatever was not seen");
}

#[test]
fn the_three_methods_count_what_they_say() {
    // One bad minute in an hour, in which half of the events fail.
    let bad_from = NOW - 1_800;
    let bad = move |t: i64| if t > bad_from && t <= bad_from + 60 { 0.5 } else { 0.0 };
    let series = Series { step: 60_000, ..pair(counter(3_600, 60, bad), counter(3_600, 60, |_| 1.0)) };
    let mut slo = slo(0.9, 3_600);
    let sli = |slo: &Slo| evaluate(slo, &series, now()).sli.unwrap();
    assert!(close(sli(&slo), 1.0 - 30.0 / 3_600.0));
    slo.method = Method::Timeslices { slice_seconds: 60, target: 0.9 };
    assert!(close(sli(&slo), 59.0 / 60.0));
    slo.method = Method::Timeslices { slice_seconds: 60, target: 0.5 };
    assert!(close(sli(&slo), 1.0), "half is enough");
    slo.method = Method::RatioTimeslices { slice_seconds: 300 };
    assert!(close(sli(&slo), 1.0 - 0.1 / 12.0));
}

#[test]
fn a_calendar_window_has_its_zone_and_its_budget_for_the_whole() {
    let mut slo = slo(0.99, 0);
    // Berlin leaves summer time on 2026-10-25: October has an hour more.
    slo.window = Window::Calendar {
        unit: CalendarUnit::Month,
        count: 1,
        zone: "Europe/Berlin".into(),
        start: "2026-01-01T00:00:00+01:00".parse().unwrap(),
    };
    let series = pair(counter(40 * DAY, 300, |_| 0.01), counter(40 * DAY, 300, |_| 1.0));
    let s = evaluate(&slo, &series, now());
    assert_eq!(s.from.to_string(), "2026-09-30T22:00:00Z");
    assert_eq!(s.until.to_string(), "2026-10-31T23:00:00Z");
    let whole = 31.0 * 86_400.0 + 3_600.0;
    assert!(close(s.budget_seconds, 0.01 * whole));
    let elapsed = whole - 23.0 * 3_600.0;
    assert!(close(s.spent.unwrap(), elapsed / whole), "{:?}", s.spent);
    assert_eq!(s.state, SloState::Freeze);
    assert_eq!(s.months.iter().map(|m| m.month.as_str()).collect::<Vec<_>>(), ["2026-09", "2026-10"]);
}

#[test]
fn an_alert_fires_since_both_windows_were_above() {
    let from = NOW - 1_800;
    let bad = move |t: i64| if t > from { 0.5 } else { 0.0 };
    let series = Series { step: 60_000, ..pair(counter(DAY, 60, bad), counter(DAY, 60, |_| 1.0)) };
    let s = evaluate(&slo(0.99, 86_400), &series, now());
    assert_eq!(s.alerts[0].state, Tri::Fail);
    // 14.4 x 1 % of an hour are 518.4 s of events; half of them bad: after 1036.8 s, seen at the next minute.
    assert_eq!(s.alerts[0].since, Some(Timestamp::from_second(from + 1_080).unwrap()));
}

#[test]
fn own_events_need_no_samples_in_between() {
    let event = |ago: i64, good: bool| Events { at: (NOW - ago) * 1000, good: u64::from(good), bad: u64::from(!good) };
    let signal = Signal::Events(vec![event(10 * DAY, true), event(9 * DAY, false), event(DAY, true), event(60, true)]);
    let s = evaluate(&slo(0.5, 2_592_000), &Series::new(signal, 60_000), now());
    assert_eq!((s.sli, s.spent, s.state), (Some(0.75), Some(0.5), SloState::SlowDown));
    let s = evaluate(&slo(0.5, 2_592_000), &Series::new(Signal::Events(Vec::new()), 60_000), now());
    assert_eq!(s.state, SloState::Unknown, "nothing ever happened here: no word on how it would go");
}

#[test]
fn bands_block_from_75_and_from_100_percent_and_unknown_blocks() {
    let answer = |class, share: f64| {
        let series = pair(counter(30 * DAY, 300, |_| 0.001 * share), counter(30 * DAY, 300, |_| 1.0));
        let slo = slo(0.999, 2_592_000);
        let status = evaluate(&slo, &series, now());
        gate(&[(slo, status)], class, &bands()).answer
    };
    use ChangeClass::{Critical, Emergency, Normal};
    for (share, normal, critical) in [
        (0.0, Tri::Pass, Tri::Pass),
        (0.74, Tri::Pass, Tri::Pass),
        (0.76, Tri::Fail, Tri::Pass),
        (0.99, Tri::Fail, Tri::Pass),
        (1.01, Tri::Fail, Tri::Fail),
    ] {
        assert_eq!(answer(Normal, share), normal, "{share}");
        assert_eq!(answer(Critical, share), critical, "{share}");
        assert_eq!(answer(Emergency, share), Tri::Pass, "{share}");
    }
    let slo = slo(0.999, 2_592_000);
    let status = evaluate(&slo, &Series::failed("connection refused"), now());
    for class in ChangeClass::ALL {
        let answer = gate(&[(slo.clone(), status.clone())], class, &bands());
        assert_eq!(answer.answer, Tri::Unknown);
        assert!(answer.reasons[0].contains("connection refused"), "{:?}", answer.reasons);
    }
    assert_eq!(gate(&[], Normal, &bands()).answer, Tri::Unknown);
}

// --- a slow exact reference ------------------------------------------------------------------------

/// The rule of `extrapolatedRate`, sample by sample.
fn slow_increase(track: &[Sample], from: i64, until: i64) -> Option<f64> {
    let mut kept: Vec<Sample> = Vec::new();
    for s in track {
        let fresh = kept.iter().all(|k| k.at != s.at);
        if s.at >= from && s.at <= until && !s.value.is_nan() && !s.value.is_infinite() && fresh {
            kept.push(*s);
        }
    }
    kept.sort_by_key(|s| s.at);
    let (first, last) = (*kept.first()?, *kept.last()?);
    if kept.len() < 2 {
        return None;
    }
    let mut grown = last.value - first.value;
    for two in kept.windows(2) {
        if two[1].value < two[0].value {
            grown += two[0].value;
        }
    }
    let sampled = (last.at - first.at) as f64 / 1e3;
    let average = sampled / (kept.len() as f64 - 1.0);
    let mut to_start = (first.at - from) as f64 / 1e3;
    let mut to_end = (until - last.at) as f64 / 1e3;
    if to_start >= average * 1.1 {
        to_start = average / 2.0;
    }
    if grown > 0.0 && first.value >= 0.0 {
        let to_zero = sampled * (first.value / grown);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= average * 1.1 {
        to_end = average / 2.0;
    }
    Some(grown * (sampled + to_start + to_end) / sampled)
}

/// Second by second.
fn slow_coverage(track: &[Sample], step: i64, from: i64, until: i64) -> f64 {
    let mut times: Vec<i64> = track.iter().filter(|s| s.value.is_finite()).map(|s| s.at / 1000).collect();
    times.sort_unstable();
    let covered = (from + 1..=until).filter(|second| {
        let Some(next) = times.iter().find(|t| *t >= second) else { return false };
        let reach = match times.iter().rev().find(|t| *t < next) {
            Some(before) if next - before <= 2 * step => next - before,
            _ => step,
        };
        next - second < reach
    });
    covered.count() as f64 / (until - from) as f64
}

fn wild_track() -> impl Strategy<Value = Track> {
    let sample = (
        prop_oneof![8 => Just(15i64), 2 => 1i64..40, 1 => Just(0i64), 1 => 200i64..900],
        prop_oneof![20 => 0.0f64..50.0, 3 => Just(0.0), 2 => Just(-1.0), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)],
    );
    proptest::collection::vec(sample, 0..80).prop_map(|steps| {
        let (mut at, mut value) = (NOW - 1_800, 0.0);
        let mut track = Vec::new();
        for (dt, grow) in steps {
            at += dt;
            if grow == -1.0 {
                value = 0.0;
            } else if grow.is_finite() {
                value += grow;
            }
            track.push(Sample { at: at * 1000, value: if grow.is_finite() { value } else { grow } });
        }
        track
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_series_matches_the_slow_reference(bad in wild_track(), total in wild_track(), ahead in 0i64..1_200) {
        let at = NOW + ahead - 600;
        let (from, until) = ((at - 1_800) * 1000, at * 1000);
        let slo = slo(0.99, 1_800);
        let series = Series { step: 15_000, ..pair(bad.clone(), total.clone()) };
        let s = evaluate(&slo, &series, Timestamp::from_second(at).unwrap());
        let part_absent = bad.iter().all(|s| !s.value.is_finite());
        let slow = |from: i64| {
            let total = slow_increase(&total, from, until)?;
            Some((slow_increase(&bad, from, until).unwrap_or(0.0), total))
        };
        match slow(from).filter(|(_, total)| *total > 0.0 && !part_absent) {
            None => prop_assert_eq!(s.sli, None),
            Some((bad, total)) => {
                let spent = bad / total / (1.0 - 0.99);
                prop_assert!(close(s.spent.unwrap(), spent), "{:?} {spent}", s.spent);
                prop_assert!(close(s.spent_seconds.unwrap(), bad / total * 1_800.0));
                prop_assert!(close(s.left.unwrap(), 1.0 - spent));
                prop_assert!(close(s.spent_events.unwrap(), bad));
                prop_assert!(close(s.total, total));
                if let Some(left) = s.points.last().and_then(|p| p.left) {
                    prop_assert!(close(left, 1.0 - spent));
                }
            }
        }
        for b in &s.burn {
            let begin = until - i64::try_from(b.window_seconds).unwrap() * 1000;
            let expected = slow(begin).filter(|(_, t)| *t > 0.0 && !part_absent).map(|(b, t)| b / t / (1.0 - 0.99));
            prop_assert_eq!(b.rate.is_some(), expected.is_some());
            prop_assert!(b.rate.zip(expected).is_none_or(|(a, b)| close(a, b)), "{:?} {:?}", b, expected);
        }
        let coverage = slow_coverage(&total, 15, at - 1_800, at);
        prop_assert!(close(s.coverage, coverage), "{} {coverage}", s.coverage);
        if total.iter().any(|s| s.value.is_finite() && s.at <= until) {
            prop_assert_ne!(s.state == SloState::Absent, !part_absent);
        } else {
            prop_assert_eq!(s.state, SloState::Absent);
        }
        prop_assert!(s.state != SloState::Healthy || s.coverage >= MIN_COVERAGE);
    }
}
