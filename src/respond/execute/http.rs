//! One JSON POST per target, for a SOAR, a ticket system or a chat.
//!
//! What is sent is the approved command, byte for byte: `["POST", URL, "Name: value"..., BODY]`. Only secret
//! references in header values are resolved, at the moment of sending; the values are never stored or logged, and are
//! taken out of whatever the server answers. Nothing is sent twice, since a POST whose answer was lost may have worked;
//! unless the catalogue says that the server takes the same `idempotency-key` twice for once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{DryRun, Job, bounded, process};
use crate::model::action::{ActionDef, Command, HttpSign, ParamType, Preview, ReceiptState, RequestBody};
use crate::respond::digest;
use crate::respond::wire::{self, Outgoing, Sent, Signer, Tried};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Tries of what may be sent again.
const TRIES: u32 = 4;
/// Longest body that is sent.
const BODY_MAX: usize = 1 << 20;

/// What may stand between double braces in a template, besides `param.NAME`.
const PLACEHOLDERS: [&str; 6] = ["target", "request.id", "reason", "action", "requester", "tier"];
const SCHEMES: [&str; 5] = ["keyring:", "file:", "env:", "cmd:", "vault:"];
/// Headers that are set by what is sent.
const OURS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "idempotency-key"];
/// Headers whose value is a secret by nature.
const SECRET: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"];

/// Everything that is wrong with an executor of this kind.
pub fn check_def(
    def: &ActionDef,
    url: &str,
    headers: &BTreeMap<String, String>,
    body: &Value,
    sign: Option<&HttpSign>,
) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(sign) = sign {
        faults.extend(check_sign(sign, headers));
    }
    match reqwest::Url::parse(url) {
        Ok(u) if matches!(u.scheme(), "http" | "https") && u.username().is_empty() && u.password().is_none() => {}
        _ => faults.push("url: expected an http or https URL without user name or password".into()),
    }
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
            faults.push(format!("headers: {name:?} is no header"));
        } else if OURS.contains(&lower.as_str()) {
            faults.push(format!("headers: {name:?} is set by watchfloor itself"));
        } else if SECRET.contains(&lower.as_str()) && reference(value).is_none() {
            faults.push(format!("headers: {name:?} needs a secret reference, such as \"Bearer keyring:soar\""));
        }
    }
    walk(body, &mut |text| {
        for name in names(text) {
            let known = PLACEHOLDERS.contains(&name)
                || name.strip_prefix("param.").is_some_and(|p| def.params.iter().any(|d| d.name == p));
            if !known {
                faults.push(format!("body: nothing is called {{{{{name}}}}}"));
            }
        }
    });
    faults
}

fn check_sign(sign: &HttpSign, headers: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    if !matches!(reference(&sign.secret), Some(("", _))) {
        faults.push("sign: secret: expected a secret reference, such as keyring:soar-hmac".into());
    }
    for (key, name) in [("header", &sign.header), ("timestamp_header", &sign.timestamp_header)] {
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() || lower == "content-type" || OURS.contains(&lower.as_str())
        {
            faults.push(format!("sign: {key}: {name:?} cannot be used"));
        } else if headers.keys().any(|h| h.eq_ignore_ascii_case(name)) {
            faults.push(format!("sign: {key}: {name:?} stands among the headers too"));
        }
    }
    if sign.header.eq_ignore_ascii_case(&sign.timestamp_header) {
        faults.push("sign: header and timestamp_header must be two".into());
    }
    faults
}

/// The part of a header value that is a secret reference: its last word.
fn reference(value: &str) -> Option<(&str, &str)> {
    let (before, last) =
        value.rsplit_once(' ').map_or(("", value), |(_, last)| value.split_at(value.len() - last.len()));
    SCHEMES.iter().any(|s| last.len() > s.len() && last.starts_with(s)).then_some((before, last))
}

fn walk(v: &Value, see: &mut dyn FnMut(&str)) {
    match v {
        Value::String(s) => see(s),
        Value::Array(a) => a.iter().for_each(|v| walk(v, see)),
        Value::Object(o) => o.values().for_each(|v| walk(v, see)),
        _ => {}
    }
}

/// Names between double braces.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}").map(|(name, _)| name.trim()))
}

/// What the catalogue says of it.
pub struct Template<'a> {
    pub url: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub template: &'a Value,
    pub ca: Option<&'a str>,
    pub sign: Option<&'a HttpSign>,
}

/// How it says that.
pub struct Sending<'a> {
    pub ca: Option<&'a str>,
    pub sign: Option<&'a HttpSign>,
    pub idempotent: bool,
    pub timeout_seconds: u64,
}

pub fn render(def: &ActionDef, body: &RequestBody, t: &Template<'_>) -> Result<Vec<Command>, String> {
    let Template { url, headers, template, ca, sign } = *t;
    let mut files = BTreeMap::new();
    if let Some(ca) = ca {
        files.insert(ca.to_owned(), digest::of_file(Path::new(ca))?);
    }
    let mut out = Vec::new();
    for target in &body.targets {
        let text = fill(def, body, target, template).to_string();
        if text.len() > BODY_MAX {
            return Err(format!("the body for {target} would be {} bytes, above 1 MiB", text.len()));
        }
        let mut argv = vec!["POST".to_owned(), url.to_owned(), "content-type: application/json".to_owned()];
        argv.push(format!("idempotency-key: {}/{target}", body.id));
        argv.extend(headers.iter().map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase())));
        // These two are made when it is sent; here stands what they will be made of.
        if let Some(sign) = sign {
            argv.push(format!("{}: seconds since 1970", sign.timestamp_header.to_ascii_lowercase()));
            argv.push(format!("{}: HMAC-SHA256 by {}", sign.header.to_ascii_lowercase(), sign.secret));
        }
        argv.push(text);
        out.push(Command { targets: vec![target.clone()], argv, files: files.clone() });
    }
    Ok(out)
}

/// The template with every string filled in. The structure is the template's: a value can only become string contents
/// (or a number, where the string is nothing but a whole-number parameter).
fn fill(def: &ActionDef, body: &RequestBody, target: &str, v: &Value) -> Value {
    match v {
        Value::String(s) => number(def, body, s).unwrap_or_else(|| Value::String(fill_text(body, target, s))),
        Value::Array(a) => a.iter().map(|v| fill(def, body, target, v)).collect(),
        Value::Object(o) => o.iter().map(|(k, v)| (k.clone(), fill(def, body, target, v))).collect(),
        other => other.clone(),
    }
}

fn number(def: &ActionDef, body: &RequestBody, text: &str) -> Option<Value> {
    let name = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("param.")?;
    let whole = def.params.iter().any(|p| p.name == name && matches!(p.kind, ParamType::Integer { .. }));
    let value: i64 = body.params.get(name).filter(|_| whole)?.parse().ok()?;
    Some(value.into())
}

/// One pass: what is filled in is not looked at again.
fn fill_text(body: &RequestBody, target: &str, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            out.push_str("{{");
            rest = after;
            continue;
        };
        match name.trim() {
            "target" => out.push_str(target),
            "request.id" => out.push_str(body.id.as_str()),
            "reason" => out.push_str(body.reason.expose()),
            "action" => out.push_str(&body.action),
            "requester" => out.push_str(body.requester.as_str()),
            "tier" => out.push_str(body.tier.word()),
            // Names were checked when the catalogue was read; a parameter without a value is empty.
            name => {
                out.push_str(name.strip_prefix("param.").and_then(|p| body.params.get(p)).map_or("", String::as_str))
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Nothing is sent: it shows what would be.
pub fn dry_run(body: &RequestBody) -> DryRun {
    let preview = body.commands.iter().flat_map(|c| {
        let sent = c.argv.last().map_or("", String::as_str);
        let pretty = serde_json::from_str::<Value>(sent).and_then(|v| serde_json::to_string_pretty(&v));
        let diff = bounded(&pretty.unwrap_or_else(|_| sent.to_owned()), super::DETAIL_MAX);
        c.targets.iter().map(move |t| Preview {
            target: t.clone(),
            would_change: None,
            failed: false,
            diff: diff.clone(),
        })
    });
    DryRun { preview: preview.collect(), findings: Vec::new() }
}

pub async fn run(job: &Job, with: &Sending<'_>) {
    let client = client(with.ca, Duration::from_secs(with.timeout_seconds)).await;
    let mut stop = job.stop.clone();
    for command in &job.approved.body().commands {
        let target = command.targets.first().map_or("", String::as_str);
        if let Some(why) = job.stopped() {
            job.tell(target, ReceiptState::Skipped, Some(0), format!("not sent: {why}")).await;
            continue;
        }
        let client = match &client {
            Ok(c) => c,
            Err(e) => {
                job.tell(target, ReceiptState::Failed, Some(0), format!("not sent: {e}")).await;
                continue;
            }
        };
        let (state, detail) = tokio::select! {
            done = send(job, client, &command.argv, with) => done,
            why = process::reason(&mut stop) => (ReceiptState::Unknown, format!("stopped while it was sent: {why}")),
        };
        let changed = matches!(state, ReceiptState::Failed | ReceiptState::Skipped).then_some(0);
        job.tell(target, state, changed, detail).await;
    }
}

pub(in crate::respond) async fn client(ca: Option<&str>, limit: Duration) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .timeout(limit)
        .connect_timeout(CONNECT_LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("watchfloor/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = ca {
        let pem = tokio::fs::read(path).await.map_err(|e| format!("{path}: {e}"))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| format!("{path}: {}", causes(&e)))?;
        builder = builder.tls_certs_only(authorities);
    }
    builder.build().map_err(|e| causes(&e))
}

async fn send(job: &Job, client: &reqwest::Client, argv: &[String], with: &Sending<'_>) -> (ReceiptState, String) {
    let not_sent = |why: String| (ReceiptState::Failed, format!("not sent: {why}"));
    let [_, url, headers @ .., body] = argv else { return not_sent("the command is incomplete".into()) };
    let made = |line: &&String| {
        let name = line.split(": ").next().unwrap_or_default();
        with.sign
            .is_some_and(|s| name.eq_ignore_ascii_case(&s.header) || name.eq_ignore_ascii_case(&s.timestamp_header))
    };
    let plain: Vec<String> = headers.iter().filter(|l| !made(l)).cloned().collect();
    let (headers, mut secrets) = match resolve(job, &plain).await {
        Ok(r) => r,
        Err(why) => return not_sent(why),
    };
    let sign = match signer(job, with.sign).await {
        Ok(s) => s,
        Err(why) => return not_sent(why),
    };
    secrets.extend(sign.iter().map(|s| s.secret.clone()));
    let out = Outgoing { method: Method::POST, url: url.clone(), headers, body: Some(body.clone()), sign };
    let tries = if with.idempotent { TRIES } else { 1 };
    let tried = wire::retried(client, &out, job.clock, tries).await;
    let (state, detail) = became(&tried);
    (state, secrets.iter().fold(detail, |t, s| t.replace(s.as_str(), "[secret]")))
}

async fn signer(job: &Job, sign: Option<&HttpSign>) -> Result<Option<Signer>, String> {
    let Some(sign) = sign else { return Ok(None) };
    let (ask, which) = (job.secrets.clone(), sign.secret.clone());
    let secret = tokio::task::spawn_blocking(move || ask(&which)).await.map_err(|e| e.to_string())??;
    if secret.is_empty() {
        return Err(format!("{} is empty", sign.secret));
    }
    let name = |n: &str| HeaderName::from_bytes(n.as_bytes()).map_err(|e| format!("{n}: {e}"));
    Ok(Some(Signer { secret, header: name(&sign.header)?, timestamp_header: name(&sign.timestamp_header)? }))
}

/// The receipt. What may have arrived without an answer is not known, whatever a later try said.
fn became(tried: &Tried) -> (ReceiptState, String) {
    let times = if tried.tries > 1 { format!(" ({} tries)", tried.tries) } else { String::new() };
    let failed = if tried.uncertain { ReceiptState::Unknown } else { ReceiptState::Failed };
    match &tried.last {
        Sent::Answer { status, text, .. } => {
            let words = reqwest::StatusCode::from_u16(*status).map_or_else(|_| status.to_string(), |s| s.to_string());
            let detail = format!("{words}{times}{}{text}", if text.is_empty() { "" } else { "\n" });
            (if tried.last.success() { ReceiptState::Done } else { failed }, detail)
        }
        Sent::Unsent(why) => (failed, format!("not sent{times}: {why}")),
        Sent::Lost(why) => (ReceiptState::Unknown, format!("sent{times}, but no answer: {why}")),
    }
}

/// Headers with their secrets, and the secrets to take out of the answer.
async fn resolve(job: &Job, headers: &[String]) -> Result<(HeaderMap, Vec<String>), String> {
    let mut map = HeaderMap::new();
    let mut secrets = Vec::new();
    for line in headers {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("{line:?} is no header"))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| format!("{name}: {e}"))?;
        let value = match reference(value) {
            Some((before, secret)) => {
                let (ask, which) = (job.secrets.clone(), secret.to_owned());
                let got = tokio::task::spawn_blocking(move || ask(&which)).await.map_err(|e| e.to_string())??;
                let mut value =
                    HeaderValue::from_str(&format!("{before}{got}")).map_err(|_| format!("{secret} fits no header"))?;
                value.set_sensitive(true);
                secrets.push(got);
                value
            }
            None => HeaderValue::from_str(value).map_err(|e| format!("{name}: {e}"))?,
        };
        map.insert(name, value);
    }
    secrets.retain(|s| !s.is_empty());
    Ok((map, secrets))
}

/// The beginning of the answer; how it ends does not matter any more.
pub(in crate::respond) async fn read(mut answer: reqwest::Response, max: usize) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= max {
            bytes.truncate(max);
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The error with everything below it, without the URL's query.
pub(in crate::respond) fn causes(e: &reqwest::Error) -> String {
    let what = match e {
        e if e.is_timeout() => "it took too long",
        e if e.is_builder() => "it cannot be set up",
        _ => "the connection failed",
    };
    let mut out = what.to_owned();
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        out.push_str(": ");
        out.push_str(&cause.to_string());
        next = cause.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::testing::{body, def};
    use crate::text::Untrusted;
    use serde_json::json;

    #[test]
    fn values_become_string_contents_and_nothing_else() {
        let d = def(
            "kind = \"http\", url = \"https://soar.example/x\", body = { a = \"{{target}}\" }",
            "params = [{ name = \"hours\", is = { type = \"integer\", min = 1, max = 9 } }, \
             { name = \"why\", is = { type = \"text\", max = 99 } }]",
        );
        let mut b = body(&["h1"]);
        b.params.insert("hours".into(), "7".into());
        b.params.insert("why".into(), "\",\"admin\":true,\"x\":\"{{reason}}".into());
        b.reason = Untrusted::new("it's \"bad\"\n{{target}}");
        let template = json!({
            "t": "host={{ target }}", "n": "{{param.hours}}", "s": "for {{param.hours}} h", "w": "{{param.why}}",
            "r": ["{{reason}}", 1, null], "open": "{{", "id": "{{request.id}}",
        });
        let got = fill(&d, &b, "h1", &template);
        let expected = json!({
            "t": "host=h1", "n": 7, "s": "for 7 h", "w": "\",\"admin\":true,\"x\":\"{{reason}}",
            "r": ["it's \"bad\"\n{{target}}", 1, null], "open": "{{", "id": b.id.as_str(),
        });
        assert_eq!(got, expected);
        let sent: Value = serde_json::from_str(&got.to_string()).unwrap();
        assert_eq!(sent, expected, "it reads back as it was meant");
    }

    #[test]
    fn definitions_are_checked() {
        let d = def("kind = \"demo\"", "");
        let faults = |url: &str, headers: &[(&str, &str)], body: Value| {
            let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            check_def(&d, url, &headers, &body, None)
        };
        let url = "https://soar.example/hook";
        assert!(faults(url, &[("Authorization", "Bearer keyring:soar"), ("X-Team", "soc")], json!({})).is_empty());
        for bad in [
            faults("ftp://x", &[], json!({})),
            faults("https://u:p@x", &[], json!({})),
            faults(url, &[("Authorization", "Bearer abc")], json!({})),
            faults(url, &[("X-Api-Key", "keyring:")], json!({})),
            faults(url, &[("Host", "x")], json!({})),
            faults(url, &[("a b", "x")], json!({})),
            faults(url, &[("a", "x\ny")], json!({})),
            faults(url, &[], json!({"a": ["{{param.nope}}"]})),
            faults(url, &[], json!({"a": "{{env.HOME}}"})),
        ] {
            assert_eq!(bad.len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn a_signature_needs_a_reference_and_headers_of_its_own() {
        let d = def("kind = \"demo\"", "");
        let faults = |secret: &str, header: &str, time: &str| {
            let sign = HttpSign { secret: secret.into(), header: header.into(), timestamp_header: time.into() };
            let headers = [("X-Team".to_owned(), "soc".to_owned())].into();
            check_def(&d, "https://soar.example", &headers, &json!({}), Some(&sign))
        };
        assert!(faults("keyring:soar", "x-sig", "x-time").is_empty());
        for bad in [
            faults("s3cret", "x-sig", "x-time"),
            faults("Bearer keyring:soar", "x-sig", "x-time"),
            faults("keyring:soar", "x sig", "x-time"),
            faults("keyring:soar", "Idempotency-Key", "x-time"),
            faults("keyring:soar", "x-team", "x-time"),
            faults("keyring:soar", "x-sig", "X-Sig"),
        ] {
            assert_eq!(bad.len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn what_may_have_arrived_is_not_known() {
        let answer = |status| Sent::Answer { status, wait: None, text: String::new() };
        let state = |last: Sent, uncertain| became(&Tried { last, tries: 2, uncertain }).0;
        assert_eq!(state(answer(200), true), ReceiptState::Done);
        assert_eq!(state(answer(503), false), ReceiptState::Failed);
        assert_eq!(state(answer(503), true), ReceiptState::Unknown, "an earlier try was lost");
        assert_eq!(state(Sent::Unsent("refused".into()), false), ReceiptState::Failed);
        assert_eq!(state(Sent::Unsent("refused".into()), true), ReceiptState::Unknown);
        assert_eq!(state(Sent::Lost("reset".into()), true), ReceiptState::Unknown);
    }

    #[test]
    fn the_reference_is_the_last_word() {
        assert_eq!(reference("Bearer keyring:soar"), Some(("Bearer ", "keyring:soar")));
        assert_eq!(reference("vault:kv/soar#token"), Some(("", "vault:kv/soar#token")));
        assert_eq!(reference("keyring: soar"), None);
        assert_eq!(reference("plain"), None);
    }
}
