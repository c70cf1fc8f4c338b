//! Keys to actions: one trie per scope, read from TOML.
//!
//! ```toml
//! inherits = "default"
//! [queue]
//! "g g" = "top"          # a chord: keys with a space between
//! "ctrl-l" = "repaint"
//! "x" = "none"           # takes an inherited key away
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::action::{Do, Scope};

/// One key press, normalised: a character carries its own case, so shift is only kept for keys without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub code: Code,
    pub ctrl: bool,
    pub alt: bool,
    pub shift: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    Char(char),
    Enter,
    Esc,
    Tab,
    Backspace,
    Delete,
    Insert,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    F(u8),
}

const NAMED: [(&str, Code); 15] = [
    ("enter", Code::Enter),
    ("esc", Code::Esc),
    ("tab", Code::Tab),
    ("backspace", Code::Backspace),
    ("delete", Code::Delete),
    ("insert", Code::Insert),
    ("up", Code::Up),
    ("down", Code::Down),
    ("left", Code::Left),
    ("right", Code::Right),
    ("home", Code::Home),
    ("end", Code::End),
    ("pageup", Code::PageUp),
    ("pagedown", Code::PageDown),
    ("space", Code::Char(' ')),
];

impl Key {
    pub fn plain(code: Code) -> Self {
        Self { code, ctrl: false, alt: false, shift: false }
    }

    pub fn char(c: char) -> Self {
        Self::plain(Code::Char(c))
    }

    /// `None` for releases, repeats, lone modifiers and media keys.
    pub fn from_event(e: &KeyEvent) -> Option<Self> {
        if e.kind != KeyEventKind::Press {
            return None;
        }
        let mut shift = e.modifiers.contains(KeyModifiers::SHIFT);
        let code = match e.code {
            KeyCode::Char(c) => {
                shift = false;
                Code::Char(c)
            }
            KeyCode::Enter => Code::Enter,
            KeyCode::Esc => Code::Esc,
            KeyCode::Tab => Code::Tab,
            KeyCode::BackTab => {
                shift = true;
                Code::Tab
            }
            KeyCode::Backspace => Code::Backspace,
            KeyCode::Delete => Code::Delete,
            KeyCode::Insert => Code::Insert,
            KeyCode::Up => Code::Up,
            KeyCode::Down => Code::Down,
            KeyCode::Left => Code::Left,
            KeyCode::Right => Code::Right,
            KeyCode::Home => Code::Home,
            KeyCode::End => Code::End,
            KeyCode::PageUp => Code::PageUp,
            KeyCode::PageDown => Code::PageDown,
            KeyCode::F(n) => Code::F(n),
            _ => return None,
        };
        Some(Self {
            code,
            ctrl: e.modifiers.contains(KeyModifiers::CONTROL),
            alt: e.modifiers.contains(KeyModifiers::ALT),
            shift,
        })
    }

    /// For the text fields.
    pub fn to_event(self) -> KeyEvent {
        let code = match self.code {
            Code::Char(c) => KeyCode::Char(c),
            Code::Enter => KeyCode::Enter,
            Code::Esc => KeyCode::Esc,
            Code::Tab => KeyCode::Tab,
            Code::Backspace => KeyCode::Backspace,
            Code::Delete => KeyCode::Delete,
            Code::Insert => KeyCode::Insert,
            Code::Up => KeyCode::Up,
            Code::Down => KeyCode::Down,
            Code::Left => KeyCode::Left,
            Code::Right => KeyCode::Right,
            Code::Home => KeyCode::Home,
            Code::End => KeyCode::End,
            Code::PageUp => KeyCode::PageUp,
            Code::PageDown => KeyCode::PageDown,
            Code::F(n) => KeyCode::F(n),
        };
        let mut m = KeyModifiers::empty();
        m.set(KeyModifiers::CONTROL, self.ctrl);
        m.set(KeyModifiers::ALT, self.alt);
        m.set(KeyModifiers::SHIFT, self.shift);
        KeyEvent::new(code, m)
    }

    /// A character typed into a text.
    pub fn typed(self) -> Option<char> {
        match self.code {
            Code::Char(c) if !self.ctrl && !self.alt => Some(c),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (on, word) in [(self.ctrl, "ctrl-"), (self.alt, "alt-"), (self.shift, "shift-")] {
            if on {
                f.write_str(word)?;
            }
        }
        if let Some((name, _)) = NAMED.iter().find(|(_, c)| *c == self.code) {
            return f.write_str(name);
        }
        match self.code {
            // A keymap may name any character; only printable ones are read (see `parse_key`).
            Code::Char(c) => write!(f, "{c}"),
            Code::F(n) => write!(f, "f{n}"),
            _ => Ok(()),
        }
    }
}

/// Reads `ctrl-x`, `alt-enter`, `shift-tab`, `space`, `f5`, `?`.
pub fn parse_key(text: &str) -> Option<Key> {
    let mut rest = text;
    let mut key = Key::char(' ');
    loop {
        let lower = rest.to_ascii_lowercase();
        if lower.starts_with("ctrl-") && rest.len() > 5 {
            key.ctrl = true;
            rest = &rest[5..];
        } else if lower.starts_with("alt-") && rest.len() > 4 {
            key.alt = true;
            rest = &rest[4..];
        } else if lower.starts_with("shift-") && rest.len() > 6 {
            key.shift = true;
            rest = &rest[6..];
        } else if (lower.starts_with("c-") || lower.starts_with("m-")) && rest.len() > 2 {
            // As Emacs writes them.
            if lower.starts_with('c') {
                key.ctrl = true;
            } else {
                key.alt = true;
            }
            rest = &rest[2..];
        } else {
            break;
        }
    }
    let lower = rest.to_ascii_lowercase();
    key.code = if let Some((_, code)) = NAMED.iter().find(|(n, _)| *n == lower) {
        *code
    } else if let Some(n) = lower.strip_prefix('f').and_then(|n| n.parse::<u8>().ok()).filter(|n| (1..=24).contains(n))
    {
        Code::F(n)
    } else {
        let mut chars = rest.chars();
        let c = chars.next().filter(|c| !c.is_control() && !c.is_whitespace())?;
        if chars.next().is_some() {
            return None;
        }
        Code::Char(c)
    };
    if let Code::Char(c) = key.code {
        if key.shift && c.is_ascii_lowercase() {
            key.code = Code::Char(c.to_ascii_uppercase());
        }
        key.shift = false;
        if key.ctrl {
            key.code = Code::Char(c.to_ascii_lowercase());
        }
    }
    Some(key)
}

/// A chord, such as `g g`.
pub fn parse_chord(text: &str) -> Option<Vec<Key>> {
    let keys: Option<Vec<Key>> = text.split_whitespace().map(parse_key).collect();
    keys.filter(|k| !k.is_empty())
}

pub fn chord_text(keys: &[Key]) -> String {
    keys.iter().map(Key::to_string).collect::<Vec<_>>().join(" ")
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Leaf(Do),
    Branch(BTreeMap<Key, Node>),
}

/// What a chord so far means.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    Found(Do),
    /// More keys are awaited: the next key and what it leads to (`None`: to more).
    Pending(Vec<(Key, Option<Do>)>),
    Nothing,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Keymap {
    pub name: String,
    scopes: BTreeMap<Scope, BTreeMap<Vec<Key>, Do>>,
    tries: BTreeMap<Scope, Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keymap {keymap}: {what}")]
pub struct KeymapError {
    pub keymap: String,
    pub what: String,
}

/// The keymaps that come with the program: name and TOML.
pub const BUNDLED: [(&str, &str); 3] = [
    ("default", include_str!("../../../keymaps/default.toml")),
    ("vim", include_str!("../../../keymaps/vim.toml")),
    ("emacs", include_str!("../../../keymaps/emacs.toml")),
];

impl Keymap {
    /// Loads by name: `more` (name, TOML) stands before the bundled ones.
    pub fn load(name: &str, more: &[(String, String)]) -> Result<Self, KeymapError> {
        let mut scopes = BTreeMap::new();
        read_into(&mut scopes, name, more, 0)?;
        let mut tries = BTreeMap::new();
        for (scope, keys) in &scopes {
            let mut root = BTreeMap::new();
            for (chord, act) in keys {
                insert(&mut root, chord, *act, keys)
                    .map_err(|e| KeymapError { keymap: name.to_owned(), what: format!("[{}] {e}", scope.word()) })?;
            }
            tries.insert(*scope, Node::Branch(root));
        }
        Ok(Self { name: name.to_owned(), scopes, tries })
    }

    /// Looks a chord up in several scopes, nearest first. A longer chord in a near scope beats a leaf further out.
    pub fn look_up(&self, scopes: &[Scope], chord: &[Key]) -> Lookup {
        let mut pending: BTreeMap<Key, Option<Do>> = BTreeMap::new();
        for scope in scopes {
            let Some(mut node) = self.tries.get(scope) else { continue };
            let mut found = true;
            for key in chord {
                match node {
                    Node::Branch(next) if next.contains_key(key) => node = &next[key],
                    _ => {
                        found = false;
                        break;
                    }
                }
            }
            match node {
                _ if !found => {}
                Node::Leaf(act) if pending.is_empty() => return Lookup::Found(*act),
                Node::Leaf(_) => {}
                Node::Branch(next) => {
                    for (key, n) in next {
                        let to = match n {
                            Node::Leaf(act) => Some(*act),
                            Node::Branch(_) => None,
                        };
                        pending.entry(*key).or_insert(to);
                    }
                }
            }
        }
        if pending.is_empty() { Lookup::Nothing } else { Lookup::Pending(pending.into_iter().collect()) }
    }

    /// The chords of an action in these scopes, shortest first.
    pub fn chords(&self, act: Do, scopes: &[Scope]) -> Vec<Vec<Key>> {
        let mut out: Vec<Vec<Key>> = Vec::new();
        for scope in scopes {
            for (chord, a) in self.scopes.get(scope).into_iter().flatten() {
                if *a == act && !out.contains(chord) {
                    out.push(chord.clone());
                }
            }
        }
        // Letters before arrows and the like, for they are what hands learn.
        let held = |k: &Key| k.ctrl || k.alt || k.shift;
        // Escape is what everybody tries first.
        let esc = |c: &Vec<Key>| c.len() == 1 && c[0] == Key::plain(Code::Esc);
        out.sort_by_key(|c| {
            (!esc(c), c.len(), c.iter().any(held), !matches!(c.first(), Some(Key { code: Code::Char(_), .. })))
        });
        out
    }

    /// The chord to show for an action.
    pub fn hint(&self, act: Do, scopes: &[Scope]) -> Option<String> {
        self.chords(act, scopes).first().map(|c| chord_text(c))
    }

    /// Everything bound: scope, chord, action.
    pub fn all(&self) -> impl Iterator<Item = (Scope, &[Key], Do)> {
        self.scopes.iter().flat_map(|(s, m)| m.iter().map(move |(k, a)| (*s, k.as_slice(), *a)))
    }
}

type Scopes = BTreeMap<Scope, BTreeMap<Vec<Key>, Do>>;

fn read_into(into: &mut Scopes, name: &str, more: &[(String, String)], depth: usize) -> Result<(), KeymapError> {
    let fault = |what: String| KeymapError { keymap: name.to_owned(), what };
    if depth > 8 {
        return Err(fault("it inherits from itself".into()));
    }
    let bundled = BUNDLED.iter().find(|(n, _)| *n == name).map(|(_, t)| *t);
    let own = more.iter().find(|(n, _)| n == name).map(|(_, t)| t.as_str()).filter(|_| depth == 0 || bundled.is_none());
    let Some(text) = own.or(bundled) else {
        let known: Vec<&str> = BUNDLED.iter().map(|(n, _)| *n).chain(more.iter().map(|(n, _)| n.as_str())).collect();
        return Err(fault(format!("there is no such keymap; there are {}", known.join(", "))));
    };
    let table: toml::Table = toml::from_str(text).map_err(|e| fault(e.to_string()))?;
    if let Some(parent) = table.get("inherits") {
        let parent = parent.as_str().ok_or_else(|| fault("inherits: expected the name of a keymap".into()))?;
        read_into(into, parent, more, depth + 1)?;
    }
    for (word, value) in &table {
        if word == "inherits" {
            continue;
        }
        let scope = Scope::parse(word).ok_or_else(|| {
            fault(format!("[{word}]: no such scope; scopes are {}", Scope::ALL.map(Scope::word).join(", ")))
        })?;
        let keys = value.as_table().ok_or_else(|| fault(format!("[{word}]: expected a table of keys")))?;
        read_scope(into.entry(scope).or_default(), keys).map_err(|e| fault(format!("[{word}] {e}")))?;
    }
    Ok(())
}

fn read_scope(into: &mut BTreeMap<Vec<Key>, Do>, keys: &toml::Table) -> Result<(), String> {
    // Two spellings of the same key within one file are a mistake; overriding an inherited key is not.
    let mut seen: BTreeMap<Vec<Key>, &str> = BTreeMap::new();
    for (text, value) in keys {
        let chord = parse_chord(text)
            .ok_or_else(|| format!("{text:?}: no such key; write such as \"ctrl-x\", \"space\", \"g g\""))?;
        if let Some(before) = seen.insert(chord.clone(), text) {
            return Err(format!("{before:?} and {text:?} are the same key"));
        }
        let word = value.as_str().ok_or_else(|| format!("{text:?}: expected the name of an action"))?;
        if word == "none" {
            into.remove(&chord);
            continue;
        }
        let act = Do::parse(word).ok_or_else(|| {
            let near = Do::ALL
                .iter()
                .map(|d| d.word())
                .max_by(|a, b| strsim::jaro_winkler(a, word).total_cmp(&strsim::jaro_winkler(b, word)));
            format!("{text:?}: no action {word:?}; did you mean {:?}?", near.unwrap_or("help"))
        })?;
        // A chord that begins with an inherited key, or the other way round, replaces it.
        into.retain(|k, _| seen.contains_key(k) || !(k.starts_with(&chord) || chord.starts_with(k)));
        into.insert(chord, act);
    }
    Ok(())
}

fn insert(root: &mut BTreeMap<Key, Node>, chord: &[Key], act: Do, all: &BTreeMap<Vec<Key>, Do>) -> Result<(), String> {
    let clash = || {
        let other = all.iter().find(|(k, _)| k.as_slice() != chord && (k.starts_with(chord) || chord.starts_with(k)));
        let (keys, a) = other.map_or((String::new(), ""), |(k, a)| (chord_text(k), a.word()));
        format!("{:?} ({}) and {keys:?} ({a}): one begins the other", chord_text(chord), act.word())
    };
    let Some((last, path)) = chord.split_last() else { return Ok(()) };
    let mut node = root;
    for key in path {
        match node.entry(*key).or_insert_with(|| Node::Branch(BTreeMap::new())) {
            Node::Branch(next) => node = next,
            Node::Leaf(_) => return Err(clash()),
        }
    }
    if node.insert(*last, Node::Leaf(act)).is_some() {
        return Err(clash());
    }
    Ok(())
}
