//! Which playbooks fit an alert: by technique, by its rule, by its words.

use crate::config::inventory::matches;
use crate::model::alert::AlertFields;
use crate::model::playbook::Playbook;
use crate::model::playbook::Suggested;
use crate::model::technique;
use crate::text;
use crate::text::Untrusted;

/// Named at most.
const MOST: usize = 5;
/// Bytes of each field of an alert that are looked at.
const LOOKED_AT: usize = 512;
/// A match by a pattern somebody wrote for that rule weighs more than any technique.
const BY_RULE: u32 = 40;
const BY_TECHNIQUE: u32 = 16;
/// The same technique, another sub-technique.
const BY_KIN: u32 = 10;
/// A further technique counts less: an alert with many is not thereby about all of them.
const FURTHER: u32 = 3;
const BY_WORD: u32 = 4;
const MOST_WORDS: u32 = 3;

/// The best first; those of equal score in the order given. A revoked playbook is never suggested.
pub fn suggest<'a>(books: impl IntoIterator<Item = &'a Playbook>, alert: &AlertFields) -> Vec<Suggested> {
    let lower = |t: &Untrusted| text::front(t.expose(), LOOKED_AT).to_lowercase();
    let named: Vec<String> = [Some(&alert.title), alert.rule_id.as_ref(), alert.rule_name.as_ref()]
        .into_iter()
        .flatten()
        .map(lower)
        .collect();
    let mut out: Vec<Suggested> =
        books.into_iter().filter(|b| !b.revoked).filter_map(|b| one(b, alert, &named)).collect();
    out.sort_by_key(|s| std::cmp::Reverse(s.score));
    out.truncate(MOST);
    out
}

fn one(book: &Playbook, alert: &AlertFields, named: &[String]) -> Option<Suggested> {
    let mut why = Vec::new();
    let mut score = 0;
    if let Some(pattern) = book.rules.iter().find(|p| named.iter().any(|n| matches(p, n))) {
        score += BY_RULE;
        why.push(format!("the rule fits {pattern:?}"));
    }
    let mut by_technique: Vec<(u32, &str)> = alert.techniques.iter().filter_map(|t| kinship(book, t)).collect();
    by_technique.sort_by_key(|t| std::cmp::Reverse(t.0));
    for (i, (points, id)) in by_technique.iter().enumerate().take(3) {
        score += if i == 0 { *points } else { FURTHER };
        let name = technique::lookup(id).map(|t| format!(" {}", t.name)).unwrap_or_default();
        why.push(format!("it is for {id}{name}"));
    }
    let words = book.words.iter().filter(|w| named.iter().any(|n| has_word(n, w)));
    let words: Vec<&str> = words.map(String::as_str).take(MOST_WORDS as usize).collect();
    if !words.is_empty() {
        score += BY_WORD * words.len() as u32;
        why.push(format!("the alert says {}", words.join(", ")));
    }
    let why: Vec<Untrusted> = why.into_iter().map(Untrusted::new).collect();
    (score > 0).then(|| Suggested { playbook: book.key.clone(), title: book.title.clone(), score, why })
}

/// How near a technique of the alert is to the nearest of the playbook's, which is named.
fn kinship<'a>(book: &'a Playbook, own: &str) -> Option<(u32, &'a str)> {
    let stem = |id: &str| id.split('.').next().unwrap_or_default().to_owned();
    let exact = book.techniques.iter().find(|t| t.eq_ignore_ascii_case(own)).map(|t| (BY_TECHNIQUE, t.as_str()));
    let own = stem(&own.to_ascii_uppercase());
    exact.or_else(|| book.techniques.iter().find(|t| stem(t) == own).map(|t| (BY_KIN, t.as_str())))
}

/// At the beginning of a word, so that "ransom" finds "ransomware" and "rat" does not find "operator".
fn has_word(text: &str, word: &str) -> bool {
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::Library;

    fn alert(title: &str, techniques: &[&str]) -> AlertFields {
        let techniques = techniques.iter().map(|t| (*t).to_owned()).collect();
        AlertFields { title: Untrusted::new(title), techniques, ..AlertFields::default() }
    }

    #[test]
    fn the_bundled_ones_are_found_by_what_they_are_for() {
        let library = Library::bundled();
        for (title, techniques, wanted) in [
            ("Volume shadow copies deleted", &["T1490"][..], "ransomware"),
            ("Ransom note written", &[], "ransomware"),
            ("Suspicious attachment opened", &["T1566.001"], "phishing"),
            ("User reported phishing mail", &[], "phishing"),
            ("Trojan found", &["T1204.002"], "malware"),
            ("Large upload to web storage", &["T1567.002"], "data-breach"),
            ("Sign-in from two countries", &["T1078.004"], "unauthorised-access"),
        ] {
            let found = suggest(library.books(), &alert(title, techniques));
            let first = found.first().map(|s| s.playbook.as_str());
            assert_eq!(first, Some(wanted), "{title}: {found:?}");
            assert!(!found[0].why.is_empty());
        }
        assert!(suggest(library.books(), &alert("Quite ordinary", &[])).is_empty());
    }

    #[test]
    fn a_word_begins_where_a_word_begins() {
        assert!(has_word("a ransomware note", "ransom") && has_word("rat", "rat") && has_word("x/rat", "rat"));
        assert!(!has_word("operator", "rat") && !has_word("x", ""));
    }
}
