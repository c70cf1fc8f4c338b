//! A real Prometheus, for the tests that measure with one.

#![allow(dead_code, reason = "each test uses its own part")]

use std::path::Path;
use std::process::Command;

/// Ends with the test.
pub struct Prometheus {
    dir: tempfile::TempDir,
    pub url: String,
}

fn script(verb: &str, dir: &Path) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/prometheus.sh");
    Command::new("bash").arg(path).arg(verb).arg(dir).output().unwrap()
}

impl Prometheus {
    /// With these samples already there. `None`, with a word why, where there is no Prometheus.
    pub fn filled(open_metrics: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("in.om"), open_metrics).unwrap();
        Self::start(dir)
    }

    /// Scrapes this address (`HOST:PORT`) every second.
    pub fn scraping(address: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: pods\n    static_configs: [{{targets: [\"{address}\"]}}]\n"
        );
        std::fs::write(dir.path().join("prometheus.yml"), text).unwrap();
        Self::start(dir)
    }

    /// Whether a query finds anything now.
    pub fn finds(&self, query: &str) -> bool {
        let out = Command::new("curl")
            .args(["-sf", "--max-time", "30", "--data-urlencode"])
            .arg(format!("query={query}"))
            .arg(format!("{}/api/v1/query", self.url))
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        answer["data"]["result"].as_array().is_some_and(|r| !r.is_empty())
    }

    fn start(dir: tempfile::TempDir) -> Option<Self> {
        let out = script("start", dir.path());
        if out.status.code() == Some(77) {
            println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
            return None;
        }
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let env = std::fs::read_to_string(dir.path().join("env")).unwrap();
        let url = env.lines().find_map(|l| l.strip_prefix("URL=")).unwrap().to_owned();
        Some(Self { dir, url })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        script("stop", self.dir.path());
    }
}
