//! Opsgenie's Alert API: made under an `alias`, then acknowledged and closed by it.
//! <https://docs.opsgenie.com/docs/alert-api>: message at most 130 characters, alias 512, description 15,000, entity 512,
//! source 100, user 100, note 25,000, details 8,000 in all, 20 tags of 50.

use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::{Message, Notifier, Place, block, facts, headline, line, subject};
use crate::model::happening::{Bulletin, Phase, Urgency};

pub struct Opsgenie {
    pub base: String,
}

impl Opsgenie {
    /// `BASE/v2/alerts`, or an act on the alert of an alias.
    fn url(&self, alias: Option<(&str, &str)>) -> Option<String> {
        let mut url = Url::parse(&self.base).ok()?;
        {
            let mut path = url.path_segments_mut().ok()?;
            path.pop_if_empty().extend(["v2", "alerts"]);
            if let Some((alias, act)) = alias {
                path.extend([alias, act]);
            }
        }
        if alias.is_some() {
            url.query_pairs_mut().append_pair("identifierType", "alias");
        }
        Some(url.into())
    }
}

impl Notifier for Opsgenie {
    fn kind(&self) -> &'static str {
        "opsgenie"
    }

    fn message(&self, n: &Bulletin, _: Option<&str>) -> Option<Message> {
        let alias = line(&n.thread(), 512);
        let source = line(&format!("watchfloor {}", n.desk), 100);
        let user = n.by.as_ref().map(|p| line(p.as_str(), 100));
        let (url, body) = match n.what.phase() {
            Phase::Opens => {
                let details: Map<String, Value> =
                    facts(n).into_iter().map(|(k, v)| (k.to_owned(), line(&v, 500).into())).collect();
                let mut body = json!({
                    "message": line(&headline(n), 130),
                    "alias": alias,
                    "description": block(n.text.expose(), 15_000),
                    "source": source,
                    "entity": subject(n, 512),
                    "tags": ["watchfloor", n.what.word()],
                    "details": details,
                    "priority": match n.what.urgency() {
                        Urgency::Critical => "P1",
                        Urgency::Error => "P2",
                        Urgency::Warning => "P3",
                        Urgency::Info => "P5",
                    },
                });
                if let Some(user) = user {
                    body["user"] = user.into();
                }
                (self.url(None)?, body)
            }
            phase => {
                let act = if phase == Phase::Taken { "acknowledge" } else { "close" };
                let mut body = json!({ "source": source, "note": block(&format!("{}\n{}", headline(n), n.text.expose()), 25_000) });
                if let Some(user) = user {
                    body["user"] = user.into();
                }
                (self.url(Some((&alias, act)))?, body)
            }
        };
        Some(Message { method: Method::POST, url, body, secret: Place::Authorization("GenieKey") })
    }
}
