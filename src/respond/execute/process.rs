//! Child processes: an argument vector, a clean environment, a session of their own, and an end.
//!
//! A session of its own has no terminal: a program below (ssh, sudo) that asks for a password on `/dev/tty` would write
//! into the console and read its keys. It is made by `setsid` of util-linux; where there is none, a process group of its
//! own must do, and ssh is told to ask nobody.
//!
//! A run is over when its first process is. What it left behind, in whatever session, is ended with it: nothing that was
//! approved goes on unwatched. (A service that is to stay is started by its service manager, which is no child of ours.)

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::sync::{Notify, mpsc};

use super::Stop;

/// Environment variable every process of a run carries, with the request's id.
pub const MARK: &str = "WATCHFLOOR_REQUEST";
/// The same with a name of each single run: several may be under way for one request.
const RUN: &str = "WATCHFLOOR_RUN";

/// Bytes on standard output, or standard error, after which a run is stopped: nobody will read them.
const FLOOD: u64 = 256 << 20;

/// Between the polite signal and the one that cannot be refused.
const GRACE: Duration = Duration::from_millis(300);

/// Between two looks for processes. One that is just becoming another program has no environment to be known by, and
/// one that was killed needs its turn on the processor to be gone.
const LOOK: Duration = Duration::from_millis(10);

/// How long those that were killed are waited for.
const GONE: Duration = Duration::from_secs(5);

/// Silence on a pipe that somebody holds open, and so often in a row, after which nobody reads it any more.
const SILENT: Duration = Duration::from_millis(500);
const SILENCES: u32 = 2;
/// So often it is listened, however much still comes.
const LISTENED: u32 = 10;

pub struct Spec {
    /// The program (absolute) and its arguments.
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    /// Given as standard input: empty, and locked as long as anybody holds it. `None`: `/dev/null`.
    pub stdin: Option<Arc<File>>,
    /// Value of [`MARK`].
    pub mark: String,
    pub limit: Duration,
    /// Bytes of standard output kept; of standard error 64 KiB are.
    pub max_stdout: usize,
    /// Gets what comes on standard output as it comes. What it has no room for is left out: it is for showing progress.
    pub live: Option<mpsc::Sender<Vec<u8>>>,
}

#[derive(Debug, Default)]
pub struct Output {
    pub status: Option<ExitStatus>,
    pub stdout: Vec<u8>,
    /// Bytes of it that were not kept.
    pub left_out: u64,
    pub stderr: Vec<u8>,
    /// Why it was stopped, if it was.
    pub stopped: Option<String>,
    /// Processes it left behind, which were ended.
    pub left_behind: usize,
}

/// Runs it to its end, its time limit or the stop, whichever comes first. `Err`: it never started.
pub async fn run(spec: Spec, mut stop: Stop) -> Result<Output, String> {
    let Some((program, args)) = spec.argv.split_first() else { return Err("no program to run".into()) };
    let stdin = match &spec.stdin {
        Some(file) => file.try_clone().map(Stdio::from).map_err(|e| format!("{program}: {e}"))?,
        None => Stdio::null(),
    };
    // The run may have been stopped while it was prepared.
    if let Some(why) = stop.borrow().clone() {
        return Err(format!("not started: {why}"));
    }
    let run = ulid::Ulid::new().to_string();
    let setsid = ["/usr/bin/setsid", "/bin/setsid"].into_iter().find(|p| std::path::Path::new(p).is_file());
    #[expect(clippy::disallowed_methods, reason = "the one place approved commands are started from")]
    let mut command = tokio::process::Command::new(setsid.unwrap_or(program));
    match setsid {
        // It replaces itself by the program: one process, which leads its session and its group.
        Some(_) => command.arg("--").arg(program),
        None => command.process_group(0),
    };
    command
        .args(args)
        .env_clear()
        .envs(&spec.env)
        .env(MARK, &spec.mark)
        .env(RUN, &run)
        .current_dir(&spec.cwd)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if !std::path::Path::new(program).is_file() {
        return Err(format!("{program} cannot be started: there is no such file"));
    }
    let mut child = command.spawn().map_err(|e| format!("{program} cannot be started: {e}"))?;
    let mut group = Group { leader: pid(&child), run, done: false };
    let flood = Arc::new(Notify::new());
    let out = Kept::reading(child.stdout.take(), spec.max_stdout, spec.live, &flood);
    let err = Kept::reading(child.stderr.take(), 64 << 10, None, &flood);
    let mut left_behind = 0;
    let (status, stopped) = tokio::select! {
        ended = child.wait() => {
            left_behind = group.bury().await;
            (ended.ok(), None)
        }
        () = tokio::time::sleep(spec.limit) => {
            let why = format!("stopped after its time limit of {} s", spec.limit.as_secs());
            (end(&mut child, &group).await, Some(why))
        }
        () = flood.notified() => {
            let why = format!("stopped: it wrote more than {} MiB", FLOOD >> 20);
            (end(&mut child, &group).await, Some(why))
        }
        why = reason(&mut stop) => (end(&mut child, &group).await, Some(why)),
    };
    group.done = true;
    let (stdout, left_out) = out.finish().await;
    let (stderr, _) = err.finish().await;
    Ok(Output { status, stdout, left_out, stderr, stopped, left_behind })
}

/// Waits until there is a reason to stop. Without anybody left to give one, there never is.
pub async fn reason(stop: &mut Stop) -> String {
    let why = match stop.wait_for(Option::is_some).await {
        Ok(why) => why.clone(),
        Err(_) => None,
    };
    match why {
        Some(why) => why,
        None => std::future::pending().await,
    }
}

fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// Asks the whole family to end, then makes it.
async fn end(child: &mut Child, group: &Group) -> Option<ExitStatus> {
    group.signal(Signal::TERM).await;
    let polite = tokio::time::timeout(GRACE, child.wait()).await;
    // Whatever the leader left behind goes too, whether or not it went by itself.
    group.signal(Signal::KILL).await;
    let status = match polite {
        Ok(status) => status.ok(),
        Err(_) => child.wait().await.ok(),
    };
    group.wipe_out().await;
    status
}

/// Everything a run started. Kills what is left when the run is given up half way, such as when the runtime shuts down.
struct Group {
    leader: Option<Pid>,
    /// Value of [`RUN`].
    run: String,
    done: bool,
}

impl Group {
    async fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, signal);
        }
        // Those that made a session of their own.
        self.look(signal).await;
    }

    /// Signals those that carry the mark, and says how many.
    async fn look(&self, signal: Signal) -> usize {
        let run = self.run.clone();
        tokio::task::spawn_blocking(move || kill_carrying(RUN, &run, signal)).await.unwrap_or(0)
    }

    /// Kills until nobody is left.
    async fn wipe_out(&self) {
        let run = self.run.clone();
        let _ = tokio::task::spawn_blocking(move || kill_until_gone(RUN, &run)).await;
    }

    /// The leader is gone; ends whoever it left behind and says how many those were. Its own group is not signalled by
    /// number any more: that may be somebody else's by now.
    async fn bury(&self) -> usize {
        let mut n = self.look(Signal::TERM).await;
        if n == 0 {
            tokio::time::sleep(LOOK).await;
            n = self.look(Signal::TERM).await;
        }
        if n > 0 {
            tokio::time::sleep(GRACE).await;
            self.wipe_out().await;
        }
        n
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.done {
            if let Some(leader) = self.leader {
                let _ = kill_process_group(leader, Signal::KILL);
            }
            kill_carrying(RUN, &self.run, Signal::KILL);
        }
    }
}

/// Signals every process of this user that carries the mark. Returns how many. Where there is no `/proc`, none.
pub fn kill_marked(mark: &str, signal: Signal) -> usize {
    kill_carrying(MARK, mark, signal)
}

/// Kills every process that carries the mark, and waits until none is left.
pub fn wipe_out_marked(mark: &str) {
    kill_until_gone(MARK, mark);
}

/// Until two looks in a row find nobody: see [`LOOK`].
fn kill_until_gone(name: &str, value: &str) {
    let until = Instant::now() + GONE;
    let mut nobody = 0;
    while nobody < 2 && Instant::now() < until {
        nobody = if kill_carrying(name, value, Signal::KILL) == 0 { nobody + 1 } else { 0 };
        if nobody < 2 {
            std::thread::sleep(LOOK);
        }
    }
}

/// The dead that nobody has waited for yet have no environment, and do not count.
fn kill_carrying(name: &str, value: &str, signal: Signal) -> usize {
    let needle = format!("{name}={value}\0");
    let Ok(all) = std::fs::read_dir("/proc") else { return 0 };
    let own = std::process::id();
    let pids = all.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()).filter(|p| *p != own);
    pids.filter(|p| {
        let environ = std::fs::read(format!("/proc/{p}/environ")).unwrap_or_default();
        memchr::memmem::find(&environ, needle.as_bytes()).is_some()
    })
    .filter_map(|p| i32::try_from(p).ok().and_then(Pid::from_raw))
    .filter(|p| kill_process(*p, signal).is_ok())
    .count()
}

/// Output that is read as it comes and kept up to a limit; the rest is counted, so that the writer never blocks.
struct Kept {
    data: Arc<Mutex<(Vec<u8>, u64)>>,
    task: tokio::task::JoinHandle<()>,
}

impl Kept {
    fn reading(
        pipe: Option<impl AsyncRead + Unpin + Send + 'static>,
        max: usize,
        live: Option<mpsc::Sender<Vec<u8>>>,
        flood: &Arc<Notify>,
    ) -> Self {
        let flood = Arc::clone(flood);
        let data = Arc::new(Mutex::new((Vec::new(), 0)));
        let kept = data.clone();
        let task = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 64 << 10];
            while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
                if let Some(live) = &live {
                    let _ = live.try_send(buffer[..n].to_vec());
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let take = n.min(max - kept.0.len().min(max));
                kept.0.extend_from_slice(&buffer[..take]);
                kept.1 += (n - take) as u64;
                if kept.1 > FLOOD {
                    flood.notify_one();
                }
            }
        });
        Self { data, task }
    }

    /// What came. A background process (ssh's shared connection) may hold the pipe open long after: it is not waited for.
    /// What is there is read all the same: on a busy machine the reader may not have had its turn yet.
    async fn finish(mut self) -> (Vec<u8>, u64) {
        let mut came = self.came();
        let mut silences = 0;
        for _ in 0..LISTENED {
            if tokio::time::timeout(SILENT, &mut self.task).await.is_ok() {
                break;
            }
            let now = self.came();
            silences = if now == came { silences + 1 } else { 0 };
            came = now;
            if silences == SILENCES {
                break;
            }
        }
        self.task.abort();
        std::mem::take(&mut *self.data.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes so far.
    fn came(&self) -> u64 {
        let kept = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0.len() as u64 + kept.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    fn sh(script: &str, limit: u64) -> Spec {
        Spec {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            cwd: "/".into(),
            stdin: None,
            mark: format!("test-{}", ulid::Ulid::new()),
            limit: Duration::from_secs(limit),
            max_stdout: 1000,
            live: None,
        }
    }

    fn never() -> (watch::Sender<Option<String>>, Stop) {
        watch::channel(None)
    }

    #[tokio::test]
    async fn the_environment_is_clean_and_input_is_empty() {
        let (_tx, stop) = never();
        let spec = sh("/usr/bin/env; cat; exit 3", 10);
        let mark = spec.mark.clone();
        let out = run(spec, stop).await.unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let mut names: Vec<&str> = text.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        // PWD, SHLVL and _ are made by the shell itself.
        names.retain(|n| !["PWD", "SHLVL", "_", "OLDPWD"].contains(n));
        assert_eq!(names, ["PATH", MARK, RUN]);
        assert!(text.contains(&mark));
        assert_eq!(out.status.unwrap().code(), Some(3));
    }

    #[tokio::test]
    async fn output_beyond_the_limit_is_counted() {
        let (_tx, stop) = never();
        let out = run(sh("head -c 5000000 /dev/zero; echo err >&2", 20), stop).await.unwrap();
        assert_eq!((out.stdout.len(), out.left_out, out.stderr.as_slice()), (1000, 4_999_000, b"err\n".as_slice()));
    }

    /// Processes that carry the mark and have become this program.
    fn running(mark: &str, program: &str) -> usize {
        let needle = format!("{MARK}={mark}\0");
        let of = |e: &std::fs::DirEntry, file: &str| std::fs::read(e.path().join(file)).unwrap_or_default();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter(|e| of(e, "comm").trim_ascii() == program.as_bytes())
            .filter(|e| memchr::memmem::find(&of(e, "environ"), needle.as_bytes()).is_some())
            .count()
    }

    /// Ignores the polite signal, has children, and one of them made a session of its own.
    #[tokio::test]
    async fn a_stop_ends_the_whole_family_at_once() {
        let (tx, stop) = never();
        let spec = sh("trap '' TERM; setsid sleep 171 & sleep 171 & sleep 171", 160);
        let mark = spec.mark.clone();
        let run = tokio::spawn(run(spec, stop));
        let start = Instant::now();
        while running(&mark, "sleep") < 3 {
            assert!(start.elapsed() < Duration::from_secs(100), "they never sleep");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let before = Instant::now();
        tx.send_replace(Some("kill".into()));
        let out = run.await.unwrap().unwrap();
        // Less than a second where nothing else goes on; far less than they would sleep.
        assert!(before.elapsed() < Duration::from_secs(30), "{:?}", before.elapsed());
        assert_eq!(out.stopped.as_deref(), Some("kill"));
        assert_eq!(kill_marked(&mark, Signal::KILL), 0, "nobody is left");
    }

    /// Becomes another program all the time, in sessions of its own: found by nobody who looks once, and then not again.
    #[tokio::test]
    async fn those_who_keep_changing_are_ended_too() {
        for _ in 0..3 {
            let (_tx, stop) = never();
            let spec = sh(
                "breed() { while :; do setsid setsid setsid sleep 70 & setsid sh -c 'exec sleep 70' & sleep 0.01; done; }; \
                 breed & (setsid setsid setsid setsid sleep 70 &); exit 0",
                60,
            );
            let mark = spec.mark.clone();
            let out = run(spec, stop).await.unwrap();
            assert!(out.left_behind >= 1, "{}", out.left_behind);
            assert_eq!(kill_marked(&mark, Signal::KILL), 0, "nobody is left");
        }
    }

    /// Without an environment nobody knows it for one of the run: it holds the pipe open, and is not waited for.
    #[tokio::test]
    async fn what_came_is_kept_where_somebody_holds_the_pipe_open() {
        let (_tx, stop) = never();
        let out = run(sh("echo here; env -i /bin/sleep 20 & exec true", 60), stop).await.unwrap();
        assert_eq!((out.stdout.as_slice(), out.stopped), (b"here\n".as_slice(), None));
    }

    #[tokio::test]
    async fn a_time_limit_ends_it() {
        let (_tx, stop) = never();
        let out = run(sh("sleep 72", 1), stop).await.unwrap();
        assert!(out.stopped.unwrap().contains("time limit of 1 s"));
        assert!(!out.status.unwrap().success());
    }

    #[tokio::test]
    async fn what_is_left_behind_is_neither_waited_for_nor_left_alone() {
        let (_tx, stop) = never();
        let spec = sh("setsid sleep 73 & (setsid sh -c 'trap \"\" TERM; sleep 73; sleep 73' &) & echo done", 60);
        let mark = spec.mark.clone();
        let before = Instant::now();
        let out = run(spec, stop).await.unwrap();
        assert!(before.elapsed() < Duration::from_secs(50), "it was waited for");
        assert_eq!((out.stdout.as_slice(), out.stopped), (b"done\n".as_slice(), None));
        assert!(out.left_behind >= 1, "{}", out.left_behind);
        assert_eq!(kill_marked(&mark, Signal::KILL), 0);
    }

    #[tokio::test]
    async fn a_flood_ends_it_and_stays_out_of_memory() {
        let (_tx, stop) = never();
        let out = run(sh("cat /dev/zero", 600), stop).await.unwrap();
        assert!(out.stopped.unwrap().contains("wrote more than 256 MiB"));
        assert_eq!(out.stdout.len(), 1000);
    }

    /// Two runs of one request: the end of one is not the end of the other.
    #[tokio::test]
    async fn runs_of_one_request_end_apart() {
        let (_tx, stop) = never();
        let (mut short, mut long) = (sh("sleep 30", 1), sh("sleep 2; echo alive", 30));
        short.mark = "one-request".into();
        long.mark = "one-request".into();
        let (short, long) = tokio::join!(run(short, stop.clone()), run(long, stop));
        assert!(short.unwrap().stopped.is_some());
        assert_eq!(long.unwrap().stdout, b"alive\n");
    }

    #[tokio::test]
    async fn what_is_stopped_already_never_starts() {
        let (tx, stop) = never();
        tx.send_replace(Some("kill".into()));
        assert!(run(sh("exit 0", 1), stop).await.unwrap_err().contains("not started"));
        let (_tx, stop) = never();
        let mut spec = sh("", 1);
        spec.argv = vec!["/nonexistent/program".into()];
        assert!(run(spec, stop).await.unwrap_err().contains("cannot be started"));
    }
}
