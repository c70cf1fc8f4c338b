//! Secret references, and that no value ever shows where it should not.

use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use watchfloor::config::secret::{SecretContext, SecretError, resolve};
use watchfloor::config::settings::SecretSettings;
use watchfloor::config::{Env, log, settings::LogSettings};

use super::vault::{TOKEN, VALUE, Vault};
use super::{piped, run, text, watchfloor};

fn context(dir: &Path, env: &[(&str, &str)]) -> SecretContext {
    SecretContext {
        env: env.iter().copied().collect::<Env>(),
        settings: SecretSettings {
            command_timeout_seconds: 60,
            vault_timeout_seconds: 60,
            ..SecretSettings::default()
        },
        config_dir: dir.to_owned(),
        data_dir: dir.join("data"),
    }
}

fn value(reference: &str, ctx: &SecretContext) -> Result<String, SecretError> {
    resolve(reference, ctx).map(|s| s.expose().to_owned())
}

fn write(path: &Path, content: &str, mode: u32) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn files_must_be_ours_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path(), &[("HOME", dir.path().to_str().unwrap())]);
    let file = dir.path().join("token");
    for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o700, false)] {
        write(&file, "s3cret\n", mode);
        let got = value("file:token", &ctx);
        match got {
            Ok(v) => assert!(good && v == "s3cret", "{mode:o}"),
            Err(SecretError::Refused { why, .. }) => {
                assert!(!good && why.ends_with(&format!("run: chmod 600 {}", file.display())), "{mode:o} {why}");
            }
            Err(e) => panic!("{e}"),
        }
    }
    write(&file, "s3cret\r\n", 0o600);
    assert_eq!(value("file:~/token", &ctx).unwrap(), "s3cret");
    for (content, says) in [("", "empty"), ("\n", "empty"), ("a\nb\n", "more than one line"), (" a ", "")] {
        write(&file, content, 0o600);
        match value("file:token", &ctx) {
            Ok(v) => assert_eq!((v.as_str(), says), (" a ", "")),
            Err(e) => assert!(!says.is_empty() && e.to_string().contains(says), "{e}"),
        }
    }
    assert!(matches!(value("file:absent", &ctx), Err(SecretError::Missing { .. })));
    assert!(matches!(value("file:.", &ctx), Err(SecretError::Refused { .. })));
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let start = Instant::now();
    assert!(value("file:fifo", &ctx).unwrap_err().to_string().contains("not a plain file"));
    assert!(start.elapsed() < Duration::from_secs(60));

    write(&file, "x", 0o600);
    match std::os::unix::fs::chown(&file, Some(12345), None) {
        Ok(()) => assert!(value("file:token", &ctx).unwrap_err().to_string().contains("belongs to uid 12345")),
        Err(e) => println!("skipped: a file of somebody else's: {e}"),
    }
}

#[test]
fn environment_and_commands() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path(), &[("TOKEN", "s3cret"), ("EMPTY", "")]);
    assert_eq!(value("env:TOKEN", &ctx).unwrap(), "s3cret");
    assert!(value("env:EMPTY", &ctx).unwrap_err().to_string().contains("empty"));
    assert!(matches!(value("env:ABSENT", &ctx), Err(SecretError::Missing { .. })));

    assert_eq!(value("cmd:printf 'first line\\nsecond'", &ctx).unwrap(), "first line");
    assert_eq!(value("cmd:echo '$HOME;' \"a b\"", &ctx).unwrap(), "$HOME; a b", "no shell");
    assert_eq!(value("cmd:seq 100000", &ctx).unwrap(), "1", "what follows is read and thrown away");
    assert!(value("cmd:cat", &ctx).unwrap_err().to_string().contains("empty"), "nothing on its input");
    assert!(value("cmd:false", &ctx).unwrap_err().to_string().contains("failed"));
    assert!(value("cmd:no-such-program-here", &ctx).unwrap_err().to_string().contains("no such program"));
    assert!(value("cmd:head -c 100000 /dev/zero", &ctx).is_err());
    assert!(value("cmd:'unclosed", &ctx).unwrap_err().to_string().contains("quote"));
}

/// The program and what it started are gone after the deadline.
#[test]
fn a_hanging_command_is_ended_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = context(dir.path(), &[]);
    // Long enough for the shell to come to its wait.
    ctx.settings.command_timeout_seconds = 5;
    let pids = dir.path().join("pids");
    let script = dir.path().join("hang");
    write(&script, &format!("sleep 600 &\necho $! $$ > {}\nwait\n", pids.display()), 0o600);
    let start = Instant::now();
    // By the shell's name: a file just written may still be open in what another test starts, and cannot be run then.
    let e = value(&format!("cmd:sh {} secret-argument-CANARY", script.display()), &ctx).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(300));
    assert!(matches!(e, SecretError::Unreachable { .. }), "{e}");
    assert!(!e.to_string().contains("CANARY"));
    for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
        let gone = (0..6000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
        assert!(gone, "{pid} lives on");
    }
}

#[test]
fn references_that_are_none_are_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path(), &[]);
    for bad in [
        "CANARY",
        "CANARY:CANARY",
        "keyring:CANARY CANARY",
        "keyring:",
        "env:CANARY-CANARY",
        "env:",
        "file:",
        "cmd:",
        "vault:CANARY",
        "vault:CANARY/CANARY",
        "vault:a/../CANARY#f",
        "vault:a//CANARY#f",
        "vault:a/CANARY#",
        "",
    ] {
        match resolve(bad, &ctx) {
            Err(e @ SecretError::BadReference(_)) => assert!(!e.to_string().contains("CANARY"), "{bad}: {e}"),
            other => panic!("{bad}: {other:?}"),
        }
    }
}

#[test]
fn vault() {
    let vault = Vault::start();
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = context(dir.path(), &[("VAULT_TOKEN", TOKEN), ("VAULT_NAMESPACE", "soc")]);
    ctx.settings.vault_addr = Some(vault.url());
    ctx.settings.vault_ca = Some(vault.ca.clone());
    assert_eq!(value("vault:secret/soc/open search#password", &ctx).unwrap(), VALUE);
    assert_eq!(value("vault:secret/soc/open search#port", &ctx).unwrap(), "9200");
    let seen = vault.seen.lock().unwrap().clone();
    assert!(seen[0].to_lowercase().contains("x-vault-namespace: soc\r\n"), "{}", seen[0]);

    // Inside a runtime too.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(async { value("vault:secret/soc/open search#password", &ctx) }).unwrap(), VALUE);

    let fails = |reference: &str, ctx: &SecretContext, kind: fn(&SecretError) -> bool, says: &str| {
        let start = Instant::now();
        let e = resolve(reference, ctx).unwrap_err();
        assert!(kind(&e) && e.to_string().contains(says), "{reference}: {e:?}");
        assert!(!e.to_string().contains("CANARY"), "{e}");
        assert!(start.elapsed() < Duration::from_secs(150));
    };
    let missing = |e: &SecretError| matches!(e, SecretError::Missing { .. });
    let refused = |e: &SecretError| matches!(e, SecretError::Refused { .. });
    let away = |e: &SecretError| matches!(e, SecretError::Unreachable { .. });
    fails("vault:secret/soc/open search#absent", &ctx, missing, "there are: password, port, list");
    fails("vault:secret/soc/open search#list", &ctx, refused, "neither a text nor a number");
    fails("vault:secret/absent#f", &ctx, missing, "404");
    fails("vault:secret/deleted#f", &ctx, missing, "deleted");
    fails("vault:secret/null#f", &ctx, missing, "nothing");
    fails("vault:secret/sealed#f", &ctx, away, "sealed");
    fails("vault:secret/kv1#f", &ctx, refused, "KV version 2");
    fails("vault:secret/moved#f", &ctx, away, "307");
    fails("vault:secret/huge#f", &ctx, refused, "larger");
    let mut hurried = ctx.clone();
    hurried.settings.vault_timeout_seconds = 1;
    fails("vault:secret/slow#f", &hurried, away, "within 1 s");

    let mut other = ctx.clone();
    other.env = [("WRONG", "wrong-token-CANARY"), ("BROKEN", "line\u{1}-CANARY")].into_iter().collect();
    other.settings.vault_token = Some("env:WRONG".into());
    fails("vault:secret/soc/open search#password", &other, refused, "403");
    other.settings.vault_token = Some("env:BROKEN".into());
    fails("vault:secret/soc/open search#password", &other, refused, "header");
    other.settings.vault_token = Some("env:ABSENT".into());
    fails("vault:secret/soc/open search#password", &other, refused, "no token");
    other.settings.vault_token = Some("vault:a/b#c".into());
    fails("vault:secret/soc/open search#password", &other, refused, "cannot itself");

    let mut other = ctx.clone();
    other.settings.vault_ca = Some(vault.other_ca.clone());
    fails("vault:secret/soc/open search#password", &other, away, "certificate");
    other.settings.vault_ca = None;
    fails("vault:secret/soc/open search#password", &other, away, "certificate");
    other.settings.vault_ca = Some(dir.path().join("absent.pem"));
    fails("vault:secret/soc/open search#password", &other, refused, "absent.pem cannot be read");

    let mut other = ctx.clone();
    other.settings.vault_addr = Some("http://vault.example:8200".into());
    fails("vault:secret/soc/open search#password", &other, refused, "https://");
    other.settings.vault_addr = None;
    fails("vault:secret/soc/open search#password", &other, away, "VAULT_ADDR");
    other.settings.vault_addr = Some("https://localhost:1".into());
    fails("vault:secret/soc/open search#password", &other, away, "localhost");
    assert!(vault.seen.lock().unwrap().iter().all(|h| !h.contains("evil.example")));
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything is logged here, ours and that of the libraries below, and no value is in it.
#[test]
fn values_are_in_no_log_and_no_debug_output() {
    let vault = Vault::start();
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = context(dir.path(), &[("VAULT_TOKEN", TOKEN), ("E", "env-CANARY")]);
    ctx.settings.vault_addr = Some(vault.url());
    ctx.settings.vault_ca = Some(vault.ca.clone());
    write(&dir.path().join("f"), "file-CANARY", 0o600);
    let sink = Sink::default();
    let out = sink.clone();
    let everything = LogSettings { level: "trace".into(), keep: 1 };
    // For the whole process: other threads do the work.
    let logging = log::subscriber(&everything, move || out.clone()).unwrap();
    tracing::subscriber::set_global_default(logging).unwrap();
    for reference in ["env:E", "file:f", "cmd:echo cmd-CANARY", "vault:secret/soc/open search#password"] {
        let secret = resolve(reference, &ctx).unwrap();
        tracing::info!(?secret, context = ?ctx, "carelessly logged");
        assert!(secret.expose().contains("CANARY"));
    }
    let logged = text(&sink.0.lock().unwrap());
    assert!(logged.contains("secret resolved") && logged.contains("Secret(hidden)"), "{logged}");
    assert!(!logged.contains("CANARY"), "{logged}");
}

#[test]
fn explain_and_check_show_no_value() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("c.toml");
    std::fs::write(
        &file,
        "[triage.openai]\napi_key='env:KEY'\n[secrets]\nvault_token='cmd:echo argument-CANARY'\n\
         [intake.sources.s]\nkind='opensearch'\nurl='https://h'\nindex='i'\npassword='keyring:os'\n",
    )
    .unwrap();
    for args in [&["config", "explain"][..], &["--json", "config", "explain"], &["config", "check"]] {
        let out =
            watchfloor(home.path()).args(["--config", "c.toml"]).args(args).env("KEY", "key-CANARY").output().unwrap();
        let all = text(&out.stdout) + &text(&out.stderr);
        assert!(out.status.success(), "{all}");
        assert!(!all.contains("CANARY"), "{all}");
        if args.contains(&"explain") {
            assert!(all.contains("env:KEY") && all.contains("cmd:echo ...") && all.contains("keyring:os"), "{all}");
        }
    }
    std::fs::write(&file, "[triage.openai]\napi_key='sk-CANARY'\n").unwrap();
    for command in ["check", "explain", "path"] {
        let out = run(home.path(), &["--config", "c.toml", "config", command]);
        let all = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(2));
        assert!(!all.contains("CANARY") && all.contains("api_key"), "{all}");
    }
}

/// Sets, reads, lists and removes a value with the real binary; says how the keyring called itself.
fn round_trip(command: &dyn Fn() -> Command, keyring: &str) {
    let name = format!("test-{}", std::process::id());
    let call = |args: &[&str]| {
        let mut c = command();
        c.args(args);
        c
    };
    let set = piped(call(&["secret", "set", &name]), "v\u{e4}lue-CANARY\n");
    let said = text(&set.stdout) + &text(&set.stderr);
    assert!(set.status.success() && said.contains(keyring) && !said.contains("CANARY"), "{said}");
    let get = call(&["secret", "get", &name]).output().unwrap();
    assert_eq!(text(&get.stdout), "v\u{e4}lue-CANARY\n");
    assert!(text(&get.stderr).contains(keyring));
    let set = piped(call(&["secret", "set", &format!("keyring:{name}")]), "second-CANARY");
    assert!(set.status.success());
    let get = call(&["--json", "secret", "get", &format!("keyring:{name}")]).output().unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&get.stdout).unwrap()["value"], "second-CANARY");
    let list = call(&["--json", "secret", "list"]).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!((&listed["name"], &listed["keyring"]), (&name.as_str().into(), &keyring.into()));
    assert!(!text(&list.stdout).contains("CANARY"));
    assert!(call(&["secret", "rm", &name]).output().unwrap().status.success());
    assert_eq!(call(&["secret", "get", &name]).output().unwrap().status.code(), Some(1));
    assert_eq!(call(&["secret", "rm", &name]).output().unwrap().status.code(), Some(1));
    assert!(text(&call(&["--json", "secret", "list"]).output().unwrap().stdout).is_empty());
    for (input, says) in [("", "empty"), ("a\nb\n", "more than one line")] {
        let set = piped(call(&["secret", "set", &name]), input);
        assert_eq!(set.status.code(), Some(2));
        assert!(text(&set.stderr).contains(says));
    }
}

#[test]
fn kernel_keyring() {
    let home = tempfile::tempdir().unwrap();
    let probe = piped(
        {
            let mut c = watchfloor(home.path());
            c.args(["secret", "set", "probe"]).env("WATCHFLOOR_SECRETS__KEYRING", "keyutils");
            c
        },
        "x",
    );
    if probe.status.code() == Some(3) {
        println!("skipped: {}", text(&probe.stderr));
        return;
    }
    assert!(run(home.path(), &["secret", "rm", "probe"]).status.success());
    // No session bus in this environment: auto falls back and says so.
    round_trip(&|| watchfloor(home.path()), "keyutils");
}

#[test]
fn secret_service() {
    let have = |p: &str| std::env::var("PATH").unwrap_or_default().split(':').any(|d| Path::new(d).join(p).is_file());
    for program in ["dbus-run-session", "gnome-keyring-daemon"] {
        if !have(program) {
            println!("skipped: {program} is not installed");
            return;
        }
    }
    // The bus lives as long as the command it runs: this test again, in its own session.
    if std::env::var_os("WATCHFLOOR_TEST_BUS").is_none() {
        let home = tempfile::tempdir().unwrap();
        let exe = std::env::current_exe().unwrap();
        let script = "printf '\\n' | gnome-keyring-daemon --foreground --unlock --components=secrets >/dev/null 2>&1 & \
                      for i in $(seq 1200); do \
                        dbus-send --session --print-reply --dest=org.freedesktop.DBus / \
                          org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets | grep -q true && break; \
                        sleep 0.1; \
                      done; \
                      \"$0\" --exact secrets::secret_service --nocapture; code=$?; kill $!; exit $code";
        let out = Command::new("dbus-run-session")
            .args(["--", "sh", "-c", script])
            .arg(exe)
            .env("WATCHFLOOR_TEST_BUS", "1")
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .env("XDG_DATA_HOME", home.path().join("share"))
            .output()
            .unwrap();
        let said = text(&out.stdout) + &text(&out.stderr);
        assert!(out.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap();
    let command = || {
        let mut c = watchfloor(home.path());
        c.env("DBUS_SESSION_BUS_ADDRESS", &bus).env("WATCHFLOOR_SECRETS__KEYRING", "auto");
        c
    };
    round_trip(&command, "secret-service");
}

/// A terminal shows a value only when asked to, and typing one is not echoed.
#[test]
fn terminals() {
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("t"), "shown-CANARY").unwrap();
    std::fs::set_permissions(home.path().join("t"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let reference = format!("file:{}", home.path().join("t").display());
    let session = |args: &[&str], typed: &str| {
        let pty = native_pty_system().openpty(PtySize { rows: 24, cols: 200, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_watchfloor"));
        command.args(args);
        command.env_clear();
        command.env("HOME", home.path());
        command.cwd(home.path());
        let mut reader = pty.master.try_clone_reader().unwrap();
        let mut writer = pty.master.take_writer().unwrap();
        let mut child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let typed = typed.to_owned();
        let master = pty.master;
        let typist = std::thread::spawn(move || {
            let echoes = || {
                let flags = format!("{:?}", master.get_termios().unwrap().local_flags);
                flags.split(['(', ')', ' ', '|']).any(|f| f == "ECHO")
            };
            if !typed.is_empty() {
                // It asks, and takes what is typed without showing it.
                let until = Instant::now() + Duration::from_secs(120);
                while echoes() && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(20));
                }
                writer.write_all(typed.as_bytes()).unwrap();
            }
            (writer, master)
        });
        let mut seen = Vec::new();
        let _ = std::io::Read::read_to_end(&mut reader, &mut seen);
        let _ = typist.join();
        (child.wait().unwrap().exit_code(), text(&seen))
    };
    let (code, seen) = session(&["secret", "get", &reference], "");
    assert!(code == 4 && !seen.contains("CANARY") && seen.contains("--reveal"), "{seen}");
    let (code, seen) = session(&["secret", "get", &reference, "--reveal"], "");
    assert!(code == 0 && seen.contains("shown-CANARY"), "{seen}");
    let (_, seen) = session(&["secret", "set", "typed"], "typed-CANARY\n");
    assert!(seen.contains("not shown") && !seen.contains("CANARY"), "{seen}");
    let _ = run(home.path(), &["secret", "rm", "typed"]);
}
