//! The model's file: which one, and its digest.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::triage::TriageError;

/// The file of the settings: a path, the name of a model in `dir`, or, left empty, the one that `model use` chose.
pub fn resolve(model: &str, dir: &Path) -> Result<PathBuf, TriageError> {
    let wrong = |what: String| Err(TriageError::Configuration(format!("triage.local.model: {what}")));
    let model = model.trim();
    if model.contains('/') || Path::new(model).is_absolute() || has_gguf_ending(model) && Path::new(model).is_file() {
        let path = PathBuf::from(model);
        return if path.is_file() { Ok(path) } else { wrong(format!("there is no file {model}")) };
    }
    let name = match model {
        "" => match std::fs::read_to_string(dir.join("current")) {
            Ok(text) => text.lines().next().unwrap_or_default().trim().to_owned(),
            Err(_) => String::new(),
        },
        name => name.to_owned(),
    };
    if name.is_empty() {
        return wrong("no model is chosen: `watchfloor model pull` gets one, `watchfloor model use` chooses it".into());
    }
    // A name comes from a file that a person may have written.
    if name.contains(['/', '\\', '\0']) || name.starts_with('.') {
        return wrong(format!("{name:?} is no name of a model"));
    }
    let path = dir.join(format!("{}.gguf", name.strip_suffix(".gguf").unwrap_or(&name)));
    if path.is_file() {
        Ok(path)
    } else {
        wrong(format!("there is no model {name:?} in {}: `watchfloor model list` shows those there are", dir.display()))
    }
}

fn has_gguf_ending(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
}

/// How a model is called: its file's name.
pub fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Which bytes a path leads to, as far as the file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub len: u64,
    pub modified: Option<SystemTime>,
}

pub fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp { len: meta.len(), modified: meta.modified().ok() })
}

/// The digest that `model pull` checked and wrote beside the file, if it is about a file of this length.
pub fn noted_digest(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path.with_extension("toml")).ok()?;
    let note: toml::Table = text.parse().ok()?;
    let len = std::fs::metadata(path).ok()?.len();
    let same = note.get("bytes").and_then(toml::Value::as_integer).is_none_or(|n| u64::try_from(n) == Ok(len));
    let digest = note.get("sha256")?.as_str()?.trim().to_ascii_lowercase();
    (same && digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digest)
}

/// SHA-256 of the file, hex. `None` when it cannot be read or `stop` says so.
pub fn digest(path: &Path, stop: &Arc<AtomicBool>) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        match file.read(&mut buffer).ok()? {
            0 => return Some(hex::encode(hasher.finalize())),
            n => hasher.update(buffer.get(..n)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_path_by_name_or_by_choice() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("small.gguf");
        std::fs::write(&file, "GGUF").unwrap();
        assert_eq!(resolve("small", dir.path()), Ok(file.clone()));
        assert_eq!(resolve("small.gguf", dir.path()), Ok(file.clone()));
        assert_eq!(resolve(&file.display().to_string(), dir.path()), Ok(file.clone()));
        let say = |model: &str| resolve(model, dir.path()).unwrap_err().to_string();
        assert!(say("").contains("no model is chosen"), "{}", say(""));
        assert!(say("large").contains("no model \"large\""), "{}", say("large"));
        assert!(say("/none/there.gguf").contains("no file /none/there.gguf"));
        std::fs::write(dir.path().join("current"), "small\n").unwrap();
        assert_eq!(resolve("", dir.path()), Ok(file));
        std::fs::write(dir.path().join("current"), "../small\n").unwrap();
        assert!(say("").contains("no name of a model"), "a choice does not lead out of the folder");
    }

    #[test]
    fn a_noted_digest_is_about_this_file_or_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        std::fs::write(&path, "GGUF").unwrap();
        let real = digest(&path, &Arc::default()).unwrap();
        assert_eq!(noted_digest(&path), None);
        let note = |text: String| {
            std::fs::write(path.with_extension("toml"), text).unwrap();
            noted_digest(&path)
        };
        assert_eq!(note(format!("sha256 = \"{real}\"\nbytes = 4\n")).as_deref(), Some(real.as_str()));
        assert_eq!(note(format!("sha256 = \"{real}\"\nbytes = 5\n")), None, "another file");
        assert_eq!(note("sha256 = \"short\"\n".into()), None);
        assert_eq!(digest(&path, &Arc::new(AtomicBool::new(true))), None);
    }
}
