//! What benches share: alerts that look like Wazuh's, desks filled with them and kept between runs, medians.

#![allow(dead_code, reason = "each bench uses its own part")]

use std::fs::File;
use std::io::BufWriter;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Every host's name begins so.
pub const HOST_PREFIX: &str = "bench-ws-";

pub fn env<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

pub fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// Where data sets are kept between runs, outside the source tree.
pub fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")));
    let dir = base.unwrap_or_else(std::env::temp_dir).join("watchfloor-bench").join(env!("CARGO_PKG_VERSION"));
    std::fs::create_dir_all(&dir).expect("a cache folder");
    dir
}

/// One record of about 900 bytes; the same for the same number.
pub fn record(n: usize) -> String {
    // SplitMix64, so that a data set is the same everywhere.
    let mut z = (n as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let host = z % 5_000;
    let user = (z >> 16) % 20_000;
    let rule = 5_000 + (z >> 24) % 400;
    let level = 3 + (z >> 32) % 12;
    let (a, b) = ((z >> 40) & 255, (z >> 48) & 255);
    let tool = ["sshd", "sudo", "dovecot", "powershell.exe", "svchost.exe", "nginx"][(z >> 56) as usize % 6];
    let second = n % 60;
    let minute = n / 60 % 60;
    let rare = if n % 50_021 == 7 { "mimikatz.exe sekurlsa::logonpasswords" } else { "ordinary session traffic" };
    format!(
        r#"{{"timestamp":"2026-01-05T09:{minute:02}:{second:02}.{:03}+0000","rule":{{"level":{level},"description":"{tool}: policy event {rule}","id":"{rule}","firedtimes":{},"mail":false,"groups":["syslog","{tool}","policy"],"mitre":{{"id":["T1078"],"tactic":["Persistence"],"technique":["Valid Accounts"]}},"pci_dss":["10.2.5"],"gdpr":["IV_32.2"],"nist_800_53":["AU.14","AC.7"]}},"agent":{{"id":"{host:05}","name":"{HOST_PREFIX}{host:05}","ip":"10.{a}.{b}.{}"}},"manager":{{"name":"wazuh-1"}},"id":"1767603600.{n}","full_log":"Jan  5 09:{minute:02}:{second:02} {HOST_PREFIX}{host:05} {tool}[{}]: session for user u{user:05} from 192.0.2.{} port {}: {rare}","decoder":{{"name":"{tool}"}},"data":{{"srcip":"192.0.2.{}","srcport":"{}","dstuser":"u{user:05}"}},"location":"/var/log/auth.log"}}"#,
        n % 1000,
        n % 97,
        host % 254 + 1,
        1_000 + n % 30_000,
        a,
        1_024 + b * 200,
        a,
        1_024 + b * 200,
    )
}

/// `n` records as NDJSON.
pub fn ndjson(n: usize) -> PathBuf {
    let path = cache().join(format!("wazuh-{n}.ndjson"));
    if !path.exists() {
        let part = path.with_extension("part");
        let mut file = BufWriter::new(File::create(&part).expect("a data set"));
        for i in 0..n {
            writeln!(file, "{}", record(i)).expect("a record");
        }
        file.flush().expect("a data set");
        std::fs::rename(&part, &path).expect("a data set");
    }
    path
}

/// A data folder with `n` alerts, imported by the program itself.
pub fn desk_with(n: usize) -> PathBuf {
    let dir = cache().join(format!("desk-{n}"));
    if !dir.join("complete").exists() {
        let _ = std::fs::remove_dir_all(&dir);
        let done = Command::new(env!("CARGO_BIN_EXE_watchfloor"))
            .arg("--data-dir")
            .arg(&dir)
            .arg("import")
            .arg(ndjson(n))
            .status()
            .expect("import");
        assert!(done.success(), "the data set was imported");
        File::create(dir.join("complete")).expect("a mark");
    }
    dir
}
