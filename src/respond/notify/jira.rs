//! Jira's REST API v3: an issue for the first bulletin of a thread, comments for later ones. Text is in the Atlassian
//! Document Format: paragraphs of text nodes, none of them empty. A summary is one line of at most 255 characters.

use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::{Message, Notifier, Place, block, headline, line, story};
use crate::model::happening::{Bulletin, Phase};

pub struct Jira {
    pub base: String,
    pub project: String,
    pub issue_type: String,
    pub who: Place,
}

impl Jira {
    fn url(&self, of: &[&str]) -> Option<String> {
        let mut url = Url::parse(&self.base).ok()?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(["rest", "api", "3", "issue"]).extend(of);
        Some(url.into())
    }
}

/// A document of plain paragraphs.
fn document(text: &str) -> Value {
    let paragraph = |l: &str| json!({ "type": "paragraph", "content": [{ "type": "text", "text": l }] });
    let content: Vec<Value> = text.lines().filter(|l| !l.trim().is_empty()).map(paragraph).collect();
    json!({ "type": "doc", "version": 1, "content": content })
}

impl Notifier for Jira {
    fn kind(&self) -> &'static str {
        "jira"
    }

    fn message(&self, n: &Bulletin, known: Option<&str>) -> Option<Message> {
        let text = document(&block(&format!("{}\n{}", headline(n), story(n)), 20_000));
        let (url, body) = match known {
            Some(key) => (self.url(&[key, "comment"])?, json!({ "body": text })),
            // Nothing is opened for what is over.
            None if n.what.phase() != Phase::Opens => return None,
            None => {
                let fields = json!({
                    "project": { "key": self.project },
                    "issuetype": { "name": self.issue_type },
                    "summary": line(&headline(n), 255),
                    "description": text,
                    "labels": ["watchfloor", n.what.word()],
                });
                (self.url(&[])?, json!({ "fields": fields }))
            }
        };
        Some(Message { method: Method::POST, url, body, secret: self.who.clone() })
    }

    /// The key of the issue, such as `SOC-12`.
    fn made(&self, _: &Bulletin, answer: &str) -> Option<String> {
        let answer: Value = serde_json::from_str(answer).ok()?;
        let key = answer["key"].as_str()?;
        let (project, number) = key.rsplit_once('-')?;
        let good = project.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !project.is_empty()
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit());
        good.then(|| key.to_owned())
    }
}
