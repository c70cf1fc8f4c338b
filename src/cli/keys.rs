//! `keys` and `themes`: what the console's own registries say.

use ratatui::style::{Color, Modifier, Style};
use serde_json::json;

use super::{CliError, Ctx, Exit};
use crate::config::Faults;
use crate::config::Loaded;
use crate::config::fault::{Place, nearest};
use crate::console::action::{ACTIONS, Scope};
use crate::console::columns::{COLUMNS, by_names};
use crate::console::keymap::{Keymap, chord_text};
use crate::console::theme::{Role, Theme};
use crate::console::{keymap_names, keys_reference, own_files, theme_names};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A keymap instead of the one the settings choose.
    name: Option<String>,
    /// The keymaps there are.
    #[arg(long, conflicts_with_all = ["name", "columns"])]
    list: bool,
    /// The columns the queue can have.
    #[arg(long, conflicts_with = "name")]
    columns: bool,
    /// As Markdown tables, for documentation; bundled keymaps only.
    #[arg(long, conflicts_with_all = ["list", "columns"])]
    markdown: bool,
}

/// Name and text of a person's own files.
type Own = Vec<(String, String)>;

fn own(loaded: &Loaded, kind: &str) -> Result<Own, CliError> {
    own_files(Some(&loaded.paths.config_dir), kind).map_err(|e| CliError::usage(e.to_string()))
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let loaded = ctx.loaded()?;
    let own = own(loaded, "keymaps")?;
    let name = args.name.as_deref().unwrap_or(&loaded.settings.console.keymap);
    if args.columns {
        return columns(ctx);
    }
    if args.list {
        let load = |n: &str| Keymap::load(n, &own).map(drop).map_err(|e| e.what);
        return names(ctx, keymap_names(), &own, &loaded.settings.console.keymap, load);
    }
    if args.markdown {
        ctx.out().text(keys_reference(name).map_err(|e| CliError::usage(e.to_string()))?)?;
        return Ok(Exit::Done);
    }
    let map = Keymap::load(name, &own).map_err(|e| CliError::usage(e.to_string()))?;
    keymap(ctx, &map)
}

fn keymap(ctx: &Ctx, map: &Keymap) -> Result<Exit, CliError> {
    for scope in Scope::ALL {
        let mut rows = Vec::new();
        for a in ACTIONS.iter().filter(|a| a.scope == scope) {
            let keys: Vec<String> = map.chords(a.id, &Scope::ALL).iter().map(|c| chord_text(c)).collect();
            ctx.out().item(&json!({
                "keymap": map.name, "scope": scope.word(), "keys": keys, "action": a.word, "title": a.title,
                "danger": a.danger.word(), "help": a.help,
            }))?;
            rows.push(vec![keys.join("  "), a.word.to_owned(), a.help.to_owned()]);
        }
        if !rows.is_empty() {
            ctx.out().line(format!("\n{}", scope.title()).trim_start())?;
            ctx.out().table(&["KEYS", "ACTION", "WHAT IT DOES"], &rows)?;
            ctx.out().line("")?;
        }
    }
    Ok(Exit::Done)
}

fn columns(ctx: &Ctx) -> Result<Exit, CliError> {
    for c in COLUMNS {
        ctx.out().item(&json!({"column": c.word, "title": c.title, "help": c.help}))?;
    }
    let rows: Vec<_> = COLUMNS.iter().map(|c| vec![c.word.to_owned(), c.title.to_owned(), c.help.to_owned()]).collect();
    ctx.out().table(&["COLUMN", "TITLE", "SHOWS"], &rows)?;
    Ok(Exit::Done)
}

/// Bundled and own ones, each tried. Exit 1 when one cannot be used.
fn names(
    ctx: &Ctx,
    bundled: impl Iterator<Item = &'static str>,
    own: &Own,
    used: &str,
    load: impl Fn(&str) -> Result<(), String>,
) -> Result<Exit, CliError> {
    let of_people = own.iter().map(|(n, _)| n.as_str());
    let ours: Vec<&str> = bundled.filter(|b| !own.iter().any(|(n, _)| n == b)).collect();
    let mut rows = Vec::new();
    let mut exit = Exit::Done;
    for (name, from) in ours.iter().map(|n| (*n, "bundled")).chain(of_people.map(|n| (n, "your own"))) {
        let fault = load(name).err();
        if fault.is_some() {
            exit = Exit::No;
        }
        ctx.out().item(&json!({"name": name, "from": from, "in_use": name == used, "fault": fault}))?;
        let mark = if name == used { "in use" } else { "" };
        rows.push(vec![name.to_owned(), from.to_owned(), fault.unwrap_or_else(|| mark.to_owned())]);
    }
    ctx.out().table(&["NAME", "FROM", ""], &rows)?;
    Ok(exit)
}

#[derive(Debug, clap::Args)]
pub struct ThemesArgs {
    /// How this one looks, role by role.
    name: Option<String>,
}

pub fn themes(ctx: &Ctx, args: ThemesArgs) -> Result<Exit, CliError> {
    let loaded = ctx.loaded()?;
    let own = own(loaded, "themes")?;
    let Some(name) = args.name else {
        let load = |n: &str| Theme::load(n, &own).map(drop).map_err(|e| e.what);
        return names(ctx, theme_names(), &own, &loaded.settings.console.theme, load);
    };
    let theme = Theme::load(&name, &own).map_err(|e| CliError::usage(e.to_string()))?;
    let mut rows = Vec::new();
    for role in Role::ALL {
        let style = theme.style(role);
        let (fg, bg, how) = (colour(style.fg), colour(style.bg), modifiers(style));
        ctx.out().item(&json!({"theme": name, "role": role.word(), "fg": fg, "bg": bg, "modifiers": how}))?;
        let cell = |c: Option<String>| c.unwrap_or_else(|| "-".to_owned());
        rows.push(vec![role.word().to_owned(), cell(fg), cell(bg), how.join(" ")]);
    }
    ctx.out().table(&["ROLE", "FG", "BG", ""], &rows)?;
    Ok(Exit::Done)
}

fn colour(c: Option<Color>) -> Option<String> {
    c.filter(|c| *c != Color::Reset).map(|c| c.to_string().to_lowercase())
}

fn modifiers(style: Style) -> Vec<String> {
    (style.add_modifier & Modifier::all()).iter_names().map(|(n, _)| n.to_lowercase()).collect()
}

/// What is wrong with what the settings choose for the screen, and with a person's own themes and keymaps.
pub fn faults(loaded: &Loaded) -> Faults {
    let mut faults = Faults::default();
    let set = &loaded.settings.console;
    let dir = &loaded.paths.config_dir;
    let mut read = |kind: &str| {
        own_files(Some(dir), kind).unwrap_or_else(|e| {
            faults.add(Place::Whole(dir.join(kind)), e.to_string());
            Vec::new()
        })
    };
    let (themes, keymaps) = (read("themes"), read("keymaps"));
    for (name, _) in &themes {
        if let Err(e) = Theme::load(name, &themes) {
            faults.add(Place::Whole(dir.join("themes").join(format!("{name}.toml"))), e.what);
        }
    }
    for (name, _) in &keymaps {
        if let Err(e) = Keymap::load(name, &keymaps) {
            faults.add(Place::Whole(dir.join("keymaps").join(format!("{name}.toml"))), e.what);
        }
    }
    let all = |own: &Own, bundled: Vec<&'static str>| -> Vec<String> {
        bundled.into_iter().map(str::to_owned).chain(own.iter().map(|(n, _)| n.clone())).collect()
    };
    let columns: Vec<String> = COLUMNS.iter().map(|c| c.word.to_owned()).collect();
    let mut choose = |key: &str, name: &str, known: &[String]| {
        if !known.iter().any(|k| k == name) {
            faults.add(loaded.place_of(&["console", key]), absent(key, name, known));
        }
    };
    choose("theme", &set.theme, &all(&themes, theme_names().collect()));
    choose("keymap", &set.keymap, &all(&keymaps, keymap_names().collect()));
    for name in by_names(&set.columns).1 {
        choose("columns", &name, &columns);
    }
    faults
}

fn absent(key: &str, name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("console.{key}: there is no {name:?}; did you mean {near:?}?"),
        None => format!("console.{key}: there is no {name:?}; there are {}", known.join(", ")),
    }
}
