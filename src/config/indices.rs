//! Patterns of OpenSearch indices: what a desk lets be searched, and whether something else goes no further.

use crate::model::query::Glob;

/// Longest name of an index, in bytes; OpenSearch's own limit.
const LONGEST: usize = 255;

/// Whether this is the name of an index or alias, or a pattern of them with `*`, and nothing that means more to the server:
/// no date arithmetic, no exclusion, no other cluster, no path.
///
/// # Errors
/// What was expected, in words.
pub fn check(pattern: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-*".contains(&b);
    if pattern.is_empty() || pattern.len() > LONGEST || !pattern.bytes().all(plain) || pattern.starts_with(['-', '_']) {
        return Err("an index or a pattern of lower case letters, digits, `.`, `_`, `-` and `*` was expected".into());
    }
    if pattern.chars().all(|c| c == '.') { Err("a name was expected, not dots".into()) } else { Ok(()) }
}

/// Whether whatever this name or pattern can stand for is let by one of the others. What begins with a dot is let only by
/// what begins with one. Both are as [`check`] wants them.
pub fn covered(wanted: &str, allowed: &[String]) -> bool {
    let hidden = wanted.starts_with('.');
    // Taken as a text: a `*` of the wanted pattern is matched by nothing but a `*`.
    allowed.iter().any(|a| (!hidden || a.starts_with('.')) && Glob::new(a).is_match(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_lets_what_goes_no_further() {
        let allowed: Vec<String> = ["alerts-*", "logs-a", "x-*-2026"].map(String::from).to_vec();
        for good in
            ["alerts-*", "alerts-2026*", "alerts-a", "alerts-", "logs-a", "x-*-2026", "x-a-b-2026", "x-a*b-2026"]
        {
            assert!(covered(good, &allowed), "{good}");
        }
        for bad in ["*", "alerts*", "*alerts-a", "logs-*", "logs-ab", "x-2026", "x-*", "", ".alerts-a"] {
            assert!(!covered(bad, &allowed), "{bad}");
        }
        let all = ["*".to_owned()];
        assert!(covered("anything", &all) && covered("*", &all) && !covered(".security", &all));
        assert!(covered(".logs-a", &[".logs-*".to_owned()]));
    }

    #[test]
    fn what_means_more_to_the_server_is_no_pattern() {
        for good in ["alerts-*", "*", ".logs-2026.11.21", "a_b"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in
            ["", "-alerts", "_all", "<logs-{now/d}>", "other:logs", "a,b", "a/b", "a?b", "..", "A", "a b", "a%2fb", "é"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
