//! How soon a large cluster is on screen and what watching it costs, against a real apiserver with 10,000 pods:
//!
//! - the first list (connect, eight kinds listed, rollouts made of them), beside a bare `kube` client that lists the same
//!   pods as its typed objects, whichever way of it is faster: all at once, or in pages of 500 (at most 1.3 of it);
//! - the same through an open desk, until the reading that the panes draw holds every pod;
//! - the processor time of that desk while pods change four times a second, and of the console with the Rollouts pane
//!   open (at most 5 % of a core); each beside the same without any change.
//!
//! `cargo bench --bench pods`. `WATCHFLOOR_BENCH_PODS` (10,000) and `WATCHFLOOR_BENCH_WATCH` (seconds, 40) change the
//! size. The cluster's data are kept between runs. Skipped where Kubernetes is not built
//! (`tests/services/kubernetes-build.sh`).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, starts servers and stops at the first fault"
)]

mod common;
#[path = "pods/fleet.rs"]
mod fleet;

use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use portable_pty::CommandBuilder;
use portable_pty::PtySize;
use portable_pty::native_pty_system;
use watchfloor::config;
use watchfloor::config::settings::KubernetesSettings;
use watchfloor::desk::Desk;
use watchfloor::operate::rollout::cluster::Pace;
use watchfloor::operate::rollout::cluster::Reader;
use watchfloor::operate::rollout::read::Pairs;
use watchfloor::operate::rollout::read::rollouts;

const ROUNDS: usize = 9;
/// Clock ticks of `/proc/PID/stat` in a second: 100 on every Linux.
const TICKS: f64 = 100.0;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|a| a == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // What changes pods is a process of its own, so that its time is not counted.
    if let Some(at) = args.iter().position(|a| a == "--change") {
        runtime.block_on(fleet::change(Path::new(&args[at + 1])));
        return;
    }
    let n: usize = common::env("WATCHFLOOR_BENCH_PODS", 10_000);
    let watch = Duration::from_secs(common::env("WATCHFLOOR_BENCH_WATCH", 40));
    let Some(cluster) = Cluster::start(n) else { return };
    if !cluster.dir.join("complete").exists() {
        println!("making {n} pods, once");
        runtime.block_on(fleet::fill(&cluster.kubeconfig("admin"), n));
        std::fs::write(cluster.dir.join("complete"), "").unwrap();
    }
    first_list(&runtime, &cluster, n);
    drop(runtime);
    through_the_desk(&cluster, n, watch);
    console(&cluster, watch);
}

struct Cluster {
    dir: PathBuf,
}

impl Cluster {
    fn start(n: usize) -> Option<Self> {
        let dir = common::cache().join(format!("pods-{n}"));
        let cluster = Self { dir };
        // Of a run that was killed; one killed while it made pods left too few.
        cluster.script("stop");
        if !cluster.dir.join("complete").exists() {
            let _ = std::fs::remove_dir_all(&cluster.dir);
        }
        std::fs::create_dir_all(&cluster.dir).unwrap();
        let out = cluster.script("start");
        if out.status.code() == Some(77) {
            println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
            return None;
        }
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Some(cluster)
    }

    fn script(&self, verb: &str) -> std::process::Output {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/kubernetes.sh");
        let owner = std::process::id().to_string();
        Command::new("bash").arg(path).arg(verb).arg(&self.dir).env("WATCHFLOOR_TEST_OWNER", owner).output().unwrap()
    }

    fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir.join(format!("{user}.kubeconfig"))
    }

    fn change(&self) -> Ended {
        let me = std::env::current_exe().unwrap();
        Ended(Command::new(me).arg("--change").arg(self.kubeconfig("writer")).spawn().unwrap())
    }

    /// A data folder and a configuration that names this cluster alone.
    fn desk(&self) -> (tempfile::TempDir, config::Overrides) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let kubeconfig = self.kubeconfig("reader").display().to_string();
        std::fs::write(&file, format!("[operate.kubernetes.fleet]\nkubeconfig = {kubeconfig:?}\n")).unwrap();
        let over = config::Overrides {
            config: Some(file),
            data_dir: Some(dir.path().join("data")),
            ..config::Overrides::default()
        };
        (dir, over)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script("stop");
    }
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whole, with a page size or without.
async fn bare(kubeconfig: &Path, n: usize, page: Option<u32>) -> Duration {
    let began = Instant::now();
    let pods: Api<Pod> = Api::all(fleet::client(kubeconfig).await);
    let mut params = ListParams { limit: page, ..ListParams::default() };
    let mut all = Vec::new();
    loop {
        let list = pods.list(&params).await.unwrap();
        all.extend(list.items);
        match list.metadata.continue_.filter(|c| !c.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => break,
        }
    }
    let took = began.elapsed();
    assert_eq!(all.len(), n);
    took
}

async fn ours(kubeconfig: &Path, n: usize) -> Duration {
    let settings = KubernetesSettings { kubeconfig: Some(kubeconfig.to_owned()), ..KubernetesSettings::default() };
    let began = Instant::now();
    let reader = Reader::new("fleet", settings, Pace::default());
    let task = tokio::spawn(Arc::clone(&reader).run());
    let shown = loop {
        reader.changed.notified().await;
        if reader.started() {
            break reader.with(|s| rollouts(s, &Pairs::default(), Timestamp::now())).unwrap();
        }
    };
    let took = began.elapsed();
    let pods: usize = shown.iter().flat_map(|r| &r.revisions).map(|v| v.pods.len()).sum();
    assert_eq!(pods, n);
    task.abort();
    took
}

fn first_list(runtime: &tokio::runtime::Runtime, cluster: &Cluster, n: usize) {
    let kubeconfig = cluster.kubeconfig("reader");
    let (mut whole, mut paged, mut own) = (Vec::new(), Vec::new(), Vec::new());
    // In turn, so that whatever else the machine does falls on all alike; the first round warms the server.
    for round in 0..=ROUNDS {
        let (w, p, o) = runtime.block_on(async {
            (bare(&kubeconfig, n, None).await, bare(&kubeconfig, n, Some(500)).await, ours(&kubeconfig, n).await)
        });
        if round > 0 {
            whole.push(w);
            paged.push(p);
            own.push(o);
        }
    }
    let (whole, paged, own) = (common::median(whole), common::median(paged), common::median(own));
    println!(
        "first list of {n} pods: {:.0} ms; bare kube list: {:.0} ms, in pages {:.0} ms; ratio {:.2} (at most 1.3)",
        ms(own),
        ms(whole),
        ms(paged),
        own.as_secs_f64() / whole.min(paged).as_secs_f64(),
    );
}

fn through_the_desk(cluster: &Cluster, n: usize, watch: Duration) {
    let (_dir, over) = cluster.desk();
    let loaded = config::load(&over, &config::Env::process()).unwrap();
    let desk = Arc::new(Desk::configured(&loaded).unwrap());
    let began = Instant::now();
    let live = desk.start_live(None).unwrap();
    loop {
        let pods: usize = desk.platform().rollouts.iter().flat_map(|r| &r.revisions).map(|v| v.pods.len()).sum();
        if pods == n {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{pods} of {n} pods: {:#?}", desk.platform().sources);
        std::thread::sleep(Duration::from_millis(2));
    }
    println!("first list of {n} pods on an open desk: {:.0} ms", ms(began.elapsed()));
    let me = std::process::id();
    load("a desk", me, cluster, watch);
    drop(live);
}

/// The whole program, with the pane in sight.
fn console(cluster: &Cluster, watch: Duration) {
    let (dir, over) = cluster.desk();
    let size = PtySize { rows: 45, cols: 160, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_watchfloor"));
    command.arg("--config");
    command.arg(over.config.unwrap());
    command.arg("--data-dir");
    command.arg(over.data_dir.unwrap());
    command.env("TERM", "xterm-256color");
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().unwrap();
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let mut keys = pair.master.take_writer().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // The pane of rollouts.
    keys.write_all(b"5").unwrap();
    load("the console", child.process_id().unwrap(), cluster, watch);
    let _ = child.kill();
    let _ = child.wait();
    drop(dir);
}

fn load(what: &str, pid: u32, cluster: &Cluster, watch: Duration) {
    // The first list and what it left behind is over.
    std::thread::sleep(Duration::from_secs(5));
    let quiet = share(pid, watch);
    let changing = cluster.change();
    std::thread::sleep(Duration::from_secs(3));
    let busy = share(pid, watch);
    drop(changing);
    println!(
        "watching with {} changes a second, {what}: {busy:.1} % of a core (at most 5 %); without any: {quiet:.1} %",
        fleet::A_SECOND
    );
}

/// Processor time of a process over a while, in percent of one core.
fn share(pid: u32, time: Duration) -> f64 {
    let began = (Instant::now(), ticks(pid));
    std::thread::sleep(time);
    (ticks(pid) - began.1) / TICKS / began.0.elapsed().as_secs_f64() * 100.0
}

/// `utime` and `stime`, the 14th and 15th field of `/proc/PID/stat`; the second may hold blanks, in brackets.
fn ticks(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}
