use std::path::Path;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::model::ids::PersonId;

fn agreement(zone: &str) -> Agreement {
    let text = format!("time_zone = \"{zone}\"\n[[services]]\nname = \"api\"\ntcp = \"h:1\"\n");
    Agreement::parse(Path::new("sla.toml"), &text).unwrap()
}

fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn probe(at: Timestamp, up: bool) -> ProbeResult {
    ProbeResult { at, up, millis: 3, detail: Untrusted::new(if up { "ok" } else { "status 503" }) }
}

/// A probe a minute over `from..until`, down within any of `down`.
fn probes(from: &str, until: &str, down: &[(&str, &str)]) -> Vec<ProbeResult> {
    let (mut at, until) = (t(from), t(until));
    let mut out = Vec::new();
    while at < until {
        let is_down = down.iter().any(|(a, b)| (t(a)..t(b)).contains(&at));
        out.push(probe(at, !is_down));
        at += SignedDuration::from_mins(1);
    }
    out
}

fn exclusion(kind: ExclusionKind, from: &str, until: &str, announced: &str, approved: Option<&str>) -> Exclusion {
    Exclusion {
        id: "x".into(),
        service: "api".into(),
        from: t(from),
        until: t(until),
        kind,
        reason: Untrusted::new("new switch"),
        announced: t(announced),
        asked_by: PersonId::new("alice").unwrap(),
        approved_by: approved.map(|p| PersonId::new(p).unwrap()),
    }
}

fn judge(a: &Agreement, month: &str, probes: &[ProbeResult], ex: &[Exclusion], now: &str) -> SlaMonth {
    evaluate(a, &a.services[0], month.parse().unwrap(), probes, ex, t(now)).unwrap()
}

const LATER: &str = "2027-01-01T00:00:00Z";

#[test]
fn a_month_with_one_outage_owes_what_the_table_says() {
    let a = agreement("UTC");
    // 744 hours; 99.5 % allows 3 h 43 min 12 s.
    for (down, met, owed) in [
        ("2026-10-10T00:00:00Z", Tri::Pass, 0),
        ("2026-10-10T03:43:00Z", Tri::Pass, 0),
        ("2026-10-10T03:44:00Z", Tri::Fail, 10),
        ("2026-10-10T07:27:00Z", Tri::Fail, 25),
        ("2026-10-11T13:13:00Z", Tri::Fail, 50),
    ] {
        let p = probes("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", &[("2026-10-10T00:00:00Z", down)]);
        let m = judge(&a, "2026-10", &p, &[], LATER);
        assert_eq!((m.met, m.credit_percent), (met, owed), "{down}: {:?}", m.uptime);
        assert_eq!(m.down_seconds, t(down).duration_since(t("2026-10-10T00:00:00Z")).as_secs_f64());
        assert_eq!(m.unknown_seconds, 0.0);
        assert_eq!(m.outages.len(), usize::from(m.down_seconds > 0.0));
    }
}

#[test]
fn exactly_the_promise_is_kept() {
    let table = [Credit { below: 0.95, percent: 50 }, Credit { below: 0.995, percent: 10 }];
    assert_eq!((credit(0.995, &table), credit(0.995 - 1e-9, &table), credit(0.95, &table)), (0, 10, 10));
    let sums = Sums { up: 995, down: 5, unknown: 0, excluded: 0 };
    assert_eq!(met(&sums, 0.995), Tri::Pass);
}

#[test]
fn a_gap_is_unknown_and_neither_kept_nor_broken() {
    let a = agreement("UTC");
    let mut p = probes("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", &[]);
    p.retain(|p| !(t("2026-10-05T00:00:00Z")..t("2026-10-06T00:00:00Z")).contains(&p.at));
    let m = judge(&a, "2026-10", &p, &[], LATER);
    // The last probe before the gap stands for 90 s.
    assert_eq!(m.unknown_seconds, 86_400.0 - 30.0);
    assert_eq!((m.uptime, m.met, m.credit_percent), (Some(1.0), Tri::Unknown, 0));
    assert!(m.uptime_at_worst.unwrap() < 0.97);
    assert_eq!(m.outages.len(), 1);
    assert!(!m.outages[0].known);
    let none = judge(&a, "2026-10", &[], &[], LATER);
    assert_eq!((none.uptime, none.uptime_at_worst, none.met), (None, Some(0.0), Tri::Unknown));
}

#[test]
fn a_month_that_runs_is_judged_so_far_and_one_to_come_is_not() {
    let a = agreement("UTC");
    let p = probes("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", &[]);
    let m = judge(&a, "2026-10", &p, &[], "2026-10-01T12:00:00Z");
    assert_eq!((m.up_seconds, m.unknown_seconds, m.until), (43_200.0, 0.0, t("2026-10-01T12:00:00Z")));
    let early = evaluate(&a, &a.services[0], "2026-11".parse().unwrap(), &p, &[], t("2026-10-01T12:00:00Z"));
    assert!(early.unwrap_err().contains("not begun"));
}

#[test]
fn months_are_of_the_time_zone_and_clocks_change() {
    let a = agreement("Europe/Berlin");
    // October 2026 has 25 h on its 25th; it begins at 22:00 UTC of the day before.
    let m = judge(&a, "2026-10", &[], &[], LATER);
    assert_eq!((m.from, m.unknown_seconds), (t("2026-09-30T22:00:00Z"), 745.0 * 3_600.0));
    let m = judge(&a, "2026-03", &[], &[], LATER);
    assert_eq!(m.unknown_seconds, 743.0 * 3_600.0);
    assert_eq!(Month::of(t("2026-09-30T22:30:00Z"), &a.zone).to_string(), "2026-10");
    for bad in ["2026", "2026-13", "26-10", "2026-1", "2026-10-01", "+026-10", ""] {
        assert!(bad.parse::<Month>().is_err(), "{bad}");
    }
}

#[test]
fn exclusions_count_only_when_they_may() {
    use ExclusionKind::*;
    let cases = [
        (Maintenance, "2026-10-03T00:00:00Z", Some("bob"), true, "approved"),
        (Maintenance, "2026-10-03T00:00:01Z", Some("bob"), false, "announced 6 d 23 h before"),
        (Maintenance, "2026-10-11T00:00:00Z", Some("bob"), false, "after it began"),
        (ForceMajeure, "2026-10-11T00:00:00Z", Some("bob"), true, "approved"),
        (Customer, "2026-10-01T00:00:00Z", None, false, "nobody"),
        (Customer, "2026-10-01T00:00:00Z", Some("alice"), false, "who asked"),
    ];
    let a = agreement("UTC");
    let down = [("2026-10-10T00:00:00Z", "2026-10-10T06:00:00Z")];
    let p = probes("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", &down);
    for (kind, announced, approved, counted, why) in cases {
        let e = exclusion(kind, down[0].0, down[0].1, announced, approved);
        let m = judge(&a, "2026-10", &p, &[e], LATER);
        assert_eq!(m.exclusions[0].1, counted, "{:?}", m.exclusions);
        assert!(m.exclusions[0].2.contains(why), "{:?}", m.exclusions);
        let seconds = if counted { (21_600.0, 0.0) } else { (0.0, 21_600.0) };
        assert_eq!((m.excluded_seconds, m.down_seconds), seconds);
        assert_eq!(m.met, if counted { Tri::Pass } else { Tri::Fail });
    }
    let mut other = exclusion(Customer, down[0].0, down[0].1, "2026-10-01T00:00:00Z", Some("bob"));
    other.service = "another".into();
    assert!(judge(&a, "2026-10", &p, &[other], LATER).exclusions.is_empty());
}

#[test]
fn what_is_excluded_twice_is_excluded_once() {
    let a = agreement("UTC");
    let p = probes("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", &[]);
    let e = |from, until| exclusion(ExclusionKind::Customer, from, until, "2026-10-01T00:00:00Z", Some("bob"));
    let all = [
        e("2026-10-10T02:00:00Z", "2026-10-10T04:00:00Z"),
        e("2026-10-10T00:00:00Z", "2026-10-10T03:00:00Z"),
        e("2026-10-10T01:00:00Z", "2026-10-10T01:30:00Z"),
        e("2026-09-30T23:00:00Z", "2026-10-01T01:00:00Z"),
    ];
    assert_eq!(judge(&a, "2026-10", &p, &all, LATER).excluded_seconds, 5.0 * 3_600.0);
}

/// The same, second by second and without cleverness.
fn slow(probes: &[ProbeResult], interval: i64, ex: &[(i64, i64)], from: i64, until: i64) -> [i64; 4] {
    let mut out = [0; 4];
    for second in from..until {
        let last = probes.iter().rev().find(|p| p.at.as_second() <= second);
        let covered = last.filter(|p| 2 * (second - p.at.as_second()) < 3 * interval);
        let slot = match covered {
            _ if ex.iter().any(|e| (e.0..e.1).contains(&second)) => 3,
            Some(p) if p.up => 0,
            Some(_) => 1,
            None => 2,
        };
        out[slot] += 1;
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_second_is_one_thing(
        times in prop::collection::btree_map(-300_i64..4_000, any::<bool>(), 0..60),
        ex in prop::collection::vec((-100_i64..4_000, 1_i64..900), 0..6),
        half in 5_u32..100,
        until in 1_i64..4_000,
    ) {
        let mut a = agreement("UTC");
        // Even, so that one and a half of it is a whole number of seconds.
        a.services[0].interval_seconds = half * 2;
        let base = t("2026-10-01T00:00:00Z").as_second();
        let at = |s: i64| Timestamp::from_second(base + s).unwrap();
        let p: Vec<_> = times.iter().map(|(s, up)| probe(at(*s), *up)).collect();
        let all: Vec<_> = ex.iter().map(|(from, len)| Exclusion {
            from: at(*from),
            until: at(from + len),
            ..exclusion(ExclusionKind::Customer, LATER, LATER, LATER, Some("bob"))
        }).collect();
        let now = at(until);
        let m = evaluate(&a, &a.services[0], "2026-10".parse().unwrap(), &p, &all, now).unwrap();
        let parts = [m.up_seconds, m.down_seconds, m.unknown_seconds, m.excluded_seconds];
        prop_assert_eq!(parts.iter().sum::<f64>(), until as f64);
        let spans: Vec<_> = ex.iter().map(|(from, len)| (base + from, base + from + len)).collect();
        let exact = slow(&p, i64::from(half) * 2, &spans, base, base + until);
        prop_assert_eq!(parts, exact.map(|n| n as f64));
        let of = |known: bool| -> f64 {
            m.outages.iter().filter(|o| o.known == known).map(|o| o.until.duration_since(o.from).as_secs_f64()).sum()
        };
        prop_assert_eq!((of(true), of(false)), (m.down_seconds, m.unknown_seconds));
    }
}
