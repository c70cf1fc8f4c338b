//! What every command gets.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::span::EnteredSpan;

use super::{CliError, Global, Out};
use crate::config::log::{self, LogGuard};
use crate::config::{self, Env, Loaded, Overrides};
use crate::desk::{Demo, Desk};

/// Flags, settings and the place to write. Settings are read when first asked for, so that `completions` works
/// beside a broken file.
pub struct Ctx {
    pub global: Global,
    env: Env,
    out: Out,
    loaded: OnceCell<Loaded>,
    desk: OnceCell<Arc<Desk>>,
    // Dropped in this order: the span ends before the log does.
    request: OnceCell<EnteredSpan>,
    log: OnceCell<LogGuard>,
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx").field("global", &self.global).finish_non_exhaustive()
    }
}

impl Ctx {
    pub fn new(global: Global, out: impl FnOnce(bool) -> Out, env: Env) -> Self {
        let out = out(global.json);
        Self {
            global,
            env,
            out,
            loaded: OnceCell::new(),
            desk: OnceCell::new(),
            request: OnceCell::new(),
            log: OnceCell::new(),
        }
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

    /// The data folder, without opening anything in it.
    pub fn data_dir(&self) -> Result<PathBuf, CliError> {
        match &self.global.data_dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.loaded()?.paths.data_dir.clone()),
        }
    }

    /// The desk, opened once. A data folder that a demo made is opened as the demo it is, whatever the settings say.
    pub fn desk(&self) -> Result<Arc<Desk>, CliError> {
        if let Some(desk) = self.desk.get() {
            return Ok(Arc::clone(desk));
        }
        let person = self.global.as_person.as_deref();
        // A demo's folder is known by what is in it; broken settings elsewhere do not matter to it.
        let demo = match &self.global.data_dir {
            Some(dir) => Some(dir.clone()),
            None => self.env.get("WATCHFLOOR_DATA_DIR").map(PathBuf::from),
        };
        let desk = match demo.filter(|dir| Demo::is_at(dir)) {
            Some(dir) => Demo::attach(dir, person, self.global.read_only)?,
            _ if person.is_some() => {
                return Err(CliError::refused(
                    "--as is for demo desks: elsewhere the operating system says who you are",
                ));
            }
            _ => Desk::configured(self.loaded()?)?,
        };
        self.start_log(&desk)?;
        Ok(Arc::clone(self.desk.get_or_init(|| Arc::new(desk))))
    }

    /// Logs into the desk's data folder from now on, everything of this command under one `request_id`. A log that
    /// cannot be written is said and otherwise done without.
    pub fn start_log(&self, desk: &Desk) -> Result<(), CliError> {
        if self.log.get().is_some() {
            return Ok(());
        }
        match log::start(desk.data_dir(), &desk.settings().log) {
            Ok(guard) => {
                self.log.get_or_init(|| guard);
                self.request.get_or_init(|| log::request("command").entered());
                tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "started");
                Ok(())
            }
            Err(e) => self.out.note(format!("no log is written: {e}")),
        }
    }
}
