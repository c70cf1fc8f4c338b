//! The few requests the tail makes. Each has a timeout, and no answer larger than [`MAX_ANSWER`] is read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opensearch::auth::Credentials;
use opensearch::cert::{Certificate, CertificateValidation};
use opensearch::http::Url;
use opensearch::http::headers::{ACCEPT_ENCODING, HeaderValue};
use opensearch::http::response::Response;
use opensearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use opensearch::params::ExpandWildcards;
use opensearch::{CreatePitParts, GetParts, OpenSearch, SearchParts, UpdateParts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use crate::config::settings::OpensearchSettings;
use crate::intake::source::SecretResolver;

/// Bytes of a page that are read; a larger one is asked for again in smaller pages.
pub(super) const MAX_PAGE: u64 = 16 << 20;
/// Bytes of a single document that are read.
pub(super) const MAX_ANSWER: u64 = 64 << 20;
/// Documents asked for when the server does not say how long its answer is.
pub(super) const UNMEASURED_PAGE: usize = 100;

pub(super) struct Client {
    inner: OpenSearch,
    index: String,
    user: Option<String>,
    timeout: Duration,
    keep_alive: String,
}

/// A body, and whether the server had said how long it is.
pub(super) struct Answer {
    pub body: Vec<u8>,
    pub measured: bool,
}

/// Where a document stands now.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Numbers {
    #[serde(rename = "_seq_no")]
    pub seq_no: i64,
    #[serde(rename = "_primary_term")]
    pub primary_term: i64,
}

/// What became of an update.
pub(super) enum Updated {
    Done(Numbers),
    /// Somebody else changed the document since.
    Conflict,
    /// The document is gone.
    Gone,
    /// The server will never take it: why.
    Refused(String),
}

impl Client {
    /// Reads the authority and the password; connects to nothing yet.
    pub async fn open(settings: &OpensearchSettings, resolver: &SecretResolver) -> Result<Self, Fault> {
        let url = Url::parse(&settings.url).map_err(|e| Fault::Settings(format!("url {}: {e}", settings.url)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Fault::Settings(format!("url {}: expected https://HOST:PORT", settings.url)));
        }
        let timeout = Duration::from_secs(settings.timeout_seconds.clamp(1, 600));
        let loopback = url.host_str().is_some_and(|h| h == "localhost" || h.starts_with("127.") || h == "[::1]");
        let mut transport = TransportBuilder::new(SingleNodeConnectionPool::new(url))
            .timeout(timeout)
            // Uncompressed, so that an answer's length is known before it is read.
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if loopback {
            transport = transport.disable_proxy();
        }
        if let Some(path) = &settings.ca {
            transport = transport.cert_validation(CertificateValidation::Full(read_ca(path.clone()).await?));
        }
        if let Some(user) = &settings.username {
            let password = match &settings.password {
                Some(reference) => resolve(resolver, reference.clone()).await?,
                None => String::new(),
            };
            transport = transport.auth(Credentials::Basic(user.clone(), password));
        }
        let transport = transport.build().map_err(|e| Fault::Settings(format!("cannot set up TLS: {e}")))?;
        Ok(Self {
            inner: OpenSearch::new(transport),
            index: settings.index.clone(),
            user: settings.username.clone(),
            timeout,
            keep_alive: format!("{}s", (3 * timeout.as_secs()).max(60)),
        })
    }

    pub async fn open_pit(&self) -> Result<String, Fault> {
        let index: Vec<&str> = self.index.split(',').map(str::trim).collect();
        let sent = self
            .inner
            .create_pit(CreatePitParts::Index(&index))
            .keep_alive(&self.keep_alive)
            .allow_partial_pit_creation(false)
            .send()
            .await;
        #[derive(Deserialize)]
        struct Pit {
            pit_id: String,
        }
        Ok(self.read_json::<Pit>(sent).await?.pit_id)
    }

    /// Best effort: an abandoned one expires by itself.
    pub async fn close_pit(&self, pit: &str) {
        let _ = self.inner.delete_pit().body(json!({ "pit_id": [pit] })).send().await;
    }

    /// A search in a point in time. `limit`: bytes that are read.
    pub async fn search_pit(&self, pit: &str, mut body: Value, limit: u64) -> Result<Answer, Fault> {
        body["pit"] = json!({ "id": pit, "keep_alive": self.keep_alive });
        let sent = self.inner.search(SearchParts::None).allow_partial_search_results(false).body(body).send().await;
        self.read(sent, limit).await
    }

    /// A search in the index as it is now.
    pub async fn search_now(&self, body: Value) -> Result<Answer, Fault> {
        let index: Vec<&str> = self.index.split(',').map(str::trim).collect();
        let sent =
            self.inner.search(SearchParts::Index(&index)).allow_partial_search_results(false).body(body).send().await;
        self.read(sent, MAX_PAGE).await
    }

    /// A search that answers with what it has when its time is over, which the answer says.
    pub async fn search_partly(&self, indices: &[&str], body: Value, limit: u64) -> Result<Vec<u8>, Fault> {
        let sent = self
            .inner
            .search(SearchParts::Index(indices))
            .expand_wildcards(&[ExpandWildcards::Open])
            .allow_partial_search_results(true)
            .body(body)
            .send()
            .await;
        let answer = self.read(sent, limit).await?;
        let bytes = answer.body.len() as u64;
        // One that did not say before how long it is.
        if bytes > limit { Err(Fault::TooLarge(bytes)) } else { Ok(answer.body) }
    }

    /// Merges `doc` into a document, if nobody changed it since.
    pub async fn update(&self, index: &str, id: &str, at: &Numbers, doc: Value) -> Result<Updated, Fault> {
        let sent = self
            .inner
            .update(UpdateParts::IndexId(index, id))
            .if_seq_no(at.seq_no)
            .if_primary_term(at.primary_term)
            .body(json!({ "doc": doc }))
            .send()
            .await;
        match self.read_json(sent).await {
            Ok(numbers) => Ok(Updated::Done(numbers)),
            Err(Fault::Server { status: 409, .. }) => Ok(Updated::Conflict),
            Err(Fault::Server { status: 404, .. } | Fault::NoIndex(_)) => Ok(Updated::Gone),
            Err(Fault::Server { status: 400 | 403 | 413, reason }) => Ok(Updated::Refused(reason)),
            Err(other) => Err(other),
        }
    }

    /// A document's numbers and its `watchfloor` field; `None` when it is gone.
    pub async fn get(&self, index: &str, id: &str) -> Result<Option<(Numbers, Value)>, Fault> {
        let sent = self.inner.get(GetParts::IndexId(index, id))._source_includes(&["watchfloor"]).send().await;
        #[derive(Deserialize)]
        struct Got {
            #[serde(flatten)]
            numbers: Numbers,
            #[serde(rename = "_source", default)]
            source: Value,
        }
        match self.read_json::<Got>(sent).await {
            Ok(mut got) => Ok(Some((got.numbers, got.source["watchfloor"].take()))),
            Err(Fault::Server { status: 404, .. } | Fault::NoIndex(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn read_json<T: for<'de> Deserialize<'de>>(
        &self,
        sent: Result<Response, opensearch::Error>,
    ) -> Result<T, Fault> {
        let answer = self.read(sent, MAX_PAGE).await?;
        serde_json::from_slice(&answer.body).map_err(|e| Fault::Protocol(e.to_string()))
    }

    async fn read(&self, sent: Result<Response, opensearch::Error>, limit: u64) -> Result<Answer, Fault> {
        let response = sent.map_err(|e| Fault::from_transport(&e, self.timeout))?;
        let status = response.status_code().as_u16();
        let length = response.content_length();
        if let Some(n) = length.filter(|n| *n > limit) {
            return Err(Fault::TooLarge(n));
        }
        let body = response.bytes().await.map_err(|e| Fault::from_transport(&e, self.timeout))?;
        if (200..300).contains(&status) {
            Ok(Answer { body: body.into(), measured: length.is_some() })
        } else {
            Err(Fault::from_answer(status, &body, self.user.as_deref(), &self.index))
        }
    }
}

async fn read_ca(path: PathBuf) -> Result<Certificate, Fault> {
    let said = |e: String| Fault::Settings(format!("ca {}: {e}", path.display()));
    let pem = tokio::fs::read(&path).await.map_err(|e| said(super::super::file::plain(&e)))?;
    Certificate::from_pem(&pem).map_err(|e| said(e.to_string()))
}

/// A resolver may run a command or ask a keyring, so it gets a thread of its own.
async fn resolve(resolver: &SecretResolver, reference: String) -> Result<String, Fault> {
    let resolver = Arc::clone(resolver);
    let task = tokio::task::spawn_blocking(move || resolver(&reference));
    match tokio::time::timeout(Duration::from_secs(60), task).await {
        Ok(Ok(secret)) => secret.map_err(Fault::Settings),
        Ok(Err(_)) => Err(Fault::Settings("the password could not be looked up".into())),
        Err(_) => Err(Fault::Settings("no answer within 60 s while looking up the password".into())),
    }
}
