//! Patterns with `*`, and substrings, both folding ASCII case. Used in memory and by the store's own SQL functions,
//! so that both give the same answer.

/// The bytes with `A-Z` in lower case.
pub fn fold(bytes: &[u8]) -> Vec<u8> {
    bytes.to_ascii_lowercase()
}

/// Whether `text` holds `needle`, which is folded already. The empty needle is everywhere.
pub fn contains_fold(text: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return true };
    if needle.len() > text.len() {
        return false;
    }
    let last_start = text.len() - needle.len();
    let upper = first.to_ascii_uppercase();
    memchr::memchr2_iter(*first, upper, &text[..=last_start])
        .any(|at| text[at + 1..at + needle.len()].eq_ignore_ascii_case(rest))
}

/// A pattern over a whole value.
#[derive(Clone, Debug)]
pub struct Glob {
    /// Folded literal parts, between which anything may stand.
    parts: Vec<Vec<u8>>,
}

impl Glob {
    pub fn new(pattern: &str) -> Self {
        Self { parts: pattern.split('*').map(|p| fold(p.as_bytes())).collect() }
    }

    /// The text itself when there is no `*` in it.
    pub fn literal(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// What every match begins with.
    pub fn prefix(&self) -> &[u8] {
        self.parts.first().map_or(&[], Vec::as_slice)
    }

    /// The longest run that stands in every match.
    pub fn longest(&self) -> &[u8] {
        self.parts.iter().max_by_key(|p| p.len()).map_or(&[], Vec::as_slice)
    }

    pub fn is_match(&self, value: &str) -> bool {
        let text = value.as_bytes();
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|p| text.eq_ignore_ascii_case(p));
        };
        if text.len() < first.len() + last.len()
            || !text[..first.len()].eq_ignore_ascii_case(first)
            || !text[text.len() - last.len()..].eq_ignore_ascii_case(last)
        {
            return false;
        }
        let mut rest = &text[first.len()..text.len() - last.len()];
        for part in middle {
            if part.is_empty() {
                continue;
            }
            let Some(at) = (0..=rest.len().saturating_sub(part.len()))
                .find(|&i| rest[i..].len() >= part.len() && rest[i..i + part.len()].eq_ignore_ascii_case(part))
            else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        true
    }
}
