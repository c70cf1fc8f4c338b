//! Executors that hang, flood, fork, ignore signals or lose the network: the receipt says failed or unknown in time,
//! nothing is left behind, memory stays bounded, and the console answers its keys meanwhile.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::common::{Term, type_code};
use super::crash::marked;
use super::*;

/// What a program does instead of its work, and what its receipt must be.
const PROGRAMS: [(&str, &str, ReceiptState, &str); 9] = [
    ("hang", "exec sleep 361", ReceiptState::Unknown, "time limit of 4 s"),
    ("deaf", "trap '' TERM INT HUP QUIT; while :; do sleep 1; done", ReceiptState::Unknown, "time limit of 4 s"),
    ("flood", "exec cat /dev/zero", ReceiptState::Unknown, "wrote more than 256 MiB"),
    ("flood-err", "exec cat /dev/zero >&2", ReceiptState::Unknown, "wrote more than 256 MiB"),
    ("lines", "exec yes 'a line of no use to anybody'", ReceiptState::Unknown, "wrote more than 256 MiB"),
    // Two who leave the session, ignore the polite signal and keep the pipes open.
    (
        "leave",
        "(setsid sh -c 'trap \"\" TERM; sleep 361; sleep 361' &); (setsid setsid sleep 361 &); exit 0",
        ReceiptState::Failed,
        "still there",
    ),
    (
        "breed",
        "trap '' TERM; while :; do setsid sleep 361 & sleep 0.02; done",
        ReceiptState::Unknown,
        "time limit of 4 s",
    ),
    ("suicide", "kill -9 $$", ReceiptState::Failed, "still there"),
    ("closed", "exec >&- 2>&- <&-; exec sleep 361", ReceiptState::Unknown, "time limit of 4 s"),
];

/// Programs that list three snapshots as `restic` does, and do what they please when they should forget one.
/// A flood ends by its size, however long a slow machine takes for so much.
fn programs(dir: &Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let list = r#"[{"id":"aaa1","time":"t","hostname":"h","paths":["/p"]},{"id":"aaa2"},{"id":"aaa3"}]"#;
    let one = |(name, does, _, says): &(&str, &str, ReceiptState, &str)| {
        let limit = if says.contains("MiB") { 600 } else { 4 };
        let path = dir.join(name);
        let text = format!("#!/bin/sh\ncase \"$*\" in *snapshots*) echo '{list}'; exit 0;; esac\n{does}\n");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!(
            "[[actions]]\nname = \"{name}\"\ntitle = \"x\"\ntier = \"T2\"\ntargets = {{ is = {{ type = \"snapshot\" }} }}\n\
             executor = {{ kind = \"restic\", repository = \"/r\", password = \"keyring:soar\", program = {path:?}, \
             timeout_seconds = {limit} }}\n"
        )
    };
    PROGRAMS.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Open files of this process, without those of the store, which opens as many as are read at once.
fn files() -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap().flatten();
    all.filter(|e| fs::read_link(e.path()).is_ok_and(|to| !to.to_string_lossy().contains("store.sqlite"))).count()
}

/// Resident memory of this process, in MiB.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    (text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096) >> 20
}

/// Alone in a process of its own, so that files and memory can be counted.
fn alone(test: &str) -> bool {
    if std::env::var_os("WF_TEST_ALONE").is_some() {
        return true;
    }
    let temp = tempfile::tempdir().unwrap();
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("hostile::{test}"), "--test-threads=1", "--nocapture"])
        .env("WF_TEST_ALONE", "1")
        .env("TMPDIR", temp.path())
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0, "temporary files were left");
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_of_any_ill_will_ends_in_time_and_leaves_nothing() {
    if !alone("a_program_of_any_ill_will_ends_in_time_and_leaves_nothing") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), &programs(dir.path()), "");
    // Everything that is made once is there before it is counted.
    let warm = d.approved(draft("suicide", &["aaa1"], &[])).await;
    d.execute(&warm).await.unwrap();
    let (before_files, before_memory) = (files(), memory());
    for (name, _, state, says) in PROGRAMS {
        let r = d.approved(draft(name, &["aaa1"], &[])).await;
        let peak = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let (seen, done) = (peak.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let over = done.clone();
        let watch = std::thread::spawn(move || {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                seen.fetch_max(memory(), std::sync::atomic::Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let start = Instant::now();
        let ended = d.execute(&r).await.unwrap();
        let took = start.elapsed();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        watch.join().unwrap();
        let peak = peak.load(std::sync::atomic::Ordering::Relaxed);
        let got = receipt(&ended, "aaa1");
        println!("{name:10} {:?} after {took:.1?}, {peak} MiB at most (before {before_memory})", got.state);
        assert_eq!(got.state, state, "{name}: {got:?}");
        assert!(got.detail.expose().contains(says), "{name}: {got:?}");
        assert_eq!(ended.state, RequestState::Failed);
        // Its limit is 4 s, or it is cut off far sooner than its limit of ten minutes; nothing of it ends by itself.
        assert!(took < Duration::from_secs(120), "{name}: {took:?}");
        assert!(peak < before_memory + 64, "{name}: {peak} MiB");
        assert_eq!(marked(&r), 0, "{name} left somebody behind");
    }
    super::ansible::until(&format!("no more than {before_files} files are open"), || files() <= before_files).await;
    assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 0, "no lock is left");
    d.verify();
}

/// Servers that drip, flood, or stop half way: a real peer on a real socket.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_any_ill_will_is_not_waited_for() {
    if !alone("a_server_of_any_ill_will_is_not_waited_for") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let text = String::from_utf8_lossy(&request).into_owned();
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n";
                let _ = match text.split(' ').nth(1).unwrap_or_default() {
                    // A header that never ends, a byte at a time.
                    "/drip" => {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
                        (0..1000).try_for_each(|_| {
                            std::thread::sleep(Duration::from_millis(100));
                            stream.write_all(b"x")
                        })
                    }
                    "/flood-head" => {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
                        (0..1_000_000).try_for_each(|_| stream.write_all(&[b'x'; 4096]))
                    }
                    "/flood-body" => {
                        let _ = stream.write_all(format!("{head}\r\n").as_bytes());
                        (0..1_000_000).try_for_each(|_| stream.write_all(&[b'x'; 4096]))
                    }
                    "/reset" => Ok(()),
                    _ => {
                        let _ = stream.write_all(head.as_bytes());
                        std::thread::sleep(Duration::from_secs(100));
                        Ok(())
                    }
                };
            });
        }
    });
    let action = |name: &str| {
        format!(
            "[[actions]]\nname = \"{name}\"\ntitle = \"x\"\ntier = \"T1\"\ntargets = {{ is = {{ type = \"ip\" }} }}\n\
             executor = {{ kind = \"http\", url = \"http://127.0.0.1:{port}/{name}\", timeout_seconds = 5, body = {{}} }}\n"
        )
    };
    let cases = [
        ("drip", ReceiptState::Unknown),
        ("flood-head", ReceiptState::Unknown),
        // It said 200 before it went on and on.
        ("flood-body", ReceiptState::Done),
        ("reset", ReceiptState::Unknown),
        ("half", ReceiptState::Unknown),
    ];
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), &cases.map(|(n, _)| action(n)).join("\n"), "");
    let before = memory();
    for (name, state) in cases {
        let r = d.approved(draft(name, &["192.0.2.1"], &[])).await;
        let start = Instant::now();
        let ended = d.execute(&r).await.unwrap();
        println!("{name:10} {:?} after {:.1?}", receipt(&ended, "192.0.2.1").state, start.elapsed());
        assert_eq!(states(&ended), [state], "{name}: {ended:?}");
        // Its limit is 5 s; by itself none of them ends within the minute.
        assert!(start.elapsed() < Duration::from_secs(50), "{name}: {:?}", start.elapsed());
    }
    assert!(memory() < before + 64);
}

/// A remote program that floods through a real sshd.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_over_ssh_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let Some(sshd) = super::remote::Sshd::start(dir.path()) else { return };
    let d = super::remote::site(dir.path(), &sshd, 1);
    let r = d.approved(draft("flood", &["web1"], &[])).await;
    let ended = d.execute(&r).await.unwrap();
    let got = receipt(&ended, "web1");
    assert_eq!(got.state, ReceiptState::Unknown, "{got:?}");
    assert!(got.detail.expose().contains("wrote more than 256 MiB"), "{got:?}");
    assert_eq!(marked(&r), 0);
}

/// Settings of one person, who is whoever runs the tests.
fn settings_of(d: &Path, me: &str) -> Vec<String> {
    let dir = d.join(me);
    fs::create_dir_all(&dir).unwrap();
    let config = format!(
        "[console]\nclock = \"off\"\n[desk]\ndata_dir = \"{0}/data\"\n[respond]\ncatalogue = \"{0}/actions.toml\"\n\
         policy = \"{0}/policy.toml\"\n",
        d.display()
    );
    fs::write(dir.join("config.toml"), config).unwrap();
    let uid = rustix::process::getuid().as_raw();
    let person = |name: &str, roles: &str| {
        let uids = if name == me { uid.to_string() } else { String::new() };
        format!("[[people]]\nid = \"{name}\"\nname = \"{name}\"\nuids = [{uids}]\nroles = [{roles}]\n")
    };
    let people = person("ana", "\"analyst\"") + &person("kim", "\"lead\", \"approver\"");
    fs::write(dir.join("roster.toml"), people).unwrap();
    vec!["--config".into(), dir.join("config.toml").display().to_string()]
}

fn command(args: &[String], more: &[&str]) -> serde_json::Value {
    let out =
        Command::new(super::common::BIN).args(args).args(more).arg("--json").stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{more:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap_or_default()
}

/// Longest wait for what a key changes.
const UNANSWERED: Duration = Duration::from_secs(5);

/// Times from a key to the first byte of what it changes.
fn answers(t: &mut Term, n: usize, goes_on: impl Fn() -> bool) -> Vec<Duration> {
    let mut all = Vec::new();
    for i in 0..n {
        if !goes_on() {
            break;
        }
        let before = t.bytes().len();
        let start = Instant::now();
        t.send(if i % 2 == 0 { "j" } else { "k" });
        while t.bytes().len() == before && start.elapsed() < UNANSWERED {
            std::thread::sleep(Duration::from_millis(1));
        }
        all.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(40));
    }
    all.sort();
    all
}

#[test]
fn the_console_answers_while_what_it_runs_floods() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let Some(sshd) = super::remote::Sshd::start(d) else { return };
    drop(super::remote::site(d, &sshd, 1));
    // Floods, each at full speed until it is cut off, one after the other: long enough to be watched on a fast machine.
    let catalogue = fs::read_to_string(d.join("actions.toml")).unwrap();
    fs::write(d.join("actions.toml"), catalogue.replace("known_hosts = ", "parallel = 1\nknown_hosts = ")).unwrap();
    let (ana, kim) = (settings_of(d, "ana"), settings_of(d, "kim"));
    let mut lines = String::new();
    for n in 1..=3 {
        lines.push_str(&format!(
            "{{\"timestamp\":\"2026-01-15T08:00:0{n}.000+0000\",\"rule\":{{\"level\":12,\"description\":\"alert {n}\",\"id\":\"10000{n}\"}},\
             \"agent\":{{\"id\":\"00{n}\",\"name\":\"h{n}\"}},\"manager\":{{\"name\":\"m\"}},\"id\":\"1.{n}\",\"data\":{{}},\
             \"decoder\":{{\"name\":\"d\"}},\"location\":\"l\"}}\n"
        ));
    }
    fs::write(d.join("alerts.json"), lines).unwrap();
    let imported =
        Command::new(super::common::BIN).args(&kim).arg("import").arg(d.join("alerts.json")).output().unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let hosts = ["web1", "web2", "web3", "far1", "far2", "far3", "far4", "far5"];
    let hosts = hosts.iter().flat_map(|h| ["--target", h]);
    let asked: Vec<&str> = ["propose", "flood", "--reason", "old"].into_iter().chain(hosts).collect();
    let r = command(&ana, &asked);
    let id = r["body"]["id"].as_str().unwrap().to_owned();
    command(&kim, &["approve", &id, "--digest", r["digest"].as_str().unwrap()]);
    let args: Vec<&str> = kim.iter().map(String::as_str).collect();
    let mut t = Term::start(super::common::BIN, &args, (120, 30));
    t.wait_for("alert 1");
    let calm = answers(&mut t, 40, || true);
    t.send("3");
    t.wait("what waits to be run", |s| s.contains("flood") && s.contains("approved"));
    t.settle();
    t.send("x");
    let asks_code = |s: &str| s.lines().any(|l| l.trim_start().starts_with("type "));
    let screen = t.wait("the question", |s| s.contains(" to run") || asks_code(s));
    if asks_code(&screen) {
        type_code(&mut t);
    } else {
        t.send("y");
    }
    let runs = || super::crash::marked_id(&id) > 0;
    let until = Instant::now() + Duration::from_secs(150);
    while !runs() {
        assert!(Instant::now() < until, "it does not run:\n{}", t.screen());
        std::thread::sleep(Duration::from_millis(10));
    }
    // Back in the queue, which is what people look at meanwhile.
    t.send("\u{1b}");
    // A key that follows at once would be read as one with it.
    t.wait("the list of requests", |s| !s.contains("HostKeyAlias=web1"));
    t.send("1");
    t.wait_for("alert 1");
    let busy = answers(&mut t, 60, runs);
    let at = |all: &[Duration], p: usize| all[(all.len() - 1) * p / 100];
    println!(
        "keys: median {:.1?}, 95 % {:.1?} calm; {} beside the floods: median {:.1?}, 95 % {:.1?}, worst {:.1?}",
        at(&calm, 50),
        at(&calm, 95),
        busy.len(),
        at(&busy, 50),
        at(&busy, 95),
        at(&busy, 100)
    );
    assert!(busy.len() >= 5, "the floods ended too soon to say anything: {busy:?}");
    // Every key is answered long before a flood ends, on a machine that has little time for anybody.
    assert!(at(&busy, 50) < Duration::from_secs(1), "{busy:?}");
    assert!(at(&busy, 100) < UNANSWERED, "{busy:?}");
    let until = Instant::now() + Duration::from_secs(300);
    while runs() {
        assert!(Instant::now() < until, "it goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
}
