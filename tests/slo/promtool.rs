//! Burn-rate alerts against Prometheus' own rule engine: the rules `slo rules` writes are run by `promtool test rules` over
//! series that burn fast, burn slowly, start anew, have gaps, and fall silent; it must say that each alert fires at
//! exactly the moments at which our evaluator says so.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use jiff::Timestamp;
use watchfloor::model::health::Tri;
use watchfloor::model::slo::Slo;
use watchfloor::operate::slo::eval::evaluate;
use watchfloor::operate::slo::series::{Part, Sample, Series, Signal, Track};
use watchfloor::operate::slo::spec::Folder;

/// Counters by their `code` label, a sample a minute from minute 0; `None`: it was not scraped.
struct Story {
    name: &'static str,
    tracks: Vec<(&'static str, Vec<Option<f64>>)>,
    minutes: usize,
    /// Every so many minutes the rules are evaluated.
    every: usize,
    /// Severities that must fire some time, and not all the time.
    fires: &'static [&'static str],
}

/// Counters that grow by what `grow` says of a minute and a code.
fn story(
    name: &'static str,
    minutes: usize,
    every: usize,
    fires: &'static [&'static str],
    grow: impl Fn(usize, &str) -> Grow,
) -> Story {
    let mut tracks = Vec::new();
    for code in ["200", "500", "503"] {
        let (mut sum, mut track) = (0.0, Vec::new());
        for i in 0..=minutes {
            match grow(i, code) {
                Grow::By(n) => {
                    sum += n;
                    track.push(Some(sum));
                }
                Grow::Anew(n) => {
                    sum = n;
                    track.push(Some(sum));
                }
                Grow::Unseen(n) => {
                    sum += n;
                    track.push(None);
                }
            }
        }
        tracks.push((code, track));
    }
    Story { name, tracks, minutes, every, fires }
}

enum Grow {
    By(f64),
    Anew(f64),
    /// It grows, but nobody looks.
    Unseen(f64),
}

/// Traffic that is never the same twice, so that no ratio stands on a threshold.
fn traffic(i: usize) -> f64 {
    500.0 + (i * 37 % 101) as f64
}

fn bad(i: usize, share: f64) -> f64 {
    (traffic(i) * share).round() + (i % 3) as f64
}

fn stories() -> Vec<Story> {
    let calm = |i: usize, code: &str| match code {
        "200" => traffic(i),
        "503" => f64::from(u8::from(i % 200 == 7)),
        _ => 0.0,
    };
    let burning = move |i: usize, code: &str, share: f64| match code {
        "503" => bad(i, share),
        code => calm(i, code),
    };
    vec![
        story("a fast burn of 25 minutes", 420, 1, &["page", "ticket"], |i, code| {
            Grow::By(if (200..225).contains(&i) { burning(i, code, 0.2) } else { calm(i, code) })
        }),
        story("a slow burn of two and a half days", 5 * 1440, 60, &["ticket"], |i, code| {
            Grow::By(if (1440..1440 * 7 / 2).contains(&i) { burning(i, code, 0.009) } else { calm(i, code) })
        }),
        story("restarts in the middle of a burn", 400, 1, &["page"], |i, code| {
            let n = if (150..240).contains(&i) { burning(i, code, 0.12) } else { calm(i, code) };
            match (i % 83, code) {
                (11, "200") | (12, "503") => Grow::Anew(n),
                _ => Grow::By(n),
            }
        }),
        story("gaps: seven minutes, forty, and one that hides the end", 500, 1, &["page"], |i, code| {
            let n = if (180..260).contains(&i) { burning(i, code, 0.15) } else { calm(i, code) };
            let hidden = (190..197).contains(&i) || (210..250).contains(&i) || (255..270).contains(&i) || i % 29 == 5;
            if hidden { Grow::Unseen(n) } else { Grow::By(n) }
        }),
        // From zero: promtool before 2.52 takes a counter that appears with a value back to zero even where it takes any
        // other back by half a step only (prometheus#13725), and so counts more than it should.
        story("errors of a kind that was never there before", 300, 1, &["page"], |i, code| match code {
            "500" if i < 120 => Grow::Unseen(0.0),
            "500" if i == 120 => Grow::By(0.0),
            "500" if i < 160 => Grow::By(bad(i, 0.3)),
            "500" => Grow::By(0.0),
            code => Grow::By(calm(i, code)),
        }),
        story("silence after a burn", 700, 1, &["page"], |i, code| match i {
            0..100 => Grow::By(calm(i, code)),
            100..130 => Grow::By(burning(i, code, 0.4)),
            130..480 => Grow::By(0.0),
            // Nobody scrapes any more, then all comes back.
            480..600 => Grow::Unseen(0.0),
            _ => Grow::By(calm(i, code)),
        }),
        story("nothing happens", 200, 1, &[], |i, code| Grow::By(calm(i, code))),
    ]
}

fn objective(alerting: &str, target: &str) -> String {
    format!(
        "[[slo]]\nservice = \"api\"\nname = \"availability\"\ntarget = \"{target}%\"\nwindow = \"30d\"\nalerting = \"{alerting}\"\n\
         bad = 'http_requests_total{{code=~\"5..\"}}'\ntotal = 'http_requests_total'\n"
    )
}

impl Story {
    fn series(&self) -> Series {
        let track = |values: &[Option<f64>]| -> Arc<Track> {
            let sample = |(i, v): (usize, &Option<f64>)| v.map(|value| Sample { at: i as i64 * 60_000, value });
            Arc::new(values.iter().enumerate().filter_map(sample).collect())
        };
        let total: Vec<Arc<Track>> = self.tracks.iter().map(|(_, t)| track(t)).collect();
        let tracks = self.tracks.iter().filter(|(code, _)| code.starts_with('5')).map(|(_, t)| track(t)).collect();
        Series::new(Signal::Counters { part: Part::Bad, tracks, total, none_yet: false }, 60_000)
    }

    /// Minutes, and which severities fire then.
    fn judged(&self, slo: &Slo) -> Vec<(usize, Vec<String>)> {
        let series = self.series();
        let mut out: Vec<(usize, Vec<String>)> = Vec::new();
        let mut since: std::collections::BTreeMap<usize, usize> = std::collections::BTreeMap::new();
        for minute in (0..=self.minutes).step_by(self.every) {
            let now = Timestamp::from_second(minute as i64 * 60).unwrap();
            let status = evaluate(slo, &series, now);
            let mut fires = Vec::new();
            for (i, a) in status.alerts.iter().enumerate() {
                if a.state != Tri::Fail {
                    since.remove(&i);
                    continue;
                }
                let first = *since.entry(i).or_insert(minute);
                let said = a.since.unwrap().as_second() as usize / 60;
                assert!(said <= first && first - said < self.every, "{}: {minute}: since {said}, {first}", self.name);
                if !fires.contains(&a.rule.severity) {
                    fires.push(a.rule.severity.clone());
                }
            }
            out.push((minute, fires));
        }
        out
    }

    /// The file `promtool test rules` reads, expecting what was judged.
    fn rule_test(&self, target: &str, judged: &[(usize, Vec<String>)]) -> String {
        let mut out = format!(
            "rule_files: [rules.yml]\nevaluation_interval: {}m\ntests:\n- interval: 1m\n  input_series:\n",
            self.every
        );
        for (code, values) in &self.tracks {
            let values: Vec<String> = values.iter().map(|v| v.map_or("_".to_owned(), |v| v.to_string())).collect();
            writeln!(out, "  - series: 'http_requests_total{{code=\"{code}\"}}'\n    values: '{}'", values.join(" "))
                .unwrap();
        }
        out.push_str("  alert_rule_test:\n");
        for (minute, fires) in judged {
            writeln!(out, "  - eval_time: {minute}m\n    alertname: SloBurnRate\n    exp_alerts:").unwrap();
            for severity in fires {
                writeln!(
                    out,
                    "    - exp_labels: {{sloth_id: api-availability, sloth_service: api, sloth_slo: availability, severity: \
                     {severity}, sloth_severity: {severity}}}\n      exp_annotations: {{summary: 'api/availability burns its \
                     error budget too fast ({target} % promised)'}}"
                )
                .unwrap();
            }
        }
        out
    }
}

/// Whether it agrees, and what it says.
fn promtool(dir: &Path, test: &str) -> (bool, String) {
    std::fs::write(dir.join("test.yml"), test).unwrap();
    let out = Command::new("promtool").args(["test", "rules", "test.yml"]).current_dir(dir).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.success(), said)
}

#[test]
fn alerts_fire_when_promtool_says_so() {
    let Ok(version) = Command::new("promtool").arg("--version").output() else {
        println!("skipped: promtool is not installed (tests/setup.sh installs prometheus)");
        return;
    };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    if !version.contains("version 2.") {
        println!("skipped: ranges of Prometheus 3 leave their start out, and ours hold it: {version}");
        return;
    }
    for (preset, target) in [("sloth", "99.5"), ("workbook", "99.7")] {
        let text = objective(preset, target);
        let slo = Folder::parse(vec![("api.toml".into(), text.clone())]).unwrap().remove(0);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("api.toml"), text).unwrap();
        let (code, rules) =
            super::run(dir.path(), &["slo", "rules", "--from", dir.path().join("api.toml").to_str().unwrap()]);
        assert_eq!(code, 0, "{rules}");
        std::fs::write(dir.path().join("rules.yml"), &rules).unwrap();
        for story in stories() {
            let judged = story.judged(&slo);
            let fired = |severity: &str| judged.iter().filter(|(_, f)| f.iter().any(|s| s == severity)).count();
            println!(
                "{preset}: {}: {} moments, page {}, ticket {}",
                story.name,
                judged.len(),
                fired("page"),
                fired("ticket")
            );
            for severity in story.fires {
                assert!((1..judged.len()).contains(&fired(severity)), "{}: {severity}", story.name);
            }
            let (agrees, said) = promtool(dir.path(), &story.rule_test(target, &judged));
            assert!(agrees, "{preset}: {}\n{said}", story.name);
            if story.every != 1 || preset != "sloth" {
                continue;
            }
            // It would say so if one moment were wrong.
            let Some(i) = judged.iter().position(|(_, fires)| !fires.is_empty()) else { continue };
            let mut late = judged.clone();
            late[i].1.clear();
            let (agrees, said) = promtool(dir.path(), &story.rule_test(target, &late));
            assert!(!agrees && said.contains(&format!("time: {}", duration(late[i].0))), "{said}");
        }
    }
}

/// As promtool says a time: `3h20m`.
fn duration(minutes: usize) -> String {
    let parts = [(minutes / 1440, 'd'), (minutes / 60 % 24, 'h'), (minutes % 60, 'm')];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}
