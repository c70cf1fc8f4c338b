//! What benches share: alerts that look like Wazuh's, desks filled with them and kept between runs, medians.

#![allow(dead_code, reason = "each bench uses its own part")]

use std::fs::File;
use std::io::BufWriter;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

mod wazuh;

/// Goes up when the records or the schema change.
const VERSION: u32 = 3;

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
    let dir = base
        .unwrap_or_else(std::env::temp_dir)
        .join("watchfloor-bench")
        .join(format!("{}-{VERSION}", env!("CARGO_PKG_VERSION")));
    std::fs::create_dir_all(&dir).expect("a cache folder");
    dir
}

/// `n` records as NDJSON, the same ones everywhere.
pub fn ndjson(n: usize) -> PathBuf {
    let path = cache().join(format!("wazuh-{n}.ndjson"));
    if !path.exists() {
        let part = path.with_extension("part");
        let mut file = BufWriter::new(File::create(&part).expect("a data set"));
        let mut rng = wazuh::Rng::new(42);
        for i in 0..n {
            writeln!(file, "{}", wazuh::record(&mut rng, i as u64)).expect("a record");
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
