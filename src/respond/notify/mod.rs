//! Telling others what happens to requests: chats, pagers, ticket systems.
//!
//! ```text
//! audit log -> feed (checkpoint in the store) -> outbox, one queue a notifier -> delivery -> gone, or dead letter
//! ```
//!
//! Nothing that acts waits for any of this: an event is known because it is in the audit log, which is written before the
//! act anyway. The feed reads the log from where it stopped, so what happened while nothing ran is told later, and a kill
//! -9 anywhere tells at worst twice: every kind names the happening in a way its receiver recognises.
//!
//! To have something told, write its audit record; [`from_audit`] turns records into bulletins.

pub mod deliver;
pub mod from_audit;
mod jira;
mod opsgenie;
pub mod outbox;
mod pagerduty;
mod servicenow;
mod slack;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::config::settings::NotifySettings;
use crate::model::action::Tier;
use crate::model::happening::{Bulletin, Happening};
use crate::text::{Untrusted, clean, clean_block, front};

/// Somebody to be told, of one vendor's kind. Everything is a pure function: what is sent follows from the bulletin.
pub trait Notifier: Send + Sync {
    fn kind(&self) -> &'static str;

    /// What is sent for a bulletin. `known`: what the receiver called the thing it made for the first bulletin of the same
    /// thread. `None`: this kind has nothing to say of it.
    fn message(&self, bulletin: &Bulletin, known: Option<&str>) -> Option<Message>;

    /// What the receiver calls the thing it made, if later bulletins need that.
    fn made(&self, _bulletin: &Bulletin, _answer: &str) -> Option<String> {
        None
    }
}

/// One HTTP request without its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub method: Method,
    /// Empty: the secret is the address.
    pub url: String,
    pub body: Value,
    pub secret: Place,
}

/// Where the secret goes when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// There is none.
    Nowhere,
    /// It is the address.
    Url,
    /// It signs time and body, see [`hmac`](super::hmac).
    Signature,
    /// `authorization: WORD SECRET`.
    Authorization(&'static str),
    /// Basic authentication of this user.
    Basic(String),
    /// A member of the body's object.
    Body(&'static str),
}

/// One notifier of the settings.
#[derive(Clone)]
pub struct Configured {
    pub name: String,
    pub notifier: Arc<dyn Notifier>,
    /// A secret reference.
    pub secret: Option<String>,
    /// Empty: all.
    pub events: Vec<Happening>,
    pub min_tier: Tier,
    pub ca: Option<String>,
    pub limit: Duration,
}

impl Configured {
    pub fn wants(&self, bulletin: &Bulletin) -> bool {
        let named = self.events.is_empty() || self.events.contains(&bulletin.what);
        let high = bulletin.tier.is_none_or(|t| t >= self.min_tier);
        bulletin.what.to_all() || (named && high)
    }
}

/// A setting of a notifier that cannot be used: its name, the key, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub name: String,
    pub key: &'static str,
    pub what: String,
}

/// The notifiers of the settings, and everything that is wrong with the others.
pub fn configured(settings: &BTreeMap<String, NotifySettings>) -> (Vec<Configured>, Vec<Wrong>) {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (name, s) in settings {
        match one(name, s) {
            Ok(c) => good.push(c),
            Err(faults) => {
                bad.extend(faults.into_iter().map(|(key, what)| Wrong { name: name.clone(), key, what }));
            }
        }
    }
    (good, bad)
}

fn one(name: &str, s: &NotifySettings) -> Result<Configured, Vec<(&'static str, String)>> {
    let mut faults: Vec<(&'static str, String)> = Vec::new();
    let mut need = |key: &'static str, there: bool, what: &str| {
        if !there {
            faults.push((key, format!("{key}: {} needs {what}", s.kind)));
        }
    };
    let base = |default: &str| s.url.clone().filter(|u| !u.is_empty()).unwrap_or_else(|| default.to_owned());
    let url = base("");
    let has_secret = s.secret.is_some();
    let who = || match &s.username {
        Some(user) => Place::Basic(user.clone()),
        None => Place::Authorization("Bearer"),
    };
    let notifier: Arc<dyn Notifier> = match s.kind.as_str() {
        "webhook" => {
            need("url", !url.is_empty(), "the address to post to");
            Arc::new(webhook::Webhook { url, signed: has_secret })
        }
        "slack" => {
            need("secret", has_secret || !url.is_empty(), "the address of its incoming webhook");
            Arc::new(slack::Slack { url: if has_secret { String::new() } else { url } })
        }
        "pagerduty" => {
            need("secret", has_secret, "a routing key");
            Arc::new(pagerduty::PagerDuty { url: base("https://events.pagerduty.com/v2/enqueue") })
        }
        "opsgenie" => {
            need("secret", has_secret, "an API key");
            Arc::new(opsgenie::Opsgenie { base: base("https://api.opsgenie.com") })
        }
        "servicenow" => {
            need("url", !url.is_empty(), "the address of the instance");
            need("secret", has_secret, "a password or a token");
            let known = ["incident", "change_request"].contains(&s.table.as_str());
            need("table", known, "incident or change_request");
            Arc::new(servicenow::ServiceNow { base: url, table: s.table.clone(), who: who() })
        }
        "jira" => {
            need("url", !url.is_empty(), "the address of the site");
            need("secret", has_secret, "an API token");
            let key = s.project.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            need("project", key && !s.project.is_empty(), "the key of a project, such as SOC");
            need("issue_type", !s.issue_type.is_empty(), "the name of an issue type");
            let (project, issue_type) = (s.project.clone(), s.issue_type.clone());
            Arc::new(jira::Jira { base: url, project, issue_type, who: who() })
        }
        other => {
            let known = "webhook, slack, pagerduty, opsgenie, servicenow or jira";
            return Err(vec![("kind", format!("kind: expected {known}, found {other:?}"))]);
        }
    };
    let mut events = Vec::new();
    for word in &s.events {
        match Happening::from_word(word) {
            Some(h) => events.push(h),
            None => faults.push(("events", format!("events: nothing that happens is called {word:?}"))),
        }
    }
    let min_tier = match s.min_tier.as_str() {
        "T0" => Tier::T0,
        "T1" => Tier::T1,
        "T2" => Tier::T2,
        "T3" => Tier::T3,
        other => {
            faults.push(("min_tier", format!("min_tier: expected T0 to T3, found {other:?}")));
            Tier::T0
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Configured {
        name: name.to_owned(),
        notifier,
        secret: s.secret.clone(),
        events,
        min_tier,
        ca: s.ca.as_ref().map(|p| p.to_string_lossy().into_owned()),
        limit: Duration::from_secs(s.timeout_seconds.clamp(1, 300)),
    })
}

/// One line of at most so many characters, without controls or anything invisible.
fn line(text: &str, max: usize) -> String {
    capped(clean(&Untrusted::new(front(text, 8 * max))).as_str(), max)
}

/// Several lines, likewise.
fn block(text: &str, max: usize) -> String {
    capped(clean_block(&Untrusted::new(front(text, 8 * max))).as_str(), max)
}

fn capped(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(max.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// What happened, in one sentence.
fn headline(n: &Bulletin) -> String {
    let what = match (&n.action, n.targets.as_slice()) {
        (Some(action), []) => action.clone(),
        (Some(action), [one]) => format!("{action} {one}"),
        (Some(action), [first, more @ ..]) => format!("{action} {first} and {} more", more.len()),
        (None, _) => "watchfloor".to_owned(),
    };
    let by = n.by.as_ref().map(|p| format!(" by {p}")).unwrap_or_default();
    let verb = match n.what {
        Happening::Proposed => "waits for approval, proposed",
        Happening::Void => "is void",
        Happening::Done => "is done",
        Happening::Failed => "did not succeed",
        Happening::BreakGlass => "BREAK-GLASS: runs with one person's word",
        Happening::Escalated => "still waits for a decision",
        Happening::ReviewOverdue => "was done alone, and its review is overdue",
        Happening::Reviewed => "was reviewed",
        Happening::ChangedOutside => "POLICY OR ROSTER CHANGED past the desk",
        Happening::Test => "test",
        Happening::Expired => "expired: nobody decided in time",
        Happening::Approved | Happening::Denied | Happening::Withdrawn | Happening::Started => n.what.word(),
    };
    let tier = n.tier.map(|t| format!("[{t:?}] ")).unwrap_or_default();
    format!("{tier}{what}: {verb}{by}")
}

/// What it is about, in a word that is never empty.
fn subject(n: &Bulletin, max: usize) -> String {
    let named = [n.targets.first(), Some(&n.desk)].into_iter().flatten().map(|t| line(t, max));
    named.into_iter().find(|t| !t.trim().is_empty()).unwrap_or_else(|| "watchfloor".into())
}

/// Names and values, in a fixed order, for details and tables.
fn facts(n: &Bulletin) -> Vec<(&'static str, String)> {
    let mut out = vec![("event", n.what.word().to_owned()), ("desk", n.desk.clone())];
    out.extend(n.request.as_ref().map(|r| ("request", r.to_string())));
    out.extend(n.action.clone().map(|a| ("action", a)));
    out.extend(n.tier.map(|t| ("tier", t.word().to_owned())));
    if !n.targets.is_empty() {
        out.push(("targets", n.targets.join(", ")));
    }
    out.extend(n.by.as_ref().map(|p| ("by", p.to_string())));
    if !n.to.is_empty() {
        let to: Vec<&str> = n.to.iter().map(|p| p.as_str()).collect();
        out.push(("for", to.join(", ")));
    }
    out.push(("at", format!("{:.0}", n.at)));
    out.push(("bulletin", n.id.clone()));
    out
}

/// Facts and text as plain lines.
fn story(n: &Bulletin) -> String {
    let mut out: String = facts(n).iter().map(|(k, v)| format!("{k}: {v}\n")).collect();
    if !n.text.is_empty() {
        out.push('\n');
        out.push_str(n.text.expose());
    }
    out
}

#[cfg(test)]
mod tests;
