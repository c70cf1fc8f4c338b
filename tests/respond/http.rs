//! The HTTP executor against a server of the test's own, on a real socket.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use super::*;

#[derive(Clone, Debug, Default)]
pub struct Got {
    pub head: String,
    pub body: String,
}

/// Answers by the path: `/ok`, `/paced`, `/redirect`, `/broken`, `/slow`.
pub struct Server {
    pub port: u16,
    pub got: Arc<Mutex<Vec<Got>>>,
}

pub fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let got: Arc<Mutex<Vec<Got>>> = Arc::default();
    let keep = got.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let keep = keep.clone();
            std::thread::spawn(move || {
                let _ = serve(stream, &keep);
            });
        }
    });
    Server { port, got }
}

fn serve(mut stream: TcpStream, keep: &Mutex<Vec<Got>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let length =
        head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(|n| n.parse().unwrap()));
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let echo = head.lines().find(|l| l.to_lowercase().starts_with("authorization")).unwrap_or_default().to_owned();
    keep.lock().unwrap().push(Got { head, body: String::from_utf8(body).unwrap() });
    let (status, text) = match path.as_str() {
        "/ok" => ("200 OK", "{\"ticket\":42}".to_owned()),
        "/paced" => {
            std::thread::sleep(Duration::from_millis(15));
            ("200 OK", String::new())
        }
        "/redirect" => ("302 Found\r\nlocation: /ok", String::new()),
        "/broken" => ("500 Internal Server Error", format!("oops \u{1b}[31m {echo}")),
        _ => {
            std::thread::sleep(Duration::from_secs(30));
            return Ok(());
        }
    };
    let length = text.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}")
}

pub fn actions(port: u16) -> String {
    let one = |name: &str, port: u16| {
        format!(
            "[[actions]]\nname = \"{name}\"\ntitle = \"x\"\ntier = \"T1\"\ntargets = {{ is = {{ type = \"ip\" }} }}\n\
             params = [{{ name = \"hours\", is = {{ type = \"integer\", min = 1, max = 9 }}, default = \"2\" }}]\n\
             [actions.executor]\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}/{name}\"\ntimeout_seconds = 5\n\
             [actions.executor.headers]\nauthorization = \"Bearer keyring:soar\"\n\
             [actions.executor.body]\naddress = \"{{{{target}}}}\"\nhours = \"{{{{param.hours}}}}\"\n\
             text = [\"{{{{requester}}}}: {{{{reason}}}}\"]\n"
        )
    };
    // A port nobody listens on, and nobody is given.
    let closed = 1;
    let mut missing = one("nosecret", port);
    missing = missing.replace("keyring:soar", "keyring:nothing");
    [
        one("ok", port),
        one("paced", port),
        one("redirect", port),
        one("broken", port),
        one("slow", port),
        one("closed", closed),
        missing,
    ]
    .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_post_per_target_with_exactly_the_approved_body() {
    let dir = tempfile::tempdir().unwrap();
    let s = server();
    let d = desk(dir.path(), &actions(s.port), "");
    let mut nasty = draft("ok", &["192.0.2.1", "192.0.2.2"], &[("hours", "7")]);
    nasty.reason = "it's \"bad\"\n\",\"admin\":true,{{target}}".into();
    let r = d.approved(nasty.clone()).await;
    assert_eq!(s.got.lock().unwrap().len(), 0, "a dry run sends nothing");
    assert!(r.preview[0].diff.expose().contains("\"address\": \"192.0.2.1\""));
    let done = d.execute(&r).await.unwrap();
    assert_eq!((done.state, states(&done)), (RequestState::Done, vec![ReceiptState::Done; 2]), "{done:?}");
    assert!(receipt(&done, "192.0.2.1").detail.expose().contains("\"ticket\":42"));
    let got = s.got.lock().unwrap().clone();
    assert_eq!(got.len(), 2);
    for (g, c) in got.iter().zip(&r.body.commands) {
        assert_eq!(Some(&g.body), c.argv.last(), "byte for byte");
        let v: serde_json::Value = serde_json::from_str(&g.body).unwrap();
        assert_eq!(v.as_object().unwrap().len(), 3);
        assert_eq!((&v["hours"], v["address"].as_str().unwrap()), (&7.into(), c.targets[0].as_str()));
        assert_eq!(v["text"][0], format!("alice: {}", nasty.reason.expose()));
        assert!(g.head.starts_with("POST /ok HTTP/1.1"));
        assert!(g.head.contains("Bearer s3cr3t-t0ken-0042"), "{}", g.head);
        assert!(g.head.contains(&format!("idempotency-key: {}/", r.body.id)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_is_told_and_what_is_not_known_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let s = server();
    let d = desk(dir.path(), &actions(s.port), "");
    for (action, state, says) in [
        ("redirect", ReceiptState::Failed, "302"),
        ("broken", ReceiptState::Failed, "500"),
        ("slow", ReceiptState::Unknown, "took too long"),
        ("closed", ReceiptState::Failed, "not sent"),
        ("nosecret", ReceiptState::Failed, "keyring:nothing is not set"),
    ] {
        let r = d.approved(draft(action, &["192.0.2.1"], &[])).await;
        let done = d.execute(&r).await.unwrap();
        let got = receipt(&done, "192.0.2.1");
        assert_eq!((done.state, got.state), (RequestState::Failed, state), "{action}: {got:?}");
        assert!(got.detail.expose().contains(says), "{action}: {got:?}");
    }
    assert_eq!(s.got.lock().unwrap().len(), 3, "nothing is sent twice, redirects are not followed");
    // The server that echoed the secret did not get it into anything of ours.
    drop(d);
    for entry in walk(dir.path()) {
        let bytes = fs::read(&entry).unwrap();
        assert!(memchr::memmem::find(&bytes, b"s3cr3t-t0ken").is_none(), "{entry:?}");
    }
}

pub fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for e in fs::read_dir(dir).unwrap().flatten() {
        if e.path().is_dir() { out.extend(walk(&e.path())) } else { out.push(e.path()) }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_stops_between_and_during_requests() {
    let dir = tempfile::tempdir().unwrap();
    let s = server();
    let slow = actions(s.port).replace("timeout_seconds = 5", "timeout_seconds = 100");
    let d = desk(dir.path(), &slow, "");
    let r = d.approved(draft("slow", &["192.0.2.1", "192.0.2.2"], &[])).await;
    let running = tokio::spawn({
        let (responder, id_) = (d.responder.clone(), r.body.id.clone());
        async move { responder.execute(&id("alice"), &id_, now()).await }
    });
    super::ansible::until("the first is sent", || s.got.lock().unwrap().len() == 1).await;
    let before = std::time::Instant::now();
    d.responder.kill(&id("carol"), true, now()).unwrap();
    let done = running.await.unwrap().unwrap();
    // Within a second where nothing else goes on; the server would be waited for much longer.
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
    assert_eq!(states(&done), [ReceiptState::Unknown, ReceiptState::Skipped]);
    assert_eq!(s.got.lock().unwrap().len(), 1);
}

/// A server with a certificate of the authority given, which answers 200 to everything.
async fn tls_server(authority: &rcgen::CertifiedIssuer<'static, rcgen::KeyPair>) -> u16 {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, authority).unwrap();
    let der = rustls_pki(&key);
    let config = tokio_rustls::rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], der)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            // All of it: what is not read when the connection ends may cost the client the answer.
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            while !request.ends_with(b"\r\n\r\n{}") {
                match tls.read(&mut buffer).await {
                    Ok(n @ 1..) => request.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
            let _ = tls.shutdown().await;
        }
    });
    port
}

fn rustls_pki(key: &rcgen::KeyPair) -> tokio_rustls::rustls::pki_types::PrivateKeyDer<'static> {
    tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}

fn authority() -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_authority_is_trusted() {
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(), authority());
    let port = tls_server(&ours).await;
    fs::write(dir.path().join("ours.pem"), ours.pem()).unwrap();
    fs::write(dir.path().join("other.pem"), other.pem()).unwrap();
    let one = |name: &str, ca: &str| {
        format!(
            "[[actions]]\nname = \"{name}\"\ntitle = \"x\"\ntier = \"T0\"\ntargets = {{ is = {{ type = \"ip\" }} }}\n\
             executor = {{ kind = \"http\", url = \"https://localhost:{port}/\", body = {{}}{ca} }}\n"
        )
    };
    let all = [one("ours", ", ca = \"ours.pem\""), one("other", ", ca = \"other.pem\""), one("system", "")].join("\n");
    let d = desk(dir.path(), &all, "");
    for (action, state) in
        [("ours", ReceiptState::Done), ("other", ReceiptState::Failed), ("system", ReceiptState::Failed)]
    {
        let r = d.propose(draft(action, &["192.0.2.1"], &[])).await.unwrap();
        let done = d.execute(&r).await.unwrap();
        let got = receipt(&done, "192.0.2.1");
        assert_eq!(got.state, state, "{action}: {got:?}");
        assert!(state == ReceiptState::Done || got.detail.expose().contains("not sent"), "{got:?}");
    }
    // The authority's file is part of what is approved.
    let r = d.propose(draft("ours", &["192.0.2.1"], &[])).await.unwrap();
    fs::write(dir.path().join("ours.pem"), other.pem()).unwrap();
    refused(d.execute(&r).await, "ours.pem changed");
}
