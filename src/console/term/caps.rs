//! What the terminal can do, from the environment alone: it is never asked.

use super::super::theme::Depth;

/// The terminal's own facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    pub depth: Depth,
    /// `NO_COLOR` is set to something (<https://no-color.org>).
    pub no_color: bool,
    /// It cannot show more than ASCII.
    pub ascii: bool,
    /// Over SSH: draw less often.
    pub remote: bool,
}

impl Caps {
    #[expect(clippy::disallowed_methods, reason = "these are facts of the terminal, not settings")]
    pub fn from_env() -> Self {
        Self::from(|name| std::env::var(name).ok())
    }

    pub fn from(get: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| get(name).filter(|v| !v.is_empty());
        let term = set("TERM").unwrap_or_default();
        let truecolor = set("COLORTERM").is_some_and(|v| v == "truecolor" || v == "24bit") || term.ends_with("-direct");
        let depth = if truecolor {
            Depth::True
        } else if term == "linux" || term.ends_with("-16color") || term == "ansi" {
            Depth::Sixteen
        } else {
            Depth::Indexed
        };
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        // An unset locale is common on hosts whose terminals show Unicode well; a set one is believed.
        let narrow = locale.is_some_and(|l| {
            let l = l.to_ascii_lowercase();
            !l.contains("utf-8") && !l.contains("utf8")
        });
        Self {
            depth,
            no_color: set("NO_COLOR").is_some() || term == "dumb",
            ascii: narrow || term == "linux" || term == "dumb",
            remote: set("SSH_CONNECTION").is_some() || set("SSH_TTY").is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(vars: &[(&str, &str)]) -> Caps {
        Caps::from(|n| vars.iter().find(|(k, _)| *k == n).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn the_environment_is_believed() {
        assert_eq!(caps(&[("COLORTERM", "truecolor")]).depth, Depth::True);
        assert_eq!(caps(&[("TERM", "xterm-256color")]).depth, Depth::Indexed);
        assert_eq!(caps(&[("TERM", "linux")]).depth, Depth::Sixteen);
        assert!(caps(&[("NO_COLOR", "1")]).no_color);
        assert!(!caps(&[("NO_COLOR", "")]).no_color);
        assert!(caps(&[("LANG", "C")]).ascii);
        assert!(!caps(&[("LANG", "en_GB.UTF-8")]).ascii);
        assert!(!caps(&[]).ascii);
        assert!(caps(&[("LC_ALL", "POSIX"), ("LANG", "de_DE.utf8")]).ascii);
        assert!(caps(&[("SSH_CONNECTION", "x")]).remote);
    }
}
