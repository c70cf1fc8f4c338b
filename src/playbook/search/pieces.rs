//! A text with references to variables (`__name__:value`), taken apart.

use crate::playbook::ids;

const MARK: &str = ":value";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    /// With its underscores.
    Name(&'a str),
}

/// The pieces in order; no text is empty.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let names = ids::references(text);
    let mut out = Vec::new();
    let mut rest = text;
    // The nearest one next; of two that end at the same place there is only one, as a name has no `__` inside.
    while let Some((at, name)) =
        names.iter().filter_map(|n| Some((rest.find(&format!("{n}{MARK}"))?, n.as_str()))).min_by_key(|(at, _)| *at)
    {
        let (before, from) = rest.split_at(at);
        let (name, after) = from.split_at(name.len());
        if !before.is_empty() {
            out.push(Piece::Text(before));
        }
        out.push(Piece::Name(name));
        rest = after.strip_prefix(MARK).unwrap_or(after);
    }
    if !rest.is_empty() {
        out.push(Piece::Text(rest));
    }
    out
}

/// Whether a text refers to any variable.
pub fn refers(text: &str) -> bool {
    !ids::references(text).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_names_in_order() {
        let all = pieces("a:__x__:value OR b:__y_z__:value__x__:value.");
        let wanted = [
            Piece::Text("a:"),
            Piece::Name("__x__"),
            Piece::Text(" OR b:"),
            Piece::Name("__y_z__"),
            Piece::Name("__x__"),
            Piece::Text("."),
        ];
        assert_eq!(all, wanted);
        assert_eq!(pieces("plain"), [Piece::Text("plain")]);
        assert!(pieces("").is_empty() && !refers("__x__") && refers("__x__:value"));
    }
}
