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

/// A policy of one condition beside an objective that refers to it by name.
fn policies(condition: &str, objective: &str) -> String {
    let slo = open_with("    - target: 0.999", &format!("    - target: 0.999\n  alertPolicies:\n{objective}"));
    format!(
        "{slo}---\napiVersion: openslo/v1\nkind: AlertPolicy\nmetadata: {{name: burns}}\nspec:\n  alertWhenBreaching: true\n  \
         conditions:\n    - conditionRef: fast\n  notificationTargets: [{{targetRef: mail}}]\n---\napiVersion: openslo/v1\n\
         kind: AlertCondition\nmetadata: {{name: fast}}\nspec:\n  severity: page\n  condition:\n{condition}"
    )
}

const CONDITION: &str = "    kind: burnrate\n    threshold: 14.4\n    lookbackWindow: 1h\n    alertAfter: 5m\n";

#[test]
fn openslo_alert_policies_are_followed() {
    let read = |text: String| Folder::parse(vec![("a.yaml".into(), text)]).unwrap_or_else(|f| panic!("{f}")).remove(0);
    let inline = "    - kind: AlertPolicy\n      metadata: {name: slow}\n      spec:\n        conditions:\n          - kind: \
                  AlertCondition\n            metadata: {name: c}\n            spec: {severity: ticket, condition: {kind: \
                  burnrate, op: gt, threshold: 2, lookbackWindow: 1d, alertAfter: 0m}}\n";
    let s = read(policies(CONDITION, &format!("    - alertPolicyRef: burns\n{inline}")));
    let rules: Vec<_> =
        s.burn_rules.iter().map(|r| (&*r.severity, r.short_seconds, r.long_seconds, r.factor)).collect();
    assert_eq!(rules, [("page", 300, 3_600, 14.4), ("ticket", 86_400, 86_400, 2.0)]);
    assert_eq!(s.alerting, "custom");
    assert!(s.notes.iter().any(|n| n.contains("short window")), "{:?}", s.notes);
    let off = policies(CONDITION, "    - alertPolicyRef: burns\n").replace("Breaching: true", "Breaching: false");
    let s = read(off);
    assert!(s.burn_rules.is_empty() && s.alerting == "none" && !s.notes.is_empty(), "{s:?}");
    let s = read(policies(&CONDITION.replace("14.4", "1001"), "    - alertPolicyRef: burns\n"));
    assert!(s.notes.iter().any(|n| n.contains("can never fire")), "{:?}", s.notes);
}

#[test]
fn traps_of_openslo_alert_policies() {
    let t = |from: &str, to: &str, says: &[&str]| {
        let text = policies(CONDITION, "    - alertPolicyRef: burns\n");
        assert!(text.contains(from), "{from}");
        trap("a.yaml", &text.replacen(from, to, 1), says);
    };
    t("Ref: burns", "Ref: «burn", &["no AlertPolicy \"burn\" was read; did you mean \"burns\"?"]);
    t("conditionRef: fast", "conditionRef: «slow", &["no AlertCondition \"slow\" was read"]);
    t("threshold: 14.4", "threshold: «0", &["a burn rate above 0"]);
    t("lookbackWindow: 1h", "lookbackWindow: «0h", &["a duration above zero"]);
    t("alertAfter: 5m", "alertAfter: «2h", &["longer than lookbackWindow"]);
    t("alertAfter: 5m", "alertAfter: «5 m", &["expected a duration such as"]);
    t("kind: burnrate", "kind: «latency", &["expected burnrate"]);
    t("kind: burnrate", "kind: burnrate\n    op: «lt", &["expected gt"]);
    let both = ["spec.condition needs \"threshold\"", "did you mean \"threshold\""];
    t("    kind: burnrate\n    threshold", "    ««treshold", &both);
    t("- conditionRef: fast", "«[]", &["expected a list of exactly one condition, found 0"]);
}

#[test]
fn sloth_is_read_from_a_cluster_too() {
    // Of slok/sloth `examples/k8s-getting-started.yml`.
    let text = r#"apiVersion: sloth.slok.dev/v1
kind: PrometheusServiceLevel
metadata:
  name: sloth-slo-my-service
  namespace: monitoring
spec:
  service: "myservice"
  labels: {owner: "myteam"}
  slos:
    - name: "requests-availability"
      objective: 99.9
      description: "Common SLO"
      sli:
        events:
          errorQuery: sum(rate(http_count{code=~"(5..|429)"}[{{.window}}]))
          totalQuery: sum(rate(http_count[{{.window}}]))
      alerting:
        name: MyServiceHighErrorRate
        pageAlert: {labels: {severity: pageteam}}
        ticketAlert: {disable: true}
"#;
    let slo = Folder::parse(vec![("a.yaml".into(), text.to_owned())]).unwrap_or_else(|f| panic!("{f}")).remove(0);
    assert_eq!((slo.id.as_str(), slo.target), ("myservice/requests-availability", 0.999));
    assert_eq!(slo.burn_rules.len(), 2, "tickets are switched off");
    assert!(matches!(&slo.indicator, Indicator::Ratio { bad: Some(b), .. } if b.query.contains("5..")));
    let t = |from: &str, to: &str, says: &[&str]| trap("a.yaml", &text.replacen(from, to, 1), says);
    t("kind: PrometheusServiceLevel", "kind: «ServiceLevel", &["expected PrometheusServiceLevel"]);
    t("objective: 99.9", "objective: «0.999", &["looks like a share"]);
    t("errorQuery", "««error_query", &["events needs \"errorQuery\"", "did you mean \"errorQuery\""]);
    t("pageAlert", "«page_alert", &["did you mean \"pageAlert\""]);
    let fixed = "totalQuery: «sum(rate(http_count[5m]))";
    t("totalQuery: sum(rate(http_count[{{.window}}]))", fixed, &["looks over no window"]);
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

/// Reads `source` as one file. Its `«` marks are taken out first, and are where the faults must be, in order.
fn faults(file: &str, source: &str) -> (Vec<String>, Vec<String>) {
    let mut marks = Vec::new();
    let mut clean = String::new();
    for c in source.chars() {
        if c == '«' {
            let line = clean.matches('\n').count() + 1;
            let column = clean.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            marks.push(format!("{file}:{line}:{column}"));
        } else {
            clean.push(c);
        }
    }
    let found = Folder::parse(vec![(file.into(), clean)]).expect_err(source);
    (found.0.iter().map(ToString::to_string).collect(), marks)
}

/// `says` are parts of the faults in the order of the marks.
fn trap(file: &str, source: &str, says: &[&str]) {
    let (found, marks) = faults(file, source);
    assert_eq!(found.len(), says.len(), "{source}\n{found:#?}");
    assert_eq!(marks.len(), says.len(), "{source}");
    for ((found, mark), says) in found.iter().zip(&marks).zip(says) {
        assert!(found.starts_with(&format!("{mark}: ")) && found.contains(says), "{mark}: {says}\n{found}\n{source}");
    }
}

/// An OpenSLO objective with one line of it replaced.
fn open_with(from: &str, to: &str) -> String {
    const WHOLE: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata:
  name: a
spec:
  service: web
  indicator:
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource: {type: prometheus, spec: {query: good_total}}
        total:
          metricSource: {type: prometheus, spec: {query: all_total}}
  timeWindow:
    - duration: 30d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.999
"#;
    assert!(WHOLE.contains(from), "{from}");
    WHOLE.replace(from, to)
}

#[test]
fn traps_of_openslo() {
    assert!(Folder::parse(vec![("a.yaml".into(), open_with("30d", "30d"))]).is_ok());
    let t = |from: &str, to: &str, says: &[&str]| trap("a.yaml", &open_with(from, to), says);
    let target = |to: &str, says: &str| t("target: 0.999", to, &[says]);
    target("target: «1", "spec.objectives[0].target: a target of 1 leaves no error budget");
    target("target: «100", "a target of 100 % leaves no error budget");
    target("target: «0", "promises nothing");
    target(
        "target: «99.9",
        "99.9 looks like a percent, and a share is expected here: write 0.999, or targetPercent: 99.9",
    );
    target("target: «-0.5", "promises nothing");
    target("target: «.nan", "non-finite");
    target("target: «\"0.999\"", "expected a number, found a text");
    target(
        "targetPercent: «0.999",
        "0.999 looks like a share, and a percent is expected here: write 99.9, or target: 0.999",
    );
    target("targetPercent: «100", "leaves no error budget");
    target("target: 0.9\n      targetPercent: «90", "both there");
    target("«displayName: x", "spec.objectives[0].target (a share such as 0.999) or targetPercent is needed");
    target("target: 0.9\n      timeSliceTarget: «0.9", "means nothing with budgetingMethod Occurrences");
    t("duration: 30d", "duration: «0d", &["spec.timeWindow[0].duration: a duration above zero"]);
    t("duration: 30d", "duration: «30", &["expected a text, found 30"]);
    t("duration: 30d", "duration: «30 days", &["expected a duration such as"]);
    t("duration: 30d", "duration: «9999999999999Y", &["more than ten years"]);
    t("isRolling: true", "isRolling: «maybe", &["expected true or false"]);
    t(
        "isRolling: true",
        "isRolling: true\n      calendar: «{startTime: 2022-01-01, timeZone: UTC}",
        &["follows no calendar"],
    );
    let calendar = "isRolling: false\n      calendar: {startTime: 2022-01-01, timeZone: «Europe/Pariss}";
    t("isRolling: true", calendar, &["\"Europe/Pariss\" is no time zone of the IANA database"]);
    let calendar = "duration: «1m\n      isRolling: false\n      calendar: {startTime: 2022-01-01, timeZone: UTC}";
    t("duration: 30d\n      isRolling: true", calendar, &["did you mean 1M"]);
    t("Occurrences", "«Ocurrences", &["did you mean \"Occurrences\""]);
    t(
        "Occurrences\n  objectives:\n    - target",
        "Timeslices\n  objectives:\n    - «timeSliceWindow: 1m\n      target",
        &["spec.objectives[0].timeSliceTarget is needed with budgetingMethod Timeslices"],
    );
    let both = ["spec needs \"service\"", "unknown key \"servise\" of spec; did you mean \"service\"?"];
    t("  service: web", "  ««servise: web", &both);
}

#[test]
fn traps_of_openslo_indicators() {
    let t = |from: &str, to: &str, says: &[&str]| trap("a.yaml", &open_with(from, to), says);
    let bad = "counter: true\n        bad: «{metricSource: {spec: {query: bad_total}}}";
    t("counter: true", bad, &["good and bad are both there"]);
    t(
        "type: prometheus, spec: {query: all_total}",
        "type: «Datadog, spec: {query: x}",
        &["\"Datadog\" is not asked here"],
    );
    t("        counter: true", "        «conter: true", &["did you mean \"counter\""]);
    t("query: all_total", "query: «\"x[{{.range}}]\"", &["unknown placeholder {{.range}}"]);
    t("kind: SLO", "kind: «SLOs", &["unknown kind \"SLOs\"; did you mean \"SLO\"?"]);
    t("apiVersion: openslo/v1", "apiVersion: «openslo/v1alpha", &["\"openslo/v1alpha\" is not known here"]);
    t(
        "    - target: 0.999",
        "    - target: 0.999\n      indicatorRef: «web-answer",
        &["no SLI \"web-answer\" was read"],
    );
}

#[test]
fn traps_of_sloth() {
    let t = |slo: &str, says: &[&str]| {
        trap("a.yml", &format!("version: prometheus/v1\nservice: x\nslos:\n  - name: a\n{slo}"), says);
    };
    let sli = "    sli: {events: {error_query: \"e[{{.window}}]\", total_query: \"t[{{ .window }}]\"}}\n";
    t(
        &format!("    objective: «0.999\n{sli}"),
        &["slos[0].objective: 0.999 looks like a share, and a percent is expected here: write 99.9"],
    );
    t(&format!("    objective: «100\n{sli}"), &["leaves no error budget"]);
    t(&format!("    objective: «0\n{sli}"), &["promises nothing"]);
    t(&format!("    objective: «101\n{sli}"), &["is no percent"]);
    trap(
        "a.yml",
        &format!("version: prometheus/v1\nservice: x\nslos:\n  - «name: a\n    «objectiv: 99\n{sli}"),
        &["slos[0] needs \"objective\"", "unknown key \"objectiv\" of slos[0]; did you mean \"objective\"?"],
    );
    t(
        "    objective: 99\n    sli: {events: {error_query: «\"e[5m]\", total_query: «\"t[5m]\"}}\n",
        &[
            "slos[0].sli.events.error_query: the query looks over no window",
            "total_query: the query looks over no window",
        ],
    );
    t(
        "    objective: 99\n    sli: {events: {error_query: «\"e[{{.Window}}]\", total_query: \"t[{{.window}}]\"}}\n",
        &["unknown placeholder"],
    );
    t("    objective: 99\n    sli: {plugin: «{id: x}}\n", &["is not run here"]);
    let twice = format!("    objective: 99\n{sli}  - «name: a\n    objective: 99\n{sli}");
    t(&twice, &["the objective \"x/a\" is there twice; the first is at a.yml:4:5"]);
}

#[test]
fn traps_of_pyrra() {
    let t = |spec: &str, says: &[&str]| {
        let head = "apiVersion: pyrra.dev/v1alpha1\nkind: ServiceLevelObjective\nmetadata:\n  name: a\nspec:\n";
        trap("a.yaml", &format!("{head}{spec}"), says);
    };
    let ratio = "  indicator: {ratio: {errors: {metric: e}, total: {metric: t}}}\n";
    t(&format!("  target: «\"0.999\"\n  window: 4w\n{ratio}"), &["looks like a share"]);
    t(&format!("  target: «\"100\"\n  window: 4w\n{ratio}"), &["leaves no error budget"]);
    t(&format!("  target: «\"many\"\n  window: 4w\n{ratio}"), &["expected a percent"]);
    t(&format!("  target: \"99\"\n  window: «1M\n{ratio}"), &["M is no unit here"]);
    t(&format!("  target: \"99\"\n  window: «0d\n{ratio}"), &["above zero"]);
    let latency = "  indicator: {latency: {success: «{metric: h_bucket}, total: {metric: h_count}}}\n";
    t(&format!("  target: \"99\"\n  window: 4w\n{latency}"), &["expected the bucket"]);
    let native = "  indicator: {latencyNative: «{latency: 200ms, total: {metric: h}}}\n";
    t(&format!("  target: \"99\"\n  window: 4w\n{native}"), &["native histograms, which are not read here"]);
}

#[test]
fn traps_of_our_own() {
    let t =
        |rest: &str, says: &[&str]| trap("a.toml", &format!("[[slo]]\nservice = \"x\"\nname = \"a\"\n{rest}"), says);
    let rest = "window = \"30d\"\ngood = \"g\"\ntotal = \"t\"\n";
    t(&format!("target = «0.999\n{rest}"), &["0.999 could be a share or a percent"]);
    t(&format!("target = «\"0.999\"\n{rest}"), &["expected a percent"]);
    t(&format!("target = «\"0.999%\"\n{rest}"), &["looks like a share"]);
    t(&format!("target = «\"100%\"\n{rest}"), &["leaves no error budget"]);
    t(&format!("target = \"99%\"\n«colour = 1\n{rest}"), &["unknown key \"colour\" of slo[0]"]);
    t(&format!("target = \"99%\"\n{rest}bad = «\"b\"\n"), &["slo[0].bad: good is there, too"]);
    t(&format!("target = \"99%\"\n{rest}zone = «\"Mars/Olympus\"\n"), &["no time zone"]);
    t(&format!("target = \"99%\"\n{rest}alerting = «\"pager\"\n"), &["expected workbook, sloth, none"]);
    t("target = \"99%\"\nwindow = \"30d\"\nsli = «\"time_to_acknowlege\"\n", &["did you mean \"time_to_acknowledge\""]);
}

#[test]
fn faults_of_all_files_are_told_at_once() {
    let files = vec![
        ("a.yaml".into(), open_with("0.999", "1")),
        ("b.yaml".into(), "a: [1\n".to_owned()),
        ("c.toml".into(), "[[slo]\n".to_owned()),
        ("d.yaml".into(), "- 5\n---\nkind: Pod\n".to_owned()),
    ];
    let found = Folder::parse(files).unwrap_err().to_string();
    for file in ["a.yaml:20:15", "b.yaml:", "c.toml:1:", "d.yaml:1:3"] {
        assert!(found.contains(file), "{file}: {found}");
    }
}

#[test]
fn an_alert_that_can_never_fire_is_noted() {
    let of = |target| alerts::notes(&alerts::preset("workbook").unwrap(), target, &Window::Rolling { seconds: 86_400 });
    // 1 / (1 - 0.9) = 10: a page at 14.4 never fires. Three days are more than the window of one.
    let notes = of(0.9);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("14.4x") && notes[0].contains("at most 10"), "{notes:?}");
    assert!(notes[1].contains("3 d") && notes[1].contains("further back"), "{notes:?}");
    assert_eq!(of(0.999).len(), 1);
}

#[test]
fn words_say_what_is_promised() {
    let said = words::explain(&slo("search/availability")).join("\n");
    assert!(said.contains("99.9 % of events are good"), "{said}");
    assert!(said.contains("43.2 min of 30 d: 0.1 % may be bad"), "{said}");
    assert!(said.contains("burn rate above 14.4 over 1 h and over 5 min: 2 % of the budget spent in 1 h"), "{said}");
    let said = words::explain(&slo("web/availability/contract")).join("\n");
    assert!(said.contains("each calendar month, counted from 2022-01-01 12:00 America/New_York"), "{said}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Whatever is cut out of a good file or put into it, the answer is objectives or faults.
    #[test]
    fn readers_never_panic(which in 0usize..4, at in 0usize..2_000, cut in 0usize..40, put in "[ -~\n«é]{0,12}") {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/slo");
        let name = ["openslo.yaml", "sloth.yml", "pyrra.yaml", "native.toml"][which];
        let source: Vec<char> = std::fs::read_to_string(folder.join(name)).unwrap().chars().collect();
        let at = at % source.len();
        let end = (at + cut).min(source.len());
        let changed: String = source[..at].iter().chain(put.chars().collect::<Vec<_>>().iter()).chain(&source[end..]).collect();
        let _ = Folder::parse(vec![(name.into(), changed)]);
    }
}
