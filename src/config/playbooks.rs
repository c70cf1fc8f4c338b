//! What to do about what, as the desk wrote it down: a folder of Markdown files and CACAO 2.0 playbooks (OASIS, JSON),
//! and a handful that ship with the program. A playbook is told by name and by its steps; none is run from here.
//!
//! ```text
//! ---
//! name: credential-theft                 short, unique; the file's name when left out
//! title: Stolen credentials
//! techniques: T1003, T1555               ATT&CK ids; those named anywhere in the text count too
//! rules: 100310, *lsass*, LSASS memory*   rule ids, names or alert titles, with * and ?
//! ---
//! 1. First step.
//! 2. Second step.
//! ```

use std::path::Path;

use serde_json::Value;

use super::fault::{Faults, Place};
use crate::text;

/// Files read from a folder at most, and bytes of one.
const MAX_FILES: usize = 500;
const MAX_BYTES: u64 = 1 << 20;
/// Steps kept of one, and the longest step, in characters.
pub const MAX_STEPS: usize = 24;
pub const MAX_STEP: usize = 300;
const MAX_TITLE: usize = 120;
const MAX_NAME: usize = 60;
const MAX_LIST: usize = 100;

const BUNDLED: [(&str, &str); 9] = [
    ("benign-admin", include_str!("../../assets/playbooks/benign-admin.md")),
    ("brute-force", include_str!("../../assets/playbooks/brute-force.md")),
    ("c2-beacon", include_str!("../../assets/playbooks/c2-beacon.md")),
    ("credential-theft", include_str!("../../assets/playbooks/credential-theft.md")),
    ("data-theft", include_str!("../../assets/playbooks/data-theft.md")),
    ("lateral-movement", include_str!("../../assets/playbooks/lateral-movement.md")),
    ("phishing", include_str!("../../assets/playbooks/phishing.md")),
    ("ransomware", include_str!("../../assets/playbooks/ransomware.md")),
    ("web-shell", include_str!("../../assets/playbooks/web-shell.md")),
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Playbook {
    /// Lower case letters, digits, `.`, `_` and `-`.
    pub name: String,
    pub title: String,
    /// ATT&CK ids, upper case.
    pub techniques: Vec<String>,
    /// Patterns over rule id, rule name and title; lower case.
    pub rules: Vec<String>,
    /// In order, one line each.
    pub steps: Vec<String>,
    /// Ships with the program.
    pub bundled: bool,
}

/// The playbooks of a desk: its own before those that ship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playbooks {
    all: Vec<Playbook>,
}

impl Default for Playbooks {
    fn default() -> Self {
        Self::bundled()
    }
}

impl Playbooks {
    /// Those that ship with the program.
    pub fn bundled() -> Self {
        let read = |(name, text): &(&str, &str)| Playbook { bundled: true, ..markdown(name, text) };
        Self { all: BUNDLED.iter().map(read).collect() }
    }

    /// Those of a folder (`*.md`, `*.json`), and after them the ones that ship and are not replaced by name.
    ///
    /// # Errors
    /// Names every file that cannot be read and every JSON file that is no CACAO playbook.
    pub fn read(folder: &Path) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let cannot = |e: std::io::Error| Faults::one(Place::Whole(folder.to_owned()), format!("cannot be read: {e}"));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(cannot)? {
            files.push(entry.map_err(cannot)?.path());
        }
        let kind = |p: &Path| p.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).unwrap_or_default();
        files.retain(|p| matches!(kind(p).as_str(), "md" | "markdown" | "json") && p.is_file());
        files.sort();
        if files.len() > MAX_FILES {
            faults.add(Place::Whole(folder.to_owned()), format!("more than {MAX_FILES} playbooks"));
            files.truncate(MAX_FILES);
        }
        let mut all: Vec<Playbook> = Vec::new();
        for path in files {
            match one(&path, &kind(&path)) {
                Ok(book) => match all.iter().find(|b| b.name == book.name) {
                    Some(_) => faults.add(Place::Whole(path), format!("a second playbook of the name {:?}", book.name)),
                    None => all.push(book),
                },
                Err(why) => faults.add(Place::Whole(path), why),
            }
        }
        let shipped = Self::bundled().all.into_iter().filter(|b| !all.iter().any(|own| own.name == b.name));
        let shipped: Vec<_> = shipped.collect();
        all.extend(shipped);
        faults.or(Self { all })
    }

    pub fn all(&self) -> &[Playbook] {
        &self.all
    }

    pub fn get(&self, name: &str) -> Option<&Playbook> {
        self.all.iter().find(|b| b.name == name)
    }

    /// The one that fits best: by a pattern over rule or title, by technique, by words of its title. The desk's own win
    /// over those that ship. `None`: none fits.
    pub fn matching(&self, techniques: &[String], rule: &[&str], title: &str) -> Option<&Playbook> {
        let lower = |s: &str| text::front(s, 512).to_lowercase();
        let named: Vec<String> = rule.iter().copied().chain([title]).map(lower).collect();
        let score = |b: &Playbook| b.fits(techniques, &named);
        let scored = self.all.iter().map(|b| (score(b) * 2 + u32::from(!b.bundled), b));
        // The first of equals: the order of the folder.
        scored
            .filter(|(s, _)| *s > 1)
            .fold(None, |best: Option<(u32, &Playbook)>, next| match best {
                Some(b) if b.0 >= next.0 => Some(b),
                _ => Some(next),
            })
            .map(|(_, b)| b)
    }
}

impl Playbook {
    /// 0: not at all. `named` is lower case.
    fn fits(&self, techniques: &[String], named: &[String]) -> u32 {
        let by_rule = self.rules.iter().any(|p| named.iter().any(|n| super::inventory::matches(p, n)));
        let near = |own: &String, t: &String| match (own == t, stem(own) == stem(t)) {
            (true, _) => 8,
            (false, true) => 5,
            _ => 0,
        };
        let by_technique = self.techniques.iter().flat_map(|o| techniques.iter().map(move |t| near(o, t))).max();
        let title = self.title.to_lowercase();
        let words = title.split(|c: char| !c.is_alphanumeric()).filter(|w| w.chars().count() >= 5);
        let by_words = words.filter(|w| named.iter().any(|n| n.contains(w))).count().min(3) as u32;
        u32::from(by_rule) * 20 + by_technique.unwrap_or(0) + by_words * 2
    }
}

fn stem(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

fn one(path: &Path, kind: &str) -> Result<Playbook, String> {
    let size = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?.len();
    if size > MAX_BYTES {
        return Err(format!("{size} bytes; a playbook has at most {MAX_BYTES}"));
    }
    let source = std::fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if kind == "json" { cacao(&name, &source) } else { Ok(markdown(&name, &source)) }
}

/// Letters and digits in lower case, anything else a hyphen: safe in a prompt, a schema and a command line.
fn name_of(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' | '.' | '_' => out.push(c),
            _ if !out.ends_with('-') && !out.is_empty() => out.push('-'),
            _ => {}
        }
    }
    let out = text::front(&out, MAX_NAME).trim_matches(['-', '.', '_']).to_owned();
    if out.is_empty() { "playbook".to_owned() } else { out }
}

/// Reads Markdown. Whatever it says, it is a playbook: in the worst case one without steps.
fn markdown(file: &str, source: &str) -> Playbook {
    let source = source.trim_start_matches('\u{feff}');
    let (front, body) = front_matter(source);
    let mut book = Playbook { name: name_of(file), ..Playbook::default() };
    for (key, value) in front {
        match key.as_str() {
            "name" => book.name = name_of(&value),
            "title" => book.title = line(&value, MAX_TITLE),
            "techniques" => book.techniques.extend(ids(&value)),
            "rules" => book.rules.extend(list(&value).map(|r| r.to_lowercase())),
            _ => {}
        }
    }
    book.techniques.extend(ids(body));
    tidy(&mut book.techniques);
    book.rules.truncate(MAX_LIST);
    if book.title.is_empty() {
        let heading = body.lines().find_map(|l| l.trim_start().strip_prefix('#'));
        let heading = heading.map(|h| h.trim_start_matches('#').trim()).unwrap_or(file);
        let heading = heading.strip_prefix("Playbook:").unwrap_or(heading);
        book.title = line(&plain(heading), MAX_TITLE);
    }
    book.steps = steps(body);
    book
}

/// `key: value` lines between two lines of `---`; `- item` lines below a key are its list.
fn front_matter(source: &str) -> (Vec<(String, String)>, &str) {
    let Some(rest) = source.strip_prefix("---").and_then(|r| r.trim_start_matches([' ', '\r']).strip_prefix('\n'))
    else {
        return (Vec::new(), source);
    };
    let mut out: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    for l in rest.split_inclusive('\n') {
        at += l.len();
        let l = l.trim_end();
        if l == "---" || l == "..." {
            return (out, &rest[at..]);
        }
        if let Some(item) = l.trim_start().strip_prefix("- ") {
            if let Some((_, value)) = out.last_mut() {
                value.push(',');
                value.push_str(item);
            }
        } else if let Some((key, value)) = l.split_once(':') {
            out.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    // Never closed: it was no front matter.
    (Vec::new(), source)
}

fn list(value: &str) -> impl Iterator<Item = String> + '_ {
    let inner = value.trim().trim_start_matches('[').trim_end_matches(']');
    inner.split(',').map(|v| v.trim().trim_matches(['"', '\'']).trim().to_owned()).filter(|v| !v.is_empty())
}

/// ATT&CK ids in a text.
fn ids(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')) {
        let word = word.trim_matches('.');
        let (head, sub) = word.split_once('.').map_or((word, None), |(h, s)| (h, Some(s)));
        let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        let fits = head.strip_prefix(['T', 't']).is_some_and(|d| digits(d, 4)) && sub.is_none_or(|s| digits(s, 3));
        if fits && out.len() < MAX_LIST {
            out.push(word.to_ascii_uppercase());
        }
    }
    out
}

fn tidy(ids: &mut Vec<String>) {
    ids.sort();
    ids.dedup();
    ids.truncate(MAX_LIST);
}

/// Items of the outermost lists, numbered ones where there are any.
fn steps(body: &str) -> Vec<String> {
    let mut numbered = Vec::new();
    let mut bullets = Vec::new();
    for l in body.lines() {
        let digits = l.bytes().take_while(u8::is_ascii_digit).count();
        let after = l.get(digits..).unwrap_or_default();
        let item = after.strip_prefix(". ").or_else(|| after.strip_prefix(") ")).filter(|_| digits > 0);
        let (to, item) = match item {
            Some(item) => (&mut numbered, item),
            None => match l.strip_prefix("- ").or_else(|| l.strip_prefix("* ")) {
                Some(item) => (&mut bullets, item),
                None => continue,
            },
        };
        let item = line(&plain(item), MAX_STEP);
        if !item.is_empty() && to.len() < MAX_STEPS {
            to.push(item);
        }
    }
    if numbered.is_empty() { bullets } else { numbered }
}

/// Without the marks of emphasis and code.
fn plain(text: &str) -> String {
    text.replace("**", "").replace(['`', '_'], "").trim().to_owned()
}

fn line(text: &str, max: usize) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(max).collect()
}

/// Reads a CACAO 2.0 playbook: name, the names of its action steps in the order of the workflow, ATT&CK ids among its
/// external references and in its description.
fn cacao(file: &str, source: &str) -> Result<Playbook, String> {
    let doc: Value = serde_json::from_str(source).map_err(|e| format!("no JSON: {e}"))?;
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).map(str::to_owned);
    if doc.get("type").and_then(Value::as_str) != Some("playbook") {
        return Err("no CACAO playbook: expected \"type\": \"playbook\"".into());
    }
    let title = text(&doc, "name").ok_or("no CACAO playbook: \"name\" is missing")?;
    let mut told = text(&doc, "description").unwrap_or_default();
    for reference in doc.get("external_references").and_then(Value::as_array).into_iter().flatten() {
        for key in ["external_id", "name", "url", "description"] {
            told.push(' ');
            told.push_str(&text(reference, key).unwrap_or_default());
        }
    }
    let labels = doc.get("labels").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    told.extend(labels.flat_map(|l| [" ", l]));
    // `attack.mitre.org/techniques/T1003/001` is T1003.001.
    told = told.replace("/techniques/", " ").replace('/', ".");
    let mut techniques = ids(&told);
    tidy(&mut techniques);
    Ok(Playbook {
        name: name_of(file),
        title: line(&title, MAX_TITLE),
        techniques,
        rules: Vec::new(),
        steps: workflow(&doc),
        bundled: false,
    })
}

/// Names of the action steps from `workflow_start` on, each once; branches in the order true, false.
fn workflow(doc: &Value) -> Vec<String> {
    const NEXT: [&str; 7] = ["next_steps", "on_true", "on_false", "cases", "on_completion", "on_success", "on_failure"];
    let (Some(steps), Some(start)) = (doc.get("workflow"), doc.get("workflow_start").and_then(Value::as_str)) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut todo = vec![start];
    while let Some(id) = todo.pop() {
        let Some(step) = steps.get(id).filter(|_| seen.insert(id)) else { continue };
        let kind = step.get("type").and_then(Value::as_str).unwrap_or_default();
        let told = step.get("name").or(step.get("description")).and_then(Value::as_str);
        if let (true, Some(told)) = (kind.contains("action"), told)
            && out.len() < MAX_STEPS
        {
            out.push(line(told, MAX_STEP));
        }
        let mut next = Vec::new();
        for key in NEXT {
            match step.get(key) {
                Some(Value::String(id)) => next.push(id.as_str()),
                Some(Value::Array(ids)) => next.extend(ids.iter().filter_map(Value::as_str)),
                Some(Value::Object(cases)) => next.extend(cases.values().filter_map(Value::as_str)),
                _ => {}
            }
        }
        todo.extend(next.into_iter().rev());
    }
    out
}

#[cfg(test)]
#[path = "playbooks_tests.rs"]
mod tests;
