//! A llama.cpp server with a tiny model, started for one test or bench.

#![allow(dead_code, reason = "each test and bench uses its own part")]

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
        let (all, slots) = ((slots * context).to_string(), slots.to_string());
        // Somebody else may take the port between its choice and the server's start, which then ends.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let process = Command::new(binary)
                .args(["-m", model, "--host", "127.0.0.1", "--port", &port.to_string(), "-c", &all, "-np", &slots])
                .args(["-t", "1", "--metrics", "--slots", "--api-key", KEY])
                // One thread that sleeps when it waits: beside a compiler two that spin get next to nothing done.
                .env("OMP_WAIT_POLICY", "passive")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut server = Self { process, url: format!("http://127.0.0.1:{port}/v1") };
            if server.listens(port) {
                return Some(server);
            }
        }
        panic!("llama-server does not start")
    }

    /// Waits until it does; false: it ended.
    fn listens(&mut self, port: u16) -> bool {
        let until = Instant::now() + Duration::from_secs(150);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < until, "llama-server does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        // Who answered may be somebody else.
        std::thread::sleep(Duration::from_millis(300));
        self.process.try_wait().unwrap().is_none()
    }
}
