//! A stand-in for vLLM made of what a real one said: `tests/fixtures/vllm` (see the README there).
//!
//! Told to, it sends a recorded answer as it is, cut, paced or followed by something no server should send. Otherwise it
//! answers by itself in the recorded shape: the text is an instance of the schema that was asked for, the first token
//! takes as long as there is prompt that it has not seen, `max_tokens` cuts, and whoever hangs up stops it.

#![allow(dead_code, reason = "each test and bench uses its own part")]

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

/// The one model it has.
pub const MODEL: &str = "tiny";
const CONTEXT: usize = 4_096;

/// What to do with one chat request.
#[derive(Clone, Debug)]
pub enum Act {
    /// A record, as it is.
    Replay(&'static str),
    /// A record, one piece every so often.
    Paced(&'static str, Duration),
    /// The first events of a streamed record, then the connection is gone.
    Cut(&'static str, usize),
    /// The first events of a streamed record, then these bytes, so many times.
    Then(&'static str, usize, Vec<u8>, usize),
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// The head and the first bytes of a body at once, the rest byte by byte.
    Drip(&'static str, usize, Duration),
    /// Nothing, for ever.
    Silence,
}

#[derive(Debug)]
struct Shared {
    acts: Mutex<VecDeque<Act>>,
    always: Mutex<Option<Act>>,
    /// Bodies of chat requests, with the head under `head`.
    seen: Mutex<Vec<Value>>,
    prefixes: Mutex<HashSet<String>>,
    running: AtomicUsize,
    hung_up: AtomicUsize,
    slots: Semaphore,
    key: Option<&'static str>,
    /// Between two pieces, and for each thousand characters of prompt that it has not seen.
    pace: Duration,
    reading: Duration,
}

/// Stops when dropped.
#[derive(Debug)]
pub struct Vllm {
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    stop: Arc<Notify>,
}

impl Drop for Vllm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Vllm {
    /// One that computes for a while, as far as it does.
    pub async fn start() -> Self {
        Self::start_with(Duration::from_millis(2), Duration::from_millis(50), None).await
    }

    /// One that answers at once, or wants a key.
    pub async fn start_with(pace: Duration, reading: Duration, key: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            acts: Mutex::default(),
            always: Mutex::default(),
            seen: Mutex::default(),
            prefixes: Mutex::default(),
            running: AtomicUsize::new(0),
            hung_up: AtomicUsize::new(0),
            slots: Semaphore::new(64),
            key,
            pace,
            reading,
        });
        let stop = Arc::new(Notify::new());
        let task = tokio::spawn(serve(listener, Arc::clone(&shared), Arc::clone(&stop)));
        Self { url, shared, task, stop }
    }

    /// Gone when this returns: it lets nobody in and every connection is closed. Dropped, it goes when it comes to it.
    pub async fn go(mut self) {
        self.stop.notify_one();
        let _ = (&mut self.task).await;
    }

    /// Does this with the next requests, in this order.
    pub fn next(&self, acts: impl IntoIterator<Item = Act>) {
        self.shared.acts.lock().unwrap().extend(acts);
    }

    /// Does this with every request.
    pub fn always(&self, act: Act) {
        *self.shared.always.lock().unwrap() = Some(act);
    }

    /// What was asked so far; forgets it.
    pub fn seen(&self) -> Vec<Value> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }

    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::SeqCst)
    }

    /// Requests whose client hung up before their end.
    pub fn hung_up(&self) -> usize {
        self.shared.hung_up.load(Ordering::SeqCst)
    }
}

/// A recorded answer.
pub fn record(name: &str) -> Vec<u8> {
    static KEPT: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    KEPT.lock().unwrap().entry(name.to_owned()).or_insert_with(|| read(name)).clone()
}

fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vllm").join(format!("{name}.http"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Head and body of a record.
pub fn split(record: &[u8]) -> (String, &[u8]) {
    let at = record.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&record[..at]).into_owned(), &record[at..])
}

/// The events of a streamed record.
pub fn events(name: &str) -> Vec<String> {
    let record = record(name);
    let body = String::from_utf8_lossy(split(&record).1).into_owned();
    body.lines().filter(|l| l.starts_with("data: ")).map(|l| l.trim_end().to_owned()).collect()
}

/// The text of a streamed record.
pub fn text_of(name: &str) -> String {
    let piece = |e: &String| {
        let chunk: Value = serde_json::from_str(e.strip_prefix("data: ")?).ok()?;
        chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
    };
    events(name).iter().filter_map(piece).collect()
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: Arc<Notify>) {
    // Connections end with the server.
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.notified() => {
                drop(listener);
                return open.shutdown().await;
            }
            Ok((socket, _)) = listener.accept() => {
                let _ = socket.set_nodelay(true);
                let shared = Arc::clone(&shared);
                open.spawn(async move { connection(socket, shared).await });
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// One request after the other, as long as both sides like.
async fn connection(mut socket: TcpStream, shared: Arc<Shared>) {
    while let Some((head, body)) = request(&mut socket).await {
        let target = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let going_on = if target == "/v1/chat/completions" {
            shared.running.fetch_add(1, Ordering::SeqCst);
            let ended = chat(&mut socket, &shared, &head, &body).await;
            // In this order: whoever sees that nothing runs any more knows who hung up.
            if ended.is_none() {
                shared.hung_up.fetch_add(1, Ordering::SeqCst);
            }
            shared.running.fetch_sub(1, Ordering::SeqCst);
            ended.unwrap_or(false)
        } else {
            socket.write_all(&page(&shared, &target, &body)).await.is_ok()
        };
        if !going_on {
            return;
        }
    }
}

async fn request(socket: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut buf) = (Vec::new(), vec![0; 64 * 1024]);
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        match socket.read(&mut buf).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buf[..n]),
            _ => return None,
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length: usize =
        text.split("content-length: ").nth(1).and_then(|l| l.lines().next()?.trim().parse().ok()).unwrap_or(0);
    while bytes.len() < head + length {
        match socket.read(&mut buf).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buf[..n]),
            _ => return None,
        }
    }
    Some((String::from_utf8_lossy(&bytes[..head]).into_owned(), bytes[head..].to_vec()))
}

/// Every other page, as recorded; where it counts something, with the number of now.
fn page(shared: &Shared, target: &str, body: &[u8]) -> Vec<u8> {
    match target {
        "/health" | "/version" => record(&target[1..]),
        "/v1/models" => record("models"),
        "/tokenize" => {
            let asked: Value = serde_json::from_slice(body).unwrap_or_default();
            let count = tokens(&prompt(&asked));
            whole("tokenize", &json!({"count": count, "max_model_len": CONTEXT, "tokens": []}).to_string())
        }
        "/metrics" => {
            let page = record("metrics-after");
            let page = String::from_utf8_lossy(split(&page).1).into_owned();
            let running = format!(
                "vllm:num_requests_running{{engine=\"0\",model_name=\"tiny\"}} {}.0",
                shared.running.load(Ordering::SeqCst)
            );
            let line =
                |l: &str| if l.starts_with("vllm:num_requests_running{") { running.clone() } else { l.to_owned() };
            whole("metrics-after", &page.lines().map(line).collect::<Vec<_>>().join("\n"))
        }
        _ => record("error-address"),
    }
}

/// A record's head with another body.
fn whole(name: &str, body: &str) -> Vec<u8> {
    let record = record(name);
    let head = split(&record).0;
    let head: Vec<String> = head
        .trim_end()
        .lines()
        .map(
            |l| if l.starts_with("content-length:") { format!("content-length: {}", body.len()) } else { l.to_owned() },
        )
        .collect();
    format!("{}\r\n\r\n{body}", head.join("\r\n")).into_bytes()
}

fn prompt(asked: &Value) -> String {
    let messages = asked["messages"].as_array().into_iter().flatten();
    messages.filter_map(|m| m["content"].as_str()).collect()
}

fn tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}

/// Sends, or tells that the other side is gone.
async fn send(socket: &mut TcpStream, bytes: &[u8]) -> Option<()> {
    socket.write_all(bytes).await.ok()
}

/// Waits; `None` when the other side hung up meanwhile.
async fn wait(socket: &TcpStream, time: Duration) -> Option<()> {
    if time.is_zero() {
        return Some(());
    }
    let mut byte = [0; 1];
    match tokio::time::timeout(time, socket.peek(&mut byte)).await {
        Err(_) => Some(()),
        Ok(Ok(n)) if n > 0 => {
            tokio::time::sleep(time).await;
            Some(())
        }
        Ok(_) => None,
    }
}

fn chunk(event: &str) -> Vec<u8> {
    let body = format!("{event}\n\n");
    format!("{:x}\r\n{body}\r\n", body.len()).into_bytes()
}

fn head_of(name: &str) -> Vec<u8> {
    split(&record(name)).0.into_bytes()
}

/// `Some(true)`: the connection goes on. `None`: the client hung up.
async fn chat(socket: &mut TcpStream, shared: &Shared, head: &str, body: &[u8]) -> Option<bool> {
    let mut asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let lower = head.to_ascii_lowercase();
    let key = shared.key.is_none_or(|key| head.contains(&format!("Bearer {key}\r\n")));
    asked["head"] = Value::from(lower);
    shared.seen.lock().unwrap().push(asked.clone());
    let act = shared.acts.lock().unwrap().pop_front().or_else(|| shared.always.lock().unwrap().clone());
    let Some(act) = act else {
        let refusal = if !key {
            Some("error-no-key")
        } else if asked["model"] != MODEL {
            Some("error-model")
        } else if tokens(&prompt(&asked)) >= CONTEXT {
            Some("error-too-long")
        } else {
            None
        };
        return match refusal {
            Some(name) => send(socket, &record(name)).await.map(|()| true),
            None => live(socket, shared, &asked).await.map(|()| true),
        };
    };
    match act {
        Act::Replay(name) => send(socket, &record(name)).await.map(|()| true),
        Act::Paced(name, pause) => {
            send(socket, &head_of(name)).await?;
            for event in events(name) {
                send(socket, &chunk(&event)).await?;
                wait(socket, pause).await?;
            }
            send(socket, b"0\r\n\r\n").await.map(|()| true)
        }
        Act::Cut(name, n) => {
            send(socket, &head_of(name)).await?;
            for event in events(name).iter().take(n) {
                send(socket, &chunk(event)).await?;
            }
            Some(false)
        }
        Act::Then(name, n, bytes, times) => {
            send(socket, &head_of(name)).await?;
            for event in events(name).iter().take(n) {
                send(socket, &chunk(event)).await?;
            }
            let piece = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
            for _ in 0..times {
                send(socket, &piece).await?;
            }
            send(socket, b"0\r\n\r\n").await.map(|()| true)
        }
        Act::Bytes(bytes) => send(socket, &bytes).await.map(|()| false),
        Act::Drip(name, at_once, pause) => {
            let record = record(name);
            let (head, body) = split(&record);
            send(socket, head.as_bytes()).await?;
            send(socket, &body[..at_once.min(body.len())]).await?;
            for byte in &body[at_once.min(body.len())..] {
                wait(socket, pause).await?;
                send(socket, &[*byte]).await?;
            }
            Some(true)
        }
        Act::Silence => loop {
            wait(socket, Duration::from_secs(3_600)).await?;
        },
    }
}

/// An answer of its own, in the shape of the recorded one.
async fn live(socket: &mut TcpStream, shared: &Shared, asked: &Value) -> Option<()> {
    let _slot = shared.slots.acquire().await.ok()?;
    let (system, all) = (asked["messages"][0]["content"].as_str().unwrap_or_default(), prompt(asked));
    let known = !shared.prefixes.lock().unwrap().insert(system.to_owned());
    let new = if known { all.len() - system.len() } else { all.len() };
    wait(socket, shared.reading * u32::try_from(new).unwrap_or(u32::MAX) / 1_000).await?;
    let schema = &asked["response_format"]["json_schema"]["schema"];
    let text = if schema.is_null() { "Hello, this is a tiny model.".to_owned() } else { instance(schema).to_string() };
    let max = asked["max_tokens"].as_u64().unwrap_or(u64::MAX) as usize;
    let mut pieces: Vec<String> = text.chars().collect::<Vec<_>>().chunks(3).map(|c| c.iter().collect()).collect();
    let finish = if pieces.len() > max { "length" } else { "stop" };
    pieces.truncate(max);

    let parts = Parts::new();
    send(socket, &parts.head).await?;
    send(socket, &chunk(&parts.role.to_string().replacen('{', "data: {", 1))).await?;
    for piece in &pieces {
        wait(socket, shared.pace).await?;
        send(socket, &chunk(&parts.piece(piece, asked["logprobs"] == true))).await?;
    }
    let mut last = parts.last.clone();
    last["choices"][0]["finish_reason"] = Value::from(finish);
    send(socket, &chunk(&format!("data: {last}"))).await?;
    let (mut usage, cached) = (parts.usage.clone(), if known { tokens(system) / 128 * 128 } else { 0 });
    let (prompt, made) = (tokens(&all), pieces.len());
    usage["usage"] = json!({"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": cached, "created_cache_tokens": 0}});
    send(socket, &chunk(&format!("data: {usage}"))).await?;
    send(socket, &chunk("data: [DONE]")).await?;
    send(socket, b"0\r\n\r\n").await
}

/// The recorded stream taken apart.
struct Parts {
    head: Vec<u8>,
    role: Value,
    text: Value,
    last: Value,
    usage: Value,
}

impl Parts {
    fn new() -> Self {
        let all: Vec<Value> = events("judge").iter().filter_map(|e| serde_json::from_str(&e[6..]).ok()).collect();
        let finish = |c: &&Value| c["choices"][0]["finish_reason"].is_string();
        Self {
            head: head_of("judge"),
            role: all[0].clone(),
            text: all[1].clone(),
            last: all.iter().find(finish).expect("an end").clone(),
            usage: all.iter().find(|c| !c["usage"].is_null()).expect("usage").clone(),
        }
    }

    fn piece(&self, text: &str, logprobs: bool) -> String {
        let mut chunk = self.text.clone();
        let choice = &mut chunk["choices"][0];
        choice["delta"]["content"] = Value::from(text);
        if logprobs {
            choice["logprobs"]["content"][0]["token"] = Value::from(text);
        } else {
            choice["logprobs"] = Value::Null;
        }
        format!("data: {chunk}")
    }
}

/// A small instance of a schema, as far as our schemas go.
pub fn instance(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("object") => {
            let all = schema["properties"].as_object().into_iter().flatten();
            Value::Object(all.map(|(k, v)| (k.clone(), instance(v))).collect())
        }
        Some("array") => {
            let n = schema["minItems"].as_u64().unwrap_or(1).max(1);
            Value::Array((0..n).map(|_| instance(&schema["items"])).collect())
        }
        Some("number" | "integer") => schema["minimum"].as_f64().map_or(json!(0), |n| json!(n)),
        Some("boolean") => Value::Bool(false),
        _ => match (&schema["enum"][0], schema["pattern"].is_string()) {
            (Value::Null, true) => Value::from("T1059"),
            (Value::Null, false) => {
                let n = schema["minLength"].as_u64().unwrap_or(0).max(6).min(schema["maxLength"].as_u64().unwrap_or(6));
                Value::from("wxyzuvst".chars().cycle().take(n as usize).collect::<String>())
            }
            (first, _) => first.clone(),
        },
    }
}
