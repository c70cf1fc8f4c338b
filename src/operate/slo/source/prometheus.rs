//! The HTTP API of Prometheus (`/api/v1/query_range`), and what speaks it (Mimir, Thanos, VictoriaMetrics).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Semaphore;

use super::Secrets;
use crate::config::settings::PrometheusSettings;
use crate::model::health::SourceWord;
use crate::operate::slo::series::Sample;
use crate::operate::slo::series::Track;

/// A server refuses more points of a series than this in one answer.
pub const PAGE: i64 = 11_000;
const BODY_MAX: usize = 64 << 20;
const SAID_MAX: usize = 300;

/// Series by their labels.
pub type Tracks = BTreeMap<Labels, Track>;

/// Of one series.
pub type Labels = BTreeMap<String, String>;

/// What went wrong, and what that makes of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub word: SourceWord,
    pub why: String,
}

impl Fault {
    pub fn new(word: SourceWord, why: impl Into<String>) -> Self {
        Self { word, why: why.into() }
    }
}

/// A server, with a bound on questions at the same time.
#[derive(Clone, Debug)]
pub struct Server {
    url: String,
    client: reqwest::Client,
    login: Login,
    turns: Arc<Semaphore>,
}

#[derive(Clone)]
enum Login {
    None,
    Basic(String, String),
    Bearer(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    status: String,
    #[serde(default, borrow)]
    data: Option<Data<'a>>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Values {
    status: String,
    #[serde(default)]
    data: Vec<String>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    result_type: String,
    #[serde(default, borrow)]
    result: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    /// Numbers are written without escapes, so they can be read where they stand.
    #[serde(default, borrow)]
    values: Vec<(f64, &'a str)>,
}

impl Server {
    pub async fn open(settings: &PrometheusSettings, parallel: u32, secrets: &Secrets) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::new(SourceWord::Unreadable, why);
        let limit = Duration::from_secs(settings.timeout_seconds.unwrap_or(20).max(1));
        let mut builder = reqwest::Client::builder()
            .timeout(limit)
            .connect_timeout(limit.min(Duration::from_secs(10)))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("watchfloor/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.ca {
            let pem = tokio::fs::read(path).await.map_err(|e| wrong(format!("ca {}: {e}", path.display())))?;
            let certs = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if certs.is_empty() {
                return Err(wrong(format!("ca {}: holds no certificate in PEM", path.display())));
            }
            builder = builder.tls_certs_only(certs);
        }
        let login = match (&settings.token, &settings.username, &settings.password) {
            (Some(token), _, _) => Login::Bearer(secret(secrets, token).await?),
            (None, Some(user), password) => {
                let password = match password {
                    Some(reference) => secret(secrets, reference).await?,
                    None => String::new(),
                };
                Login::Basic(user.clone(), password)
            }
            _ => Login::None,
        };
        Ok(Self {
            url: settings.url.trim_end_matches('/').to_owned(),
            client: builder.build().map_err(|e| wrong(chain(&e)))?,
            login,
            turns: Arc::new(Semaphore::new(parallel.clamp(1, 256) as usize)),
        })
    }

    /// Times in milliseconds, both ends in; one question for each page. Warnings are appended to `notes`.
    pub async fn range(
        &self,
        query: &str,
        from: i64,
        until: i64,
        step: i64,
        notes: &mut Vec<String>,
    ) -> Result<Tracks, Fault> {
        let mut all = Tracks::new();
        for (start, end) in pages(from, until, step) {
            let rows = self.page(query, start, end, step, notes).await?;
            for (labels, mut track) in rows {
                all.entry(labels).or_default().append(&mut track);
            }
        }
        Ok(all)
    }

    /// The samples of a selector as they were scraped, in the seconds before `at` (milliseconds): nothing is carried on
    /// from an older sample, so that a series that ended is seen to end.
    pub async fn samples(
        &self,
        selector: &str,
        seconds: i64,
        at: i64,
        notes: &mut Vec<String>,
    ) -> Result<Tracks, Fault> {
        let query = format!("{selector}[{}s]", seconds.max(1));
        self.ask("query", &form(&[("query", &query), ("time", &stamp(at))]), notes).await
    }

    async fn page(
        &self,
        query: &str,
        start: i64,
        end: i64,
        step: i64,
        notes: &mut Vec<String>,
    ) -> Result<Tracks, Fault> {
        self.ask("query_range", &range_form(query, start, end, step), notes).await
    }

    async fn ask(&self, what: &str, form: &str, notes: &mut Vec<String>) -> Result<Tracks, Fault> {
        let request = self
            .client
            .post(format!("{}/api/v1/{what}", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        let (status, body) = self.send(request).await?;
        match serde_json::from_slice::<Answer>(&body) {
            Ok(answer) => {
                for warning in &answer.warnings {
                    if !notes.contains(warning) && notes.len() < 8 {
                        notes.push(crate::text::front(warning, SAID_MAX).to_owned());
                    }
                }
                read(answer)
            }
            Err(_) if status.is_server_error() => Err(Fault::new(SourceWord::Lost, format!("HTTP {status}"))),
            Err(e) => Err(Fault::new(SourceWord::Unreadable, format!("HTTP {status}, no answer of Prometheus: {e}"))),
        }
    }

    /// One question, when its turn has come.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(reqwest::StatusCode, Vec<u8>), Fault> {
        let lost = |why: String| Fault::new(SourceWord::Lost, why);
        let _turn = self.turns.acquire().await.map_err(|_| lost("shutting down".into()))?;
        let request = match &self.login {
            Login::None => request,
            Login::Basic(user, password) => request.basic_auth(user, Some(password)),
            Login::Bearer(token) => request.bearer_auth(token),
        };
        let mut response = request.send().await.map_err(|e| lost(chain(&e)))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| lost(chain(&e)))? {
            if body.len() + chunk.len() > BODY_MAX {
                return Err(Fault::new(SourceWord::Unreadable, "the answer is longer than 64 MiB: narrow the query"));
            }
            body.extend_from_slice(&chunk);
        }
        if matches!(status.as_u16(), 401 | 403) {
            return Err(Fault::new(SourceWord::Forbidden, format!("HTTP {status}")));
        }
        Ok((status, body))
    }

    /// The values a label has on series of this metric, at any time the server still knows of.
    pub async fn label_values(&self, label: &str, metric: &str) -> Result<Vec<String>, Fault> {
        let select = form(&[("match[]", &format!("{{__name__={}}}", serde_json::Value::from(metric)))]);
        let request = self.client.get(format!("{}/api/v1/label/{label}/values?{select}", self.url));
        let (status, body) = self.send(request).await?;
        let wrong = |why: String| Fault::new(SourceWord::Unreadable, why);
        let values: Values = serde_json::from_slice(&body).map_err(|e| wrong(format!("HTTP {status}: {e}")))?;
        match values.status.as_str() {
            "success" => Ok(values.data),
            _ => Err(wrong(crate::text::front(&values.error, SAID_MAX).to_owned())),
        }
    }
}

fn read(answer: Answer<'_>) -> Result<Tracks, Fault> {
    let wrong = |why: String| Fault::new(SourceWord::Unreadable, why);
    if answer.status != "success" {
        let said = crate::text::front(&answer.error, SAID_MAX);
        let status = crate::text::front(&answer.status, 40);
        return Err(wrong(if said.is_empty() {
            format!("status {status:?} without a word why")
        } else {
            said.to_owned()
        }));
    }
    let data = answer.data.ok_or_else(|| wrong("an answer without data".into()))?;
    if data.result_type != "matrix" {
        return Err(wrong(format!("expected a matrix, got {}", crate::text::front(&data.result_type, 40))));
    }
    let mut all = Tracks::new();
    for row in data.result {
        let mut track = Track::with_capacity(row.values.len());
        for (at, text) in row.values {
            let value = number(text).ok_or_else(|| wrong("a value that is no number".into()))?;
            track.push(Sample { at: (at * 1000.0).round() as i64, value });
        }
        all.entry(row.metric).or_default().append(&mut track);
    }
    Ok(all)
}

/// A saved answer.
pub fn parse(body: &str) -> Result<Tracks, Fault> {
    let answer = serde_json::from_str(body);
    read(answer.map_err(|e| Fault::new(SourceWord::Unreadable, format!("no answer of query_range: {e}")))?)
}

/// As Prometheus and OpenMetrics write numbers.
pub fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        other => other.parse().ok(),
    }
}

/// Spans of at most a page, both ends in.
pub fn pages(from: i64, until: i64, step: i64) -> impl Iterator<Item = (i64, i64)> {
    let step = step.max(1);
    let mut start = from;
    std::iter::from_fn(move || {
        let page = (start, until.min(start + (PAGE - 1) * step));
        start = page.1 + step;
        (page.0 <= until).then_some(page)
    })
}

/// The body of a question to `query_range`; times in milliseconds.
pub fn range_form(query: &str, start: i64, end: i64, step: i64) -> String {
    form(&[("query", query), ("start", &stamp(start)), ("end", &stamp(end)), ("step", &stamp(step))])
}

/// Milliseconds as the API takes a time.
fn stamp(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

fn form(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, b| {
            match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(b as char),
                _ => out.push_str(&format!("%{b:02X}")),
            }
            out
        })
    };
    pairs.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v))).collect::<Vec<_>>().join("&")
}

/// A resolver may run a command or ask a keyring, so it gets a thread of its own.
async fn secret(secrets: &Secrets, reference: &str) -> Result<String, Fault> {
    let (secrets, reference) = (Arc::clone(secrets), reference.to_owned());
    let task = tokio::task::spawn_blocking(move || secrets(&reference));
    let wrong = |why: String| Fault::new(SourceWord::Unreadable, why);
    match tokio::time::timeout(Duration::from_secs(60), task).await {
        Ok(Ok(secret)) => secret.map_err(wrong),
        Ok(Err(_)) => Err(wrong("the secret could not be looked up".into())),
        Err(_) => Err(wrong("no answer within 60 s while looking up the secret".into())),
    }
}

/// An error with its causes; without the URL.
fn chain(e: &reqwest::Error) -> String {
    use std::error::Error as _;
    let mut out = match e {
        e if e.is_timeout() => "no answer in time".to_owned(),
        e if e.is_connect() => "cannot connect".to_owned(),
        _ => "the request failed".to_owned(),
    };
    let mut source = e.source();
    while let Some(s) = source {
        out = format!("{out}: {s}");
        source = s.source();
    }
    crate::text::front(&out, SAID_MAX).to_owned()
}
