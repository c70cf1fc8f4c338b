//! Signed POSTs, and what is sent again.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::*;

/// What to do with the next request.
#[derive(Clone, Copy, Debug)]
pub enum Do {
    Answer(u16),
    /// With `retry-after` of so many seconds.
    Wait(u16, u64),
    /// Takes it and closes the connection.
    Hang,
    /// Takes it and never answers.
    Silence,
}

pub struct Scripted {
    pub port: u16,
    pub got: Arc<Mutex<Vec<(Instant, String, String)>>>,
}

/// Head and body of what a client sends. `None`: it hung up before it had said all.
pub fn read_request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            break;
        }
    }
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|l| l.strip_prefix("content-length: ").map(|n| n.parse().unwrap()));
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

/// Does one thing a request, in order; the last again and again.
pub fn scripted(script: &[Do]) -> Scripted {
    scripted_with(script, "{}")
}

/// Answers with this body.
pub fn scripted_with(script: &[Do], text: &str) -> Scripted {
    let text = text.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let got: Arc<Mutex<Vec<(Instant, String, String)>>> = Arc::default();
    let keep = got.clone();
    let mut script: VecDeque<Do> = script.iter().copied().collect();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            let Some((head, body)) = read_request(&stream) else { continue };
            keep.lock().unwrap().push((Instant::now(), head, body));
            let what = if script.len() > 1 { script.pop_front().unwrap() } else { script[0] };
            let mut stream = stream;
            let mut answer = |status: u16, more: &str| {
                let text = if status == 204 { "" } else { &text };
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{more}", text.len());
                let _ = write!(stream, "{head}connection: close\r\n\r\n{text}");
            };
            match what {
                Do::Answer(status) => answer(status, ""),
                Do::Wait(status, s) => answer(status, &format!("retry-after: {s}\r\n")),
                Do::Hang => drop(stream),
                Do::Silence => held.push(stream),
            }
        }
    });
    Scripted { port, got }
}

fn action(port: u16, idempotent: bool) -> String {
    format!(
        "[[actions]]\nname = \"post\"\ntitle = \"x\"\ntier = \"T1\"\ntargets = {{ is = {{ type = \"ip\" }} }}\n\
         [actions.executor]\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}/hook\"\ntimeout_seconds = 5\n\
         idempotent = {idempotent}\nsign = {{ secret = \"keyring:soar\" }}\n\
         [actions.executor.body]\naddress = \"{{{{target}}}}\"\nwhy = \"{{{{reason}}}}\"\n"
    )
}

pub fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find(|l| l.to_lowercase().starts_with(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).split_once(": ").unwrap().1
}

/// HMAC-SHA256 by somebody else's program.
pub fn openssl_hmac(key: &str, data: &str) -> Option<String> {
    let mut child = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", key, "-r"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(data.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    Some(String::from_utf8(out.stdout).unwrap().split(' ').next().unwrap().to_owned())
}

async fn once(script: &[Do], idempotent: bool) -> (Scripted, Receipt, Request) {
    let dir = tempfile::tempdir().unwrap();
    let s = scripted(script);
    let d = desk(dir.path(), &action(s.port, idempotent), "");
    let r = d.approved(draft("post", &["192.0.2.1"], &[])).await;
    let shown = r.body.commands[0].argv.join("\n");
    assert!(shown.contains("x-watchfloor-signature: HMAC-SHA256 by keyring:soar"), "{shown}");
    let done = d.execute(&r).await.unwrap();
    let got = receipt(&done, "192.0.2.1").clone();
    d.verify();
    (s, got, done)
}

#[tokio::test(flavor = "multi_thread")]
async fn time_and_body_are_signed_as_another_program_signs_them() {
    let (s, got, _) = once(&[Do::Answer(200)], false).await;
    assert_eq!(got.state, ReceiptState::Done, "{got:?}");
    let sent = s.got.lock().unwrap().clone();
    let (_, head, body) = &sent[0];
    let at: i64 = header(head, "x-watchfloor-timestamp").parse().unwrap();
    assert!((now().as_second() - at).abs() < 120);
    let signature = header(head, "x-watchfloor-signature");
    match openssl_hmac("s3cr3t-t0ken-0042", &format!("{at}.{body}")) {
        Some(hex) => assert_eq!(signature, format!("sha256={hex}")),
        None => println!("skipped: no openssl here"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_takes_once_is_sent_until_it_answers() {
    let (s, got, r) = once(&[Do::Wait(503, 1), Do::Hang, Do::Answer(502), Do::Answer(201)], true).await;
    assert_eq!(got.state, ReceiptState::Done, "{got:?}");
    assert!(got.detail.expose().contains("4 tries"), "{got:?}");
    let sent = s.got.lock().unwrap().clone();
    let keys: Vec<&str> = sent.iter().map(|(_, h, _)| header(h, "idempotency-key")).collect();
    assert_eq!(keys, vec![format!("{}/192.0.2.1", r.body.id); 4], "always the same key");
    assert!(sent[1].0 - sent[0].0 >= Duration::from_secs(1), "the server asked for a second");
    assert!(sent.iter().all(|(_, _, body)| *body == sent[0].2));
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_end_and_what_may_have_arrived_stays_unknown() {
    let (s, got, _) = once(&[Do::Answer(503)], true).await;
    assert_eq!((got.state, s.got.lock().unwrap().len()), (ReceiptState::Failed, 4), "{got:?}");
    let (s, got, _) = once(&[Do::Hang, Do::Answer(503)], true).await;
    assert_eq!((got.state, s.got.lock().unwrap().len()), (ReceiptState::Unknown, 4), "{got:?}");
    // Longer than anybody waits, and what no other try would change.
    for last in [Do::Wait(429, 3600), Do::Answer(400), Do::Answer(500)] {
        let (s, got, _) = once(&[last], true).await;
        assert_eq!((got.state, s.got.lock().unwrap().len()), (ReceiptState::Failed, 1), "{last:?} {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_idempotent_is_sent_once() {
    for (first, state) in [
        (Do::Answer(503), ReceiptState::Failed),
        (Do::Wait(429, 0), ReceiptState::Failed),
        (Do::Answer(504), ReceiptState::Unknown),
        (Do::Hang, ReceiptState::Unknown),
        (Do::Silence, ReceiptState::Unknown),
    ] {
        let (s, got, _) = once(&[first, Do::Answer(200)], false).await;
        assert_eq!((got.state, s.got.lock().unwrap().len()), (state, 1), "{first:?} {got:?}");
    }
}
