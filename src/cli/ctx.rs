//! What every command gets.

use std::cell::OnceCell;

use super::{CliError, Global, Out};
use crate::config::{self, Env, Loaded, Overrides};

/// Flags, settings and the place to write. Settings are read when first asked for, so that `completions` works
/// beside a broken file.
pub struct Ctx {
    pub global: Global,
    env: Env,
    out: Out,
    loaded: OnceCell<Loaded>,
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx").field("global", &self.global).finish_non_exhaustive()
    }
}

impl Ctx {
    pub fn new(global: Global, out: impl FnOnce(bool) -> Out, env: Env) -> Self {
        let out = out(global.json);
        Self { global, env, out, loaded: OnceCell::new() }
    }

    pub fn out(&self) -> &Out {
        &self.out
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    /// What the flags say about settings.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.global.config.clone(),
            profile: self.global.profile.clone(),
            data_dir: self.global.data_dir.clone(),
            read_only: self.global.read_only,
        }
    }

    /// The settings, read once. Faults in them are one error that names them all (exit 2).
    pub fn loaded(&self) -> Result<&Loaded, CliError> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let loaded = config::load(&self.overrides(), &self.env)?;
        Ok(self.loaded.get_or_init(|| loaded))
    }
}
