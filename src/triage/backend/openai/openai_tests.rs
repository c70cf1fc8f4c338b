//! The client against a server that answers each connection by a script. What real servers do is in
//! `tests/model_server.rs`.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::settings::ServerSettings;
use crate::model::ids::PersonId;
use crate::model::priority::Priority;
use crate::model::verdict::VerdictKind;
use crate::model::verdict::{Suggestion, Verdict};
use crate::triage::reader::Reader;
use crate::triage::testing::{no_secrets, question, secret};
use crate::triage::{Backend as _, Backends, Offer, Question};

const ANSWER: &str = r#"{"claims":[{"field":"rule.description","quote":"LSASS","text":"credentials"},{"field":"rule.description","quote":"Mimikatz","text":"made up"}],"techniques":["T1003.001","T9999"],"verdict":"true_positive","priority":"P0","questions":["who?"],"actions":["isolate-host","rm-rf"]}"#;

/// One scripted answer: pieces to send, and how long to wait after each.
#[derive(Clone)]
struct Script(Vec<(Vec<u8>, u64)>);

fn stream(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
}

fn event(content: &str, finish: Option<&str>) -> String {
    let chunk = json!({"model": "tiny", "choices": [{"delta": {"content": content}, "finish_reason": finish}]});
    format!("data: {chunk}\n\n")
}

fn whole(answer: &str, finish: &str) -> String {
    let (a, b) = answer.split_at(answer.len() / 2);
    stream(&format!(": hi\n\n{}{}data: [DONE]\n\n", event(a, None), event(b, Some(finish))))
}

fn reply(status: &str, kind: &str, body: &str) -> Script {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    once(&format!("{head}{body}"))
}

fn once(text: &str) -> Script {
    Script(vec![(text.as_bytes().to_vec(), 0)])
}

type Seen = Arc<Mutex<Vec<String>>>;

/// Serves the scripts one chat request after another, the last one for ever; a server that says nothing of itself.
/// Returns the address, the requests' text and how many peers hung up before their script ended.
async fn serve(scripts: Vec<Script>) -> (String, Seen, Arc<Mutex<usize>>) {
    serve_with(vec![], scripts).await
}

/// As [`serve`], with other pages by path.
async fn serve_with(pages: Vec<(&'static str, Script)>, scripts: Vec<Script>) -> (String, Seen, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    serve_on(listener, pages, scripts)
}

fn serve_on(
    listener: TcpListener,
    pages: Vec<(&'static str, Script)>,
    scripts: Vec<Script>,
) -> (String, Seen, Arc<Mutex<usize>>) {
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (seen, hung_up) = (Seen::default(), Arc::new(Mutex::new(0)));
    let (seen2, hung2) = (seen.clone(), hung_up.clone());
    let (scripts, pages, next) = (Arc::new(scripts), Arc::new(pages), Arc::new(Mutex::new(0)));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (seen, hung) = (seen2.clone(), hung2.clone());
            let (scripts, pages, next) = (scripts.clone(), pages.clone(), next.clone());
            tokio::spawn(async move {
                let request = request(&mut socket).await;
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                let script = if path.ends_with("/chat/completions") {
                    seen.lock().unwrap().push(request);
                    let mut next = next.lock().unwrap();
                    *next += 1;
                    scripts[(*next - 1).min(scripts.len() - 1)].clone()
                } else {
                    let page = pages.iter().find(|p| p.0 == path).map(|p| p.1.clone());
                    page.unwrap_or_else(|| reply("404 Not Found", "text/plain", "no such page"))
                };
                for (piece, wait) in script.0 {
                    let _ = socket.write_all(&piece).await;
                    let mut byte = [0; 1];
                    let closed = tokio::time::timeout(Duration::from_millis(wait), socket.read(&mut byte)).await;
                    if wait > 0 && matches!(closed, Ok(Ok(0) | Err(_))) {
                        *hung.lock().unwrap() += 1;
                        return;
                    }
                }
                let _ = socket.shutdown().await;
            });
        }
    });
    (url, seen, hung_up)
}

async fn request(socket: &mut TcpStream) -> String {
    let (mut bytes, mut buf) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_ascii_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|l| l.lines().next()?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match socket.read(&mut buf).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buf[..n]),
            _ => return text,
        }
    }
}

fn offer() -> Offer {
    Offer { actions: vec!["isolate-host".into()], ..Offer::default() }
}

fn client(url: &str) -> Reader {
    Reader::new(Arc::new(engine(url)), offer())
}

/// Patient: a busy machine may take its time, and what is not about limits must not run into them.
const PATIENCE: u64 = 120;

fn engine(url: &str) -> Openai {
    engine_within(url, PATIENCE)
}

fn engine_within(url: &str, seconds: u64) -> Openai {
    let s = OpenaiSettings {
        url: url.into(),
        model: "tiny".into(),
        first_token_seconds: seconds,
        idle_seconds: seconds,
        api_key: Some("env:KEY".into()),
        ..OpenaiSettings::default()
    };
    Openai::new(&s, &secret("sk-very-secret")).unwrap()
}

fn lsass() -> Question {
    let mut q = question(r#"{"rule":{"description":"LSASS memory read"}}"#);
    q.alert.fields.title = "LSASS memory read".into();
    q
}

async fn ask(scripts: Vec<Script>) -> (Result<Verdict, TriageError>, Vec<String>) {
    let (url, seen, _) = serve(scripts).await;
    let got = client(&url).judge(&lsass(), &|_| {}, &Cancel::new()).await;
    let seen = seen.lock().unwrap().clone();
    (got.map(|j| j.verdict), seen)
}

#[tokio::test]
async fn an_answer_cut_anywhere_becomes_a_verdict() {
    let text = whole(ANSWER, "stop");
    let pieces = text.as_bytes().chunks(37).map(|c| (c.to_vec(), 1)).collect();
    let (url, seen, _) = serve(vec![Script(pieces)]).await;
    let streamed = Mutex::new(String::new());
    let progress = |t: Untrusted| streamed.lock().unwrap().push_str(t.expose());
    let v = client(&url).judge(&lsass(), &progress, &Cancel::new()).await.unwrap().verdict;
    assert_eq!((v.kind, v.model.expose(), v.confidence), (VerdictKind::TruePositive, "tiny", None));
    assert_eq!(*streamed.lock().unwrap(), ANSWER);
    let sent = seen.lock().unwrap()[0].clone();
    let lower = sent.to_ascii_lowercase();
    assert!(lower.contains("x-request-id: req-1") && lower.contains("authorization: bearer sk-very-secret"), "{sent}");
    assert!(sent.contains("json_schema") && sent.contains("include_usage") && !sent.contains("guided_json"), "{sent}");
}

#[tokio::test]
async fn the_desk_checks_what_the_model_said() {
    let (url, _, _) = serve(vec![once(&whole(ANSWER, "stop"))]).await;
    let desk = Backends::new(Some(Arc::new(client(&url))), offer());
    let v = desk.judge(&lsass(), &|_| {}, &Cancel::new()).await.unwrap().verdict;
    assert_eq!(v.claims.iter().map(|c| c.founded).collect::<Vec<_>>(), [true, false]);
    assert_eq!(
        (v.techniques, v.suggested_actions),
        (vec!["T1003.001".to_owned()], vec![Suggestion::from("isolate-host")])
    );
    assert_eq!(v.advised_priority, Some(crate::model::priority::Priority::P0));
    assert!(!v.fallback && v.backend == "openai");
}

#[tokio::test]
async fn busy_is_tried_three_times_and_then_unavailable() {
    let busy = || {
        reply("503 Service Unavailable", "application/json", r#"{"error":{"message":"The engine is currently busy"}}"#)
    };
    let (got, seen) = ask(vec![busy(), busy(), once(&whole(ANSWER, "stop"))]).await;
    assert!(got.is_ok() && seen.len() == 3, "{got:?}");
    let (got, seen) = ask(vec![busy()]).await;
    assert_eq!(seen.len(), 3);
    assert!(matches!(&got, Err(TriageError::Unavailable(s)) if s.contains("engine is currently busy")), "{got:?}");
}

#[tokio::test]
async fn other_refusals_are_not_tried_again() {
    for (status, body, want) in [
        (
            "404 Not Found",
            r#"{"error":{"message":"The model `nope` does not exist."}}"#,
            "configuration: 127.0.0.1: no such model or address (404, The model `nope` does not exist.)",
        ),
        ("401 Unauthorized", "", "configuration: 127.0.0.1: the server refuses our key (status 401)"),
        (
            "307 Temporary Redirect",
            "",
            "configuration: 127.0.0.1: the server points elsewhere (status 307); give the final address",
        ),
        ("429 Too Many Requests", r#"{"error":"slow \u001b[2Jdown"}"#, "127.0.0.1: 429, slow ^[[2Jdown"),
        ("500 Internal Server Error", "<html>", "127.0.0.1: status 500"),
        (
            "400 Bad Request",
            r#"{"error":{"message":"Grammar error: Unimplemented keys"}}"#,
            "configuration: 127.0.0.1: the server refuses the request (400, Grammar error: Unimplemented keys)",
        ),
    ] {
        let (got, seen) = ask(vec![reply(status, "application/json", body)]).await;
        assert_eq!(got.unwrap_err().to_string(), want);
        assert_eq!(seen.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_names_no_secret() {
    let e = client("http://127.0.0.1:1/v1").judge(&lsass(), &|_| {}, &Cancel::new()).await.unwrap_err();
    assert!(matches!(&e, TriageError::Unavailable(s) if s.contains("cannot connect")), "{e}");
    assert!(!format!("{e:?} {:?}", engine("http://127.0.0.1:1/v1")).contains("sk-very"));
}

#[tokio::test]
async fn a_prompt_too_long_is_shortened_and_logprobs_are_given_up() {
    let long = r#"{"error":{"message":"This model's maximum context length is 4096 tokens.","param":"input_tokens"}}"#;
    let no_lp = r#"{"error":{"message":"logprobs are not supported"}}"#;
    let bad = |b: &str| reply("400 Bad Request", "application/json", b);
    let (url, seen, _) = serve(vec![bad(long), bad(no_lp), once(&whole(ANSWER, "stop"))]).await;
    let mut q = lsass();
    q.fields.extend(
        (0..80).map(|i| crate::model::fields::Field { path: format!("f{i}").into(), value: "x y ".repeat(60).into() }),
    );
    client(&url).judge(&q, &|_| {}, &Cancel::new()).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert!(seen[1].len() + 2000 < seen[0].len(), "{} {}", seen[0].len(), seen[1].len());
    assert!(seen[1].contains("\"logprobs\":true") && !seen[2].contains("logprobs"));
    let (got, seen) = ask(vec![bad(long)]).await;
    assert!(matches!(got, Err(TriageError::Configuration(_))) && seen.len() == 4, "{got:?}");
}

#[tokio::test]
async fn silence_has_limits() {
    // Long enough for what is sent at once to arrive on a busy machine, far shorter than the server is silent.
    let said = async |bytes: Vec<u8>| {
        let (url, ..) = serve(vec![Script(vec![(bytes, 120_000)])]).await;
        let reader = Reader::new(Arc::new(engine_within(&url, 3)), offer());
        let got = tokio::time::timeout(Duration::from_secs(90), reader.judge(&lsass(), &|_| {}, &Cancel::new())).await;
        got.expect("it ends").unwrap_err().to_string()
    };
    let begun = stream(&event("{", None)).into_bytes();
    let (nothing, head, first) = tokio::join!(said(Vec::new()), said(stream("").into_bytes()), said(begun));
    assert_eq!(nothing, "127.0.0.1: no answer within 3 s");
    assert_eq!(head, "127.0.0.1: no first token within 3 s");
    assert_eq!(first, "127.0.0.1: no further token within 3 s");
}

#[tokio::test]
async fn what_is_no_answer_is_invalid_or_unavailable_but_never_a_verdict() {
    let text = "unavailable";
    let cut = once(&stream(&event(&ANSWER[..40], None)));
    assert!(matches!(ask(vec![cut]).await.0, Err(TriageError::Unavailable(_))), "{text}");
    for script in [
        once(&whole(&ANSWER[..200], "length")),
        once(&whole(ANSWER, "content_filter")),
        once(&whole("I cannot help with that.", "stop")),
        once(&stream("data: <html>\n\n")),
        reply("200 OK", "text/html", "<html>log in</html>"),
    ] {
        let got = ask(vec![script]).await.0;
        assert!(matches!(got, Err(TriageError::Invalid(_))), "{got:?}");
    }
    let body = json!({"choices": [{"message": {"content": ANSWER}, "finish_reason": "stop"}]}).to_string();
    assert!(ask(vec![reply("200 OK", "application/json", &body)]).await.0.is_ok(), "a server that does not stream");
}

#[tokio::test]
async fn cancelling_drops_the_connection_within_a_second() {
    let mut took = Vec::new();
    // The machine may be busy with something else just then: the best of a few counts.
    for _ in 0..6 {
        let (url, _, hung_up) = serve(vec![Script(vec![(stream(&event("{", None)).into_bytes(), 300_000)])]).await;
        let s = OpenaiSettings { url, model: "tiny".into(), ..OpenaiSettings::default() };
        let client = Reader::new(Arc::new(Openai::new(&s, &no_secrets()).unwrap()), Offer::default());
        let (cancel, begun) = (Cancel::new(), tokio::sync::Notify::new());
        let progress = |_: Untrusted| begun.notify_one();
        // It waits for the next piece when it is cancelled.
        let stop = async {
            begun.notified().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            cancel.cancel();
            Instant::now()
        };
        let (question, ended) = (lsass(), Mutex::new(None));
        let judging = async {
            let got = client.judge(&question, &progress, &cancel).await;
            *ended.lock().unwrap() = Some(Instant::now());
            got
        };
        let (got, cancelled) = tokio::join!(judging, stop);
        assert_eq!(got.unwrap_err(), TriageError::Cancelled);
        let gone = async {
            while *hung_up.lock().unwrap() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the server still has the connection");
        let ended = ended.into_inner().unwrap().unwrap().saturating_duration_since(cancelled);
        took.push((ended, cancelled.elapsed()));
        if took.last().is_some_and(|t| t.1 < Duration::from_secs(1)) {
            return;
        }
    }
    panic!("it ended, and the connection was gone, after {took:?}");
}

#[tokio::test]
async fn rules_stand_in_and_say_why() {
    let (url, _, _) = serve(vec![reply("404 Not Found", "application/json", "")]).await;
    let desk = Backends::new(Some(Arc::new(client(&url))), Offer::default());
    let v = desk.judge(&lsass(), &|_| {}, &Cancel::new()).await.unwrap().verdict;
    assert!(v.fallback && v.backend == "rules");
    assert!(
        v.remark
            .unwrap()
            .expose()
            .starts_with("openai did not give an opinion: configuration: 127.0.0.1: no such model")
    );
    let cancelled = Cancel::new();
    cancelled.cancel();
    assert_eq!(desk.judge(&lsass(), &|_| {}, &cancelled).await.unwrap_err(), TriageError::Cancelled);
}

#[tokio::test]
async fn health_reads_what_there_is() {
    let ok = |body: &str| reply("200 OK", "text/plain", body);
    let metrics = "# HELP\nvllm:num_requests_running{model_name=\"tiny\"} 2.0\nvllm:num_requests_waiting{model_name=\"a\"} 1\nvllm:num_requests_waiting{model_name=\"b\"} 3\n";
    let pages =
        vec![("/health", ok("")), ("/v1/models", ok(r#"{"data":[{"id":"other"}]}"#)), ("/metrics", ok(metrics))];
    let (url, _, _) = serve_with(pages, vec![once("")]).await;
    let h = client(&url).health().await;
    assert!(h.up && h.detail.contains("has no model \"tiny\", it has other"), "{h:?}");
    assert_eq!((h.running, h.waiting), (Some(2), Some(4)));
    assert!(!client("http://127.0.0.1:1/v1").health().await.up);
}

#[test]
fn settings_that_cannot_work_name_their_key() {
    let base = OpenaiSettings { url: "http://127.0.0.1/v1".into(), model: "m".into(), ..OpenaiSettings::default() };
    let fault = |s: OpenaiSettings, key: Option<&'static str>| {
        let s = OpenaiSettings { api_key: key.map(|_| "env:KEY".into()), ..s };
        Openai::new(&s, &secret(key.unwrap_or_default())).unwrap_err().to_string()
    };
    for url in ["", "127.0.0.1:8000", "ftp://x/v1", "http://user:pw@x/v1", "http://x/v1?key=1"] {
        let said = fault(OpenaiSettings { url: url.into(), ..base.clone() }, None);
        assert!(said.contains("triage.openai.url") && !said.contains("pw"), "{said}");
    }
    assert!(fault(OpenaiSettings { model: " ".into(), ..base.clone() }, None).contains("triage.openai.model"));
    assert!(fault(OpenaiSettings { ca: Some("/nowhere.pem".into()), ..base.clone() }, None).contains("/nowhere.pem"));
    let said = fault(base, Some("two\nlines"));
    assert!(said.contains("triage.openai.api_key") && !said.contains("two"), "{said}");
}

// The pool, over sockets.

fn busy() -> Script {
    reply("503 Service Unavailable", "application/json", r#"{"error":{"message":"The engine is currently busy"}}"#)
}

fn good() -> Script {
    once(&whole(ANSWER, "stop"))
}

fn settings(servers: &[(&str, &str, bool)]) -> OpenaiSettings {
    let one = |url: &str, backup| ServerSettings { url: url.into(), backup, ..ServerSettings::default() };
    OpenaiSettings {
        model: "tiny".into(),
        first_token_seconds: PATIENCE,
        idle_seconds: PATIENCE,
        concurrency: 2,
        servers: servers.iter().map(|(name, url, backup)| ((*name).to_owned(), one(url, *backup))).collect(),
        ..OpenaiSettings::default()
    }
}

fn pool(servers: &[(&str, &str, bool)], quota: Quota) -> Openai {
    Openai::with_quota(&settings(servers), quota, &no_secrets()).unwrap()
}

fn request_of(id: &str, priority: Priority, by: Option<&str>) -> Generation {
    Generation {
        system: "s".into(),
        user: "u".into(),
        schema: None,
        max_tokens: 100,
        seed: 0,
        request_id: id.into(),
        priority,
        by: by.and_then(PersonId::new),
    }
}

/// What takes no pause is over before the shortest pause would be, on one of a few occasions: a pause would be there
/// every time, other work of the machine is not.
async fn at_once(pool: &Openai, seen: impl Fn(Result<Generated, TriageError>)) {
    let mut took = Vec::new();
    for _ in 0..8 {
        let begun = Instant::now();
        let got = send(pool, "at-once").await;
        took.push(begun.elapsed());
        seen(got);
        if took.last().is_some_and(|t| *t < Duration::from_millis(200)) {
            return;
        }
    }
    panic!("each took a pause: {took:?}");
}

async fn send(pool: &Openai, id: &str) -> Result<Generated, TriageError> {
    pool.generate(&request_of(id, Priority::P2, None), &|_| {}, &Cancel::new()).await
}

#[tokio::test]
async fn a_server_that_is_down_costs_a_pause_and_then_nothing() {
    let (url, seen, _) = serve_with(vec![("/health", reply("200 OK", "text/plain", ""))], vec![good()]).await;
    let pool = pool(&[("a", "http://127.0.0.1:1/v1", false), ("b", &url, false)], Quota::default());
    for i in 0..8 {
        let made = send(&pool, &format!("r{i}")).await.unwrap();
        assert_eq!(made.server.as_deref(), Some("b"));
    }
    assert_eq!(seen.lock().unwrap().len(), 8);
    // a is out, nobody waits for it.
    at_once(&pool, |made| assert_eq!(made.unwrap().server.as_deref(), Some("b"))).await;
    let health = pool.health().await;
    let a = health.servers.iter().find(|s| s.name == "a").unwrap();
    assert!(!a.up && a.detail.starts_with("left alone for ") && a.detail.contains("cannot connect"), "{a:?}");
    assert!(health.up && health.detail == "1 of 2 servers up; away: a" && !health.backup, "{health:?}");
}

#[tokio::test]
async fn all_out_is_said_at_once_and_the_backup_is_the_last() {
    let (url, seen, _) = serve(vec![busy()]).await;
    let alone = pool(&[("a", &url, false)], Quota::default());
    assert!(matches!(send(&alone, "r1").await, Err(TriageError::Unavailable(s)) if s.contains("currently busy")));
    assert_eq!(seen.lock().unwrap().len(), 3);
    at_once(&alone, |got| {
        let said = got.unwrap_err().to_string();
        assert!(said.starts_with("a is left alone for ") && said.contains("busy"), "{said}");
    })
    .await;
    assert_eq!(seen.lock().unwrap().len(), 3, "it is left alone");

    let (spare, spared, _) = serve(vec![good()]).await;
    let both = pool(&[("a", &url, false), ("z", &spare, true)], Quota::default());
    assert!(send(&both, "r3").await.is_err(), "busy is not out: three tries, none of them at the backup");
    assert_eq!(send(&both, "r4").await.unwrap().server.as_deref(), Some("z"));
    assert_eq!(spared.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_shown_is_never_asked_again() {
    let (bad, seen, _) = serve(vec![once(&stream(&event(&ANSWER[..40], None)))]).await;
    let (url, other, _) = serve(vec![good()]).await;
    let pool = pool(&[("a", &bad, false), ("b", &url, false)], Quota::default());
    let shown = Mutex::new(String::new());
    let progress = |t: Untrusted| shown.lock().unwrap().push_str(t.expose());
    let got = pool.generate(&request_of("r", Priority::P1, None), &progress, &Cancel::new()).await;
    assert!(matches!(got, Err(TriageError::Unavailable(_))), "{got:?}");
    assert_eq!((seen.lock().unwrap().len(), other.lock().unwrap().len()), (1, 0));
    assert_eq!(*shown.lock().unwrap(), ANSWER[..40]);
    // Nothing was shown: an event that is no text, then the end.
    let (empty, _, _) = serve(vec![once(&stream(&event("", None)))]).await;
    let pool = self::pool(&[("a", &empty, false), ("b", &url, false)], Quota::default());
    assert_eq!(send(&pool, "r").await.unwrap().server.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_server_without_the_model_is_passed_by_and_is_no_outage() {
    let nope = r#"{"error":{"message":"The model `tiny` does not exist.","code":404}}"#;
    let (wrong, asked, _) = serve(vec![reply("404 Not Found", "application/json", nope)]).await;
    let (url, _, _) = serve(vec![good()]).await;
    let pool = pool(&[("a", &wrong, false), ("b", &url, false)], Quota::default());
    for i in 0..6 {
        assert_eq!(send(&pool, &format!("r{i}")).await.unwrap().server.as_deref(), Some("b"));
    }
    assert_eq!(asked.lock().unwrap().len(), 1, "asked once and then set aside");
    let alone = self::pool(&[("a", &wrong, false)], Quota::default());
    for _ in 0..5 {
        let said = send(&alone, "r").await.unwrap_err();
        assert!(matches!(&said, TriageError::Configuration(s) if s.starts_with("a: no such model")), "{said}");
    }
}

#[tokio::test]
async fn no_more_at_once_than_a_server_has_slots_and_the_urgent_first() {
    // Each answer takes a while: two run, the rest wait.
    let slow = Script(vec![(stream(&event("{", None)).into_bytes(), 150), (event("}", Some("stop")).into_bytes(), 0)]);
    let (url, seen, _) = serve(vec![slow]).await;
    let pool = pool(&[("a", &url, false)], Quota { requests_per_person: 1, ..Quota::default() });
    assert_eq!(pool.slots(), 2);
    let all = [
        request_of("first", Priority::P3, None),
        request_of("second", Priority::P3, None),
        request_of("late", Priority::P3, None),
        request_of("bob-1", Priority::P1, Some("bob")),
        request_of("bob-2", Priority::P1, Some("bob")),
        request_of("urgent", Priority::P0, None),
    ];
    let cancel = Cancel::new();
    let got = join_all(all.iter().map(|r| pool.generate(r, &|_| {}, &cancel))).await;
    let queued: Vec<u64> = got.iter().map(|g| g.as_ref().unwrap().usage.queued_ms.unwrap()).collect();
    assert!(queued[5] >= 100, "{queued:?}");
    let id =
        |r: &String| r.to_ascii_lowercase().split("x-request-id: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let order: Vec<String> = seen.lock().unwrap().iter().map(id).collect();
    let at = |name: &str| order.iter().position(|o| o == name).unwrap();
    assert!(at("first") < 2 && at("second") < 2, "two slots were free: {order:?}");
    assert!(at("urgent") < 4 && at("bob-1") < 4, "the urgent took the first free slots: {order:?}");
    assert!(at("bob-2") > at("bob-1") && at("late") > at("urgent"), "{order:?}");
    assert!(queued[4] >= 250, "bob's second waited for his first: {queued:?}");
}

#[tokio::test]
async fn budgets_end_and_what_was_used_is_what_counts() {
    let used = r#"data: {"choices":[],"usage":{"prompt_tokens":700,"completion_tokens":50}}"#;
    let answer = stream(&format!("{}{used}\n\ndata: [DONE]\n\n", event("{}", Some("stop"))));
    let (url, seen, _) = serve(vec![once(&answer)]).await;
    let quota = Quota { tokens_per_hour: 2_000, tokens_per_person_per_hour: 1_000, requests_per_person: 0 };
    let pool = pool(&[("a", &url, false)], quota);
    let ask = async |by| pool.generate(&request_of("r", Priority::P2, by), &|_| {}, &Cancel::new()).await;
    ask(Some("bob")).await.unwrap();
    // 250 left to bob: room for an estimate of 100 and a prompt.
    ask(Some("bob")).await.unwrap();
    let said = ask(Some("bob")).await.unwrap_err();
    assert_eq!(
        said,
        TriageError::OverBudget(
            "bob's budget of 1000 model tokens an hour is used up; there is room again in 61 min".into()
        )
    );
    ask(None).await.unwrap();
    let said = ask(None).await.unwrap_err().to_string();
    assert!(said.starts_with("the desk's budget of 2000 model tokens an hour is used up"), "{said}");
    assert_eq!(seen.lock().unwrap().len(), 3, "what is over a budget is not sent");
}

#[tokio::test]
async fn a_connection_the_server_had_closed_is_made_anew_without_a_word() {
    let gone = || Script(vec![]);
    // Eight times closed before it was used, and then closed twice in a row.
    let mut scripts: Vec<Script> = (0..8).flat_map(|_| [gone(), good()]).collect();
    let once = scripts.clone();
    let (url, _, _) = serve(once).await;
    at_once(&pool(&[("a", &url, false)], Quota::default()), |got| assert!(got.is_ok(), "{got:?}")).await;

    scripts.truncate(2);
    scripts.extend([gone(), gone(), good()]);
    let (url, seen, _) = serve(scripts).await;
    let pool = pool(&[("a", &url, false)], Quota::default());
    send(&pool, "r").await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);
    let begun = Instant::now();
    send(&pool, "r").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(250), "twice in a row is the server's fault");
    assert_eq!(seen.lock().unwrap().len(), 5);
}

fn vllm_pages(context: usize, tokens: usize) -> Vec<(&'static str, Script)> {
    let page = |body: String| reply("200 OK", "application/json", &body);
    let models = json!({"data": [{"id": "tiny", "owned_by": "vllm", "max_model_len": context}]});
    let count = json!({"count": tokens, "max_model_len": context, "tokens": []});
    vec![("/v1/models", page(models.to_string())), ("/tokenize", page(count.to_string()))]
}

#[tokio::test]
async fn a_prompt_that_may_not_fit_is_counted_before_it_is_sent() {
    let long = Generation { user: "x".repeat(3_000), ..request_of("r", Priority::P2, None) };
    for (tokens, fits) in [(900, true), (901, false)] {
        let (url, seen, _) = serve_with(vllm_pages(1_000, tokens), vec![good()]).await;
        let pool = pool(&[("a", &url, false)], Quota::default());
        assert_eq!(pool.prompt_limit(), None, "not asked yet");
        let got = pool.generate(&long, &|_| {}, &Cancel::new()).await;
        assert_eq!(got.is_ok(), fits, "{got:?}");
        assert_eq!(seen.lock().unwrap().len(), usize::from(fits));
        if let Err(e) = got {
            let said = "a: 901 tokens, and 100 for the answer, do not fit the context of 1000";
            assert_eq!(e, TriageError::TooLong(said.into()));
        }
        assert_eq!(pool.prompt_limit(), Some(300), "beside the longest answer the settings allow");
    }
}

#[tokio::test]
async fn extras_go_to_vllm_and_to_nobody_else() {
    for vllm in [true, false] {
        let pages = if vllm { vllm_pages(8_000, 1) } else { vec![] };
        let (url, seen, _) = serve_with(pages, vec![good()]).await;
        let mut settings = settings(&[("a", &url, false)]);
        (settings.priority, settings.cache_salt) = (true, Some("salt".into()));
        let pool = Openai::new(&settings, &no_secrets()).unwrap();
        pool.generate(&request_of("r", Priority::P1, None), &|_| {}, &Cancel::new()).await.unwrap();
        let sent = seen.lock().unwrap()[0].clone();
        assert_eq!(sent.contains(r#""priority":1"#), vllm, "{sent}");
        assert_eq!(sent.contains(r#""cache_salt":"salt""#), vllm, "{sent}");
    }
}

#[tokio::test]
async fn a_cancelled_request_gives_its_slot_back() {
    let (url, _, hung_up) = serve(vec![Script(vec![(stream(&event("{", None)).into_bytes(), 300_000)])]).await;
    let pool =
        Openai::new(&OpenaiSettings { concurrency: 1, ..settings(&[("a", &url, false)]) }, &no_secrets()).unwrap();
    let cancel = Cancel::new();
    let first = |_: Untrusted| cancel.cancel();
    let got = pool.generate(&request_of("r", Priority::P2, None), &first, &cancel).await;
    assert_eq!(got.unwrap_err(), TriageError::Cancelled);
    assert_eq!(pool.gate.see(|p| (p.busy(0), p.waiting())), (0, 0));
    let gone = async {
        while *hung_up.lock().unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the connection is closed");
}

#[test]
fn a_pool_that_cannot_work_names_the_server() {
    let wrong = |s: OpenaiSettings| Openai::new(&s, &no_secrets()).unwrap_err().to_string();
    let said = wrong(settings(&[("a", "http://h/v1", false), ("b", "nowhere", false)]));
    assert!(said.contains("triage.openai.servers.b.url"), "{said}");
    let said = wrong(OpenaiSettings { model: String::new(), ..settings(&[("a", "http://h/v1", false)]) });
    assert!(said.contains("triage.openai.servers.a.model"), "{said}");
    assert!(wrong(settings(&[("a", "http://h/v1", true)])).contains("every one is a backup"));
    let said = wrong(OpenaiSettings { url: "http://h/v1".into(), ..settings(&[("a", "http://h/v1", false)]) });
    assert!(said.contains("give one or the other"), "{said}");
    let mut s = settings(&[("a", "http://h/v1", false), ("b", "http://i/v1", false), ("c", "http://j/v1", true)]);
    if let Some(b) = s.servers.get_mut("b") {
        (b.concurrency, b.model) = (Some(7), Some("other".into()));
    }
    let pool = Openai::new(&s, &no_secrets()).unwrap();
    assert_eq!((pool.slots(), pool.servers[1].model.as_str()), (9, "other"));
}
