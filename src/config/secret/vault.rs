//! `vault:MOUNT/PATH#FIELD`: KV version 2 of HashiCorp Vault or OpenBao.
//! `GET /v1/MOUNT/data/PATH` answers `{"data": {"data": {FIELD: ...}, "metadata": ...}}`
//! (<https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version>).

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Reference, Secret, SecretContext, SecretError, resolve, within};

/// Larger answers are not secrets.
const LARGEST: usize = 1024 * 1024;

pub fn parse(rest: &str) -> Option<Reference> {
    let (place, field) = rest.split_once('#')?;
    let (mount, path) = place.split_once('/')?;
    let plain = |s: &str| s.split('/').all(|p| !p.is_empty() && p != "." && p != "..");
    (plain(mount) && plain(path) && !field.is_empty()).then(|| Reference::Vault {
        mount: mount.to_owned(),
        path: path.to_owned(),
        field: field.to_owned(),
    })
}

/// One question to the server, everything it needs already at hand.
struct Ask {
    url: Url,
    token: Secret,
    namespace: Option<String>,
    authorities: Option<Vec<u8>>,
    timeout: Duration,
    field: String,
    reference: Reference,
}

pub fn read(
    reference: &Reference,
    mount: &str,
    path: &str,
    field: &str,
    ctx: &SecretContext,
) -> Result<Secret, SecretError> {
    let set = |own: &Option<String>, name: &str| own.clone().or_else(|| ctx.env.get(name).map(str::to_owned));
    let addr = set(&ctx.settings.vault_addr, "VAULT_ADDR")
        .ok_or_else(|| reference.unreachable("no server: set secrets.vault_addr or VAULT_ADDR"))?;
    let url = url(&addr, mount, path).map_err(|why| reference.refused(why))?;
    let token = ctx.settings.vault_token.as_deref().unwrap_or("env:VAULT_TOKEN");
    if token.starts_with("vault:") {
        return Err(reference.refused("secrets.vault_token cannot itself come from vault:"));
    }
    let token = resolve(token, ctx).map_err(|e| reference.refused(format!("no token: {e}")))?;
    let ca = ctx.settings.vault_ca.clone().or_else(|| ctx.env.get("VAULT_CACERT").map(PathBuf::from));
    let authorities = ca
        .map(|p| std::fs::read(&p).map_err(|e| reference.refused(format!("{} cannot be read: {e}", p.display()))))
        .transpose()?;
    let timeout = Duration::from_secs(ctx.settings.vault_timeout_seconds.max(1));
    let ask = Ask {
        url,
        token,
        namespace: set(&ctx.settings.vault_namespace, "VAULT_NAMESPACE"),
        authorities,
        timeout,
        field: field.to_owned(),
        reference: reference.clone(),
    };
    // A thread and a runtime of its own: callers may or may not be inside one.
    let late = format!("{addr} did not answer within {} s", timeout.as_secs());
    within(timeout + Duration::from_secs(1), move || ask.run()).unwrap_or_else(|| Err(reference.unreachable(late)))
}

fn url(addr: &str, mount: &str, path: &str) -> Result<Url, String> {
    let mut url = Url::parse(addr).map_err(|e| format!("the server's address is no URL: {e}"))?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() != "https" && !(url.scheme() == "http" && local) {
        return Err("the server's address must begin with https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the server's address must hold no user or password".to_owned());
    }
    match url.path_segments_mut() {
        Ok(mut s) => s.pop_if_empty().push("v1").extend(mount.split('/')).push("data").extend(path.split('/')),
        Err(()) => return Err("the server's address is no base URL".to_owned()),
    };
    Ok(url)
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    data: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Ask {
    fn run(&self) -> Result<Secret, SecretError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| self.reference.unreachable(e.to_string()))?;
        runtime.block_on(self.fetch())
    }

    fn client(&self) -> Result<Client, String> {
        let mut builder = Client::builder()
            .timeout(self.timeout)
            .connect_timeout(self.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("watchfloor/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &self.authorities {
            let certs = Certificate::from_pem_bundle(pem).map_err(|e| format!("the CA file: {e}"))?;
            if certs.is_empty() {
                return Err("the CA file holds no certificate".to_owned());
            }
            builder = builder.tls_certs_only(certs);
        }
        builder.build().map_err(|e| chain(&e))
    }

    async fn fetch(&self) -> Result<Secret, SecretError> {
        let client = self.client().map_err(|why| self.reference.refused(why))?;
        let mut token = reqwest::header::HeaderValue::from_str(self.token.expose())
            .map_err(|_| self.reference.refused("the token holds characters no header can carry"))?;
        token.set_sensitive(true);
        let mut request = client.get(self.url.clone()).header("X-Vault-Token", token).header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let response = request.send().await.map_err(|e| self.lost(&e))?;
        self.status(response.status())?;
        let body = self.body(response).await?;
        self.pick(&body)
    }

    fn lost(&self, e: &reqwest::Error) -> SecretError {
        let host = self.url.host_str().unwrap_or_default();
        if e.is_timeout() {
            return self.reference.unreachable(format!("{host} did not answer within {} s", self.timeout.as_secs()));
        }
        self.reference.unreachable(format!("{host}: {}", chain(e)))
    }

    /// The server's words stay out: they can repeat what was sent.
    fn status(&self, status: StatusCode) -> Result<(), SecretError> {
        let r = &self.reference;
        match status.as_u16() {
            200 => Ok(()),
            400 => Err(r.refused("the server does not understand (400); is the mount a KV version 2 one?")),
            403 => Err(r.refused("the token is not valid or may not read this (403)")),
            404 => Err(r.missing("the server has no such secret (404), or its newest version is deleted")),
            429 | 472 | 473 | 503 => {
                Err(r.unreachable(format!("the server is sealed, standing by or busy ({status})")))
            }
            _ => Err(r.unreachable(format!("the server answered {status}"))),
        }
    }

    async fn body(&self, mut response: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let mut body = Zeroizing::new(Vec::with_capacity(4096));
        while let Some(chunk) = response.chunk().await.map_err(|e| self.lost(&e))? {
            if body.len() + chunk.len() > LARGEST {
                return Err(self.reference.refused(format!("the answer is larger than {LARGEST} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn pick(&self, body: &[u8]) -> Result<Secret, SecretError> {
        let r = &self.reference;
        // serde's message would quote the answer.
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_| r.refused("the answer is not what KV version 2 answers"))?;
        let mut fields = answer.data.and_then(|v| v.data).ok_or_else(|| r.missing("the secret holds nothing"))?;
        let names: Vec<String> = fields.keys().cloned().collect();
        match fields.remove(&self.field) {
            Some(serde_json::Value::String(value)) => Ok(Secret::new(value)),
            Some(serde_json::Value::Number(n)) => Ok(Secret::new(n.to_string())),
            Some(_) => Err(r.refused("the field is neither a text nor a number")),
            None => Err(r.missing(format!("no field {:?}; there are: {}", self.field, names.join(", ")))),
        }
    }
}

/// The innermost reason says what happened; the outer ones only that it did.
fn chain(e: &dyn std::error::Error) -> String {
    let mut inner = e;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}
