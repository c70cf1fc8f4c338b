//! Sending something over HTTP to somebody who acts on it: signed, bounded in size and time, and again only where that is
//! safe.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method};

use super::execute::Clock;
use super::execute::http::{causes, read};
use super::hmac;

/// Longest answer that is read.
pub const ANSWER_MAX: usize = 64 * 1024;
/// Longest wait between two tries. A server that asks for more is not asked again here.
const WAIT_MAX: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// What is sent. Secrets stand in it: it is made just before and kept nowhere.
#[derive(Clone)]
pub struct Outgoing {
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Option<String>,
    pub sign: Option<Signer>,
}

/// The secret and the two headers of a signature.
#[derive(Clone)]
pub struct Signer {
    pub secret: String,
    pub header: HeaderName,
    pub timestamp_header: HeaderName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    Answer {
        status: u16,
        /// What the server asks for.
        wait: Option<Duration>,
        text: String,
    },
    /// Nothing of it left this machine.
    Unsent(String),
    /// It may have arrived.
    Lost(String),
}

impl Sent {
    pub fn success(&self) -> bool {
        matches!(self, Self::Answer { status: 200..=299, .. })
    }

    /// Whether another try could end otherwise.
    pub fn passing(&self) -> bool {
        match self {
            Self::Answer { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            Self::Unsent(_) | Self::Lost(_) => true,
        }
    }

    /// Whether the server may have acted although it did not say so. A gateway that had no answer knows nothing.
    pub fn uncertain(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Answer { status: 502 | 504, .. })
    }
}

/// Sends it once.
pub async fn once(client: &Client, out: &Outgoing, clock: Clock) -> Sent {
    let now = clock.now();
    let mut request = client.request(out.method.clone(), &out.url).headers(out.headers.clone());
    if let Some(s) = &out.sign {
        let at = now.as_second();
        let signature = hmac::signature(&s.secret, at, out.body.as_deref().unwrap_or("").as_bytes());
        let Ok(value) = HeaderValue::from_str(&signature) else { return Sent::Unsent("it cannot be signed".into()) };
        request = request.header(s.timestamp_header.clone(), at).header(s.header.clone(), value);
    }
    if let Some(body) = &out.body {
        request = request.body(body.clone());
    }
    let answer = match request.send().await {
        Ok(a) => a,
        // Nothing of the request was sent before there was a connection.
        Err(e) if e.is_connect() || e.is_builder() => return Sent::Unsent(causes(&e)),
        Err(e) => return Sent::Lost(causes(&e)),
    };
    let wait = answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| retry_after(v, now));
    let status = answer.status().as_u16();
    Sent::Answer { status, wait, text: read(answer, ANSWER_MAX).await }
}

/// Seconds, or a date as HTTP writes them (RFC 9110, 10.2.3).
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let at = rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// How long before the next try: what the server asks for, else twice as long each time, less up to half of it by
/// chance. `None`: longer than anybody waits here.
pub fn pause(try_number: u32, asked: Option<Duration>, chance: f64) -> Option<Duration> {
    match asked {
        Some(wait) if wait > WAIT_MAX => None,
        Some(wait) => Some(wait + FIRST_WAIT.mul_f64(chance.clamp(0.0, 1.0))),
        None => {
            let full = FIRST_WAIT.saturating_mul(1 << try_number.min(16)).min(WAIT_MAX);
            Some(full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0))
        }
    }
}

/// How several tries ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub last: Sent,
    pub tries: u32,
    /// One of them may have arrived without our knowing.
    pub uncertain: bool,
}

/// Sends it until there is an answer that says something, at most `tries` times. Only for what the receiver takes once
/// however often it comes.
pub async fn retried(client: &Client, out: &Outgoing, clock: Clock, tries: u32) -> Tried {
    let mut uncertain = false;
    let mut n = 1;
    loop {
        let last = once(client, out, clock).await;
        uncertain |= last.uncertain();
        let asked = match &last {
            Sent::Answer { wait, .. } => *wait,
            _ => None,
        };
        let wait = if last.passing() && n < tries { pause(n - 1, asked, rand::random()) } else { None };
        let Some(wait) = wait else { return Tried { last, tries: n, uncertain } };
        tokio::time::sleep(wait).await;
        n += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_ask_to_wait_in_seconds_or_until_a_date() {
        let now: Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(" 0 ", now), Some(Duration::ZERO));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO), "it is over");
        for bad in ["", "-1", "1.5", "soon", "99999999999999999999999"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        assert_eq!(pause(0, None, 0.0), Some(Duration::from_millis(500)));
        assert_eq!(pause(0, None, 1.0), Some(Duration::from_millis(250)));
        assert_eq!(pause(3, None, 0.0), Some(Duration::from_secs(4)));
        assert_eq!(pause(40, None, 0.0), Some(WAIT_MAX));
        assert_eq!(pause(0, Some(Duration::from_secs(3)), 0.0), Some(Duration::from_secs(3)), "never sooner");
        assert_eq!(pause(0, Some(Duration::from_secs(31)), 0.0), None);
    }

    #[test]
    fn what_is_worth_another_try() {
        let answer = |status| Sent::Answer { status, wait: None, text: String::new() };
        for status in [429, 502, 503, 504] {
            assert!(answer(status).passing());
        }
        for status in [200, 201, 301, 400, 401, 404, 409, 500, 501] {
            assert!(!answer(status).passing(), "{status}");
        }
        assert!(answer(504).uncertain() && answer(502).uncertain() && !answer(503).uncertain());
        assert!(Sent::Lost(String::new()).uncertain() && !Sent::Unsent(String::new()).uncertain());
    }
}
