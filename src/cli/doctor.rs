//! `doctor`: whether this host, these settings and this terminal are fit for a desk. Looks, and changes nothing.

mod host;
mod people;

use serde::Serialize;

use super::{CliError, Ctx, Exit, keys};
use crate::config::{self, Loaded};
use crate::desk::inspect;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Let the store check every page of itself, which reads all of it.
    #[arg(long)]
    deep: bool,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// Works, but somebody should know.
    Warn,
    /// Does not work.
    Fail,
    /// Could not be found out, which is not good news.
    Unknown,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub state: State,
    pub detail: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Check {
    pub fn new(name: impl Into<String>, state: State, detail: impl Into<String>) -> Self {
        Self { name: name.into(), state, detail: detail.into(), advice: None }
    }

    pub fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, State::Ok, detail)
    }

    pub fn warn(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, State::Warn, detail)
    }

    pub fn fail(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, State::Fail, detail)
    }

    pub fn unknown(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, State::Unknown, detail)
    }

    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Exit 1 when something does not work. Under `--json` one line per check.
pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let checks = look(ctx, args.deep);
    for c in &checks {
        ctx.out().item(c)?;
        ctx.out().line(format!("{:<8} {:<16} {}", c.state.word(), c.name, c.detail))?;
        if let Some(advice) = &c.advice {
            ctx.out().line(format!("{:<25} -> {advice}", ""))?;
        }
    }
    let count = |s: State| checks.iter().filter(|c| c.state == s).count();
    ctx.out().line(format!(
        "{} ok, {} to know about, {} broken, {} unknown",
        count(State::Ok),
        count(State::Warn),
        count(State::Fail),
        count(State::Unknown)
    ))?;
    Ok(if count(State::Fail) > 0 { Exit::No } else { Exit::Done })
}

fn look(ctx: &Ctx, deep: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    match config::load(&ctx.overrides(), ctx.env()) {
        Ok(loaded) => {
            checks.push(settings(&loaded));
            checks.extend(host::settings_file(&loaded));
            checks.extend(host::data_dir(&loaded));
            checks.extend(kept(&loaded, deep));
            checks.extend(people::roster(&loaded));
            checks.extend(people::inventory(&loaded));
            checks.extend(respond(&loaded));
            checks.extend(notifiers(&loaded));
            checks.push(screen(&loaded));
            checks.extend(people::secrets(&loaded));
        }
        Err(faults) => {
            let detail = faults.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            checks.push(Check::fail("settings", detail).advise("watchfloor config check"));
        }
    }
    checks.extend(host::terminal(ctx.env(), ctx.out().stdout_is_terminal()));
    checks
}

fn settings(loaded: &Loaded) -> Check {
    let profile = loaded.profile.as_ref().map(|p| format!(", profile {p}")).unwrap_or_default();
    match loaded.files.first() {
        Some(file) => Check::ok("settings", format!("{}{profile}", file.display())),
        None => Check::ok("settings", format!("defaults: no {}", loaded.paths.config_file.display()))
            .advise("watchfloor config init"),
    }
}

/// What the desk keeps.
fn kept(loaded: &Loaded, deep: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(answer) = inspect::store(loaded, deep) {
        checks.push(match answer {
            Ok(said) if !deep || said == "ok" => Check::ok("store", said),
            Ok(damage) => Check::fail("store", damage).advise("restore a backup; the damaged file is kept as it is"),
            Err(e) => Check::fail("store", e.to_string()),
        });
    }
    if let Some((whole, said)) = inspect::audit_log(loaded) {
        checks.push(match whole {
            true => Check::ok("audit log", said),
            false => Check::fail("audit log", said).advise("watchfloor audit verify"),
        });
    }
    checks
}

fn respond(loaded: &Loaded) -> Vec<Check> {
    let files = match inspect::files(loaded) {
        Ok(files) => files,
        Err(faults) => {
            return faults.0.iter().map(|f| Check::fail("files", f.to_string())).collect();
        }
    };
    vec![
        match files.catalogue {
            Some((path, 0)) => Check::warn("actions", format!("{} has none", path.display())),
            Some((path, n)) => Check::ok("actions", format!("{n} in {}", path.display())),
            None => Check::warn("actions", "no catalogue: nothing can be proposed").advise("respond.catalogue"),
        },
        match files.policy {
            Some(path) => Check::ok("policy", path.display().to_string()),
            None => Check::ok("policy", "built in"),
        },
    ]
}

fn notifiers(loaded: &Loaded) -> Vec<Check> {
    match inspect::notifiers(loaded) {
        None => Vec::new(),
        Some(Err(e)) => vec![Check::unknown("notify", e.to_string())],
        Some(Ok(all)) => {
            let check = |(name, well, said): (String, bool, String)| match well {
                true => Check::ok("notify", format!("{name}: {said}")),
                false => {
                    Check::warn("notify", format!("{name}: {said}")).advise(format!("watchfloor notify test {name}"))
                }
            };
            all.into_iter().map(check).collect()
        }
    }
}

fn screen(loaded: &Loaded) -> Check {
    let faults = keys::faults(loaded);
    let set = &loaded.settings.console;
    match faults.is_empty() {
        true => Check::ok("screen", format!("theme {}, keymap {}", set.theme, set.keymap)),
        false => Check::fail("screen", faults.to_string().replace('\n', "; ")),
    }
}
