//! One JSON POST per target, for a SOAR, a ticket system or a chat.
//!
//! What is sent is the approved command, byte for byte: `["POST", URL, "Name: value"..., BODY]`. Only secret
//! references in header values are resolved, at the moment of sending; the values are never stored or logged, and are
//! taken out of whatever the server answers. Nothing is sent twice: a POST whose answer was lost may have worked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{DryRun, Job, bounded, process};
use crate::model::action::{ActionDef, Command, ParamType, Preview, ReceiptState, RequestBody};
use crate::respond::digest;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_MAX: usize = 64 * 1024;
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
pub fn check_def(def: &ActionDef, url: &str, headers: &BTreeMap<String, String>, body: &Value) -> Vec<String> {
    let mut faults = Vec::new();
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
}

pub fn render(def: &ActionDef, body: &RequestBody, t: &Template<'_>) -> Result<Vec<Command>, String> {
    let Template { url, headers, template, ca } = *t;
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

pub async fn run(job: &Job, ca: Option<&str>, timeout_seconds: u64) {
    let client = client(ca, Duration::from_secs(timeout_seconds)).await;
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
            done = send(job, client, &command.argv) => done,
            why = process::reason(&mut stop) => (ReceiptState::Unknown, format!("stopped while it was sent: {why}")),
        };
        let changed = matches!(state, ReceiptState::Failed | ReceiptState::Skipped).then_some(0);
        job.tell(target, state, changed, detail).await;
    }
}

pub(super) async fn client(ca: Option<&str>, limit: Duration) -> Result<reqwest::Client, String> {
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

async fn send(job: &Job, client: &reqwest::Client, argv: &[String]) -> (ReceiptState, String) {
    let [_, url, headers @ .., body] = argv else {
        return (ReceiptState::Failed, "not sent: the command is incomplete".into());
    };
    let (headers, secrets) = match resolve(job, headers).await {
        Ok(r) => r,
        Err(why) => return (ReceiptState::Failed, format!("not sent: {why}")),
    };
    let answer = match client.post(url).headers(headers).body(body.clone()).send().await {
        Ok(a) => a,
        // Nothing of the request was sent before there was a connection.
        Err(e) if e.is_connect() || e.is_builder() => {
            return (ReceiptState::Failed, format!("not sent: {}", causes(&e)));
        }
        Err(e) => return (ReceiptState::Unknown, format!("sent, but no answer: {}", causes(&e))),
    };
    let status = answer.status();
    let text = read(answer, ANSWER_MAX).await;
    let text = secrets.iter().fold(text, |t, s| t.replace(s.as_str(), "[secret]"));
    let detail = format!("{status}{}{text}", if text.is_empty() { "" } else { "\n" });
    let state = if status.is_success() { ReceiptState::Done } else { ReceiptState::Failed };
    (state, detail)
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
pub(super) async fn read(mut answer: reqwest::Response, max: usize) -> String {
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
pub(super) fn causes(e: &reqwest::Error) -> String {
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
            check_def(&d, url, &headers, &body)
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
    fn the_reference_is_the_last_word() {
        assert_eq!(reference("Bearer keyring:soar"), Some(("Bearer ", "keyring:soar")));
        assert_eq!(reference("vault:kv/soar#token"), Some(("", "vault:kv/soar#token")));
        assert_eq!(reference("keyring: soar"), None);
        assert_eq!(reference("plain"), None);
    }
}
