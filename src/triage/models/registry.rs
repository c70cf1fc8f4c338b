//! The folder of models: `NAME.gguf`, `NAME.toml` beside it, and `current`, which names the one in use.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::gguf::{self, Header};
use super::place::{self, Fit, Room};
use super::{Digest, ModelError, Result};
use crate::config::settings::LocalSettings;
use crate::text::{Untrusted, clean};

const CURRENT: &str = "current";
/// Of a record beside a model, bytes.
const ENTRY_MAX: u64 = 64 * 1024;

/// Whose word the digest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pin {
    /// A person gave it.
    Person,
    /// The hub's record of the file.
    Hub,
    /// A list or a record that came with the file.
    Beside,
    /// Nobody's: it is that of the bytes that came first.
    First,
}

impl Pin {
    pub fn words(self) -> &'static str {
        match self {
            Self::Person => "given by hand",
            Self::Hub => "from the hub's record",
            Self::Beside => "from the record beside the file",
            Self::First => "of the bytes that came first; nobody vouched for it",
        }
    }
}

/// What is kept about a model: the record beside its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it came from: a URL without its query, `hub:org/name:file` or a path.
    pub source: Untrusted,
    pub sha256: Digest,
    pub pinned: Pin,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub licence: Option<Untrusted>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub architecture: Option<Untrusted>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parameters: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quantisation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub context_length: Option<u64>,
    pub added_at: Timestamp,
}

/// One file of the folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    /// It is the one in use.
    pub current: bool,
    /// `None`: it was put here by hand, so that its digest and its source are not known; or why its record is no good.
    pub entry: std::result::Result<Option<Entry>, String>,
    pub header: std::result::Result<Header, String>,
    /// Bytes of memory it takes at the configured context.
    pub memory: u64,
    pub fit: Fit,
}

impl Model {
    /// The licence its source told, else the one its file tells.
    pub fn licence(&self) -> Option<&Untrusted> {
        let told = self.entry.as_ref().ok().and_then(|e| e.as_ref()?.licence.as_ref());
        told.or(self.header.as_ref().ok().and_then(|h| h.licence.as_ref()))
    }

    pub fn pinned(&self) -> Option<&Digest> {
        self.entry.as_ref().ok().and_then(|e| Some(&e.as_ref()?.sha256))
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Registry {
    dir: PathBuf,
    /// A name or a path in the settings, which beats `current`.
    chosen: String,
    context: u32,
}

impl Registry {
    /// The folder of the settings, else `models` in the data folder. It need not be there.
    pub fn new(settings: &LocalSettings, data_dir: &Path) -> Self {
        Self {
            dir: settings.dir.clone().unwrap_or_else(|| data_dir.join("models")),
            chosen: settings.model.trim().to_owned(),
            context: settings.context_tokens,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Tokens of context that memory is reckoned for.
    pub fn context(&self) -> u32 {
        self.context
    }

    /// What the settings name, if they do: it is in use whatever `current` says.
    pub fn chosen(&self) -> Option<&str> {
        Some(self.chosen.as_str()).filter(|c| !c.is_empty())
    }

    pub fn room(&self) -> Room {
        place::room(&self.dir)
    }

    /// Name of the model in use; a path in the settings is no name.
    pub fn current(&self) -> Option<String> {
        if let Some(chosen) = self.chosen() {
            return good_name(chosen).then(|| chosen.to_owned());
        }
        let name = read_short(&self.dir.join(CURRENT)).ok()?;
        let name = name.lines().next()?.trim();
        good_name(name).then(|| name.to_owned())
    }

    /// Every model of the folder, by name. A folder that is not there holds none.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<Model>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.fault("the folder cannot be read", &self.dir, &e)),
        };
        let room = self.room();
        let mut names: Vec<String> = entries
            .filter_map(|e| e.ok()?.file_name().into_string().ok()?.strip_suffix(".gguf").map(str::to_owned))
            .filter(|n| good_name(n))
            .collect();
        names.sort();
        Ok(names.iter().filter_map(|n| self.look(n, &room).ok()).collect())
    }

    /// One model.
    ///
    /// # Errors
    /// A name that can be none; no such model, with those there are.
    pub fn get(&self, name: &str) -> Result<Model> {
        let name = name.strip_suffix(".gguf").unwrap_or(name);
        check_name(name)?;
        self.look(name, &self.room()).map_err(|e| {
            if e.kind() != io::ErrorKind::NotFound {
                return self.fault("the model cannot be read", &self.file(name), &e);
            }
            let names: Vec<_> = self.list().unwrap_or_default().into_iter().map(|m| m.name).collect();
            let there = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
            ModelError::No(format!("there is no model {name} in {} (there is: {there})", self.dir.display()))
        })
    }

    fn look(&self, name: &str, room: &Room) -> io::Result<Model> {
        let path = self.file(name);
        let meta = fs::metadata(&path)?;
        if !meta.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let header = gguf::read_file(&path).map_err(|e| e.to_string());
        let memory = place::need(meta.len(), header.as_ref().ok(), self.context);
        let fit = if header.is_ok() { Fit::of(memory, room) } else { Fit::Unknown };
        let current = self.current().is_some_and(|c| c == name) || Path::new(&self.chosen) == path;
        Ok(Model {
            name: name.to_owned(),
            entry: self.entry(name),
            header,
            bytes: meta.len(),
            current,
            memory,
            fit,
            path,
        })
    }

    fn entry(&self, name: &str) -> std::result::Result<Option<Entry>, String> {
        let path = self.record(name);
        match read_short(&path) {
            Ok(text) => read_entry(&text, &path).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: {e}", path.display())),
        }
    }

    /// The digest of a model's bytes as they are now.
    ///
    /// # Errors
    /// No such model, or it cannot be read.
    pub fn digest(&self, name: &str, told: &mut dyn FnMut(u64)) -> Result<Digest> {
        let model = self.get(name)?;
        Digest::of_file(&model.path, told).map_err(|e| self.fault("the model cannot be read", &model.path, &e))
    }

    /// Makes a model the one in use.
    ///
    /// # Errors
    /// No such model, not a model, or more than this machine has memory for (unless forced).
    pub fn choose(&self, name: &str, force: bool) -> Result<Model> {
        let model = self.get(name)?;
        if let Err(why) = &model.header {
            return Err(ModelError::No(format!("{}: {why}", model.name)));
        }
        if model.fit == Fit::TooLarge && !force {
            let words = model.fit.words(model.memory, &self.room());
            return Err(ModelError::No(format!("{} is {words}; --force takes it anyway", model.name)));
        }
        let path = self.dir.join(CURRENT);
        write_atomic(&path, format!("{}\n", model.name).as_bytes())
            .map_err(|e| self.fault("cannot be written", &path, &e))?;
        let current = self.current().is_some_and(|c| c == model.name);
        Ok(Model { current, ..model })
    }

    /// Removes a model with its record and what is left of a download.
    ///
    /// # Errors
    /// No such model; it is in use and not forced; it is being downloaded.
    pub fn remove(&self, name: &str, force: bool) -> Result<Model> {
        let model = self.get(name)?;
        if model.current && !force {
            return Err(ModelError::Refused(format!(
                "{} is in use: `model use` another first, or --force",
                model.name
            )));
        }
        let _lock = match self.part(&model.name).exists() {
            true => Some(Part::open(self, &model.name)?),
            false => None,
        };
        fs::remove_file(&model.path).map_err(|e| self.fault("cannot be removed", &model.path, &e))?;
        if model.current && self.chosen.is_empty() {
            let _ = fs::remove_file(self.dir.join(CURRENT));
        }
        for left in [self.record(&model.name), self.part(&model.name), self.part_record(&model.name)] {
            match fs::remove_file(&left) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(self.fault("cannot be removed", &left, &e));
                }
                _ => {}
            }
        }
        Ok(model)
    }

    /// Keeps the record of a model.
    pub(super) fn write_entry(&self, name: &str, entry: &Entry) -> Result<()> {
        let path = self.record(name);
        let text = toml::to_string(entry).map_err(|e| ModelError::No(format!("{}: {e}", path.display())))?;
        write_atomic(&path, text.as_bytes()).map_err(|e| self.fault("cannot be written", &path, &e))
    }

    pub(super) fn make_dir(&self) -> Result<()> {
        crate::config::paths::private_dir(&self.dir).map_err(|e| self.fault("cannot be made", &self.dir, &e))
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.gguf"))
    }

    pub(super) fn record(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.toml"))
    }

    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.gguf.part"))
    }

    pub(super) fn part_record(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.gguf.part.toml"))
    }

    pub(super) fn fault(&self, what: &str, path: &Path, e: &io::Error) -> ModelError {
        let said = format!("{}: {what}: {e}", path.display());
        match e.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ModelError::Refused(said),
            _ => ModelError::No(said),
        }
    }
}

/// What has come of a model so far, held by one process.
#[derive(Debug)]
pub(super) struct Part {
    pub file: File,
    pub path: PathBuf,
}

impl Part {
    /// Opens it, made when it is not there.
    ///
    /// # Errors
    /// [`ModelError::Refused`] when another process has it.
    pub fn open(registry: &Registry, name: &str) -> Result<Self> {
        let path = registry.part(name);
        loop {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(|e| registry.fault("cannot be written", &path, &e))?;
            match fs4::FileExt::try_lock(&file) {
                Ok(()) => {}
                Err(fs4::TryLockError::WouldBlock) => {
                    return Err(ModelError::Refused(format!("another process is downloading {name} right now")));
                }
                Err(fs4::TryLockError::Error(e)) => return Err(registry.fault("cannot be locked", &path, &e)),
            }
            // Between opening and locking, the other one may have finished and renamed it: then this is its model.
            if same_file(&file, &path) {
                return Ok(Self { file, path });
            }
        }
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |m: fs::Metadata| (m.dev(), m.ino());
    let (ours, there) = (file.metadata().map(id), fs::metadata(path).map(id));
    ours.ok().is_some_and(|ours| there.ok() == Some(ours))
}

/// Reads a record that stands beside a model.
pub(super) fn read_entry(text: &str, path: &Path) -> std::result::Result<Entry, String> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(0, |s| text[..s.start.min(text.len())].lines().count());
        format!("{}:{line}: {}", path.display(), e.message())
    })
}

pub(super) fn read_short(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    File::open(path)?.take(ENTRY_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Whole or not at all, also when the power fails.
pub(super) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_dir(dir)
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Safe as a file name everywhere, and for a terminal and a command line.
pub(super) fn good_name(name: &str) -> bool {
    (1..=96).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.ends_with('.')
        && !name.ends_with(".gguf")
}

pub(super) fn check_name(name: &str) -> Result<()> {
    if good_name(name) {
        return Ok(());
    }
    let shown = clean(&Untrusted::new(crate::text::front(name, 120))).as_str().to_owned();
    Err(ModelError::Usage(format!(
        "{shown:?} is no name for a model: 1 to 96 of A-Z a-z 0-9 . _ -, a letter or digit first"
    )))
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
