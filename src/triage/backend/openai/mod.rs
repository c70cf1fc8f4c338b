//! A model behind any server that speaks OpenAI's chat completions: vLLM, llama.cpp, and those that imitate them.
//!
//! Only the plain subset is used: streaming, `stream_options.include_usage`, `response_format: json_schema`, `logprobs`
//! where the server takes them. Everything the server says, its errors included, is untrusted text.
//!
//! | the server | becomes |
//! |---|---|
//! | does not connect, 502, 503, 504 | tried again twice with growing, jittered pauses, then `Unavailable` |
//! | 429, 500, silence past a time limit, a cut stream | `Unavailable` |
//! | 401, 403, 404, 3xx, other 4xx | `Configuration` |
//! | 400 for a prompt too long | a shorter prompt, three times, then `Configuration` |
//! | no event stream, no JSON, no verdict, `finish_reason` other than `stop`, our own prompt | `Invalid` |

mod fault;
mod sse;
mod stream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use self::fault::Fault;
use self::stream::{Limits, Reply};
use crate::config::settings::OpenaiSettings;
use crate::model::verdict::Usage;
use crate::text::Untrusted;
use crate::triage::{Answering, Cancel, Engine, Finish, Generated, Generation, Health, SecretOf, Telling, TriageError};

/// Tries of one request in all.
const TRIES: u32 = 3;
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// Of a metrics page, bytes.
const METRICS_MAX: usize = 4 << 20;

/// Client of one server and one model.
pub struct Openai {
    client: reqwest::Client,
    /// Without a slash at its end, such as `http://127.0.0.1:8000/v1`.
    base: String,
    host: String,
    model: String,
    limits: Limits,
    max_tokens: u32,
    slots: usize,
    /// Off once the server refused a request because of it.
    logprobs: AtomicBool,
}

impl std::fmt::Debug for Openai {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Openai").field("base", &self.base).field("model", &self.model).finish_non_exhaustive()
    }
}

impl Openai {
    /// The secret goes into one header marked as sensitive and nowhere else.
    ///
    /// # Errors
    /// [`TriageError::Configuration`] names the setting that is wrong.
    pub fn new(s: &OpenaiSettings, secrets: &SecretOf) -> Result<Self, TriageError> {
        let wrong = |key: &str, what: String| TriageError::Configuration(format!("triage.openai.{key}: {what}"));
        let api_key: Option<Zeroizing<String>> =
            s.api_key.as_deref().map(|r| secrets(r)).transpose().map_err(|e| wrong("api_key", e))?;
        let url = reqwest::Url::parse(s.url.trim())
            .map_err(|e| wrong("url", format!("{e}, expected such as http://127.0.0.1:8000/v1")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("url", "expected http:// or https:// and a host".into()));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("url", "may hold no user, password or query; the key belongs into api_key".into()));
        }
        if s.model.trim().is_empty() {
            return Err(wrong("model", "is empty, expected the name of a model that the server has".into()));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = api_key {
            let line = Zeroizing::new(format!("Bearer {}", key.trim()));
            let mut value =
                HeaderValue::from_str(&line).map_err(|_| wrong("api_key", "holds characters no header can".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut client = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(s.connect_seconds.max(1)))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("watchfloor/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &s.ca {
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
            base: s.url.trim().trim_end_matches('/').to_owned(),
            host: url.host_str().unwrap_or_default().to_owned(),
            model: s.model.trim().to_owned(),
            limits: Limits {
                first: Duration::from_secs(s.first_token_seconds.max(1)),
                idle: Duration::from_secs(s.idle_seconds.max(1)),
            },
            max_tokens: s.max_tokens.max(64),
            slots: s.concurrency.max(1) as usize,
            logprobs: AtomicBool::new(true),
        })
    }

    fn body(&self, request: &Generation) -> Value {
        let mut body = json!({
            "model": self.model,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
            "temperature": 0,
            "seed": request.seed,
            "max_tokens": request.max_tokens,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        if let Some(schema) = &request.schema {
            body["response_format"] = json!({
                "type": "json_schema",
                "json_schema": {"name": "opinion", "strict": true, "schema": schema},
            });
        }
        if self.logprobs.load(Ordering::Relaxed) {
            body["logprobs"] = Value::Bool(true);
        }
        body
    }

    /// Asks until there is an answer, a fault that another try cannot mend, or no try left.
    async fn ask(
        &self,
        request: &Generation,
        progress: &(dyn Fn(Untrusted) + Send + Sync),
    ) -> Result<Reply, TriageError> {
        let mut tries = 0;
        loop {
            let fault = match self.once(request, progress).await {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
            match fault {
                Fault::NoLogprobs if self.logprobs.swap(false, Ordering::Relaxed) => {
                    tracing::info!(request_id = %request.request_id, "the server takes no logprobs: no confidence");
                }
                Fault::Retry(_) if tries + 1 < TRIES => {
                    let pause = 250 * (1 << tries) + rand::rng().random_range(0..250);
                    tries += 1;
                    tracing::info!(request_id = %request.request_id, tries, pause, "model server busy or away, trying again");
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                other => return Err(other.into_error(&self.host)),
            }
        }
    }

    async fn once(&self, asked: &Generation, progress: &(dyn Fn(Untrusted) + Send + Sync)) -> Result<Reply, Fault> {
        let mut request = self
            .client
            .post(format!("{}/chat/completions", self.base))
            .header(ACCEPT, "text/event-stream")
            .json(&self.body(asked));
        if let Ok(id) = HeaderValue::from_str(&asked.request_id) {
            request = request.header("X-Request-Id", id);
        }
        let begun = Instant::now();
        let response = tokio::time::timeout(self.limits.first, request.send())
            .await
            .map_err(|_| Fault::Slow("no answer", self.limits.first))?
            .map_err(Fault::of_send)?;
        let status = response.status();
        if !status.is_success() {
            return Err(fault::of_response(status, response, self.limits.idle).await);
        }
        stream::read(response, self.limits, begun, progress).await
    }

    fn generated(&self, reply: Reply, begun: Instant) -> Result<Generated, TriageError> {
        let finish = match reply.finish.as_deref() {
            Some("stop") => Finish::Stop,
            Some("length") => Finish::Length,
            Some(other) => Finish::Other(fault::say(other)),
            None => {
                return Err(TriageError::Unavailable(format!("{}: the stream ended before the answer did", self.host)));
            }
        };
        let usage = Usage {
            prompt_tokens: reply.prompt_tokens,
            cached_tokens: reply.cached_tokens,
            completion_tokens: reply.completion_tokens,
            first_token_ms: reply.first_ms,
            queued_ms: None,
            served_ms: Some(begun.elapsed().as_millis() as u64),
        };
        Ok(Generated {
            model: reply.model.unwrap_or_else(|| self.model.as_str().into()),
            text: reply.text,
            finish,
            model_digest: None,
            server: Some(self.host.clone()),
            usage,
            tokens: reply.tokens,
        })
    }

    async fn get(&self, url: String, max: usize) -> Result<(reqwest::StatusCode, String), String> {
        let read = async {
            let response = self.client.get(url).send().await.map_err(|e| fault::chain(&e))?;
            let status = response.status();
            let body = fault::body(response, max).await.map_err(|e| fault::chain(&e))?;
            Ok((status, body))
        };
        tokio::time::timeout(HEALTH_TIMEOUT, read).await.unwrap_or_else(|_| Err("no answer within 3 s".into()))
    }
}

impl Engine for Openai {
    fn id(&self) -> &'static str {
        "openai"
    }

    fn generate<'a>(
        &'a self,
        request: &'a Generation,
        progress: &'a (dyn Fn(Untrusted) + Send + Sync),
        cancel: &'a Cancel,
    ) -> Answering<'a, Generated> {
        Box::pin(async move {
            let begun = Instant::now();
            // Dropping the request drops the connection, and the server stops generating.
            let reply = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(TriageError::Cancelled),
                answer = self.ask(request, progress) => answer?,
            };
            self.generated(reply, begun)
        })
    }

    fn load<'a>(&'a self) -> Answering<'a, ()> {
        Box::pin(async move {
            let health = self.health().await;
            if health.up { Ok(()) } else { Err(TriageError::Unavailable(health.detail)) }
        })
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn max_tokens(&self) -> u32 {
        self.max_tokens
    }

    /// `/health` beside `/v1`, else `/v1/models`; queue lengths from the metrics of vLLM or llama.cpp if there are any.
    fn health<'a>(&'a self) -> Telling<'a, Health> {
        Box::pin(async move {
            let root = self.base.strip_suffix("/v1").unwrap_or(&self.base);
            let (mut up, mut detail) = match self.get(format!("{root}/health"), 4096).await {
                Ok((status, _)) if status.is_success() => (true, "answers".to_owned()),
                Ok((status, _)) if status.as_u16() != 404 => (false, format!("health says {}", status.as_u16())),
                Ok(_) => (false, "has no health page".to_owned()),
                Err(e) => return Health { name: self.name(), detail: e, ..Health::default() },
            };
            if let Ok((status, body)) = self.get(format!("{}/models", self.base), 1 << 20).await {
                match status.as_u16() {
                    200 => up = true,
                    401 | 403 => (up, detail) = (false, "refuses our key".to_owned()),
                    _ => {}
                }
                if status.is_success() && !names(&body).iter().any(|n| n == &self.model) {
                    detail = format!("has no model {:?}, it has {}", self.model, fault::say(&names(&body).join(", ")));
                }
            }
            let metrics = self.get(format!("{root}/metrics"), METRICS_MAX).await;
            let metrics = metrics.ok().filter(|(s, _)| s.is_success()).map(|(_, b)| b).unwrap_or_default();
            let gauge = |names: [&str; 2]| names.iter().find_map(|n| metric(&metrics, n));
            Health {
                up,
                name: self.name(),
                running: gauge(["vllm:num_requests_running", "llamacpp:requests_processing"]),
                waiting: gauge(["vllm:num_requests_waiting", "llamacpp:requests_deferred"]),
                detail,
                ..Health::default()
            }
        })
    }
}

impl Openai {
    fn name(&self) -> String {
        format!("{} at {}", self.model, self.host)
    }
}

fn names(models: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(models).unwrap_or_default();
    let ids = list["data"].as_array().into_iter().flatten().filter_map(|m| m["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// Sum of a Prometheus gauge over its label sets.
fn metric(page: &str, name: &str) -> Option<u32> {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let rest = if let Some(labels) = rest.strip_prefix('{') { labels.rsplit_once('}')?.1 } else { rest };
        rest.strip_prefix(' ')?.split_whitespace().next()?.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0)
    };
    let values: Vec<f64> = page.lines().filter_map(value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() as u32)
}

#[cfg(test)]
#[path = "openai_tests.rs"]
mod tests;
