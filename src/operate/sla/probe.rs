//! One probe of one service: over HTTP or TCP, in a bounded time.

use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::net::TcpStream;

use super::ProbeOf;
use super::Service;
use crate::model::sla::ProbeResult;
use crate::text::Untrusted;

/// How much of an answer is looked through for the expected text.
const BODY_MAX: usize = 64 * 1024;

/// What probes are sent with; kept, so that a probe costs no new pool of connections.
#[derive(Clone, Debug)]
pub struct Prober {
    client: reqwest::Client,
}

impl Prober {
    /// # Errors
    /// Says why there can be no client, such as no certificates on this host.
    pub fn new() -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // Each probe opens its own connection: a kept one would not show that nobody new gets in.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .user_agent(concat!("watchfloor/", env!("CARGO_PKG_VERSION"), " probe"))
            .build()
            .map_err(|e| format!("no HTTP client: {e}"))?;
        Ok(Self { client })
    }

    /// Never fails: what goes wrong is the result. `at` is when it began.
    pub async fn probe(&self, service: &Service, at: Timestamp) -> ProbeResult {
        let limit = Duration::from_secs(u64::from(service.timeout_seconds));
        let start = Instant::now();
        let (up, detail) = match self.answer(&service.probe, limit).await {
            Ok(said) => (true, said),
            Err(why) => (false, why),
        };
        let millis = u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX);
        ProbeResult { at, up, millis, detail: Untrusted::new(crate::text::front(&detail, 300)) }
    }

    /// One question: what was answered, or what is wrong with it.
    pub async fn answer(&self, probe: &ProbeOf, limit: Duration) -> Result<String, String> {
        let asked = tokio::time::timeout(limit, self.ask(probe)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
    }

    async fn ask(&self, probe: &ProbeOf) -> Result<String, String> {
        match probe {
            ProbeOf::Tcp { address } => match TcpStream::connect(address).await {
                Ok(_) => Ok("connected".into()),
                Err(e) => Err(format!("no connection: {e}")),
            },
            ProbeOf::Http { url, statuses, body } => self.http(url, statuses, body.as_deref()).await,
        }
    }

    async fn http(&self, url: &str, statuses: &[u16], body: Option<&str>) -> Result<String, String> {
        let answer = self.client.get(url).send().await.map_err(|e| chain(&e))?;
        let status = answer.status();
        let wanted = if statuses.is_empty() { status.is_success() } else { statuses.contains(&status.as_u16()) };
        if !wanted {
            return Err(format!("status {}", status.as_u16()));
        }
        let Some(text) = body else { return Ok(format!("status {}", status.as_u16())) };
        let mut seen = Vec::new();
        let mut stream = answer.bytes_stream();
        while let Some(part) = stream.next().await {
            seen.extend_from_slice(&part.map_err(|e| chain(&e))?);
            seen.truncate(BODY_MAX);
            if memchr::memmem::find(&seen, text.as_bytes()).is_some() {
                return Ok(format!("status {}, with the expected text", status.as_u16()));
            }
            if seen.len() == BODY_MAX {
                break;
            }
        }
        Err(format!("status {}, without the expected text", status.as_u16()))
    }
}

/// The error with its causes, without the URL: it is known, and the status page's makers should not meet it.
fn chain(e: &reqwest::Error) -> String {
    let mut out = match () {
        () if e.is_connect() => "no connection".to_owned(),
        () if e.is_body() || e.is_decode() => "the answer broke off".to_owned(),
        () => "no answer".to_owned(),
    };
    let mut cause = std::error::Error::source(e);
    let mut last = None;
    while let Some(next) = cause {
        last = Some(next.to_string());
        cause = next.source();
    }
    if let Some(last) = last {
        out.push_str(": ");
        out.push_str(&last);
    }
    out
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn service(probe: ProbeOf) -> Service {
        Service {
            name: "s".into(),
            title: "S".into(),
            probe,
            interval_seconds: 600,
            timeout_seconds: 120,
            target: 0.995,
            public: true,
        }
    }

    /// A server that says `answer` to each of its callers; with `None` it accepts and says nothing.
    async fn server(answer: Option<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    let _ = socket.read(&mut buffer).await;
                    match answer {
                        Some(text) => drop(socket.write_all(text.as_bytes()).await),
                        None => tokio::time::sleep(Duration::from_secs(300)).await,
                    }
                });
            }
        });
        address
    }

    async fn http(answer: Option<&'static str>, statuses: &[u16], body: Option<&str>) -> ProbeResult {
        let url = format!("http://{}/healthz", server(answer).await);
        let of = ProbeOf::Http { url, statuses: statuses.to_vec(), body: body.map(str::to_owned) };
        // Only who gets no answer waits to the end.
        let timeout_seconds = if answer.is_some() { 120 } else { 1 };
        let service = Service { timeout_seconds, ..service(of) };
        Prober::new().unwrap().probe(&service, Timestamp::UNIX_EPOCH).await
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\nall good";
    const ELSEWHERE: &str = "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 800\r\nconnection: close\r\n\r\nal";

    #[tokio::test]
    async fn http_is_up_only_as_expected() {
        for (answer, statuses, body, up, said) in [
            (Some(OK), &[][..], None, true, "status 200"),
            (Some(OK), &[200, 204], Some("good"), true, "expected text"),
            (Some(OK), &[], Some("fine"), false, "without the expected text"),
            (Some(OK), &[204], None, false, "status 200"),
            (Some(BROKEN), &[], None, false, "status 503"),
            (Some(BROKEN), &[503], None, true, "status 503"),
            (Some(ELSEWHERE), &[], None, false, "status 302"),
            (Some(CUT), &[], Some("good"), false, "broke off"),
            (Some("SSH-2.0-x\r\n"), &[], None, false, "no answer"),
            (None, &[], None, false, "within 1 s"),
        ] {
            let r = http(answer, statuses, body).await;
            assert_eq!(r.up, up, "{r:?}");
            assert!(r.detail.expose().contains(said), "{said}: {r:?}");
        }
    }

    #[tokio::test]
    async fn tcp_is_up_when_it_accepts() {
        let prober = Prober::new().unwrap();
        let address = server(None).await;
        assert!(prober.probe(&service(ProbeOf::Tcp { address }), Timestamp::UNIX_EPOCH).await.up);
        // A port that nobody else can get meanwhile.
        let closed = "127.0.0.1:1".to_owned();
        let r = prober.probe(&service(ProbeOf::Tcp { address: closed }), Timestamp::UNIX_EPOCH).await;
        assert!(!r.up && r.detail.expose().contains("no connection"), "{r:?}");
    }
}
