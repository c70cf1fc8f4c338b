//! What is wrong with a file people write, and where.

use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    /// What is wrong and what was expected, such as `unknown key "colour"; did you mean "color"?`.
    pub message: String,
}

/// Where it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Line and column from 1, column in characters.
    File {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    Env(String),
    Flag(&'static str),
    /// The file as a whole.
    Whole(PathBuf),
}

impl Place {
    /// Where byte `offset` of `source` is.
    pub fn at(path: &Path, source: &str, offset: usize) -> Self {
        let mut end = offset.min(source.len());
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        let before = &source[..end];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Self::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl Place {
    /// The file it is about, if it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } | Self::Whole(path) => Some(path),
            Self::Env(_) | Self::Flag(_) => None,
        }
    }

    /// Short, for a sentence about another place of the same file.
    pub fn line(&self) -> String {
        match self {
            Self::File { line, .. } => format!("line {line}"),
            other => other.to_string(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Whole(path) => write!(f, "{}", path.display()),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// `{"where", "file", "line", "column", "message"}`; what does not apply is null.
impl serde::Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let (file, at) = match &self.place {
            Place::File { path, line, column } => (Some(path), Some((line, column))),
            Place::Whole(path) => (Some(path), None),
            Place::Env(_) | Place::Flag(_) => (None, None),
        };
        let mut out = s.serialize_struct("Fault", 5)?;
        out.serialize_field("where", &self.place.to_string())?;
        out.serialize_field("file", &file.map(|f| f.to_string_lossy()))?;
        out.serialize_field("line", &at.map(|a| a.0))?;
        out.serialize_field("column", &at.map(|a| a.1))?;
        out.serialize_field("message", &self.message)?;
        out.end()
    }
}

/// Everything that is wrong, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    pub fn add(&mut self, place: Place, message: impl Into<String>) {
        self.0.push(Fault { place, message: message.into() });
    }

    pub fn one(place: Place, message: impl Into<String>) -> Self {
        Self(vec![Fault { place, message: message.into() }])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of the file, the same fault only once.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| a.place.cmp(&b.place));
        // What several readers say of one place is told once, also with something else said between.
        for fault in std::mem::take(&mut self.0) {
            let told = self.0.iter().rev().take_while(|f| f.place == fault.place).any(|f| *f == fault);
            if !told {
                self.0.push(fault);
            }
        }
    }

    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// `value` if nothing was wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The name in `known` that was probably meant: within a third of its length in typing errors.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = typed.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|(d, k)| *d <= (k.len().max(typed.len()) / 3).max(1))
        .min_by_key(|(d, k)| (*d, !k.to_lowercase().starts_with(&lower)))
        .map(|(_, k)| k)
}
