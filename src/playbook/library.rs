//! The playbooks of a desk: a folder of its own (`*.toml` in the short form, `*.json` in CACAO 2.0), and those that ship.

use std::path::Path;
use std::path::PathBuf;

use super::Document;
use super::document::MAX_BYTES;
use super::short;
use crate::config::fault::nearest;
use crate::model::playbook::Playbook;

/// Files read from a folder at most.
const MOST: usize = 500;

macro_rules! bundled {
    ($($key:literal),* $(,)?) => {
        [$(($key, include_str!(concat!("../../assets/playbooks/", $key, ".toml")))),*]
    };
}

/// In the order they are listed: incidents, then runbooks.
const BUNDLED: [(&str, &str); 21] = bundled![
    "malware",
    "phishing",
    "ransomware",
    "data-breach",
    "insider-threat",
    "network-traffic",
    "log-analysis",
    "slow-responses",
    "outage",
    "memory",
    "database-connections",
    "report-failure",
    "unauthorised-access",
    "scale-application",
    "database-restore",
    "full-restore",
    "blue-green",
    "canary",
    "rolling-update",
    "infrastructure-update",
    "dr-test",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Bundled,
    File(PathBuf),
    /// A model drafted it, and this person approved it.
    Drafted {
        approved_by: String,
    },
}

impl Origin {
    pub fn word(&self) -> String {
        match self {
            Self::Bundled => "bundled".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Drafted { approved_by } => format!("GENERATED, approved by {approved_by}"),
        }
    }
}

/// A file that is no playbook, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub path: PathBuf,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub document: Document,
    pub book: Playbook,
    pub origin: Origin,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Library {
    items: Vec<Item>,
    broken: Vec<Broken>,
}

impl Library {
    /// Those that ship with the program.
    pub fn bundled() -> Self {
        let mut out = Self::default();
        for (key, text) in BUNDLED {
            let path = PathBuf::from(format!("{key}.toml"));
            match short::from_toml(&path, text) {
                Ok(document) => out.add(document, key, Origin::Bundled),
                // A test holds that there is none.
                Err(e) => out.broken.push(Broken { path, why: e.to_string() }),
            }
        }
        out
    }

    /// Those of a folder before those that ship; one of the same key takes the place of one that ships. What cannot be
    /// read is named by [`Library::broken`] and keeps nobody from the rest.
    pub fn read(folder: &Path) -> Self {
        let mut out = Self::default();
        let mut files = match files(folder) {
            Ok(files) => files,
            Err(e) => {
                out.broken.push(Broken { path: folder.to_owned(), why: format!("cannot be read: {e}") });
                Vec::new()
            }
        };
        if files.len() > MOST {
            let why = format!("more than {MOST} playbooks: the rest is left out");
            out.broken.push(Broken { path: folder.to_owned(), why });
            files.truncate(MOST);
        }
        for path in files {
            let key = path.file_stem().map(|s| super::ids::key_of(&s.to_string_lossy())).unwrap_or_default();
            match load(&path) {
                Ok(document) => out.add(document, &key, Origin::File(path)),
                Err(why) => out.broken.push(Broken { path, why }),
            }
        }
        for item in Self::bundled().items {
            if !out.items.iter().any(|i| i.book.key == item.book.key) {
                out.items.push(item);
            }
        }
        out
    }

    fn add(&mut self, document: Document, key: &str, origin: Origin) {
        let book = document.view(key);
        match (self.items.iter().find(|i| i.book.key == book.key), &origin) {
            (Some(first), Origin::File(path)) => {
                let why = format!("a second playbook of the key {:?}; the first is {}", book.key, first.origin.word());
                self.broken.push(Broken { path: path.clone(), why });
            }
            _ => self.items.push(Item { document, book, origin }),
        }
    }

    /// Adds a draft that was approved. Never in the place of another playbook.
    pub fn with_draft(&mut self, document: Document, key: &str, approved_by: &str) {
        let book = document.view(key);
        if !self.items.iter().any(|i| i.book.key == book.key || i.book.id == book.id) {
            let origin = Origin::Drafted { approved_by: approved_by.to_owned() };
            self.items.push(Item { document, book, origin });
        }
    }

    pub fn items(&self) -> &[Item] {
        &self.items
    }

    pub fn books(&self) -> impl Iterator<Item = &Playbook> {
        self.items.iter().map(|i| &i.book)
    }

    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// By key or by id.
    pub fn get(&self, word: &str) -> Option<&Item> {
        self.items.iter().find(|i| i.book.key == word || i.book.id == word)
    }

    /// The key that was probably meant.
    pub fn nearest(&self, word: &str) -> Option<&str> {
        nearest(word, self.items.iter().map(|i| i.book.key.as_str()))
    }
}

/// The files of a folder that are playbooks by their name, in order.
pub(super) fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.flatten().map(|e| e.path()).collect();
    files.retain(|p| matches!(extension(p).as_str(), "toml" | "json") && p.is_file());
    files.sort();
    Ok(files)
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).unwrap_or_default()
}

/// Reads one file by its name's ending: `.toml` is the short form, anything else is JSON.
///
/// # Errors
/// In words, with line and column where there is one.
pub fn load(path: &Path) -> Result<Document, String> {
    let size = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?.len();
    if size > MAX_BYTES as u64 {
        return Err(format!("{size} bytes; a playbook has at most {MAX_BYTES}"));
    }
    parse(path, &std::fs::read(path).map_err(|e| format!("cannot be read: {e}"))?)
}

/// The same of what a file holds.
///
/// # Errors
/// In words, with line and column where there is one.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Document, String> {
    if extension(path) == "toml" {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        return short::from_toml(path, text).map_err(|e| e.to_string());
    }
    Document::read(bytes).map_err(|e| e.to_string())
}
