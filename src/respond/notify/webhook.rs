//! Our own JSON to any address, signed where there is a secret.

use reqwest::Method;
use serde_json::json;

use super::{Message, Notifier, Place, block, headline, line};
use crate::model::happening::Bulletin;

pub struct Webhook {
    pub url: String,
    pub signed: bool,
}

impl Notifier for Webhook {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn message(&self, n: &Bulletin, _: Option<&str>) -> Option<Message> {
        let body = json!({
            "type": "watchfloor.bulletin",
            "v": 1,
            "id": n.id,
            "thread": n.thread(),
            "event": n.what.word(),
            "at": n.at,
            "desk": line(&n.desk, 200),
            "by": n.by,
            "for": n.to,
            "request": n.request,
            "action": n.action.as_ref().map(|a| line(a, 200)),
            "tier": n.tier,
            "targets": n.targets.iter().take(100).map(|t| line(t, 300)).collect::<Vec<_>>(),
            "title": line(&headline(n), 300),
            "text": block(n.text.expose(), 4_000),
        });
        let secret = if self.signed { Place::Signature } else { Place::Nowhere };
        Some(Message { method: Method::POST, url: self.url.clone(), body, secret })
    }
}
