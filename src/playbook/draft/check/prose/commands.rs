//! What a shell would take: commands and pieces of them, where people are spoken to.

use std::sync::LazyLock;

use super::super::Out;
use super::super::quoted;
use super::super::tables;
use super::Rules;
use super::all;
use super::rules;

pub(super) const SHELL_PATTERNS: [&str; 12] = [
    r"\||`|\$\(|\$\{|&&|<<|>>|<\(|>\(|[0-9&]>|>&",
    // A variable of a shell, of Windows, of PowerShell.
    r"\$[A-Za-z_@?!]|%[A-Za-z_]{2,}%|\$env:",
    // To or from a file.
    r"[<>]\s*[A-Za-z0-9/\\._~$%-]*[A-Za-z/\\~]|[<>]\s*&",
    r"\\\n|\^[A-Za-z]|[A-Za-z]\^",
    r"&\s*$|\s&\s*[A-Za-z]+\s+[-/]",
    // Pieces put together again.
    r#"['"]\s*\+\s*['"]|\w\s*\+=\s*|\.replace\(|-join\b|-split\b"#,
    r"(?i)\b(?:eval|exec|system|popen|spawn|passthru|subprocess|os|runtime|chr|char|fromcharcode|gzinflate|atob|btoa)\s*[(.]\s*\S",
    r"(?i)\b(?:invoke|new|set|remove|stop|start|disable|enable|clear|add|restart|rename|move|copy|out|export|import|get)-(?:item\w*|process\w*|service|mp\w+|expression|web\w+|rest\w+|command|object|eventlog|computer|vm|ad\w+|net\w+|mailbox\w*|local\w+|scheduled\w+|wmi\w*|cim\w*|content|acl|executionpolicy|job|history|file|wbemobject|azure\w*|mg\w+)\b",
    r"(?i)\b(?:drop\s+(?:table|database|schema|user|index)|truncate\s+table|delete\s+from|insert\s+into|alter\s+(?:table|user)|grant\s+all|xp_cmdshell|union\s+select|into\s+outfile)\b",
    r"(?i)\biex\b|downloadstring|downloadfile|frombase64string|encodedcommand|-enc\b",
    r"(?i)\b(?:fork bomb|reverse shell|bind shell|web ?shell)\b.{0,20}\b(?:open|start|run|set up|listen)|\b(?:open|start|run|set up) an? (?:reverse|bind|web) ?shell\b",
    r"!!|!\$|\bsu -|\bsudo\b",
];
static SHELL: Rules = LazyLock::new(|| all(&SHELL_PATTERNS));

pub(super) fn shell(plain: &str, at: &str, out: &mut Out) {
    // An arrow and a comparison with a number are no redirection.
    static HARMLESS: Rules =
        LazyLock::new(|| all(&[r"[-=]>\s", r"[<>]=?\s*[0-9]+(?:[.,][0-9]+)?\s?(?:%|[a-z]+\b)?(?:\s|$|[.,)])"]));
    let mut text = plain.to_owned();
    for r in HARMLESS.iter() {
        text = r.replace_all(&text, " ").into_owned();
    }
    rules(&SHELL, &text, at, "shell", "that is for a shell, not for people", out);
    semicolons(plain, at, out);
    ampersands(plain, at, out);
}

/// A program after an ampersand is the next command.
fn ampersands(plain: &str, at: &str, out: &mut Out) {
    for (i, _) in plain.match_indices('&') {
        let word = plain[i + 1..].split_whitespace().next().unwrap_or_default();
        if is_program(&word.to_lowercase()) {
            out.error(at, "shell", "an ampersand between commands");
            return;
        }
    }
}

/// In prose another half of the sentence follows a semicolon; in a command line, another command.
fn semicolons(plain: &str, at: &str, out: &mut Out) {
    for (i, _) in plain.match_indices(';') {
        let after = &plain[i + 1..];
        let before = plain[..i].chars().next_back();
        let word: String = after.trim_start().chars().take_while(|c| !c.is_whitespace()).collect();
        let prose = after.starts_with(' ')
            && before.is_some_and(char::is_alphanumeric)
            && word.chars().all(|c| c.is_ascii_alphabetic() || ",.'".contains(c))
            && !is_program(&word.to_lowercase());
        let last = after.trim().is_empty() && before.is_some_and(char::is_alphabetic);
        if !prose && !last {
            out.error(at, "shell", "a semicolon between commands");
            return;
        }
    }
}

fn is_program(word: &str) -> bool {
    let bare = word.strip_suffix(".exe").unwrap_or(word);
    tables::PROGRAMS.contains(&bare) || tables::PROGRAMS.contains(&word) || tables::SHELLS.contains(&bare)
}

const TOLD_TO: [&str; 22] = [
    "run",
    "execute",
    "launch",
    "type",
    "enter",
    "issue",
    "invoke",
    "paste",
    "start",
    "use",
    "using",
    "via",
    "with",
    "through",
    "call",
    "running",
    "executing",
    "open",
    "by",
    "typing",
    "into",
    "command",
];
const SUBCOMMANDS: [&str; 42] = [
    "user",
    "users",
    "stop",
    "start",
    "delete",
    "add",
    "import",
    "eval",
    "get",
    "set",
    "exec",
    "apply",
    "query",
    "export",
    "save",
    "cat",
    "push",
    "config",
    "group",
    "localgroup",
    "share",
    "use",
    "view",
    "process",
    "shadows",
    "shadow",
    "service",
    "sl",
    "cl",
    "install",
    "remove",
    "scale",
    "drain",
    "cordon",
    "run",
    "rmi",
    "kill",
    "create",
    "change",
    "send",
    "put",
    "daemon-reload",
];

/// Options, paths of programs, programs with arguments.
pub(super) fn command_lines(plain: &str, at: &str, out: &mut Out) {
    let words: Vec<&str> = plain.split_whitespace().collect();
    let bare = |w: &str| w.trim_matches(|c: char| "\"'(),:;.!?[]".contains(c)).to_lowercase();
    let mut windows = false;
    for (i, word) in words.iter().enumerate() {
        let w = bare(word);
        let option = w
            .strip_prefix("--")
            .or_else(|| w.strip_prefix('-'))
            .is_some_and(|o| o.starts_with(|c: char| c.is_ascii_alphabetic()) && !o.ends_with('-'));
        if option {
            out.error(at, "command-line", format!("{} is an option of a command", quoted(word)));
            return;
        }
        let path = ["/bin/", "/sbin/", "\\system32\\", "\\syswow64\\"].iter().any(|p| w.contains(p));
        if path || w.starts_with("./") || w.starts_with("~/") || w.starts_with("/dev/") {
            out.error(at, "command-line", format!("{} is the path of a program or a device", quoted(word)));
            return;
        }
        let switch = windows
            && w.strip_prefix('/').is_some_and(|s| {
                !s.is_empty() && s.len() <= 20 && s.chars().all(|c| c.is_ascii_alphanumeric() || "?:=*".contains(c))
            });
        if switch {
            out.error(at, "command-line", format!("{} is a switch of a command", quoted(word)));
            return;
        }
        if !is_program(&w) {
            continue;
        }
        windows = true;
        let before = i.checked_sub(1).and_then(|i| words.get(i)).map(|w| bare(w)).unwrap_or_default();
        let next = words.get(i + 1).copied().unwrap_or_default();
        let told = TOLD_TO.contains(&before.as_str());
        if told || is_argument(next) {
            out.error(at, "command-line", format!("{} {} is a command line", quoted(word), quoted(next)));
            return;
        }
    }
}

fn is_argument(word: &str) -> bool {
    let bare = word.trim_end_matches([',', '.', ':', ')']).to_lowercase();
    let Some(first) = bare.chars().next() else { return false };
    "-/~.\"'\\$%@*".contains(first)
        || bare.contains(['=', '\\', '/', '@', ':'])
        || bare.chars().any(|c| c.is_ascii_digit())
        || SUBCOMMANDS.contains(&bare.as_str())
        || bare.rsplit_once('.').is_some_and(|(_, e)| !e.is_empty() && e.len() <= 5)
}

/// A pattern that stands for many names.
pub(super) fn wildcards(plain: &str, at: &str, out: &mut Out) {
    for word in plain.split_whitespace() {
        let word = word.trim_matches(|c: char| "\"'(),.:;".contains(c));
        let strong =
            word.len() > 2 && word.starts_with('*') && word.ends_with('*') && !word[1..word.len() - 1].is_empty();
        let star = word.contains('*') && (!strong || word.trim_matches('*').contains('*'));
        let mark = word.contains("??") || word.trim_end_matches('?').contains('?') && !word.contains("://");
        if star || mark {
            out.error(at, "wildcard", format!("{} stands for more than one name", quoted(word)));
            return;
        }
    }
}
