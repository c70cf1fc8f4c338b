//! What the client of model servers costs, each figure beside its floor in the same run:
//!
//! - requests a second at 32 at the same time, beside a bare loop of `reqwest` that sends the same and reads to the end,
//!   both against a stand-in that answers at once with what a real vLLM said (at least 0.9 of the bare loop's);
//! - the same against a real llama.cpp server, where it was built (at least 0.95);
//! - time to the first token of a second alert under a prefix, over that of the first, there (at most 0.25).
//!
//! `WATCHFLOOR_BENCH_REQUESTS` sets the requests of a round against the stand-in (2,000).
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
#[path = "../tests/common/llama.rs"]
mod llama;
#[path = "../tests/common/vllm.rs"]
mod vllm;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::json;
use watchfloor::config::settings::OpenaiSettings;
use watchfloor::triage::backend::openai::Openai;
use watchfloor::triage::conformance;
use watchfloor::triage::{Cancel, Engine as _, Generation, SecretOf};
use zeroize::Zeroizing;

use self::llama::{KEY, Llama};
use self::vllm::{Act, Vllm};

const AT_ONCE: usize = 32;
const ROUNDS: usize = 7;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    // The stand-in on a thread of its own, the client on another, as they are on two machines.
    let servers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let clients = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for record in ["cached", "judge"] {
        let server = servers.block_on(Vllm::start_with(Duration::ZERO, Duration::ZERO, None));
        server.always(Act::Replay(record));
        let url = server.url.clone();
        clients.block_on(at_once(url, record));
    }
    let Some(server) = Llama::start(4, 2048) else { return };
    clients.block_on(async {
        let pool = engine(&server.url, 4);
        while pool.load().await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        real(&server, &pool).await;
        prefix(&pool).await;
    });
}

fn engine(url: &str, concurrency: usize) -> Openai {
    let settings = OpenaiSettings {
        url: url.into(),
        model: vllm::MODEL.into(),
        api_key: Some("env:KEY".into()),
        concurrency: concurrency as u32,
        first_token_seconds: 240,
        idle_seconds: 120,
        ..OpenaiSettings::default()
    };
    let secrets: SecretOf = Arc::new(|_| Ok(Zeroizing::new(KEY.to_owned())));
    Openai::new(&settings, &secrets).unwrap()
}

/// What a bare client sends: the same words.
fn body(request: &Generation) -> serde_json::Value {
    json!({
        "model": vllm::MODEL,
        "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
        "temperature": 0, "seed": request.seed, "max_tokens": request.max_tokens,
        "stream": true, "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 1,
        "response_format": {"type": "json_schema", "json_schema": {"name": "opinion", "strict": true, "schema": request.schema}},
    })
}

/// Every request to its end, so many at the same time.
async fn ours(pool: &Openai, requests: &[Generation], at_once: usize) -> Duration {
    let cancel = Cancel::new();
    let begun = Instant::now();
    let all = futures_util::stream::iter(requests.iter().map(|r| pool.generate(r, &|_| {}, &cancel)));
    all.buffer_unordered(at_once).for_each(|made| async { drop(made.unwrap()) }).await;
    begun.elapsed()
}

/// The least a client can do: `read` tells whether it also reads what the model said, event by event, or drops the bytes.
async fn bare(client: &reqwest::Client, url: &str, requests: &[Generation], at_once: usize, read: bool) -> Duration {
    let begun = Instant::now();
    let all = futures_util::stream::iter(requests.iter().map(|r| async move {
        let mut response = loop {
            let request = client.post(format!("{url}/chat/completions")).bearer_auth(KEY).json(&body(r));
            // A llama-server closes connections that it promised to keep.
            match request.send().await {
                Ok(response) => break response.error_for_status().unwrap(),
                Err(e) => assert!(e.is_request(), "{e}"),
            }
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            if read {
                bytes.extend_from_slice(&chunk);
            }
        }
        let mut text = String::new();
        for data in bytes.split(|b| *b == b'\n').filter_map(|l| l.strip_prefix(b"data: ")) {
            let Ok(event) = serde_json::from_slice::<serde_json::Value>(data) else { continue };
            text.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
        std::hint::black_box(text);
    }));
    all.buffer_unordered(at_once).for_each(|()| async {}).await;
    begun.elapsed()
}

/// Both sides in turns; prints the pace of each and their ratio.
async fn both(
    pool: &Openai,
    url: &str,
    at_once: usize,
    rounds: usize,
    wanted: f64,
    make: impl Fn() -> Vec<Generation>,
) {
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).pool_idle_timeout(Duration::from_secs(4));
    let client = client.build().unwrap();
    let (mut mine, mut floor, mut reading) = (Vec::new(), Vec::new(), Vec::new());
    bare(&client, url, &make(), at_once, false).await;
    ours(pool, &make(), at_once).await;
    let n = make().len();
    for _ in 0..rounds {
        floor.push(bare(&client, url, &make(), at_once, false).await);
        reading.push(bare(&client, url, &make(), at_once, true).await);
        mine.push(ours(pool, &make(), at_once).await);
    }
    let (mine, floor, reading) = (common::median(mine), common::median(floor), common::median(reading));
    let pace = |t: Duration| n as f64 / t.as_secs_f64();
    println!("  bare loop, bytes dropped  {:>9.1} requests/s", pace(floor));
    println!("  bare loop, answer read    {:>9.1} requests/s", pace(reading));
    println!("  watchfloor                {:>9.1} requests/s", pace(mine));
    println!("  ratio to the bytes        {:>9.2} (wanted: at least {wanted})", pace(mine) / pace(floor));
    println!("  ratio to the read answer  {:>9.2}", pace(mine) / pace(reading));
}

fn requests(n: usize, max_tokens: u32) -> Vec<Generation> {
    let user = |i: usize| format!("Alert {i}: forty failed logins for root from 203.0.113.9, then one that worked.");
    (0..n).map(|i| Generation { max_tokens, ..conformance::request(&user(i)) }).collect()
}

async fn at_once(url: String, record: &'static str) {
    let n = common::env("WATCHFLOOR_BENCH_REQUESTS", 2_000);
    let (events, bytes) = (vllm::events(record).len(), vllm::record(record).len());
    println!(
        "\n{n} requests, {AT_ONCE} at the same time, answered at once by {events} events, {bytes} bytes (median of {ROUNDS} in turns)"
    );
    let pool = engine(&url, AT_ONCE);
    pool.load().await.unwrap();
    both(&pool, &url, AT_ONCE, ROUNDS, 0.9, || requests(n, 160)).await;
}

async fn real(server: &Llama, pool: &Openai) {
    println!("\n16 requests, 4 at the same time, to a real llama-server (median of 5 in turns)");
    both(pool, &server.url, 4, 5, 0.95, || requests(16, 24)).await;
}

async fn prefix(pool: &Openai) {
    println!("\ntime to the first token under one prefix, real llama-server (median of 5)");
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let system = conformance::fresh_system(700);
        for (n, times) in [&mut cold, &mut warm].into_iter().enumerate() {
            let request = Generation {
                system: system.clone(),
                max_tokens: 8,
                ..conformance::request(&format!("Alert {n}: a login."))
            };
            let made = pool.generate(&request, &|_| {}, &Cancel::new()).await.unwrap();
            times.push(Duration::from_millis(made.usage.first_token_ms.unwrap()));
        }
    }
    let (cold, warm) = (common::median(cold), common::median(warm));
    println!("  first alert  {:>8.0} ms", cold.as_secs_f64() * 1000.0);
    println!("  second alert {:>8.0} ms", warm.as_secs_f64() * 1000.0);
    println!("  ratio        {:>8.2} (wanted: at most 0.25)", warm.as_secs_f64() / cold.as_secs_f64());
}
