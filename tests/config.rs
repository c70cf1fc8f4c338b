//! Settings, secrets and the commands around them, through the real binary and real keyrings where there are any.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so and stops; tests start the binary and read its files"
)]

#[path = "config/secrets.rs"]
mod secrets;
#[path = "config/vault.rs"]
mod vault;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use watchfloor::config::{Env, Loaded, Overrides, load};

/// The binary in an environment of nothing but a home of its own.
pub fn watchfloor(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchfloor"));
    command.env_clear().env("HOME", home).current_dir(home).stdin(Stdio::null());
    command
}

pub fn run(home: &Path, args: &[&str]) -> Output {
    watchfloor(home).args(args).output().unwrap()
}

pub fn piped(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(kind);
    let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

/// Compares with `NAME` in the fixture's folder; writes it anew when `WATCHFLOOR_TEST_UPDATE` is set.
fn snapshot(fixture: &Path, name: &str, got: &str) {
    let got = got.replace(&format!("{}/", fixture.display()), "");
    let file = fixture.join(name);
    if std::env::var_os("WATCHFLOOR_TEST_UPDATE").is_some() {
        std::fs::write(&file, &got).unwrap();
    }
    let want = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(got, want, "{} (WATCHFLOOR_TEST_UPDATE=1 writes it anew)", file.display());
}

#[test]
fn every_fault_of_every_invalid_folder_is_told() {
    let home = tempfile::tempdir().unwrap();
    for fixture in fixtures("invalid") {
        let file = fixture.join("config.toml");
        let out = run(home.path(), &["--config", file.to_str().unwrap(), "config", "check"]);
        assert_eq!(out.status.code(), Some(2), "{}", fixture.display());
        snapshot(&fixture, "expected.txt", &text(&out.stdout));
        assert!(!out.stdout.contains(&0x1b) && !out.stderr.contains(&0x1b));

        // The same as JSON, and any other command refuses to start with the same words.
        let json = run(home.path(), &["--json", "--config", file.to_str().unwrap(), "config", "check"]);
        let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(value["ok"], false);
        assert_eq!(value["faults"].as_array().unwrap().len(), text(&out.stdout).lines().count());
        assert_eq!(json.status.code(), Some(2));
    }
}

#[test]
fn valid_folders_are_ok_and_explained() {
    let home = tempfile::tempdir().unwrap();
    for fixture in fixtures("valid") {
        let file = fixture.join("config.toml");
        let file = file.to_str().unwrap();
        let out = run(home.path(), &["--config", file, "config", "check"]);
        assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(0), "ok\n"), "{}", text(&out.stderr));
        let out = run(home.path(), &["--json", "--config", file, "config", "explain"]);
        assert!(out.status.success());
        let rows: Vec<serde_json::Value> =
            text(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let line = |r: &serde_json::Value| format!("{} = {} ({})\n", r["key"], r["value"], r["from"]).replace('"', "");
        snapshot(&fixture, "explained.txt", &rows.iter().map(line).collect::<String>());
    }
}

fn at(dir: &Path, file: &str, env: &[(&str, &str)], over: Overrides) -> Loaded {
    let path = dir.join("config.toml");
    std::fs::write(&path, file).unwrap();
    load(&Overrides { config: Some(path), ..over }, &env.iter().copied().collect::<Env>())
        .unwrap_or_else(|f| panic!("{f}"))
}

/// Each layer beats the ones before it, and says that it did.
#[test]
fn precedence() {
    let dir = tempfile::tempdir().unwrap();
    let file = "[desk]\ndata_dir='/file'\n[profile.p.desk]\ndata_dir='/profile'\n[profile.q]\n";
    let (p, q) = (Some("p".to_owned()), Some("q".to_owned()));
    let set: &[(&str, &str)] = &[("WATCHFLOOR_DESK__DATA_DIR", "/env")];
    let flag = Some(PathBuf::from("/flag"));
    let env_profile: &[(&str, &str)] = &[("WATCHFLOOR_PROFILE", "p")];
    let short: &[(&str, &str)] = &[("WATCHFLOOR_DATA_DIR", "/short"), ("WATCHFLOOR_DESK__DATA_DIR", "/env")];
    for (env, profile, data_dir, want, from) in [
        (&[][..], None, None, "/file", "file "),
        (&[][..], p.clone(), None, "/profile", "profile p "),
        (&[][..], q.clone(), None, "/file", "file "),
        (env_profile, None, None, "/profile", "profile p "),
        (env_profile, q, None, "/file", "file "),
        (set, p.clone(), None, "/env", "environment variable WATCHFLOOR_DESK__DATA_DIR"),
        (short, None, None, "/short", "environment variable WATCHFLOOR_DATA_DIR"),
        (set, p, flag, "/flag", "flag --data-dir"),
    ] {
        let loaded = at(dir.path(), file, env, Overrides { profile, data_dir, ..Overrides::default() });
        assert_eq!(loaded.paths.data_dir, Path::new(want));
        let origin = loaded.origins[&["desk", "data_dir"].map(String::from).to_vec()].to_string();
        assert!(origin.starts_with(from), "{origin}");
    }
    let none = at(dir.path(), "", &[], Overrides::default());
    assert!(none.origins.is_empty());
}

#[test]
fn environment_values_have_types() {
    let dir = tempfile::tempdir().unwrap();
    let env = [
        ("HOME", "/home/x"),
        ("WATCHFLOOR_CONSOLE__MOUSE", "yes"),
        ("WATCHFLOOR_CONSOLE__COLUMNS", "host, user"),
        ("WATCHFLOOR_LOG__KEEP", "3"),
        ("WATCHFLOOR_DESK__ROSTER", "~/people.toml"),
        ("WATCHFLOOR_INTAKE__SOURCES__WAZUH__KIND", "follow"),
        ("WATCHFLOOR_INTAKE__SOURCES__WAZUH__PATH", "/a"),
        ("WATCHFLOOR_TEST_DATA", "not ours"),
    ];
    let s = at(dir.path(), "", &env, Overrides { read_only: true, ..Overrides::default() });
    assert!(s.settings.console.mouse && s.read_only);
    assert_eq!(s.settings.console.columns, ["host", "user"]);
    assert_eq!(s.settings.log.keep, 3);
    assert_eq!(s.settings.desk.roster.as_deref(), Some(Path::new("/home/x/people.toml")));
    assert!(s.settings.intake.sources.contains_key("wazuh"));

    let bad: Env = [
        ("WATCHFLOOR_CONSOLE__MUOSE", "1"),
        ("WATCHFLOOR_LOG_LEVEL", "debug"),
        ("WATCHFLOOR_LOG__KEEP", "many"),
        ("WATCHFLOOR_TRIAGE__OPENAI__API_KEY", "sk-CANARY"),
        ("WATCHFLOOR_PROFILE", "prod"),
    ]
    .into_iter()
    .collect();
    let faults = load(&Overrides { config: Some(dir.path().join("config.toml")), ..Overrides::default() }, &bad);
    let faults = faults.unwrap_err().to_string();
    for want in [
        "WATCHFLOOR_CONSOLE__MUOSE: no such setting; did you mean WATCHFLOOR_CONSOLE__MOUSE?",
        "WATCHFLOOR_LOG_LEVEL: no such setting; did you mean WATCHFLOOR_LOG__LEVEL?",
        "WATCHFLOOR_LOG__KEEP: expected a whole number from 1 to 3650",
        "WATCHFLOOR_TRIAGE__OPENAI__API_KEY: expected a secret reference",
        "WATCHFLOOR_PROFILE: there is no profile \"prod\"",
    ] {
        assert!(faults.contains(want), "{want}\n{faults}");
    }
    assert!(!faults.contains("CANARY"));
}

#[test]
fn relative_paths_start_at_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let s = at(dir.path(), "[desk]\nroster='r.toml'\ninventory='/abs.csv'\n", &[("HOME", "/h")], Overrides::default());
    assert_eq!(s.settings.desk.roster, Some(dir.path().join("r.toml")));
    assert_eq!(s.settings.desk.inventory.as_deref(), Some(Path::new("/abs.csv")));
}

#[test]
fn init_writes_once() {
    let home = tempfile::tempdir().unwrap();
    let out = run(home.path(), &["config", "init"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let file = home.path().join(".config/watchfloor/config.toml");
    let first = std::fs::read_to_string(&file).unwrap();
    assert_eq!(first, watchfloor::config::sample::sample());
    assert_eq!(run(home.path(), &["config", "check"]).status.code(), Some(0));
    std::fs::write(&file, "# mine\n").unwrap();
    let again = run(home.path(), &["config", "init"]);
    assert_eq!(again.status.code(), Some(4));
    assert!(text(&again.stderr).contains("there already"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# mine\n");
    let shown = run(home.path(), &["config", "init", "--stdout"]);
    assert_eq!(text(&shown.stdout), first);
}

#[test]
fn paths_can_be_asked_for_beside_a_broken_file() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("c.toml"), "nonsense").unwrap();
    let out = run(home.path(), &["--config", "c.toml", "--json", "config", "path"]);
    assert_eq!(out.status.code(), Some(2));
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(value["config_file"], home.path().join("c.toml").to_str().unwrap());
    assert!(text(&out.stderr).contains("c.toml:1:"), "{}", text(&out.stderr));
    for shell in ["bash", "zsh", "fish"] {
        let out = run(home.path(), &["--config", "c.toml", "completions", shell]);
        assert!(out.status.success() && out.stdout.len() > 1000);
    }
}

#[test]
fn usage_and_exit_statuses() {
    let home = tempfile::tempdir().unwrap();
    for (args, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["nonsense"], 2),
        (&["config"], 2),
        (&["config", "explain", "nonsense"], 2),
        (&["--config", "absent.toml", "config", "explain"], 2),
        (&["--profile", "absent", "config", "explain"], 2),
        (&["man", "config", "explain"], 0),
        (&["man", "nonsense"], 2),
        (&["keys"], 0),
        (&["keys", "vim", "--markdown"], 0),
        (&["keys", "--columns"], 0),
        (&["keys", "nonsense"], 2),
        (&["themes"], 0),
        (&["themes", "mono"], 0),
        (&["themes", "nonsense"], 2),
    ] {
        let out = run(home.path(), args);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", text(&out.stderr));
        assert_eq!(out.stdout.is_empty(), code != 0, "{args:?}");
    }
}

/// `watchfloor ... | head -1` is no failure and makes no noise.
#[test]
fn a_closed_pipe_is_quiet() {
    let home = tempfile::tempdir().unwrap();
    let mut child = watchfloor(home.path())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
}

#[test]
fn doctor_names_what_is_wrong() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str, mode: u32| {
        let path = home.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let doctor = || {
        let out = watchfloor(home.path())
            .args(["--json", "--config", "c.toml", "--data-dir", "d", "doctor"])
            .env("TOKEN", "token-CANARY")
            .output()
            .unwrap();
        assert!(!text(&out.stdout).contains("CANARY") && out.stderr.is_empty());
        let checks: Vec<serde_json::Value> =
            text(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let all: Vec<String> =
            checks.iter().map(|c| format!("{} {}: {}", c["state"], c["name"], c["detail"]).replace('"', "")).collect();
        (out.status.code(), all.join("\n"))
    };
    write("c.toml", "[triage.openai]\napi_key='env:TOKEN'\n", 0o600);
    let (code, all) = doctor();
    assert_eq!(code, Some(0), "{all}");
    for want in ["ok settings:", "will be made", "warn roster: no roster file", "ok secret: triage.openai.api_key"] {
        assert!(all.contains(want), "{want}\n{all}");
    }

    write(
        "c.toml",
        "[triage.openai]\napi_key='env:ABSENT'\n[secrets]\nvault_token='cmd:touch ran'\n[desk]\ninventory='a.csv'\n",
        0o666,
    );
    write("roster.toml", "[[people]]\nid='ghost'\nroles=['analyst']\n", 0o600);
    write("a.csv", "x,heavy\n", 0o600);
    std::fs::create_dir(home.path().join("d")).unwrap();
    std::fs::set_permissions(home.path().join("d"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, all) = doctor();
    assert_eq!(code, Some(1), "{all}");
    for want in [
        "fail file rights:",
        "warn data folder:",
        "fail you:",
        "warn approvals: nobody",
        "no account on this host and no key: ghost",
        "fail inventory:",
        "fail secret: triage.openai.api_key",
        "unknown secret: secrets.vault_token",
        "unknown terminal",
    ] {
        assert!(all.contains(want), "{want}\n{all}");
    }
    assert!(!home.path().join("ran").exists(), "doctor ran a program");
}

fn logged(data: &Path) -> Vec<serde_json::Value> {
    // A file for each day, and midnight may be now.
    let mut files: Vec<_> = std::fs::read_dir(data.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|f| std::fs::read_to_string(f).unwrap()).collect();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// A command logs to its file under one request id, escaped, and nothing of it reaches the terminal.
#[test]
fn commands_log_to_a_file_of_their_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let mut import = watchfloor(home.path());
    import.args(["--data-dir", "d", "alerts", "--filter", "sev>=\u{1b}[2J\u{202e}"]);
    let out = import.env("WATCHFLOOR_LOG__LEVEL", "trace").output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(!text(&out.stderr).contains("request_id") && !out.stderr.contains(&0x1b));
    let data = home.path().join("d");
    let lines = logged(&data);
    assert!(lines.len() >= 2);
    let id = &lines[0]["spans"][0]["request_id"];
    assert!(id.is_string() && lines.iter().all(|l| l["spans"][0]["request_id"] == *id));
    assert_eq!(lines.last().unwrap()["exit"], 2);
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("log"))), (0o700, 0o700));

    // A second command adds to it; a log that cannot be written is said and does not matter.
    assert!(run(home.path(), &["--data-dir", "d", "alerts"]).status.success());
    assert!(logged(&data).len() > lines.len());
    std::fs::remove_dir_all(data.join("log")).unwrap();
    std::fs::write(data.join("log"), "in the way").unwrap();
    let out = run(home.path(), &["--data-dir", "d", "alerts"]);
    assert!(out.status.success() && text(&out.stderr).contains("no log is written"), "{}", text(&out.stderr));
}

#[test]
fn panics_are_logged() {
    if let Some(dir) = std::env::var_os("WATCHFLOOR_TEST_PANIC") {
        let _log = watchfloor::config::log::start(Path::new(&dir), &Default::default()).unwrap();
        let _ = std::thread::Builder::new().name("worker".into()).spawn(|| panic!("oh \u{1b}[31mno")).unwrap().join();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "panics_are_logged", "--nocapture"])
        .env("WATCHFLOOR_TEST_PANIC", dir.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    let lines = logged(dir.path());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["message"], "panic: oh \u{1b}[31mno");
    assert_eq!((&lines[0]["level"], &lines[0]["thread"]), (&"ERROR".into(), &"worker".into()));
    assert!(lines[0]["place"].as_str().unwrap().starts_with("tests/config.rs:"));
}

/// With `--json` stdout is NDJSON and nothing else, whatever is asked.
#[test]
fn json_is_all_there_is_on_stdout() {
    let home = tempfile::tempdir().unwrap();
    for args in [
        &["keys"][..],
        &["keys", "--list"],
        &["keys", "--columns"],
        &["themes"],
        &["themes", "dark"],
        &["doctor"],
        &["config", "explain"],
        &["config", "check"],
        &["config", "path"],
        &["config", "init"],
        &["secret", "list"],
    ] {
        let out = run(home.path(), &[&["--json"], args].concat());
        let lines = text(&out.stdout);
        assert!(args == ["secret", "list"] || !lines.is_empty(), "{args:?}");
        for line in lines.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object(), "{args:?}: {line}");
        }
    }
}
