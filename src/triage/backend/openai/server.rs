//! One server of the pool: its address, key and model, what is known of it, and a request to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::fault::{self, Fault};
use super::metrics::Meter;
use super::probe::{self, Kind, Known};
use super::stream::{self, Limits, Reply};
use crate::config::settings::{OpenaiSettings, ServerSettings};
use crate::text::Untrusted;
use crate::triage::{Generation, Health, SecretOf, TriageError};

/// Of a page that says how the server is.
const LOOK: Duration = Duration::from_secs(3);
/// Of such a page, bytes.
const PAGE_MAX: usize = 1 << 20;
const METRICS_MAX: usize = 4 << 20;

pub(super) struct Server {
    client: reqwest::Client,
    /// Of the pool, or the host.
    pub name: String,
    /// Without a slash at its end, such as `http://127.0.0.1:8000/v1`.
    base: String,
    pub model: String,
    pub backup: bool,
    pub slots: u32,
    limits: Limits,
    priority: bool,
    cache_salt: Option<String>,
    /// Off once the server refused a request because of it.
    logprobs: AtomicBool,
    known: Mutex<Option<Arc<Known>>>,
    meter: Mutex<Meter>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Server");
        shown.field("name", &self.name).field("base", &self.base).field("model", &self.model).finish_non_exhaustive()
    }
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every server the settings name. `url` alone is one, named by its host.
///
/// # Errors
/// [`TriageError::Configuration`] names the setting that is wrong.
pub(super) fn all(s: &OpenaiSettings, secrets: &SecretOf) -> Result<Vec<Server>, TriageError> {
    if s.servers.is_empty() {
        let alone = ServerSettings { url: s.url.clone(), ..ServerSettings::default() };
        return Ok(vec![Server::new(None, &alone, s, secrets)?]);
    }
    if !s.url.trim().is_empty() {
        return Err(TriageError::Configuration(
            "triage.openai.url: is one server, triage.openai.servers are many; give one or the other".into(),
        ));
    }
    let servers: Vec<Server> =
        s.servers.iter().map(|(name, one)| Server::new(Some(name), one, s, secrets)).collect::<Result<_, _>>()?;
    if servers.iter().all(|s| s.backup) {
        return Err(TriageError::Configuration(
            "triage.openai.servers: every one is a backup, expected at least one that is not".into(),
        ));
    }
    Ok(servers)
}

/// A request to `/chat/completions`, written from what is there: a copy of prompt and schema for each would cost more
/// than sending them.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: [Message<'a>; 2],
    temperature: u8,
    seed: u64,
    max_tokens: u32,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_salt: Option<&'a str>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct ResponseFormat<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    json_schema: JsonSchema<'a>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'static str,
    strict: bool,
    schema: &'a Value,
}

impl Server {
    /// The secret goes into one header marked as sensitive and nowhere else.
    fn new(
        name: Option<&str>,
        one: &ServerSettings,
        s: &OpenaiSettings,
        secrets: &SecretOf,
    ) -> Result<Self, TriageError> {
        let wrong = |key: &str, what: String| {
            TriageError::Configuration(match name {
                // What a server leaves out is taken from above, but it is this server that lacks it.
                Some(name) => format!("triage.openai.servers.{name}.{key}: {what}"),
                None => format!("triage.openai.{key}: {what}"),
            })
        };
        let key = one.api_key.as_deref().or(s.api_key.as_deref());
        let key: Option<Zeroizing<String>> = key.map(|r| secrets(r)).transpose().map_err(|e| wrong("api_key", e))?;
        let url = reqwest::Url::parse(one.url.trim())
            .map_err(|e| wrong("url", format!("{e}, expected such as http://127.0.0.1:8000/v1")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("url", "expected http:// or https:// and a host".into()));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("url", "may hold no user, password or query; the key belongs into api_key".into()));
        }
        let model = one.model.as_deref().unwrap_or(&s.model).trim();
        if model.is_empty() {
            return Err(wrong("model", "is empty, expected the name of a model that the server has".into()));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let line = Zeroizing::new(format!("Bearer {}", key.trim()));
            let mut value =
                HeaderValue::from_str(&line).map_err(|_| wrong("api_key", "holds characters no header can".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // Plain HTTP is spoken as 1.1; HTTP/2 only where TLS agrees on it. Connections are kept and used again, but not as
        // long as vLLM and llama-server keep them, which is five seconds.
        let mut client = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(s.connect_seconds.max(1)))
            .pool_idle_timeout(Duration::from_secs(4))
            .tcp_keepalive(Duration::from_secs(30))
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("watchfloor/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = one.ca.as_ref().or(s.ca.as_ref()) {
            let pem = std::fs::read(path).map_err(|e| wrong("ca", format!("{}: {e}", path.display())))?;
            let certs = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|e| wrong("ca", format!("{}: {e}", path.display())))?;
            if certs.is_empty() {
                return Err(wrong("ca", format!("{} holds no certificate", path.display())));
            }
            client = client.tls_certs_only(certs);
        }
        Ok(Self {
            client: client.build().map_err(|e| TriageError::Configuration(fault::chain(&e)))?,
            name: name.unwrap_or(url.host_str().unwrap_or_default()).to_owned(),
            base: one.url.trim().trim_end_matches('/').to_owned(),
            model: model.to_owned(),
            backup: one.backup,
            slots: one.concurrency.unwrap_or(s.concurrency).max(1),
            limits: Limits {
                first: Duration::from_secs(s.first_token_seconds.max(1)),
                idle: Duration::from_secs(s.idle_seconds.max(1)),
            },
            priority: s.priority,
            cache_salt: s.cache_salt.clone().filter(|salt| !salt.is_empty()),
            logprobs: AtomicBool::new(true),
            known: Mutex::default(),
            meter: Mutex::default(),
        })
    }

    fn root(&self) -> &str {
        self.base.strip_suffix("/v1").unwrap_or(&self.base)
    }

    pub(super) fn known(&self) -> Option<Arc<Known>> {
        locked(&self.known).clone()
    }

    /// It may come back as another one.
    pub(super) fn forget(&self) {
        *locked(&self.known) = None;
    }

    /// Tokens a prompt may have beside an answer of this length.
    pub(super) fn room(&self, max_tokens: u32) -> Option<usize> {
        Some(self.known()?.context?.saturating_sub(max_tokens as usize))
    }

    /// No log-probabilities from now on. `false`: they were off already.
    pub(super) fn without_logprobs(&self) -> bool {
        self.logprobs.swap(false, Ordering::Relaxed)
    }

    fn body<'a>(&'a self, request: &'a Generation, known: &Known) -> Body<'a> {
        let (vllm, logprobs) = (known.kind == Kind::Vllm, self.logprobs.load(Ordering::Relaxed));
        Body {
            model: &self.model,
            messages: [
                Message { role: "system", content: &request.system },
                Message { role: "user", content: &request.user },
            ],
            temperature: 0,
            seed: request.seed,
            max_tokens: request.max_tokens,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            response_format: request.schema.as_ref().map(|schema| ResponseFormat {
                kind: "json_schema",
                json_schema: JsonSchema { name: "opinion", strict: true, schema },
            }),
            logprobs: logprobs.then_some(true),
            // Left out, llama-server sends the twenty likeliest tokens beside every one.
            top_logprobs: (logprobs && known.kind == Kind::LlamaServer).then_some(1),
            // Lower is earlier. Only when the settings say that the server's policy is on: without it nothing tells that
            // the field did nothing.
            priority: (vllm && self.priority).then(|| request.priority.id()),
            cache_salt: self.cache_salt.as_deref().filter(|_| vllm),
        }
    }

    /// Asks once.
    pub(super) async fn once(
        &self,
        asked: &Generation,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
    ) -> Result<Reply, Fault> {
        let known = self.learn().await?;
        self.fits(asked, &known).await?;
        let mut request = self
            .client
            .post(format!("{}/chat/completions", self.base))
            .header(ACCEPT, "text/event-stream")
            .json(&self.body(asked, &known));
        if known.kind == Kind::LlamaServer {
            // It closes the connection after every stream, whatever its headers say.
            request = request.header(CONNECTION, "close");
        }
        if let Ok(id) = HeaderValue::from_str(&asked.request_id) {
            request = request.header("X-Request-Id", id);
        }
        let begun = Instant::now();
        let response = tokio::time::timeout(self.limits.first, request.send())
            .await
            .map_err(|_| Fault::Silent("no answer", self.limits.first))?
            .map_err(Fault::of_send)?;
        let status = response.status();
        if !status.is_success() {
            return Err(fault::of_response(status, response, self.limits.idle).await);
        }
        let reply = stream::read(response, self.limits, begun, progress).await?;
        if let Some(ms) = reply.first_ms {
            locked(&self.meter).first_token(ms);
        }
        Ok(reply)
    }

    /// Asks what the server is, whatever is known.
    pub(super) async fn probe(&self) {
        self.forget();
        if let Err(e) = self.learn().await {
            tracing::debug!(server = %self.name, fault = ?e, "cannot be asked what it is");
        }
    }

    /// What the server is, asked when it is not known yet. A server that does not say is asked like any other.
    async fn learn(&self) -> Result<Arc<Known>, Fault> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let known = match self.get(format!("{}/models", self.base), PAGE_MAX).await {
            Ok((status, body)) if status.is_success() => {
                let mut known = Known::read(&body, &self.model);
                if known.kind == Kind::LlamaServer && known.context.is_none() {
                    let props = self.get(format!("{}/props", self.root()), PAGE_MAX).await;
                    if let Ok((status, body)) = props
                        && status.is_success()
                    {
                        known.read_props(&body);
                    }
                }
                known
            }
            // What is wrong with key or address the request itself will tell.
            Ok(_) => Known::default(),
            Err(Unread::Slow) => return Ok(Arc::default()),
            Err(Unread::Send(e)) => return Err(Fault::of_send(*e)),
        };
        let known = Arc::new(known);
        *locked(&self.known) = Some(Arc::clone(&known));
        Ok(known)
    }

    /// A prompt that may be too long is counted by the server before it is sent.
    async fn fits(&self, asked: &Generation, known: &Known) -> Result<(), Fault> {
        let Some(context) = known.context else { return Ok(()) };
        let answer = asked.max_tokens as usize;
        let Some(room) = context.checked_sub(answer).filter(|room| *room > 0) else {
            return Err(Fault::Configuration(format!(
                "max_tokens {answer} leaves no room for a prompt in a context of {context} tokens"
            )));
        };
        if probe::at_most(asked) <= room {
            return Ok(());
        }
        let Some(count) = self.count(asked, known).await else { return Ok(()) };
        if count > room {
            return Err(Fault::TooLong(format!(
                "{count} tokens, and {answer} for the answer, do not fit the context of {context}"
            )));
        }
        Ok(())
    }

    async fn count(&self, asked: &Generation, known: &Known) -> Option<usize> {
        let (path, body) = probe::count(known.kind, &self.model, asked)?;
        let asking = async {
            let sent = self.client.post(format!("{}{path}", self.root())).json(&body).send().await.ok()?;
            if !sent.status().is_success() {
                return None;
            }
            fault::body(sent, METRICS_MAX).await.ok()
        };
        let body = tokio::time::timeout(LOOK, asking).await.ok()??;
        probe::counted(&body)
    }

    async fn get(&self, url: String, max: usize) -> Result<(StatusCode, String), Unread> {
        let read = async {
            let response = self.client.get(url).send().await.map_err(|e| Unread::Send(Box::new(e)))?;
            let status = response.status();
            let body = fault::body(response, max).await.map_err(|e| Unread::Send(Box::new(e)))?;
            Ok((status, body))
        };
        tokio::time::timeout(LOOK, read).await.unwrap_or(Err(Unread::Slow))
    }

    /// `/health` beside `/v1`, else `/v1/models`; the rest from the metrics of vLLM or llama.cpp if there are any.
    pub(super) async fn health(&self) -> Health {
        let name = self.name.clone();
        let (mut up, mut detail) = match self.get(format!("{}/health", self.root()), 4096).await {
            Ok((status, _)) if status.is_success() => (true, String::new()),
            Ok((status, _)) if status.as_u16() != 404 => (false, format!("health says {}", status.as_u16())),
            Ok(_) => (false, "has no health page".to_owned()),
            Err(e) => return Health { name, detail: e.words(), backup: self.backup, ..Health::default() },
        };
        if let Ok((status, body)) = self.get(format!("{}/models", self.base), PAGE_MAX).await {
            match status.as_u16() {
                200 if up || detail == "has no health page" => (up, detail) = (true, String::new()),
                401 | 403 => (up, detail) = (false, "refuses our key".to_owned()),
                _ => {}
            }
            let known = Known::read(&body, &self.model);
            if status.is_success() && up && !known.any_model() && !known.models.contains(&self.model) {
                let has = fault::say(&known.models.join(", "));
                detail = format!("has no model {:?}, it has {has}", self.model);
            } else if status.is_success() && up {
                detail = known.kind.word().to_owned();
            }
        }
        let page = self.get(format!("{}/metrics", self.root()), METRICS_MAX).await;
        let page = page.ok().filter(|(s, _)| s.is_success()).map(|(_, b)| b).unwrap_or_default();
        let read = locked(&self.meter).read(&page);
        Health {
            up,
            name,
            running: read.running,
            waiting: read.waiting,
            kv_cache: read.kv_cache,
            prefix_hits: read.prefix_hits,
            ttft_p95_ms: read.ttft_p95_ms,
            detail,
            servers: Vec::new(),
            backup: self.backup,
        }
    }
}

/// Why a page could not be read.
enum Unread {
    Slow,
    Send(Box<reqwest::Error>),
}

impl Unread {
    fn words(&self) -> String {
        match self {
            Self::Slow => format!("no answer within {} s", LOOK.as_secs()),
            Self::Send(e) => fault::chain(e),
        }
    }
}
