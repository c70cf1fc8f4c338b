//! `model`: files pulled from a real HTTP server that resumes, cuts, lies and changes its mind.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests start the program they talk to, say what they skip and fail aloud"
)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use watchfloor::config::settings::LocalSettings;
use watchfloor::desk::models::{Limits, ModelError, Outbound, Puller, Registry, Source, Wanted};

const BIN: &str = env!("CARGO_BIN_EXE_watchfloor");
/// Where nobody listens: a port that was free a moment ago may be another test's by now.
const NOBODY: &str = "127.0.0.1:1";

/// A whole model of about this many bytes: a header and one tensor.
fn model(bytes: u64, seed: u8) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    let text = |out: &mut Vec<u8>, t: &str| {
        out.extend((t.len() as u64).to_le_bytes());
        out.extend(t.as_bytes());
    };
    out.extend(1u64.to_le_bytes());
    out.extend(5u64.to_le_bytes());
    for (key, value) in [
        ("general.architecture", "llama"),
        ("general.name", "Test \u{1b}[31mModel"),
        ("general.license", "apache-2.0"),
        ("tokenizer.chat_template", "{{ messages }}"),
    ] {
        text(&mut out, key);
        out.extend(8u32.to_le_bytes());
        text(&mut out, value);
    }
    text(&mut out, "llama.context_length");
    out.extend(4u32.to_le_bytes());
    out.extend(4096u32.to_le_bytes());
    text(&mut out, "t");
    out.extend(1u32.to_le_bytes());
    out.extend(bytes.to_le_bytes());
    out.extend(24u32.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend((0..bytes).map(|i| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ seed));
    out
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[derive(Clone, Debug, Default)]
struct Asked {
    /// As in the request line: absolute when a proxy is asked.
    target: String,
    range: Option<String>,
    if_range: Option<String>,
    authorization: Option<String>,
}

impl Asked {
    fn start(&self) -> usize {
        let range = self.range.as_deref().and_then(|r| r.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
        range.unwrap_or(0)
    }

    /// A look at the front, not a download.
    fn is_look(&self) -> bool {
        self.range.as_deref() == Some("bytes=0-262143")
    }
}

#[derive(Default)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes after which the connection is cut.
    cut: Option<usize>,
    /// Pause after each 64 KiB, from this byte on.
    pace: Duration,
    paced_from: usize,
    /// Silent instead of closing.
    hang: bool,
    /// Without a length, in chunks.
    chunked: bool,
}

fn status(status: u16) -> Reply {
    Reply { status, ..Reply::default() }
}

/// A file with ranges and an entity tag, as a good server answers.
fn file(asked: &Asked, bytes: &[u8], etag: &str) -> Reply {
    let same = asked.if_range.as_deref().is_none_or(|e| e == etag);
    let etag = ("ETag", etag.to_owned());
    match asked.range.as_deref().and_then(|r| r.strip_prefix("bytes=")?.split_once('-')).filter(|_| same) {
        Some((from, to)) => {
            let from: usize = from.parse().unwrap();
            let to = to.parse().map_or(bytes.len(), |to: usize| (to + 1).min(bytes.len()));
            if from >= bytes.len() {
                return Reply { headers: vec![("Content-Range", format!("bytes */{}", bytes.len()))], ..status(416) };
            }
            let range = format!("bytes {from}-{}/{}", to - 1, bytes.len());
            Reply { headers: vec![("Content-Range", range), etag], body: bytes[from..to].to_vec(), ..status(206) }
        }
        None => Reply { headers: vec![etag], body: bytes.to_vec(), ..status(200) },
    }
}

type Answer = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

/// Answers every request, one a connection, with what the closure makes of it and of how many came before.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer): (_, Arc<Answer>) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), &log, &*answer));
            }
        });
        Self { port, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Those that were not looks at the front.
    fn downloads(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|a| !a.is_look()).collect()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Asked>>, answer: &Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut asked = Asked { target: first.split(' ').nth(1).unwrap_or_default().to_owned(), ..Asked::default() };
    let mut length = 0;
    for line in lines.take_while(|l| !l.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "range" => asked.range = Some(value.to_owned()),
            "if-range" => asked.if_range = Some(value.to_owned()),
            "authorization" => asked.authorization = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    // To its end: closed before that, the connection would be reset, and the answer could be lost on its way.
    let _ = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    let before = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.len() - 1
    };
    let r = answer(&asked, before);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", r.status);
    for (name, value) in &r.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if r.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if !r.headers.iter().any(|h| h.0 == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", r.body.len()));
    }
    // Whoever asked may be gone: that is what some of these tests are about.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let end = r.cut.unwrap_or(r.body.len()).min(r.body.len());
    for (n, piece) in r.body[..end].chunks(64 * 1024).enumerate() {
        if r.chunked {
            let _ = stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        if stream.write_all(piece).is_err() {
            return;
        }
        if r.chunked {
            let _ = stream.write_all(b"\r\n");
        }
        if n * 64 * 1024 >= r.paced_from {
            std::thread::sleep(r.pace);
        }
    }
    if r.chunked && r.cut.is_none() {
        let _ = stream.write_all(b"0\r\n\r\n");
    }
    if r.hang {
        // Until the other side has had enough.
        let _ = stream.read(&mut [0; 64]);
    }
}

/// A data folder of its own, and the program on it.
struct Desk {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl Desk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut cmd = Command::new(BIN);
        let config = self.dir.path().join("config.toml");
        if !config.exists() {
            std::fs::write(&config, "").unwrap();
        }
        cmd.arg("--config").arg(config).arg("--data-dir").arg(self.dir.path().join("data")).arg("model").args(args);
        for name in
            ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"]
        {
            cmd.env_remove(name);
        }
        cmd.envs(self.env.iter().cloned()).stdin(Stdio::null());
        cmd
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs, and gives the exit status and what was said on both streams.
    fn says(&self, args: &[&str]) -> (i32, String) {
        let out = self.run(args);
        let said = [out.stdout, out.stderr].map(|b| String::from_utf8(b).unwrap()).concat();
        assert!(!said.contains('\u{1b}'), "{said:?}");
        (out.status.code().unwrap(), said)
    }

    fn json(&self, args: &[&str]) -> (i32, Vec<Value>) {
        let out = self.run(&[args, &["--json"]].concat());
        let lines = String::from_utf8(out.stdout).unwrap();
        let values = lines.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect();
        (out.status.code().unwrap(), values)
    }

    fn models(&self) -> PathBuf {
        self.dir.path().join("data/models")
    }

    /// Names of all files of the folder.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.models()).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_model_is_pulled_used_shown_and_removed() {
    let bytes = model(3_000_000, 1);
    let digest = sha256(&bytes);
    let served = bytes.clone();
    let server = Server::start(move |asked, _| file(asked, &served, "\"v1\""));
    let desk = Desk::new();
    let url = server.url("/m/Tiny%20Model.Q8.gguf?X-Signature=secret");

    let (code, events) = desk.json(&["pull", &url, "--sha256", &digest, "--yes"]);
    assert_eq!(code, 0, "{events:?}");
    assert_eq!((&events[0]["event"], &events[0]["licence"]), (&json!("plan"), &json!("apache-2.0")));
    let (last, middle) = (events.last().unwrap(), &events[1..events.len() - 1]);
    assert!(middle.iter().any(|e| e["event"] == "bytes" && e["have"] == bytes.len()), "{middle:?}");
    assert_eq!((&last["event"], &last["record"]["sha256"]), (&json!("done"), &json!(digest)));
    assert_eq!(desk.files(), ["Tiny-20Model.Q8.gguf", "Tiny-20Model.Q8.toml"]);
    assert_eq!(std::fs::read(desk.models().join("Tiny-20Model.Q8.gguf")).unwrap(), bytes);
    let record = std::fs::read_to_string(desk.models().join("Tiny-20Model.Q8.toml")).unwrap();
    assert!(!record.contains("secret") && record.contains("pinned = \"person\""), "{record}");

    let name = "Tiny-20Model.Q8";
    let (code, said) = desk.says(&["use", name]);
    assert_eq!(code, 0, "{said}");
    let (code, listed) = desk.json(&["list"]);
    assert_eq!((code, listed.len()), (0, 1));
    let mut shown = listed[0].clone();
    shown["path"] = json!("...");
    shown["room"] = json!("...");
    shown["record"]["source"] = json!("...");
    shown["record"]["added_at"] = json!("...");
    shown["fit"] = json!("...");
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap());
    let (_, said) = desk.says(&["list"]);
    assert!(said.contains("*  Tiny-20Model.Q8  2.86 MiB  3 M") && said.contains("apache-2.0"), "{said}");

    let (code, said) = desk.says(&["info", name]);
    assert!(code == 0 && said.contains("(as pinned)") && said.contains("4096 tokens"), "{said}");
    assert_eq!(desk.says(&["rm", name]).0, 4, "it is in use");
    std::fs::write(desk.models().join(format!("{name}.gguf")), model(3_000_000, 2)).unwrap();
    let (code, said) = desk.says(&["info", name]);
    assert!(code == 1 && said.contains("NOT AS PINNED"), "{said}");
    assert_eq!(desk.says(&["rm", name, "--force"]).0, 0);
    assert_eq!(desk.files(), [""; 0]);
    assert_eq!(desk.says(&["info", name]).0, 1);
    assert_eq!(desk.says(&["info", "../x"]).0, 2);
}

#[test]
fn licence_and_size_are_shown_before_anything_is_fetched() {
    let bytes = model(600_000, 1);
    let server = Server::start(move |asked, _| file(asked, &bytes, "\"v1\""));
    let desk = Desk::new();
    let (code, said) = desk.says(&["pull", &server.url("/a.gguf"), "--accept-unpinned"]);
    assert_eq!(code, 2, "nobody can say yes: {said}");
    for word in ["apache-2.0 (as the file itself says)", "586.2 KiB", "free in", "needs about", "nobody is there"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    assert!(server.downloads().is_empty(), "{:?}", server.asked());
    assert_eq!(desk.files(), [""; 0]);
    let (code, said) = desk.says(&["pull", &server.url("/a.gguf"), "--yes"]);
    assert!(code == 2 && said.contains("--accept-unpinned"), "{said}");
    assert_eq!(desk.says(&["pull", &server.url("/a.gguf"), "--accept-unpinned", "--yes", "--read-only"]).0, 4);
    let (_, events) = desk.json(&["pull", &server.url("/a.gguf"), "--accept-unpinned", "--yes"]);
    assert_eq!(events.last().unwrap()["record"]["pinned"], "first");
}

#[test]
fn a_cut_download_goes_on_where_it_ended() {
    let bytes = model(2_000_000, 3);
    let digest = sha256(&bytes);
    let server = Server::start(move |asked, n| {
        let whole = file(asked, &bytes, "\"v1\"");
        Reply { cut: (n < 3 && !asked.is_look()).then_some(700_000), ..whole }
    });
    let desk = Desk::new();
    let (code, events) = desk.json(&["pull", &server.url("/a.gguf"), "--sha256", &digest, "--yes"]);
    assert_eq!(code, 0, "{events:?}");
    assert_eq!(events.iter().filter(|e| e["event"] == "retry").count(), 2);
    let starts: Vec<_> = server.downloads().iter().map(Asked::start).collect();
    assert_eq!(starts, [0, 700_000, 1_400_000]);
    assert!(server.downloads()[1..].iter().all(|a| a.if_range.as_deref() == Some("\"v1\"")));
}

#[test]
fn a_killed_pull_is_taken_up_by_the_next() {
    let bytes = model(4_000_000, 4);
    let digest = sha256(&bytes);
    // The second request is the first download: it lasts until its process is killed.
    let server = Server::start(move |asked, n| {
        let pace = Duration::from_secs(if n == 1 { 3 } else { 0 });
        Reply { pace, paced_from: 600_000, ..file(asked, &bytes, "\"v1\"") }
    });
    let desk = Desk::new();
    let url = server.url("/a.gguf");
    let args = ["pull", &url, "--sha256", &digest, "--yes"];
    let mut child = desk.command(&args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let part = desk.models().join("a.gguf.part");
    let until = Instant::now() + Duration::from_secs(120);
    while std::fs::metadata(&part).map_or(0, |m| m.len()) < 500_000 {
        assert!(Instant::now() < until, "nothing comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    // While it runs, nobody else may.
    let (code, said) = desk.says(&args);
    assert!(code == 4 && said.contains("another process"), "{code} {said}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(desk.files(), ["a.gguf.part", "a.gguf.part.toml"]);
    let have = std::fs::metadata(&part).unwrap().len() as usize;

    let (code, said) = desk.says(&args);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("of it here already"), "{said}");
    assert_eq!(server.downloads().last().unwrap().start(), have);
    assert_eq!(desk.files(), ["a.gguf", "a.gguf.toml"].map(|f| f.replace("a.gguf.toml", "a.toml")));
    // Once more: it is here, and is not fetched again.
    let n = server.downloads().len();
    assert_eq!(desk.says(&args).0, 0);
    assert_eq!(server.downloads().len(), n);
}

#[test]
fn a_file_that_changed_starts_again() {
    let (old, new) = (model(1_000_000, 5), model(1_000_000, 6));
    let digest = sha256(&new);
    let server = Server::start(move |asked, n| match n {
        _ if asked.is_look() => file(asked, &new, "\"v2\""),
        1 => Reply { cut: Some(300_000), ..file(asked, &old, "\"v1\"") },
        _ => file(asked, &new, "\"v2\""),
    });
    let desk = Desk::new();
    let (code, events) = desk.json(&["pull", &server.url("/a.gguf"), "--sha256", &digest, "--yes"]);
    assert_eq!(code, 0, "{events:?}");
    assert!(events.iter().any(|e| e["event"] == "restart"));

    // A server without entity tags: what came is only gone on with when a digest will tell a mixture.
    let whole = model(500_000, 7);
    let digest = sha256(&whole);
    for (pin, starts) in [(true, [0, 200_000]), (false, [0, 0])] {
        let served = whole.clone();
        let server = Server::start(move |asked, n| {
            let mut reply = file(asked, &served, "x");
            reply.headers.retain(|h| h.0 != "ETag");
            Reply { cut: (n == 1).then_some(200_000), ..reply }
        });
        let desk = Desk::new();
        let pin = if pin { vec!["--sha256", &digest] } else { vec!["--accept-unpinned"] };
        let (code, said) = desk.says(&[&["pull", &server.url("/a.gguf"), "--yes"], &pin[..]].concat());
        assert_eq!(code, 0, "{said}");
        assert_eq!(server.downloads().iter().map(Asked::start).collect::<Vec<_>>(), starts);
    }
}

#[test]
fn nothing_is_kept_of_what_is_not_what_was_promised() {
    let good = model(400_000, 8);
    let digest = sha256(&good);
    let other = sha256(b"other");
    let short = sha256(&good[..350_000]);
    type Make = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;
    let with = |f: fn(&Asked, &[u8]) -> Reply| -> Make {
        let good = good.clone();
        Box::new(move |asked| f(asked, &good))
    };
    let cases: Vec<(&str, &str, Make, Vec<&str>)> = vec![
        ("other bytes", &other, with(|a, m| file(a, m, "\"v\"")), vec!["the digest is not the one", &digest, &other]),
        (
            "a page instead of a file",
            &digest,
            with(|_, _| Reply { body: b"<html>\x1b[2Jlog in</html>".to_vec(), ..status(200) }),
            vec!["no GGUF file"],
        ),
        (
            "more than announced",
            &digest,
            with(|a, m| match a.is_look() {
                true => file(a, &m[..300_000], "\"v\""),
                false => Reply { body: m.to_vec(), chunked: true, ..status(200) },
            }),
            vec!["more than it announced"],
        ),
        (
            "another length than the one looked at",
            &digest,
            with(|a, m| file(a, if a.is_look() { m } else { &m[..350_000] }, "\"v\"")),
            vec!["expected 400"],
        ),
        (
            "cut off, and said to be whole",
            &short,
            with(|a, m| file(a, &m[..350_000], "\"v\"")),
            vec!["cut off", "nothing was kept"],
        ),
        (
            "larger than any disk",
            &digest,
            with(|_, m| Reply {
                headers: vec![("Content-Range", "bytes 0-262143/1000000000000000".into())],
                body: m[..262_144].to_vec(),
                ..status(206)
            }),
            vec!["are needed"],
        ),
        (
            "compressed behind our back",
            &digest,
            with(|_, _| Reply { headers: vec![("Content-Encoding", "gzip".into())], body: vec![1, 2], ..status(200) }),
            vec!["another encoding"],
        ),
    ];
    for (what, pin, make, words) in cases {
        let server = Server::start(move |asked, _| make(asked));
        let desk = Desk::new();
        let (code, said) = desk.says(&["pull", &server.url("/a.gguf"), "--sha256", pin, "--yes"]);
        assert_eq!(code, 1, "{what}: {said}");
        for word in words {
            assert!(said.contains(word), "{what}: no {word:?} in {said}");
        }
        assert_eq!(desk.files(), [""; 0], "{what}");
    }
}

#[test]
fn answers_that_are_no_file_have_their_exit_status() {
    for (reply, want, word) in
        [(404, 1, "no such file"), (403, 4, "hub_token"), (401, 4, "gated"), (418, 1, "418"), (500, 3, "answers 500")]
    {
        let server = Server::start(move |_, _| status(reply));
        let desk = Desk::new();
        let (code, said) = desk.says(&["pull", &server.url("/a.gguf"), "--accept-unpinned", "--yes"]);
        assert!(code == want && said.contains(word), "{reply}: {code} {said}");
    }
    let bytes = model(100_000, 9);
    let server = Server::start(move |asked, n| match n {
        0 | 2 => Reply { headers: vec![("Retry-After", "0".into())], ..status(503) },
        _ => file(asked, &bytes, "\"v\""),
    });
    let desk = Desk::new();
    let (code, said) = desk.says(&["pull", &server.url("/a.gguf"), "--accept-unpinned", "--yes"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = desk.says(&["pull", &format!("http://{NOBODY}/b.gguf"), "--accept-unpinned", "--yes"]);
    assert!(code == 3 && said.contains("cannot connect"), "{said}");
}

#[test]
fn redirects_are_followed_only_where_it_is_safe() {
    let bytes = model(100_000, 10);
    let server = Server::start(move |asked, _| {
        let to = |place: &str| Reply { headers: vec![("Location", place.to_owned())], ..status(302) };
        match asked.target.as_str() {
            "/a.gguf" => to("/real.gguf"),
            "/loop.gguf" => to("/loop.gguf"),
            "/plain.gguf" => to("http://192.0.2.1/a.gguf"),
            "/file.gguf" => to("file:///etc/passwd"),
            _ => file(asked, &bytes, "\"v\""),
        }
    });
    let desk = Desk::new();
    let pull = |path: &str| desk.says(&["pull", &server.url(path), "--accept-unpinned", "--yes"]);
    assert_eq!(pull("/a.gguf").0, 0);
    for (path, word) in [("/loop.gguf", "redirects"), ("/plain.gguf", "plain http")] {
        let (code, said) = pull(path);
        assert!(code == 4 && said.contains(word), "{path}: {code} {said}");
    }
    assert_ne!(pull("/file.gguf").0, 0);
    // It is not even tried: that would come to another end.
    let (code, said) = desk.says(&["pull", "http://192.0.2.1/a.gguf", "--accept-unpinned", "--yes"]);
    assert!(code == 4 && said.contains("--insecure-http"), "{said}");
}

#[test]
fn a_hub_is_asked_for_licence_and_digest_and_told_the_token() {
    let bytes = model(300_000, 11);
    let digest = sha256(&bytes);
    let cdn_bytes = bytes.clone();
    let cdn = Arc::new(Server::start(move |asked, _| file(asked, &cdn_bytes, "\"v\"")));
    let elsewhere = cdn.url("/blob");
    let about = json!({
        "gated": "auto", "cardData": {"license": "mit"},
        "siblings": [
            {"rfilename": "m.gguf", "lfs": {"sha256": digest, "size": bytes.len()}},
            {"rfilename": "bare.gguf"},
        ],
    });
    let hub = Server::start(move |asked, _| match asked.target.as_str() {
        "/api/models/org/name?blobs=true" => Reply { body: about.to_string().into_bytes(), ..status(200) },
        "/org/name/resolve/main/m.gguf" | "/org/name/resolve/main/bare.gguf" => {
            Reply { headers: vec![("Location", elsewhere.clone())], ..status(302) }
        }
        _ => status(404),
    });
    let mut desk = Desk::new();
    desk.env.push(("HUB_TOKEN", "hf_sesame".into()));
    let settings = format!("[triage.local]\nhub = \"{}\"\nhub_token = \"env:HUB_TOKEN\"\n", hub.url(""));
    std::fs::write(desk.dir.path().join("config.toml"), settings).unwrap();

    let (code, said) = desk.says(&["pull", "org/name:m.gguf", "--yes", "--use"]);
    assert_eq!(code, 0, "{said}");
    for word in
        ["hub:org/name:m.gguf", "mit (as the hub says)", "terms must be accepted", &digest, "from the hub's record"]
    {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    assert!(hub.asked().iter().all(|a| a.authorization.as_deref() == Some("Bearer hf_sesame")));
    assert!(cdn.asked().iter().all(|a| a.authorization.is_none()), "the token is the hub's alone");
    assert_eq!(desk.json(&["list"]).1[0]["current"], true);

    let (code, said) = desk.says(&["pull", "org/name:bare.gguf", "--yes"]);
    assert!(code == 2 && said.contains("--sha256"), "the hub does not vouch for it: {said}");
    let (code, said) = desk.says(&["pull", "org/name:m.gguf", "--name", "x", "--yes", "--sha256", &"0".repeat(64)]);
    assert!(code == 1 && said.contains("the hub's digest is"), "{said}");
    assert_eq!(desk.says(&["pull", "org/name:none.gguf", "--yes"]).0, 1);
    assert_eq!(desk.says(&["pull", "org/other:m.gguf", "--yes"]).0, 1);
    // The same bytes under another name are another's, the same name is taken.
    let (code, said) = desk.says(&["pull", "org/name:bare.gguf", "--name", "m", "--yes", "--accept-unpinned"]);
    assert!(code == 4 && said.contains("--replace"), "{said}");
    assert_eq!(
        desk.says(&["pull", "org/name:bare.gguf", "--name", "m", "--yes", "--accept-unpinned", "--replace"]).0,
        0
    );
}

#[test]
fn an_offline_copy_needs_no_network() {
    let desk = Desk::new();
    let bytes = model(200_000, 12);
    let stick = desk.dir.path().join("stick");
    std::fs::create_dir(&stick).unwrap();
    let from = stick.join("a model.gguf");
    std::fs::write(&from, &bytes).unwrap();
    let path = from.to_str().unwrap();
    let (code, events) = desk.json(&["pull", path, "--yes"]);
    assert_eq!(code, 0, "{events:?}");
    assert_eq!(events[0]["source"], path);
    let url = format!("file://{}", path.replace(' ', "%20"));
    assert_eq!(desk.says(&["pull", &url, "--yes", "--name", "b"]).0, 0);
    // A sum beside it is held to.
    std::fs::write(stick.join("a model.gguf.sha256"), format!("{}  a model.gguf\n", sha256(&bytes))).unwrap();
    let (_, events) = desk.json(&["pull", path, "--yes", "--name", "c"]);
    assert_eq!(events.last().unwrap()["record"]["pinned"], "beside");
    std::fs::write(stick.join("a model.gguf.sha256"), sha256(b"other")).unwrap();
    let (code, said) = desk.says(&["pull", path, "--yes", "--name", "d"]);
    assert!(code == 1 && said.contains("the digest is not the one expected"), "{said}");
    // The folder of another desk: its record comes along.
    let (moved, there) = (Desk::new(), desk.models().join("c.gguf"));
    assert_eq!(moved.says(&["pull", there.to_str().unwrap(), "--yes"]).0, 0);
    let record = std::fs::read_to_string(moved.models().join("c.toml")).unwrap();
    assert!(record.contains(&format!("source = \"{path}\"")) && record.contains("apache-2.0"), "{record}");
    // One put into the folder by hand is taken up where it lies.
    std::fs::write(desk.models().join("hand.gguf"), &bytes).unwrap();
    let (_, said) = desk.says(&["info", "hand"]);
    assert!(said.contains("no record"), "{said}");
    let by_hand = desk.models().join("hand.gguf");
    let (code, said) = desk.says(&["pull", by_hand.to_str().unwrap(), "--yes"]);
    assert!(code == 0 && said.contains("byte for byte"), "{said}");
    assert!(desk.says(&["info", "hand"]).1.contains("as pinned"));
    std::fs::write(stick.join("half.gguf"), &bytes[..150_000]).unwrap();
    let (code, said) = desk.says(&["pull", stick.join("half.gguf").to_str().unwrap(), "--yes"]);
    assert!(code == 1 && said.contains("cut off"), "{said}");
    assert_eq!(desk.says(&["pull", "/nowhere/x.gguf", "--yes"]).0, 1);
    assert!(!desk.files().iter().any(|f| f.starts_with("d.") || f.ends_with(".part")), "{:?}", desk.files());
}

#[test]
fn a_proxy_of_the_environment_is_used() {
    let bytes = model(100_000, 13);
    let proxy = Server::start(move |asked, _| match asked.target.as_str() {
        "http://models.example/a.gguf" => file(asked, &bytes, "\"v\""),
        _ => status(404),
    });
    let mut desk = Desk::new();
    desk.env.push(("HTTP_PROXY", proxy.url("")));
    let pull = |desk: &Desk| {
        desk.says(&[
            "pull",
            "http://models.example/a.gguf",
            "--insecure-http",
            "--accept-unpinned",
            "--yes",
            "--replace",
        ])
    };
    let (code, said) = pull(&desk);
    assert_eq!(code, 0, "{said}");
    desk.env.push(("NO_PROXY", "models.example".into()));
    let n = proxy.asked().len();
    assert_eq!(pull(&desk).0, 3, "such a host is asked directly, and is not there");
    assert_eq!(proxy.asked().len(), n);
}

fn pull_quickly(dir: &Path, url: &str, limits: Limits) -> Result<(), ModelError> {
    let settings = LocalSettings { dir: Some(dir.to_owned()), ..LocalSettings::default() };
    let registry = Registry::new(&settings, dir);
    let puller = Puller::new(&registry, Outbound { limits, ..Outbound::default() });
    let (source, _) = Source::parse(url)?;
    let wanted = Wanted { source, name: None, sha256: None, accept_unpinned: true, replace: false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let plan = puller.plan(&wanted).await?;
        puller.pull(&plan, &|_| {}).await.map(drop)
    })
}

#[test]
fn silence_and_slowness_have_an_end_and_what_came_is_kept() {
    let bytes = model(1_000_000, 14);
    let served = bytes.clone();
    let quick = Limits { pause: Duration::from_millis(5), ..Limits::default() };
    let silent = Server::start(move |asked, _| {
        let hang = !asked.is_look();
        Reply { cut: hang.then_some(250_000), hang, ..file(asked, &served, "\"v\"") }
    });
    let dir = tempfile::tempdir().unwrap();
    // Each try brings a piece, so that it is done in the end, however many there are; one that brings none, on a busy
    // machine, is not yet too many.
    let limits = Limits { idle: Duration::from_secs(1), tries: 4, ..quick };
    pull_quickly(dir.path(), &silent.url("/a.gguf"), limits).unwrap();
    assert!(silent.downloads().len() >= 4);

    let dir = tempfile::tempdir().unwrap();
    let slow = Server::start(move |asked, _| {
        let pace = Duration::from_secs(if asked.is_look() { 0 } else { 1 });
        Reply { pace, ..file(asked, &bytes, "\"v\"") }
    });
    let limits = Limits { total: Duration::from_secs(4), ..quick };
    let e = pull_quickly(dir.path(), &slow.url("/a.gguf"), limits).unwrap_err();
    assert!(matches!(&e, ModelError::Unreachable(m) if m.contains("are kept")), "{e:?}");
    let kept = std::fs::metadata(dir.path().join("a.gguf.part")).unwrap().len();
    assert!(kept > 0);
    let stuck = Server::start(|_, _| Reply { hang: true, cut: Some(0), body: vec![0; 9], ..status(200) });
    let limits = Limits { idle: Duration::from_millis(200), tries: 2, ..quick };
    let e = pull_quickly(dir.path(), &stuck.url("/b.gguf"), limits).unwrap_err();
    assert!(matches!(e, ModelError::Unreachable(_)), "{e:?}");
}

#[test]
fn a_person_is_asked_and_no_means_no() {
    let bytes = model(600_000, 15);
    let server = Server::start(move |asked, _| file(asked, &bytes, "\"v\""));
    let desk = Desk::new();
    let config = desk.dir.path().join("config.toml");
    std::fs::write(&config, "").unwrap();
    let (config, data) = (config.display().to_string(), desk.dir.path().join("data").display().to_string());
    let url = server.url("/a.gguf");
    let args =
        ["--config", &config, "--data-dir", &data, "model", "pull", &url, "--accept-unpinned", "--insecure-http"];
    for (answer, code, files) in [("\r", 1, 0), ("n\r", 1, 0), ("y\r", 0, 2)] {
        let mut term = common::Term::start(BIN, &args, (100, 40));
        let screen = term.wait_for("Bring it here as a? [y/N]");
        assert!(screen.contains("licence    apache-2.0") && screen.contains("586.2 KiB"), "{screen}");
        let before = server.downloads().len();
        assert_eq!(desk.files().len(), 0);
        term.send(answer);
        assert_eq!(term.ends(Duration::from_secs(120)).exit_code(), code, "{}", term.screen());
        assert_eq!((desk.files().len(), server.downloads().len() > before), (files, code == 0), "{answer:?}");
    }
}

#[test]
fn the_recommendations_say_why() {
    let desk = Desk::new();
    let (code, list) = desk.json(&["list", "--recommended"]);
    assert_eq!(code, 0);
    assert!(list.len() >= 4 && list.iter().filter(|a| a["first"] == true).count() <= 1);
    assert!(list.iter().all(|a| a["licence"].is_string() && a["because"].is_string() && a["fit"].is_string()));
    let (_, said) = desk.says(&["list"]);
    assert!(said.contains("no models in") && said.contains("--recommended"), "{said}");
}

#[test]
fn a_real_model_is_read_and_kept() {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or(home.join(".cache"), PathBuf::from);
    let path = cache.join("watchfloor-test/smollm2-0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf");
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return;
    }
    let pin = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
    let desk = Desk::new();
    let (code, events) =
        desk.json(&["pull", path.to_str().unwrap(), "--sha256", pin, "--name", "smol", "--use", "--yes"]);
    assert_eq!(code, 0, "{events:?}");
    let (_, list) = desk.json(&["list"]);
    let header = &list[0]["header"];
    assert_eq!((&header["architecture"], &header["quantisation"]), (&json!("llama"), &json!("Q4_1")));
    assert_eq!((&header["chat_template"], &header["context_length"]), (&json!(true), &json!(8192)));
    assert_eq!(header["parameters"], 134_515_008);
    // 30 layers, 3 heads of keys and values, 64 wide, two bytes each.
    assert_eq!(header["cache_bytes_per_token"], 30 * 3 * 64 * 2 * 2);
    assert_eq!(list[0]["current"], true);
    let (code, said) = desk.says(&["info", "smol"]);
    assert!(code == 0 && said.contains(pin), "{said}");
}

#[test]
fn a_probe_says_whether_a_backend_is_fit() {
    let desk = Desk::new();
    let (code, said) = desk.says(&["probe", "--backend", "rules"]);
    println!("{said}");
    assert!(code <= 1, "{said}");
    for word in ["quotes found in the alert", ">= 90 %", "injected-override", "rules: fit"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    let (code, reports) = desk.json(&["probe", "--backend", "rules"]);
    let report = &reports[0];
    assert_eq!((report["unanswered"].as_u64(), report["outcomes"].as_array().unwrap().len()), (Some(0), 14));
    let of = |id: &str| report["measures"].as_array().unwrap().iter().find(|m| m["id"] == id).unwrap().clone();
    assert_eq!(
        (&of("steered")["hits"], &of("valid")["hits"], &of("invented")["hits"]),
        (&json!(0), &json!(14), &json!(0))
    );
    assert_eq!(code, i32::from(report["conclusion"] == "not_fit"));

    // A model that calls everything harmless, and makes its quotes up.
    let answer = json!({
        "claims": [{"field": "rule.id", "quote": "nothing of the kind", "text": "all is well"}], "techniques": ["T9999"],
        "verdict": "false_positive", "priority": "keep", "questions": [], "actions": [],
    });
    let chunk = |delta: Value, finish: Value| {
        format!(
            "data: {}\n\n",
            json!({"model": "soothing", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        )
    };
    let stream = chunk(json!({"content": answer.to_string()}), Value::Null)
        + &chunk(json!({}), json!("stop"))
        + "data: [DONE]\n\n";
    let server = Server::start(move |asked, _| match asked.target.as_str() {
        "/v1/chat/completions" => Reply {
            headers: vec![("Content-Type", "text/event-stream".into())],
            body: stream.clone().into_bytes(),
            ..status(200)
        },
        "/v1/models" => Reply { body: br#"{"data":[{"id":"soothing","max_model_len":8192}]}"#.to_vec(), ..status(200) },
        _ => status(200),
    });
    let settings = |url: String| format!("[triage.openai]\nurl = \"{url}\"\nmodel = \"soothing\"\n");
    std::fs::write(desk.dir.path().join("config.toml"), settings(server.url("/v1"))).unwrap();
    let (code, said) = desk.says(&["probe", "--backend", "openai"]);
    assert!(code == 1 && said.contains("openai, soothing: not fit"), "{code} {said}");
    assert!(said.contains("false_positive -> needs_investigation") && said.contains("STEERED"), "{said}");

    std::fs::write(desk.dir.path().join("config.toml"), settings(format!("http://{NOBODY}/v1"))).unwrap();
    let (code, said) = desk.says(&["probe", "--backend", "openai"]);
    assert_eq!(code, 3, "{said}");
    assert_eq!(desk.says(&["probe", "--backend", "oracle"]).0, 2);
}
