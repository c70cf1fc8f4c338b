//! A model in this process, on real weights: SmolLM2-135M, which is far too small to triage. What is checked is shape,
//! streaming, cancelling, sharing of prefixes, batching, memory; never what it thinks, and never how fast it is.
#![cfg(feature = "local")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests start what they need, say what they skip and fail aloud"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use watchfloor::config::settings::LocalSettings;
use watchfloor::triage::Engine as _;
use watchfloor::triage::backend::local::Local;
use watchfloor::triage::conformance::{self, Expect};

/// The model's file, or `None`, said aloud, where it cannot be had.
fn smollm2() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/smollm2.sh");
    let out = Command::new(script).output().unwrap();
    match out.status.code() {
        Some(0) => Some(PathBuf::from(String::from_utf8(out.stdout).unwrap().trim())),
        Some(77) => {
            println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
            None
        }
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&out.stderr)),
    }
}

fn settings(model: &Path) -> LocalSettings {
    LocalSettings { model: model.display().to_string(), ..LocalSettings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_in_this_process_does_what_every_engine_must() {
    let Some(model) = smollm2() else { return };
    let engine = Local::new(&settings(&model), PathBuf::new());
    let health = engine.health().await;
    assert!(
        health.up && health.detail.contains("not in memory"),
        "nothing is loaded before it is asked for: {health:?}"
    );
    conformance::all(&engine, &Expect::default()).await;
    println!("{:?}", engine.health().await);
}
