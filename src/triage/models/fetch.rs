//! Getting a file over HTTP: resumed where it was cut, never more than announced, never in the clear.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use rand::Rng as _;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE,
    RETRY_AFTER,
};
use reqwest::{Response, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};

use super::gguf::{self, Header};
use super::pull::{Outbound, Step};
use super::registry::{Part, read_short, write_atomic};
use super::{ModelError, Result, size};
use crate::text::{Untrusted, clean, front};
use crate::triage::wire::{certificate, chain};

/// Bytes of the front of a file that are looked at before it is asked for: general facts stand first.
const FRONT: usize = 256 * 1024;
const MAX_REDIRECTS: usize = 5;
/// Longest pause a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connect: Duration,
    /// For the beginning of an answer, and between two pieces of it.
    pub idle: Duration,
    /// For all of a download.
    pub total: Duration,
    /// Tries in a row that bring nothing.
    pub tries: u32,
    /// Pause before the second try; it doubles with each.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(24 * 3_600),
            tries: 6,
            pause: Duration::from_millis(500),
        }
    }
}

pub(super) struct Fetcher {
    client: reqwest::Client,
    limits: Limits,
    insecure: bool,
}

/// What a look at the front of a file told.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub bytes: Option<u64>,
    pub header: Option<Header>,
    /// Where it comes from after redirects.
    pub host: String,
}

/// Why one try did not do it.
enum Fault {
    /// Another may.
    Again {
        why: String,
        after: Option<Duration>,
    },
    Over(ModelError),
}

impl From<ModelError> for Fault {
    fn from(e: ModelError) -> Self {
        Self::Over(e)
    }
}

fn again(why: impl Into<String>) -> Fault {
    Fault::Again { why: why.into(), after: None }
}

/// What is known of a part file: kept beside it, so that another process can go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct PartState {
    url: String,
    /// A strong one only: a weak one promises nothing about bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    bytes: Option<u64>,
}

/// What is fetched, and what it must be.
pub(super) struct Remote<'a> {
    pub url: &'a Url,
    pub token: Option<&'a str>,
    /// Its length, where somebody vouched for it.
    pub bytes: Option<u64>,
    /// The whole is checked against a digest afterwards, so that a resumed one cannot be a mixture unnoticed.
    pub pinned: bool,
    pub state: &'a Path,
}

impl Fetcher {
    /// Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`).
    pub fn new(out: &Outbound) -> Result<Self> {
        let insecure = out.insecure_http;
        let policy = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MAX_REDIRECTS {
                return attempt.error(format!("more than {MAX_REDIRECTS} redirects"));
            }
            // Only what began on this host may stay on it.
            let began_here = attempt.previous().first().is_some_and(is_loopback);
            if !secure(attempt.url(), insecure) || (is_loopback(attempt.url()) && !began_here) {
                return attempt.error("it points to an address that is not asked: plain http, or this host");
            }
            attempt.follow()
        });
        let mut client = reqwest::Client::builder()
            .connect_timeout(out.limits.connect)
            .redirect(policy)
            .referer(false)
            // The bytes as they are: ranges and digests are of those.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .user_agent(concat!("watchfloor/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &out.ca {
            let wrong = |e: &dyn std::fmt::Display| ModelError::Usage(format!("--ca {}: {e}", path.display()));
            let pem = std::fs::read(path).map_err(|e| wrong(&e))?;
            let certs = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(&e))?;
            if certs.is_empty() {
                return Err(wrong(&"holds no certificate"));
            }
            client = client.tls_certs_merge(certs);
        }
        let client = client.build().map_err(|e| ModelError::Usage(chain(&e)))?;
        Ok(Self { client, limits: out.limits, insecure })
    }

    /// A short text, such as a description of a hub.
    pub async fn text(&self, url: &Url, token: Option<&str>, max: usize) -> Result<String> {
        self.retried(&|_| {}, async || {
            let response = self.send(url, token, HeaderMap::new()).await?;
            let response = self.good(url, response)?;
            let (body, whole) = self.front(response, max).await?;
            if !whole {
                return Err(
                    ModelError::No(format!("{}: the answer is longer than {}", host(url), size(max as u64))).into()
                );
            }
            Ok(String::from_utf8_lossy(&body).into_owned())
        })
        .await
    }

    /// Looks at the front of a file: how long it is, and what its header says.
    pub async fn look(&self, url: &Url, token: Option<&str>) -> Result<Seen> {
        self.retried(&|_| {}, async || {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, value(&format!("bytes=0-{}", FRONT - 1))?);
            let response = self.send(url, token, headers).await?;
            if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
                return Err(ModelError::No(format!("{}: the file is empty", host(url))).into());
            }
            let response = self.good(url, response)?;
            let bytes = match response.status() {
                StatusCode::PARTIAL_CONTENT => range(&response).and_then(|r| r.total),
                _ => response.content_length(),
            };
            let came_from = host(response.url());
            let (front, _) = self.front(response, FRONT).await?;
            if !front.is_empty() && !b"GGUF".starts_with(&front[..front.len().min(4)]) {
                return Err(not_gguf(&front).into());
            }
            Ok(Seen { bytes, header: gguf::peek(&front), host: came_from })
        })
        .await
    }

    /// Brings the file into the part file, which may hold a beginning of it already. Gives its length.
    pub async fn download(
        &self,
        part: &mut Part,
        remote: &Remote<'_>,
        told: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<u64> {
        let whole = async {
            let (mut failures, mut had) = (0, length(part)?);
            loop {
                match self.once(part, remote, told).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(Fault::Over(e)) => return Err(e),
                    Err(Fault::Again { why, after }) => {
                        let have = length(part)?;
                        failures = if have > had { 1 } else { failures + 1 };
                        had = have;
                        if failures >= self.limits.tries {
                            return Err(ModelError::Unreachable(format!("{why}; {}", kept(have))));
                        }
                        let pause = self.pause(failures, after);
                        told(Step::Retry { why, have, pause_ms: pause.as_millis() as u64 });
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        };
        match tokio::time::timeout(self.limits.total, whole).await {
            Ok(done) => done,
            Err(_) => {
                let have = length(part)?;
                let limit = self.limits.total.as_secs();
                Err(ModelError::Unreachable(format!("it was not done within {limit} s; {}", kept(have))))
            }
        }
    }

    async fn once(
        &self,
        part: &mut Part,
        remote: &Remote<'_>,
        told: &(dyn Fn(Step) + Send + Sync),
    ) -> std::result::Result<u64, Fault> {
        let state: PartState = read_short(remote.state).ok().and_then(|t| toml::from_str(&t).ok()).unwrap_or_default();
        let mut have = length(part)?;
        let mut headers = HeaderMap::new();
        let same = state.url == remote.url.as_str() && (state.etag.is_some() || remote.pinned);
        if have > 0 && same {
            headers.insert(RANGE, value(&format!("bytes={have}-"))?);
            if let Some(etag) = &state.etag {
                headers.insert(IF_RANGE, value(etag)?);
            }
        } else if have > 0 {
            told(Step::Restart { why: "what was there cannot be told to be of the same file" });
            have = cut(part, 0)?;
        }
        let response = self.send(remote.url, remote.token, headers).await?;
        let total = match response.status() {
            StatusCode::PARTIAL_CONTENT => match range(&response) {
                Some(r) if r.start == have => r.total,
                _ => {
                    cut(part, 0)?;
                    return Err(again("the server sent another piece than the one asked for"));
                }
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let total = range(&response).and_then(|r| r.total);
                if total == Some(have) && have > 0 && remote.bytes.is_none_or(|b| b == have) {
                    return Ok(have);
                }
                cut(part, 0)?;
                return Err(again("the server has no such piece of the file"));
            }
            _ => {
                let response = self.good(remote.url, response)?;
                if have > 0 {
                    told(Step::Restart { why: "the file changed on the server, or it cannot send pieces" });
                    have = cut(part, 0)?;
                }
                let total = response.content_length();
                return self.receive(part, remote, response, have, total, told).await;
            }
        };
        self.receive(part, remote, response, have, total, told).await
    }

    /// Writes what comes to the end of the part file.
    async fn receive(
        &self,
        part: &mut Part,
        remote: &Remote<'_>,
        mut response: Response,
        mut have: u64,
        total: Option<u64>,
        told: &(dyn Fn(Step) + Send + Sync),
    ) -> std::result::Result<u64, Fault> {
        if let (Some(said), Some(want)) = (total, remote.bytes)
            && said != want
        {
            cut(part, 0)?;
            let what = format!("{}: the server has {}, expected {want} bytes", host(remote.url), bytes_of(said));
            return Err(ModelError::No(what).into());
        }
        let total = total.or(remote.bytes);
        let etag = response.headers().get(ETAG).and_then(|v| v.to_str().ok()).filter(|e| e.starts_with('"'));
        let state = PartState { url: remote.url.as_str().into(), etag: etag.map(str::to_owned), bytes: total };
        let text = toml::to_string(&state).map_err(|e| ModelError::No(e.to_string()))?;
        write_atomic(remote.state, text.as_bytes()).map_err(|e| write_fault(&part.path, have, &e))?;
        part.file.seek(SeekFrom::Start(have)).map_err(|e| write_fault(&part.path, have, &e))?;
        let mut begin = Vec::new();
        told(Step::Bytes { have, total });
        while let Some(chunk) = self.chunk(&mut response).await? {
            if have < 4 {
                begin.extend(&chunk[..chunk.len().min(4)]);
                if !b"GGUF".starts_with(&begin[..begin.len().min(4)]) {
                    cut(part, 0)?;
                    return Err(not_gguf(&chunk).into());
                }
            }
            let after = have + chunk.len() as u64;
            if total.is_some_and(|t| after > t) {
                cut(part, 0)?;
                return Err(ModelError::No("the server sent more than it announced; nothing was kept".into()).into());
            }
            part.file.write_all(&chunk).map_err(|e| write_fault(&part.path, have, &e))?;
            have = after;
            told(Step::Bytes { have, total });
        }
        part.file.sync_all().map_err(|e| write_fault(&part.path, have, &e))?;
        match total {
            Some(t) if have < t => Err(again(format!("the connection ended after {} of {t} bytes", have))),
            _ => Ok(have),
        }
    }

    async fn chunk(&self, response: &mut Response) -> std::result::Result<Option<Vec<u8>>, Fault> {
        match tokio::time::timeout(self.limits.idle, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk.map(|c| c.to_vec())),
            Ok(Err(e)) => Err(again(chain(&e))),
            Err(_) => Err(again(format!("nothing came for {} s", self.limits.idle.as_secs()))),
        }
    }

    /// The front of a body, and whether that was all of it.
    async fn front(&self, mut response: Response, max: usize) -> std::result::Result<(Vec<u8>, bool), Fault> {
        let mut out = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            let room = max - out.len();
            out.extend(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                return Ok((out, false));
            }
        }
        Ok((out, true))
    }

    async fn send(
        &self,
        url: &Url,
        token: Option<&str>,
        mut headers: HeaderMap,
    ) -> std::result::Result<Response, Fault> {
        if !secure(url, self.insecure) {
            return Err(ModelError::Refused(format!(
                "{}: plain http is asked on this host only; --insecure-http asks anyway",
                host(url)
            ))
            .into());
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(token) = token {
            let mut line = value(&format!("Bearer {}", token.trim()))?;
            line.set_sensitive(true);
            headers.insert(AUTHORIZATION, line);
        }
        let sent = self.client.get(url.clone()).headers(headers).send();
        let response = match tokio::time::timeout(self.limits.connect + self.limits.idle, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(e)) if e.is_redirect() => {
                return Err(ModelError::Refused(format!("{}: {}", host(url), chain(&e))).into());
            }
            Ok(Err(e)) if e.is_builder() => return Err(ModelError::Usage(chain(&e)).into()),
            Ok(Err(e)) if certificate(&e) => {
                let what =
                    format!("{}: {}; a CA of your own is given with --ca or SSL_CERT_FILE", host(url), chain(&e));
                return Err(ModelError::Unreachable(what).into());
            }
            Ok(Err(e)) => return Err(again(format!("{}: {}", host(url), chain(&e)))),
            Err(_) => return Err(again(format!("{}: no answer", host(url)))),
        };
        if response.headers().get(CONTENT_ENCODING).is_some_and(|v| v != "identity") {
            return Err(ModelError::No(format!("{}: the server sends the file in another encoding", host(url))).into());
        }
        Ok(response)
    }

    /// Lets an answer with content pass.
    fn good(&self, url: &Url, response: Response) -> std::result::Result<Response, Fault> {
        let (status, host) = (response.status(), host(url));
        let n = status.as_u16();
        match n {
            200 | 206 => Ok(response),
            401 | 403 => Err(ModelError::Refused(format!(
                "{host} refuses ({n}): the model may be gated (accept its terms on its page) or private (a token belongs \
                 into triage.local.hub_token)"
            ))
            .into()),
            404 | 410 => Err(ModelError::No(format!("{host} has no such file ({n}): {}", url.path())).into()),
            408 | 425 | 429 | 500.. => {
                let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
                Err(Fault::Again { why: format!("{host} answers {n}"), after: after.map(Duration::from_secs) })
            }
            _ => Err(ModelError::No(format!("{host} answers {n}")).into()),
        }
    }

    async fn retried<T>(
        &self,
        told: &(dyn Fn(&str) + Sync),
        mut one: impl AsyncFnMut() -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        let mut failures = 0;
        loop {
            match one().await {
                Ok(t) => return Ok(t),
                Err(Fault::Over(e)) => return Err(e),
                Err(Fault::Again { why, after }) => {
                    failures += 1;
                    if failures >= self.limits.tries.min(3) {
                        return Err(ModelError::Unreachable(why));
                    }
                    told(&why);
                    tokio::time::sleep(self.pause(failures, after)).await;
                }
            }
        }
    }

    fn pause(&self, failures: u32, after: Option<Duration>) -> Duration {
        let growing = self.limits.pause * 2u32.saturating_pow(failures.saturating_sub(1).min(6));
        let jittered = growing.mul_f64(rand::rng().random_range(0.8..1.2));
        after.unwrap_or(jittered).min(MAX_PAUSE)
    }
}

struct Range {
    start: u64,
    total: Option<u64>,
}

/// `bytes 7-99/100`, `bytes 7-99/*`, `bytes */100` (RFC 9110, 14.4).
fn range(response: &Response) -> Option<Range> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?;
    let (span, total) = text.split_once('/')?;
    let start = match span {
        "*" => u64::MAX,
        span => span.split_once('-')?.0.parse().ok()?,
    };
    Some(Range { start, total: total.parse().ok() })
}

fn length(part: &Part) -> Result<u64> {
    part.file.metadata().map(|m| m.len()).map_err(|e| ModelError::No(format!("{}: {e}", part.path.display())))
}

fn cut(part: &mut Part, to: u64) -> Result<u64> {
    part.file.set_len(to).map_err(|e| ModelError::No(format!("{}: {e}", part.path.display())))?;
    Ok(to)
}

pub(super) fn write_fault(path: &Path, have: u64, e: &std::io::Error) -> ModelError {
    let path = path.display();
    match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            ModelError::No(format!("{path}: the disk is full; {}", kept(have)))
        }
        _ => ModelError::No(format!("{path}: cannot be written: {e}")),
    }
}

fn kept(have: u64) -> String {
    format!("{} are kept, and the next pull goes on from there", size(have))
}

fn bytes_of(n: u64) -> String {
    format!("{n} bytes")
}

fn not_gguf(front_bytes: &[u8]) -> ModelError {
    let said = String::from_utf8_lossy(&front_bytes[..front_bytes.len().min(80)]).into_owned();
    let said = clean(&Untrusted::new(front(&said, 60))).as_str().to_owned();
    ModelError::No(format!("what comes is no GGUF file; it begins with {said:?}. Nothing was kept"))
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| ModelError::Usage("it holds characters no header can".into()))
}

fn host(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn secure(url: &Url, insecure: bool) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && (insecure || is_loopback(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_host() {
        for (url, plain, asked) in [
            ("https://hub.example/f", true, true),
            ("http://hub.example/f", false, true),
            ("http://127.0.0.1:8080/f", true, true),
            ("http://[::1]/f", true, true),
            ("http://localhost/f", true, true),
            ("http://localhost.evil.example/f", false, true),
            ("http://127.0.0.1.evil.example/f", false, true),
            ("http://2130706433/f", true, true),
            ("ftp://127.0.0.1/f", false, false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!((secure(&url, false), secure(&url, true)), (plain, asked), "{url}");
        }
    }
}
