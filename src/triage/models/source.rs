//! What a person asked to pull.

use std::path::PathBuf;

use reqwest::Url;

use super::recommend;
use super::registry::{check_name, good_name};
use super::{ModelError, Result};

/// Where a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Url(Url),
    /// An offline copy.
    File(PathBuf),
    Hub(HubFile),
}

/// A file of a hub's repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    pub org: String,
    pub name: String,
    /// Path inside the repository, such as `Qwen3-4B-Q4_K_M.gguf`.
    pub file: String,
}

impl Source {
    /// Reads `URL`, `file:///path`, a path, `org/name:file.gguf`, or the short name of a recommended model. With it, the
    /// name it is kept under when the person gives none.
    ///
    /// # Errors
    /// [`ModelError::Usage`] says what was expected.
    pub fn parse(text: &str) -> Result<(Self, Option<String>)> {
        let text = text.trim();
        if let Some(known) = recommend::by_name(text) {
            return Ok((Self::Hub(known.file()?), Some(known.name.clone())));
        }
        if text.contains("://") {
            return Self::url(text).map(|s| (s, None));
        }
        // A file that is there is meant, whatever else the text looks like.
        let path = PathBuf::from(text);
        if path.is_file() || path.is_absolute() || text.starts_with("./") || text.starts_with("../") {
            return Ok((Self::File(path), None));
        }
        if let Some(hub) = HubFile::parse(text) {
            return Ok((Self::Hub(hub), None));
        }
        Err(ModelError::Usage(format!(
            "{text}: expected a URL, a path, org/name:file.gguf, or one of `model list --recommended`: {}",
            recommend::names().join(", ")
        )))
    }

    fn url(text: &str) -> Result<Self> {
        let url = Url::parse(text).map_err(|e| ModelError::Usage(format!("{text}: {e}")))?;
        match url.scheme() {
            "file" => {
                let path = url.to_file_path();
                path.map(Self::File)
                    .map_err(|()| ModelError::Usage(format!("{text}: expected file:///path on this host")))
            }
            "http" | "https" if !url.username().is_empty() || url.password().is_some() => Err(ModelError::Usage(
                "a URL with a user or a password in it would be kept and shown; use one without".into(),
            )),
            "http" | "https" if url.host_str().is_some() => Ok(Self::Url(url)),
            _ => Err(ModelError::Usage(format!("{text}: expected https://, http:// or file://"))),
        }
    }

    /// As kept in the record and shown: without a query, which may hold a signature.
    pub fn shown(&self) -> String {
        match self {
            Self::Url(url) => {
                let mut url = url.clone();
                url.set_query(None);
                url.set_fragment(None);
                url.to_string()
            }
            Self::File(path) => path.display().to_string(),
            Self::Hub(f) => format!("hub:{}/{}:{}", f.org, f.name, f.file),
        }
    }

    /// A name made of the file's own.
    pub fn own_name(&self) -> Result<String> {
        let file = match self {
            Self::Url(url) => url.path_segments().and_then(|mut s| s.next_back()).unwrap_or_default().to_owned(),
            Self::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Hub(f) => f.file.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let stem = file.strip_suffix(".gguf").unwrap_or(&file);
        let safe: String = stem
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
            .take(96)
            .collect();
        let safe = safe.trim_matches(['-', '.', '_']);
        check_name(safe)
            .map(|()| safe.to_owned())
            .map_err(|_| ModelError::Usage("no name can be made of the address; give one with --name".into()))
    }
}

impl HubFile {
    fn parse(text: &str) -> Option<Self> {
        let (repo, file) = text.split_once(':')?;
        let (org, name) = repo.split_once('/')?;
        let part = |s: &str| good_name(s) || s.ends_with(".gguf") && good_name(s.trim_end_matches(".gguf"));
        let good = part(org) && part(name) && file.ends_with(".gguf") && file.split('/').all(part);
        good.then(|| Self { org: org.into(), name: name.into(), file: file.into() })
    }

    pub(super) fn of(repo: &str, file: &str) -> Option<Self> {
        Self::parse(&format!("{repo}:{file}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        let hub = |o: &str, n: &str, f: &str| Source::Hub(HubFile { org: o.into(), name: n.into(), file: f.into() });
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("a b:c.gguf");
        std::fs::write(&odd, "x").unwrap();
        for (text, want, shown, name) in [
            ("org/name:f-Q4.gguf", hub("org", "name", "f-Q4.gguf"), "hub:org/name:f-Q4.gguf", "f-Q4"),
            ("o.r-g/n_1:sub/f.gguf", hub("o.r-g", "n_1", "sub/f.gguf"), "hub:o.r-g/n_1:sub/f.gguf", "f"),
            ("/m/a.gguf", Source::File("/m/a.gguf".into()), "/m/a.gguf", "a"),
            ("file:///m/a%20b.gguf", Source::File("/m/a b.gguf".into()), "/m/a b.gguf", "a-b"),
            ("../x.gguf", Source::File("../x.gguf".into()), "../x.gguf", "x"),
            (odd.to_str().unwrap(), Source::File(odd.clone()), odd.to_str().unwrap(), "a-b-c"),
            (
                "https://h.example/m/f.gguf?X-Signature=abc#x",
                Source::Url("https://h.example/m/f.gguf?X-Signature=abc#x".parse().unwrap()),
                "https://h.example/m/f.gguf",
                "f",
            ),
        ] {
            let (source, short) = Source::parse(text).unwrap();
            assert_eq!((&source, short), (&want, None), "{text}");
            assert_eq!((source.shown().as_str(), source.own_name().unwrap().as_str()), (shown, name), "{text}");
        }
        let (source, short) = Source::parse("qwen3-4b").unwrap();
        assert!(matches!(source, Source::Hub(_)) && short.as_deref() == Some("qwen3-4b"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in [
            "",
            "gpt",
            "org/name",
            "org/name:f.bin",
            "org/name:../f.gguf",
            "org/../x:f.gguf",
            "a/b/c:f.gguf",
            "ftp://h/f.gguf",
            "https://",
            "https://u:p@h/f.gguf",
            "https://u@h/f.gguf",
            "file://other-host/f.gguf",
        ] {
            assert!(matches!(Source::parse(text), Err(ModelError::Usage(_))), "{text}");
        }
        let (nameless, _) = Source::parse("https://h.example/").unwrap();
        assert!(nameless.own_name().is_err());
    }
}
