//! An incoming webhook as Slack has it (Mattermost and others take the same). Limits of Block Kit: a header 150
//! characters, a section 3,000. Nothing in the text can mention anybody: `&`, `<` and `>` are escaped as Slack asks.

use reqwest::Method;
use serde_json::json;

use super::{Message, Notifier, Place, block, facts, headline, line};
use crate::model::happening::Bulletin;

pub struct Slack {
    /// Empty: the secret is the address.
    pub url: String,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Notifier for Slack {
    fn kind(&self) -> &'static str {
        "slack"
    }

    fn message(&self, n: &Bulletin, _: Option<&str>) -> Option<Message> {
        let title = line(&headline(n), 140);
        let facts: Vec<String> = facts(n).iter().map(|(k, v)| format!("{k}: {}", line(v, 200))).collect();
        // Escaping makes up to five characters of one.
        let plain = |text: &str, max: usize| {
            let mut text = text.to_owned();
            while escaped(&text).chars().count() > max {
                text = text.chars().take(text.chars().count() * 3 / 4).collect();
            }
            escaped(&text)
        };
        let mut blocks = vec![
            json!({ "type": "header", "text": { "type": "plain_text", "text": title } }),
            json!({ "type": "section", "text": { "type": "mrkdwn", "verbatim": true, "text": plain(&facts.join("\n"), 2_900) } }),
        ];
        if !n.text.is_empty() {
            // Taken as it is: no links, no formatting.
            let text = plain(&block(n.text.expose(), 2_000).replace('`', "'"), 2_900);
            blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "verbatim": true, "text": format!("```{text}```") } }));
        }
        let body = json!({ "text": escaped(&title), "blocks": blocks });
        let secret = if self.url.is_empty() { Place::Url } else { Place::Nowhere };
        Some(Message { method: Method::POST, url: self.url.clone(), body, secret })
    }
}
