//! The terminal UI.
//!
//! ```text
//! key, signal, answer of the desk -> Msg -> update(&mut State, now, Msg) -> [Effect] -> effect runner -> Msg
//! State changed -> view::draw(&State) -> Buffer -> only the cells that differ -> terminal
//! ```
//!
//! `state` is plain data, `update` is pure, `view` only reads; I/O happens in `effect` (the desk) and `term` (the
//! terminal). `action` is the registry everything a person can do comes from.

pub mod action;
mod app;
mod case;
pub mod columns;
mod deadlines;
mod drafts;
mod effect;
pub mod health;
pub mod keymap;
pub mod layout;
mod playbook;
mod reference;
pub mod shot;
pub mod state;
pub mod term;
pub mod theme;
pub mod update;
pub mod view;
pub mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::desk::Desk;
use crate::model::query::SortKey;
pub use reference::{columns_reference, keymap_names, keys_reference, theme_names};
pub use shot::screenshot;

/// How one console is started.
#[derive(Clone, Debug, Default)]
pub struct ConsoleOptions {
    /// Takes away every action that changes something.
    pub read_only: bool,
    /// The `mono` theme, whatever the settings say.
    pub no_color: bool,
    /// Instead of the theme of the settings.
    pub theme: Option<String>,
    /// ASCII only, whatever the settings say.
    pub ascii: bool,
    /// Where a person's own `themes/*.toml` and `keymaps/*.toml` lie.
    pub config_dir: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// A theme, keymap, column or key script that cannot be used. Exit 2.
    #[error("{0}")]
    Usage(String),
    #[error("the terminal: {0}")]
    Terminal(#[from] std::io::Error),
    #[error("the console has ended after a fault of its own; what was stored is safe")]
    Panicked,
}

/// Runs the console on this desk until its user leaves, the terminal goes away or a signal ends it.
///
/// The terminal is given back in every case. Errors: see [`ConsoleError`].
pub fn run(desk: Arc<Desk>, options: ConsoleOptions) -> Result<(), ConsoleError> {
    app::run(&desk, &options)
}

/// A person's own files of one kind, as (name, text).
pub fn own_files(dir: Option<&Path>, kind: &str) -> Result<Vec<(String, String)>, ConsoleError> {
    let Some(dir) = dir.map(|d| d.join(kind)) else { return Ok(Vec::new()) };
    let Ok(entries) = std::fs::read_dir(&dir) else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(name) = path.file_stem().and_then(|s| s.to_str()) else { continue };
        if path.extension().is_some_and(|e| e == "toml") {
            let text =
                std::fs::read_to_string(&path).map_err(|e| ConsoleError::Usage(format!("{}: {e}", path.display())))?;
            out.push((name.to_owned(), text));
        }
    }
    out.sort();
    Ok(out)
}

/// The state a console starts with.
fn new_state(
    desk: &Arc<Desk>,
    options: &ConsoleOptions,
    caps: &term::Caps,
    size: (u16, u16),
) -> Result<state::State, ConsoleError> {
    let usage = |e: &dyn std::fmt::Display| ConsoleError::Usage(e.to_string());
    let settings = desk.settings();
    let set = &settings.console;
    let dir = options.config_dir.as_deref();
    let themes = own_files(dir, "themes")?;
    let keymaps = own_files(dir, "keymaps")?;
    let chosen = options.theme.as_deref().unwrap_or(&set.theme);
    let name = if options.no_color || caps.no_color { "mono" } else { chosen };
    let theme = theme::Theme::load(name, &themes).map_err(|e| usage(&e))?.at_depth(caps.depth);
    let keymap = keymap::Keymap::load(&set.keymap, &keymaps).map_err(|e| usage(&e))?;
    let (columns, unknown) = columns::by_names(&set.columns);
    if let Some(first) = unknown.first() {
        let known: Vec<&str> = columns::COLUMNS.iter().map(|c| c.word).collect();
        return Err(ConsoleError::Usage(format!(
            "console.columns: there is no column {first:?}; there are {}",
            known.join(", ")
        )));
    }
    let sort = SortKey::parse(&set.sort)
        .ok_or_else(|| ConsoleError::Usage(format!("console.sort: {:?} is no order", set.sort)))?;
    let names = theme::BUNDLED.iter().map(|(n, _)| (*n).to_owned());
    let look = state::Look {
        theme,
        ascii: options.ascii || set.ascii || caps.ascii,
        columns,
        keymap: Arc::new(keymap),
        themes: names.chain(themes.iter().map(|(n, _)| n.clone())).collect(),
        own_themes: Arc::new(themes),
        depth: caps.depth,
    };
    Ok(state::State::new(state::Start {
        now: Timestamp::now(),
        size,
        look,
        me: desk.me(),
        roster: desk.roster(),
        switchable: desk.switchable_people(),
        catalogue: desk.catalogue(),
        no_search: desk.may_search().err().map(|e| e.to_string()),
        velero: desk.velero_places(),
        snapshots: desk.snapshot_places(),
        environment: settings.desk.environment.clone(),
        environment_class: settings.desk.environment_class.clone(),
        desk_name: settings.desk.name.clone(),
        exercise: desk.exercise(),
        read_only: options.read_only || desk.read_only(),
        filter: set.filter.clone(),
        sort,
        triage: state::TriageSetup {
            backend: settings.triage.backend.clone(),
            auto: settings.triage.auto.clone(),
            auto_per_hour: settings.triage.auto_per_hour,
            watts: settings.triage.watts,
        },
    }))
}
