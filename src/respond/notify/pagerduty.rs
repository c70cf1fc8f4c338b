//! PagerDuty's Events API v2: `trigger`, `acknowledge` and `resolve` of one `dedup_key`.
//! <https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>: summary at most 1,024 characters, dedup_key 255.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Message, Notifier, Place, block, facts, headline, line, subject};
use crate::model::happening::{Bulletin, Happening, Phase, Urgency};

pub struct PagerDuty {
    pub url: String,
}

impl Notifier for PagerDuty {
    fn kind(&self) -> &'static str {
        "pagerduty"
    }

    fn message(&self, n: &Bulletin, _: Option<&str>) -> Option<Message> {
        let action = match n.what.phase() {
            Phase::Opens => "trigger",
            Phase::Taken => "acknowledge",
            Phase::Closes => "resolve",
        };
        let mut body = json!({ "event_action": action, "dedup_key": line(&n.thread(), 255) });
        if action == "trigger" {
            let mut details: Map<String, Value> =
                facts(n).into_iter().map(|(k, v)| (k.to_owned(), line(&v, 1_000).into())).collect();
            details.insert("text".into(), block(n.text.expose(), 4_000).into());
            body["client"] = json!("watchfloor");
            body["payload"] = json!({
                "summary": line(&headline(n), 1_024),
                "source": subject(n, 255),
                "severity": match n.what.urgency() {
                    _ if n.what == Happening::Test => "info",
                    Urgency::Critical => "critical",
                    Urgency::Error => "error",
                    Urgency::Warning => "warning",
                    Urgency::Info => "info",
                },
                "timestamp": n.at,
                "component": line(&n.desk, 255),
                "group": n.action.as_ref().map_or_else(|| "watchfloor".to_owned(), |a| line(a, 255)),
                "class": n.what.word(),
                "custom_details": details,
            });
        }
        Some(Message { method: Method::POST, url: self.url.clone(), body, secret: Place::Body("routing_key") })
    }
}
