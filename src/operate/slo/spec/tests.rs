//! Each dialect as people write it, and the traps of each with the place they are told at.

use std::path::Path;

use super::*;
use crate::model::slo::CalendarUnit;
use crate::model::slo::Compare;
use crate::model::slo::DeskSli;

fn fixtures() -> Vec<Slo> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/slo");
    Folder::read(&folder).unwrap_or_else(|f| panic!("{f}"))
}

fn slo(id: &str) -> Slo {
    let all = fixtures();
    let ids: Vec<_> = all.iter().map(|s| s.id.clone()).collect();
    all.into_iter().find(|s| s.id == id).unwrap_or_else(|| panic!("{id} is none of {ids:?}"))
}

#[test]
fn every_dialect_is_read() {
    let ids: Vec<_> = fixtures().into_iter().map(|s| s.id).collect();
    let expected = [
        "caddy/caddy-response-latency",
        "desk/acknowledge",
        "k8s-apiserver/requests-availability",
        "k8s-apiserver/requests-latency",
        "monitoring/probe-success",
        "monitoring/prometheus-http-errors",
        "search/availability",
        "search/lag",
        "web/availability/contract",
        "web/availability/internal-objective",
        "web/queue-age",
    ];
    assert_eq!(ids, expected);
}

#[test]
fn openslo_follows_references_and_calendars() {
    let s = slo("web/availability/internal-objective");
    assert_eq!(s.target, 0.995);
    assert_eq!(s.method, Method::Timeslices { slice_seconds: 60, target: 0.99 });
    // Noon in New York in winter.
    let start = "2022-01-01T17:00:00Z".parse().unwrap();
    let zone = "America/New_York".to_owned();
    assert_eq!(s.window, Window::Calendar { unit: CalendarUnit::Month, count: 1, zone, start });
    let Indicator::Ratio { good: Some(good), bad: None, total } = &s.indicator else { panic!("{:?}", s.indicator) };
    assert_eq!(good.source.as_deref(), Some("prod"));
    assert_eq!(good.query, r#"http_requests_total{job="web",code!~"5.."}"#);
    assert_eq!(total.query, r#"http_requests_total{job="web"}"#);
    assert_eq!(s.title, "Web front answers: Internal objective");
    assert_eq!(s.labels["team"], "soc,platform");
    assert!(s.from.ends_with("openslo.yaml:50"), "{}", s.from);
    assert_eq!(slo("web/availability/contract").target, 0.99);

    let s = slo("web/queue-age");
    assert_eq!(s.window, Window::Rolling { seconds: 28 * 86_400 });
    assert!(matches!(s.indicator, Indicator::Threshold { op: Compare::Lte, threshold: 30.0, .. }));
}

#[test]
fn sloth_keeps_its_queries_and_switches() {
    let s = slo("k8s-apiserver/requests-availability");
    assert_eq!((s.target, &s.window), (0.999, &Window::Rolling { seconds: 30 * 86_400 }));
    let Indicator::Ratio { good: None, bad: Some(bad), total } = &s.indicator else { panic!("{:?}", s.indicator) };
    assert_eq!(bad.query, r#"sum(rate(apiserver_request_total{code=~"(5..|429)"}[{{.window}}]))"#);
    assert_eq!(total.query, "sum(rate(apiserver_request_total[{{.window}}]))");
    assert_eq!(s.burn_rules.iter().map(|r| r.factor).collect::<Vec<_>>(), [14.4, 6.0]);
    assert_eq!(s.labels["cluster"], "valhalla");
    assert_eq!(s.labels["category"], "availability");
    let s = slo("k8s-apiserver/requests-latency");
    assert!(matches!(&s.indicator, Indicator::ErrorRatio { query } if query.query.starts_with("1 - (")));
    assert_eq!(s.burn_rules.len(), 4);
}

#[test]
fn pyrra_scales_its_windows() {
    let s = slo("monitoring/prometheus-http-errors");
    assert_eq!(s.target, 0.99);
    let rules: Vec<_> = s.burn_rules.iter().map(|r| (r.short_seconds, r.long_seconds, r.factor)).collect();
    assert_eq!(rules, [(300, 3_600, 14.0), (1_800, 21_600, 7.0), (7_200, 86_400, 2.0), (21_600, 345_600, 1.0)]);
    assert_eq!(s.notes.len(), 1, "{:?}", s.notes);
    let s = slo("caddy/caddy-response-latency");
    assert_eq!((s.burn_rules[0].short_seconds, s.burn_rules[0].long_seconds), (180, 1_800));
    assert!(matches!(&s.indicator, Indicator::Ratio { good: Some(_), bad: None, .. }));
    // 14 times a tenth is more than everything.
    assert!(s.notes.iter().any(|n| n.contains("14x") && n.contains("can never fire")), "{:?}", s.notes);
    let s = slo("monitoring/probe-success");
    assert!(s.burn_rules.is_empty() && s.alerting == "none");
    assert!(matches!(s.indicator, Indicator::Threshold { op: Compare::Gte, threshold: 1.0, .. }));
}

#[test]
fn our_own_is_read() {
    let s = slo("search/lag");
    assert_eq!(s.method, Method::Timeslices { slice_seconds: 60, target: 1.0 });
    assert_eq!((s.fresh_seconds, s.alerting.as_str()), (600, "custom"));
    let s = slo("desk/acknowledge");
    assert_eq!(s.indicator, Indicator::Desk { sli: DeskSli::TimeToAcknowledge, threshold: 900.0 });
    assert!(matches!(&s.window, Window::Calendar { zone, .. } if zone == "Europe/Paris"));
    assert_eq!(slo("search/availability").burn_rules, alerts::preset("workbook").unwrap());
}
