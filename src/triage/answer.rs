//! A person's question answered without a model: what the desk knows and the fields that have to do with the words asked.
//! It finds; it does not understand, and says so.

use jiff::Timestamp;

use super::{Ask, context};
use crate::model::fields::Field;
use crate::model::opinion::Answered;
use crate::model::verdict::{Claim, Usage};
use crate::text::{Untrusted, clean};

/// Lines and fields told.
const LINES: usize = 8;
const FIELDS: usize = 5;
/// Longest piece of a field quoted, in characters.
const QUOTE: usize = 160;
/// Words looked for, at most.
const WORDS: usize = 24;

/// What people ask, and the context lines and field paths it has to do with.
const ABOUT: &[(&[&str], &[&str])] = &[
    (&["before", "past", "often", "usual", "normal", "history", "closed", "seen", "common"], &["past", "frequency"]),
    (&["near", "around", "else", "related", "same", "other", "neighbour", "neighbor", "story"], &["neighbour", "case"]),
    (&["host", "machine", "server", "asset", "owner", "computer"], &["asset", "host", "agent", "computer"]),
    (&["user", "account", "who", "person", "identity"], &["identity", "user", "account"]),
    (&["technique", "attack", "tactic", "mitre", "att&ck"], &["technique", "mitre"]),
    (&["do", "next", "step", "steps", "playbook", "respond", "should"], &["playbook"]),
    (&["command", "process", "ran", "run", "executed", "parent"], &["command", "process", "image", "parent"]),
    (&["address", "ip", "from", "where", "source", "destination", "port"], &["ip", "address", "src", "dst", "dest"]),
    (&["file", "hash", "path", "attachment"], &["file", "hash", "path"]),
];

/// The answer. `why`: what kept a model from answering, if one was asked.
pub(super) fn without_model(ask: &Ask, why: Option<&str>) -> Answered {
    let words = words(&ask.text);
    let topics: Vec<&str> = ABOUT
        .iter()
        .filter(|(asked, _)| asked.iter().any(|a| words.iter().any(|w| w == a)))
        .flat_map(|(_, topics)| topics.iter().copied())
        .collect();
    let lines = context::lines(&ask.about.context, usize::MAX);
    let fits = |label: &str, text: &str| {
        topics.contains(&label) || words.iter().any(|w| w.len() >= 4 && text.to_lowercase().contains(w.as_str()))
    };
    let mut told: Vec<String> = lines
        .iter()
        .filter(|l| fits(&l.label, l.text.expose()))
        .take(LINES)
        .map(|l| format!("{}: {}", l.label, l.text.expose()))
        .collect();
    let claims = claims(&ask.about.fields, &words, &topics);
    if told.is_empty() && claims.is_empty() {
        told = lines.iter().take(LINES).map(|l| format!("{}: {}", l.label, l.text.expose())).collect();
        told.insert(0, "Nothing here has to do with the words asked. What is known besides the record:".into());
    } else {
        told.insert(0, "No model read this. What has to do with the words asked:".into());
    }
    Answered {
        question: ask.text.clone(),
        text: told.join("\n").into(),
        claims,
        backend: "rules".into(),
        server: None,
        model: "rules".into(),
        remark: why.map(|w| format!("no model answered: {w}").into()),
        at: Timestamp::now(),
        took_ms: 0,
        usage: Usage::default(),
        request_id: ask.about.request_id.clone(),
        by: ask.about.by.clone(),
    }
}

fn words(text: &Untrusted) -> Vec<String> {
    let lower = clean(text).as_str().to_lowercase();
    let split = lower.split(|c: char| !(c.is_alphanumeric() || "&.-_\\/@".contains(c)));
    split.map(|w| w.trim_matches(['.', '-']).to_owned()).filter(|w| w.len() >= 2).take(WORDS).collect()
}

/// Fields whose path or value has to do with it, those that hold an asked word first.
fn claims(fields: &[Field], words: &[String], topics: &[&str]) -> Vec<Claim> {
    const DULL: [&str; 14] = [
        "the", "this", "that", "what", "with", "have", "does", "from", "alert", "was", "were", "there", "which", "when",
    ];
    let asked: Vec<&String> = words.iter().filter(|w| w.len() >= 3 && !DULL.contains(&w.as_str())).collect();
    let score = |f: &Field| {
        let value = f.value.expose();
        let lower = crate::text::front(value, 4096).to_lowercase();
        let path = f.path.expose().to_lowercase();
        if value.trim().chars().count() < 3 {
            return 0;
        }
        let held = asked.iter().filter(|w| lower.contains(w.as_str())).count() * 4;
        let named = asked.iter().filter(|w| path.contains(w.as_str())).count() * 2;
        held + named + usize::from(topics.iter().any(|t| path.contains(t)))
    };
    let mut scored: Vec<(usize, &Field)> = fields.iter().map(|f| (score(f), f)).filter(|(s, _)| *s > 0).collect();
    scored.sort_by_key(|(s, _)| std::cmp::Reverse(*s));
    scored
        .into_iter()
        .take(FIELDS)
        .map(|(_, f)| {
            let quote: String = f.value.expose().chars().take(QUOTE).collect();
            Claim::new("has to do with the words asked", f.path.clone(), quote.trim())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::inventory::Asset;
    use crate::triage::testing::question;
    use crate::triage::{PastCount, check};

    fn ask(text: &str) -> Answered {
        let mut about = question(r#"{"host":{"name":"fin-ws-014"},"cmdline":"rundll32 comsvcs.dll MiniDump","n":"1"}"#);
        about.context.past = vec![PastCount { alike: "rule".into(), false_positive: 3, ..PastCount::default() }];
        about.context.asset = Some(Asset { name: "fin-ws-014".into(), weight: 130, ..Asset::default() });
        let ask = Ask { about, text: text.into(), before: Vec::new() };
        check::answered(without_model(&ask, None), &ask.about)
    }

    #[test]
    fn it_finds_what_was_asked_for() {
        let a = ask("What does the MiniDump command do?");
        assert!(a.claims.len() == 1 && a.claims[0].founded && a.claims[0].field.expose() == "cmdline", "{a:#?}");
        assert!(
            ask("How was this closed before?").text.expose().contains("past: same rule: closed as 3 false positive")
        );
        let a = ask("Who owns this host?");
        assert!(
            a.text.expose().contains("asset: host fin-ws-014") && a.claims[0].quote.expose() == "fin-ws-014",
            "{a:#?}"
        );
        assert!(ask("zzz?").text.expose().starts_with("Nothing here has to do with"));
        let remark = ask("closed?").remark.map(Untrusted::into_exposed);
        assert!(remark.is_none(), "{remark:?}");
    }
}
