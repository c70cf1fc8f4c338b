//! Layers of settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::fault::{Faults, Place};
use super::{Paths, Settings};

/// The environment variables of a process, taken once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env(BTreeMap<String, String>);

/// Values stay out: any of them may be a password.
impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Env({} variables)", self.0.len())
    }
}

impl Env {
    /// Of this process. Names and values that are not UTF-8 are left out.
    pub fn process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        Self(iter.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

/// What the command line says about settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub config: Option<PathBuf>,
    pub profile: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub read_only: bool,
}

/// Settings, and where they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub settings: Settings,
    pub paths: Paths,
    /// Files that were read.
    pub files: Vec<PathBuf>,
    pub profile: Option<String>,
    /// `--read-only`, or `desk.read_only`.
    pub read_only: bool,
    /// The environment settings and secrets were taken from.
    pub env: Env,
}

pub fn load(over: &Overrides, env: &Env) -> Result<Loaded, Faults> {
    let dirs = directories::ProjectDirs::from("", "", "watchfloor")
        .ok_or_else(|| Faults::one(Place::Env("HOME".into()), "no home folder; give --config and --data-dir"))?;
    let config_file = over.config.clone().unwrap_or_else(|| dirs.config_dir().join("config.toml"));
    let mut settings = Settings::default();
    let mut files = Vec::new();
    match std::fs::read_to_string(&config_file) {
        Ok(source) => {
            settings = toml::from_str(&source).map_err(|e| {
                Faults::one(Place::at(&config_file, &source, e.span().map_or(0, |s| s.start)), e.message())
            })?;
            files.push(config_file.clone());
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && over.config.is_none() => {}
        Err(e) => return Err(Faults::one(Place::Whole(config_file), format!("cannot be read: {e}"))),
    }
    if let Some(dir) = &over.data_dir {
        settings.desk.data_dir = Some(dir.clone());
    }
    let data_dir = settings.desk.data_dir.clone().unwrap_or_else(|| dirs.data_dir().to_owned());
    let paths = Paths {
        config_dir: config_file.parent().map(PathBuf::from).unwrap_or_default(),
        config_file,
        log_dir: data_dir.join("log"),
        data_dir,
    };
    Ok(Loaded { settings, paths, files, profile: over.profile.clone(), read_only: over.read_only, env: env.clone() })
}
