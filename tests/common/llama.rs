//! A llama.cpp server with a tiny model, started for one test or bench.

#![allow(dead_code, reason = "each test and bench uses its own part")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub const KEY: &str = "test-key-71";

/// Stopped when dropped.
pub struct Llama {
    process: Child,
    pub url: String,
}

impl Drop for Llama {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Llama {
    /// With so many slots of so many tokens each. `None`, said aloud, where the server was not built: that takes too long
    /// for every run.
    pub fn start(slots: usize, context: usize) -> Option<Self> {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/services/llama-server.sh");
        let build = std::env::var_os("WATCHFLOOR_TEST_BUILD_LLAMA").is_some();
        let mut command = Command::new(script);
        if !build {
            command.arg("--check");
        }
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let Some((binary, model)) = said.trim().split_once(' ').filter(|_| out.status.success()) else {
            assert!(!build, "the build failed: {}", String::from_utf8_lossy(&out.stderr));
            println!("skipped: no llama-server; WATCHFLOOR_TEST_BUILD_LLAMA=1 builds one (about half an hour)");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port_arg, all, slots) = (port.to_string(), (slots * context).to_string(), slots.to_string());
        let process = Command::new(binary)
            .args(["-m", model, "--host", "127.0.0.1", "--port", &port_arg, "-c", &all, "-np", &slots, "-t", "1"])
            .args(["--metrics", "--slots", "--api-key", KEY])
            // One thread that sleeps when it waits: beside a compiler two that spin get next to nothing done.
            .env("OMP_WAIT_POLICY", "passive")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { process, url: format!("http://127.0.0.1:{port}/v1") })
    }
}
