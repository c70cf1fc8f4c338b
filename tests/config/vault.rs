//! An HTTPS server that answers as Vault's KV version 2 does, with a certificate authority of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

pub const TOKEN: &str = "hvs.test-token-CANARY";
pub const VALUE: &str = "vault-value-CANARY";

pub struct Vault {
    pub addr: SocketAddr,
    /// The authority that signed its certificate, and one that did not.
    pub ca: PathBuf,
    pub other_ca: PathBuf,
    /// Request heads it saw.
    pub seen: Arc<Mutex<Vec<String>>>,
    _dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Vault {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (authority("ours"), authority("other"));
        let (ca, other_ca) = (dir.path().join("ca.pem"), dir.path().join("other.pem"));
        std::fs::write(&ca, ours.pem()).unwrap();
        std::fs::write(&other_ca, other.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &ours)
            .unwrap();
        let tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), seen.clone()));
        Self { addr, ca, other_ca, seen, _dir: dir, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, seen: Arc<Mutex<Vec<String>>>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, seen) = (tls.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(tcp).await else { return };
            let mut head = Vec::new();
            let mut byte = [0; 1];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            seen.lock().unwrap().push(head.clone());
            let (status, extra, body) = answer(&head).await;
            let text = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{extra}\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}

async fn answer(head: &str) -> (&'static str, &'static str, String) {
    let lower = head.to_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default();
    if !lower.contains(&format!("x-vault-token: {}\r\n", TOKEN.to_lowercase())) {
        // As some proxies do, it repeats what it got.
        return ("403 Forbidden", "", format!("{{\"errors\":[\"permission denied\"],\"you sent\":{head:?}}}"));
    }
    let secret = format!(
        "{{\"request_id\":\"x\",\"data\":{{\"data\":{{\"password\":\"{VALUE}\",\"port\":9200,\"list\":[\"{VALUE}\"]}},\
         \"metadata\":{{\"version\":3}}}}}}"
    );
    match path {
        "/v1/secret/data/soc/open%20search" => ("200 OK", "", secret),
        "/v1/secret/data/deleted" => ("404 Not Found", "", "{\"data\":{\"data\":null}}".to_owned()),
        "/v1/secret/data/null" => ("200 OK", "", "{\"data\":{\"data\":null}}".to_owned()),
        "/v1/secret/data/sealed" => ("503 Service Unavailable", "", "{\"errors\":[\"Vault is sealed\"]}".to_owned()),
        "/v1/secret/data/kv1" => ("200 OK", "", format!("{{\"data\":\"{VALUE}\"}}")),
        "/v1/secret/data/moved" => ("307 Temporary Redirect", "location: https://evil.example/\r\n", String::new()),
        "/v1/secret/data/huge" => ("200 OK", "", format!("{{\"data\":\"{}\"}}", "x".repeat(2 << 20))),
        "/v1/secret/data/slow" => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            ("200 OK", "", secret)
        }
        _ => ("404 Not Found", "", "{\"errors\":[]}".to_owned()),
    }
}
