//! ServiceNow's Table API: a record is made for the first bulletin of a thread, and later ones become its work notes.
//! `short_description` holds 160 characters, `description` 4,000, `correlation_id` and `correlation_display` 100 each.

use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::{Message, Notifier, Place, block, headline, line, story};
use crate::model::happening::{Bulletin, Phase, Urgency};

pub struct ServiceNow {
    pub base: String,
    /// `incident` or `change_request`.
    pub table: String,
    pub who: Place,
}

impl ServiceNow {
    fn url(&self, record: Option<&str>) -> Option<String> {
        let mut url = Url::parse(&self.base).ok()?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(["api", "now", "table", &self.table]).extend(record);
        Some(url.into())
    }
}

impl Notifier for ServiceNow {
    fn kind(&self) -> &'static str {
        "servicenow"
    }

    fn message(&self, n: &Bulletin, known: Option<&str>) -> Option<Message> {
        let (method, url, body) = match known {
            Some(record) => {
                let body = json!({ "work_notes": block(&format!("{}\n\n{}", headline(n), story(n)), 4_000) });
                (Method::PATCH, self.url(Some(record))?, body)
            }
            // Nothing is opened for what is over.
            None if n.what.phase() != Phase::Opens => return None,
            None => {
                let mut body = json!({
                    "short_description": line(&headline(n), 160),
                    "description": block(&story(n), 4_000),
                    "correlation_id": line(&n.thread(), 100),
                    "correlation_display": "watchfloor",
                });
                if self.table == "change_request" {
                    body["type"] = json!(if n.what.urgency() == Urgency::Critical { "emergency" } else { "normal" });
                    body["justification"] = block(n.text.expose(), 4_000).into();
                } else {
                    // 1 high, 2 medium, 3 low.
                    let level = match n.what.urgency() {
                        Urgency::Critical => "1",
                        Urgency::Error => "2",
                        Urgency::Warning | Urgency::Info => "3",
                    };
                    body["urgency"] = level.into();
                    body["impact"] = level.into();
                    body["category"] = json!("security");
                }
                (Method::POST, self.url(None)?, body)
            }
        };
        Some(Message { method, url, body, secret: self.who.clone() })
    }

    /// Its `sys_id`: 32 hex digits.
    fn made(&self, _: &Bulletin, answer: &str) -> Option<String> {
        let answer: Value = serde_json::from_str(answer).ok()?;
        let id = answer["result"]["sys_id"].as_str()?;
        (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
    }
}
