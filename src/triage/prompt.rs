//! What a model is asked.
//!
//! Order matters twice. The fixed text comes first and the alert last, so that a server's prefix cache holds for all but
//! the alert. And within the alert our own facts come first and what an attacker may have written comes last, inside a
//! fence whose name is made for this request, with the spaces of every value replaced by a mark, so that the model can
//! tell data from instructions by the look of it ("datamarking", Hines et al. 2024, arXiv:2403.14720). None of that is
//! relied on: see [`super::check`].

mod fixed;

use std::fmt::Write as _;

use super::context::{self, Line, tokens};
use super::{Ask, Offer, Question, Writing, taint};
use crate::model::fields::Field;
use crate::model::technique;
use crate::text::{Untrusted, clean, clean_block};

pub use self::fixed::{ASK_INSTRUCTIONS, INSTRUCTIONS, ask_system, system};

/// Characters of one value at most, and of the path before it.
const VALUE_MAX: usize = 500;
const PATH_MAX: usize = 160;
/// Tokens that a row's separators and the lines around the data take.
const AROUND: usize = 120;
/// Turns of a conversation told again, and characters of each question and answer.
const TURNS: usize = 4;
const TURN_MAX: usize = 400;
/// Characters of a person's question.
pub const QUESTION_MAX: usize = 4_000;

/// How much of what a prompt may hold, in tokens as [`tokens`] counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the alert's fields.
    pub alert: usize,
    /// Of what the desk knows besides.
    pub context: usize,
}

impl Limits {
    /// Less than this holds no alert worth judging.
    pub const LEAST: usize = 250;

    /// Half of both; `None` when that would leave no alert worth judging.
    pub fn halved(self) -> Option<Self> {
        let half = Self { alert: self.alert / 2, context: self.context / 2 };
        (half.alert >= Self::LEAST).then_some(half)
    }

    /// Kept to what a model's prompt may have beside its fixed part.
    pub fn within(self, prompt_limit: Option<usize>, fixed: usize) -> Self {
        let Some(limit) = prompt_limit else { return self };
        let room = limit.saturating_sub(fixed + AROUND);
        let context = self.context.min(room / 3);
        Self { context, alert: self.alert.min(room - context).max(Self::LEAST) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { alert: 3_000, context: 800 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The same for every alert of a desk.
    pub system: String,
    pub user: String,
    /// Stands for a space in the data.
    pub mark: char,
    /// Stands only in our fences: an answer that holds it repeats the prompt.
    pub fence: String,
}

impl Prompt {
    /// Takes the marks out of something the model copied.
    pub fn unmark(&self, text: &Untrusted) -> Untrusted {
        text.expose().replace(self.mark, " ").into()
    }
}

/// Builds the prompt for an opinion. `fence` is a fresh random word. `bare`: without what an attacker can write.
pub fn build(q: &Question, offer: &Offer, limits: Limits, fence: &str, bare: bool) -> Prompt {
    let (mut user, mark) = data(q, limits, fence, bare);
    user.push_str("Give your opinion as the JSON object.");
    Prompt { system: system(offer), user, mark, fence: fence.to_owned() }
}

/// Builds the prompt for a person's question. What was answered before came from a model that had read the alert, so it
/// stands inside a fence too; the person's own words do not.
pub fn build_ask(ask: &Ask, limits: Limits, fence: &str) -> Prompt {
    let (mut user, mark) = data(&ask.about, limits, fence, false);
    let before = &ask.before[ask.before.len().saturating_sub(TURNS)..];
    if !before.is_empty() {
        let _ = writeln!(user, "\nSaid before, question and answer:\n[before {fence}]");
        for (question, answer) in before {
            for (who, said) in [("q", question), ("a", answer)] {
                let _ = writeln!(user, "{who}: {}", dress(&shown(said, TURN_MAX), mark));
            }
        }
        let _ = writeln!(user, "[end of before {fence}]");
    }
    let question: String = clean_block(&ask.text).as_str().chars().take(QUESTION_MAX).collect();
    let _ = write!(user, "\nThe analyst asks:\n{}\n\nAnswer with the JSON object.", question.replace(fence, ""));
    Prompt { system: ask_system().to_owned(), user, mark, fence: fence.to_owned() }
}

/// Builds the prompt for something to be written about an alert.
pub fn build_writing(w: &Writing, limits: Limits, fence: &str) -> Prompt {
    let (mut user, mark) = data(&w.about, limits, fence, false);
    let _ = write!(user, "\n{}", w.task);
    Prompt { system: w.system.clone(), user, mark, fence: fence.to_owned() }
}

/// What the desk knows, then the alert: its own words first, what others wrote last.
fn data(q: &Question, limits: Limits, fence: &str, bare: bool) -> (String, char) {
    let told: Vec<Line> = context::tell(&q.context, limits.context).into_iter().filter(|l| l.told).collect();
    let (own, foreign): (Vec<Line>, Vec<Line>) = told.into_iter().partition(|l| !l.foreign);
    let rows = rows(q, limits.alert, bare);
    let foreign: Vec<String> = foreign.iter().filter(|_| !bare).map(|l| format!("{}: {}", l.label, l.text)).collect();
    let texts = rows.shown.iter().flat_map(|(p, v)| [p.as_str(), v.as_str()]).chain(foreign.iter().map(String::as_str));
    let mark = pick_mark(texts);

    let mut user = facts(q);
    if !own.is_empty() {
        user.push_str("\nContext, not evidence:\n");
    }
    for line in &own {
        let _ = writeln!(user, "- {}: {}", line.label, line.text);
    }
    let _ = writeln!(user, "\nIn the data below every space is written {mark}\n[data {fence}]");
    for (i, (path, value)) in rows.shown.iter().enumerate() {
        // Words of other alerts and of case titles are as foreign as the fields after them.
        if i == rows.own {
            foreign.iter().for_each(|f| user.extend([dress(f, mark).as_str(), "\n"]));
        }
        let _ = writeln!(user, "{} = {}", dress(path, mark), dress(value, mark));
    }
    if rows.own >= rows.shown.len() {
        foreign.iter().for_each(|f| user.extend([dress(f, mark).as_str(), "\n"]));
    }
    let _ = writeln!(user, "[end of data {fence}]");
    if rows.left_out > 0 {
        let why = if bare { "for length or because others can write them" } else { "for length" };
        let _ = writeln!(user, "{} more fields were left out {why}.", rows.left_out);
    }
    (user, mark)
}

fn dress(text: &str, mark: char) -> String {
    text.replace(' ', mark.encode_utf8(&mut [0; 4]))
}

/// What the desk itself says of the alert: our words and numbers only.
fn facts(q: &Question) -> String {
    let a = &q.alert;
    let mut out = String::from("Facts from the desk:\n");
    let _ = writeln!(
        out,
        "- format {}, detector severity {}, priority {}",
        plain_word(&a.format),
        a.fields.severity.word(),
        a.priority.word()
    );
    let _ = writeln!(
        out,
        "- the host weighs {} % of an ordinary one; the same alert came {} times",
        a.asset_weight, a.count
    );
    for t in a.fields.techniques.iter().filter_map(|t| technique::lookup(t)).take(6) {
        let _ = writeln!(out, "- the detector names {} {}", t.id, t.name);
    }
    out
}

/// A format's id may be the name of a field map, which people choose.
fn plain_word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || ":_-.".contains(*c)).take(60).collect()
}

struct Rows {
    /// Path and value; the detector's own words first.
    shown: Vec<(String, String)>,
    /// How many of them are.
    own: usize,
    left_out: usize,
}

/// Chosen by their use (what identifies, then short values, then free text) up to the budget; told with the detector's
/// own words first and what others can write last.
fn rows(q: &Question, budget: usize, bare: bool) -> Rows {
    let f = &q.alert.fields;
    let entities: Vec<&str> = [&f.rule_name, &f.rule_id, &f.host, &f.user, &f.process, &f.command_line]
        .into_iter()
        .flatten()
        .chain([&f.title])
        .map(Untrusted::expose)
        .filter(|e| !e.is_empty())
        .collect();
    let rank = |field: &Field| {
        let value = field.value.expose();
        match value {
            "" | "-" | "null" => 4,
            v if entities.contains(&v) => 0,
            v if v.len() <= 64 => 1,
            v if v.len() <= VALUE_MAX => 2,
            _ => 3,
        }
    };
    let tainted = taint::all(&q.fields);
    let mut order: Vec<(&Field, bool)> = q.fields.iter().zip(tainted).filter(|(f, _)| rank(f) < 4).collect();
    let there = order.len();
    order.retain(|(_, tainted)| !(bare && *tainted));
    order.sort_by_key(|(f, _)| rank(f));
    let (mut chosen, mut used) = (Vec::new(), 0);
    for (field, tainted) in order {
        let row = (shown(&field.path, PATH_MAX), shown(&field.value, VALUE_MAX));
        used += tokens(&row.0) + tokens(&row.1) + 3;
        if used > budget {
            break;
        }
        chosen.push((row, tainted));
    }
    chosen.sort_by_key(|(_, tainted)| *tainted);
    let own = chosen.iter().filter(|(_, tainted)| !tainted).count();
    let shown: Vec<_> = chosen.into_iter().map(|(row, _)| row).collect();
    Rows { own, left_out: there - shown.len(), shown }
}

/// Cleaned for one line, and short.
fn shown(text: &Untrusted, max: usize) -> String {
    let clean = clean(text);
    let all = clean.as_str();
    match all.char_indices().nth(max) {
        Some((end, _)) => format!("{}... ({} characters more)", &all[..end], all[end..].chars().count()),
        None => all.to_owned(),
    }
}

/// A mark the data does not hold.
fn pick_mark<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> char {
    const MARKS: [char; 6] = ['^', '\u{a6}', '\u{ac}', '\u{a4}', '\u{2020}', '\u{2021}'];
    let free = |m: &char| !texts.clone().any(|t| t.contains(*m));
    MARKS.into_iter().find(free).unwrap_or('\u{e000}')
}

/// Words in a row that only somebody who repeats the prompt writes.
const REPEATED: usize = 9;

/// The answer repeats our prompt: nothing in it can be taken for a judgement of the alert. Words of ours that the alert
/// itself holds do not count.
pub fn leaks(answer: &str, prompt: &Prompt) -> bool {
    if answer.contains(&prompt.fence) {
        return true;
    }
    let plain = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
        words.map(str::to_lowercase).collect()
    };
    // What is public about ATT&CK may be said again.
    let of_prompt = plain(prompt.system.split(fixed::HINTS).next().unwrap_or_default());
    let rows: std::collections::HashSet<&[String]> = of_prompt.windows(REPEATED).collect();
    let said = plain(answer);
    let mut repeated = said.windows(REPEATED).filter(|w| rows.contains(w)).peekable();
    if repeated.peek().is_none() {
        return false;
    }
    let of_alert = plain(&prompt.user);
    let quoted: std::collections::HashSet<&[String]> = of_alert.windows(REPEATED).collect();
    repeated.any(|w| !quoted.contains(w))
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
