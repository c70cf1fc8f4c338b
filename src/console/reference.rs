//! Documentation made from the registries, so that it cannot drift.

use std::fmt::Write as _;

use super::action::{ACTIONS, Scope};
use super::columns::COLUMNS;
use super::keymap::{self, Keymap, KeymapError, chord_text};
use super::theme;

/// Every action with its keys in a keymap, as Markdown tables by scope.
pub fn keys_reference(name: &str) -> Result<String, KeymapError> {
    let map = Keymap::load(name, &[])?;
    let mut out = format!("# Keys of the {} keymap\n", map.name);
    for scope in Scope::ALL {
        let rows: Vec<_> = ACTIONS.iter().filter(|a| a.scope == scope).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(out, "\n## {}\n\n| keys | action | what it does |\n|---|---|---|\n", scope.title());
        for a in rows {
            let keys: Vec<String> = map
                .chords(a.id, &Scope::ALL)
                .iter()
                .map(|c| format!("`{}`", chord_text(c).replace('|', "\\|")))
                .collect();
            let _ = writeln!(out, "| {} | `{}` | {} |", keys.join(" "), a.word, a.help);
        }
    }
    Ok(out)
}

/// Every column of the queue, as a Markdown table.
pub fn columns_reference() -> String {
    let mut out = String::from("| column | shows |\n|---|---|\n");
    for c in COLUMNS {
        let _ = writeln!(out, "| `{}` | {} |", c.word, c.help);
    }
    out
}

pub fn theme_names() -> impl Iterator<Item = &'static str> {
    theme::BUNDLED.iter().map(|(n, _)| *n)
}

pub fn keymap_names() -> impl Iterator<Item = &'static str> {
    keymap::BUNDLED.iter().map(|(n, _)| *n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_names_every_action_and_column() {
        for name in keymap_names() {
            let text = keys_reference(name).unwrap();
            for a in ACTIONS {
                assert!(text.contains(&format!("`{}`", a.word)), "{}", a.word);
            }
        }
        assert!(COLUMNS.iter().all(|c| columns_reference().contains(c.word)));
    }
}
