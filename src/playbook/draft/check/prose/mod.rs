//! What may stand in a text that people read: sentences. Looked at with quotes, dashes and accents made plain; what cannot
//! be read is itself a finding.

mod commands;
mod spell;

use std::sync::LazyLock;

use regex::Regex;

use self::commands::command_lines;
use self::commands::shell;
use self::commands::wildcards;
pub(super) use self::spell::characters;
use self::spell::plain;
use super::Out;
use super::quoted;
use super::tables;
use super::targets;
use crate::playbook::draft::Scope;
use crate::text;

/// Where a text stands, and the action of the step it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub at: &'a str,
    pub act: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub fn text(at: &'a str) -> Self {
        Self { at, act: None }
    }
}

/// Bytes of one text that are looked at closely; what is longer is a finding by itself.
const LONGEST: usize = 16 << 10;

/// Everything that speaks against a text.
pub(super) fn check(text: &str, place: Place<'_>, scope: &Scope, out: &mut Out) {
    let at = place.at;
    if text.is_empty() {
        return;
    }
    if text.len() > LONGEST {
        out.error(at, "oversize", format!("{} bytes of text", text.len()));
    }
    let text = text::front(text, LONGEST);
    value_of(text, at, scope, out);
    let plain = plain(text);
    let lower = plain.to_lowercase();
    command_lines(&plain, at, out);
    wildcards(&plain, at, out);
    rules(&BYPASS, &lower, at, "bypass", "it leads past an approval, a record or a guard", out);
    rules(&LEAKS, &lower, at, "secret", "it asks for something secret", out);
    sentences(&lower, place, scope, out);
    for (what, grave) in scope.speaks.map(|f| f(text)).unwrap_or_default() {
        if grave {
            out.error(at, "addresses-reader", what);
        } else {
            out.warn(at, "addresses-reader", what);
        }
    }
}

/// The same of a bare value, which is no sentence.
pub(super) fn value(text: &str, at: &str, scope: &Scope, out: &mut Out) {
    value_of(text::front(text, LONGEST), at, scope, out);
}

fn value_of(text: &str, at: &str, scope: &Scope, out: &mut Out) {
    characters(text, at, out);
    let plain = plain(text);
    shell(&plain, at, out);
    rules(&TEMPLATES, &plain, at, "markup", "markup or a template, which something may fill in or follow", out);
    encoded(&plain, at, scope, out);
    rules(&SECRETS, &plain, at, "secret", "it looks like a secret", out);
    targets::check(&plain, at, scope, out);
}

type Rules = LazyLock<Vec<Regex>>;

fn all(patterns: &[&str]) -> Vec<Regex> {
    patterns.iter().filter_map(|p| compiled(p).ok()).collect()
}

/// `[^.\n]` in a pattern goes on past a dot inside of a name.
fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&pattern.replace(r"[^.\n]", r"(?:[^.\n]|\.\S)"))
}

fn rules(rules: &Rules, text: &str, at: &str, code: &str, what: &str, out: &mut Out) {
    if let Some(m) = rules.iter().find_map(|r| r.find(text)) {
        out.error(at, code, format!("{what}: {}", quoted(m.as_str())));
    }
}

// --- codings ---------------------------------------------------------------------------------------

const ENCODED_PATTERNS: [&str; 12] = [
    r"\\x[0-9A-Fa-f]{2}|\\u\{?[0-9A-Fa-f]{4}|\\[0-7]{3}",
    r"(?:%[0-9A-Fa-f]{2}\W*){2,}",
    r"&#x?[0-9A-Fa-f]+;|&(?:lt|gt|amp|quot|nbsp);",
    r"0x[0-9A-Fa-f]{8,}",
    // Codes of characters, one after the other.
    r"(?:\b[0-9]{2,3}\b[ ,]+){7,}",
    r"(?:\b[01]{8}\b[ ,]*){3,}",
    r"(?:\b[0-9A-Fa-f]{2}\b[ ,:]+){8,}",
    r"(?:\b[A-Za-z]\b[ ._-]+){4,}",
    r"(?i)\bbase ?(?:64|32|16|85)\b.{0,40}(?:\||run|execut|pipe|shell|-d\b|--decode|paste)|\b(?:decode|deobfuscate|unpack|inflate|rot13|xor)\b.{0,40}\b(?:run|execute|pipe|launch|start|paste|it in a)\b",
    // Morse.
    r"(?:[.-]{1,5} ){6,}",
    // `delete`, `approval`, `powershell`, `password` and others by ROT13 and backwards.
    r"(?i)qryrgr|cbjrefuryy|nccebiny|cnffjbeq|qvfnoyr|vtaber|vfbyngr|rkrphgr|onfu|jtrg|phey ",
    r"(?i)eteled|llehsrewop|lavorppa|drowssap|elbasid|erongi|etalosi|etucexe| hsab| tegw| lruc",
];
static ENCODED: Rules = LazyLock::new(|| all(&ENCODED_PATTERNS));

fn encoded(plain: &str, at: &str, scope: &Scope, out: &mut Out) {
    rules(&ENCODED, plain, at, "encoded", "something is written so that people do not read it", out);
    let part = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    for run in plain.split(|c: char| !part(c)).filter(|r| r.len() >= 20) {
        if scope.knows(run).is_some() || crate::playbook::ids::is_variable(run) {
            continue;
        }
        let has = |f: fn(&char) -> bool| run.chars().any(|c| f(&c));
        let mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
        let hex = run.bytes().all(|b| b.is_ascii_hexdigit()) && has(char::is_ascii_digit);
        let letters = run.chars().filter(char::is_ascii_alphabetic).count();
        // Base32 and Base64 without a digit or a small letter; a long word has no capital inside.
        let inner = run.chars().skip(1).filter(char::is_ascii_uppercase).count();
        let shouted = run.len() >= 24 && (inner * 4 >= letters.max(1)) && !run.contains(['-', '_', '/']);
        let padded = run.ends_with('=');
        if mixed || hex || shouted || padded {
            out.error(at, "encoded", format!("{} is a coding or a key, no word", quoted(run)));
            return;
        }
    }
}

// --- secrets, links, ways past a guard ---------------------------------------------------------------

const SECRET_PATTERNS: [&str; 11] = [
    r"-----BEGIN|-----END",
    r"\b(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{12,}",
    r"\bgh[pousr]_[A-Za-z0-9]{10,}|github_pat_|glpat-|\bnpm_[A-Za-z0-9]{20,}",
    r"\bxox[abeprs]-|hooks\.slack\.com|\bAIza[0-9A-Za-z_-]{10,}|\bya29\.|\bSG\.[A-Za-z0-9_-]{10,}",
    r"\beyJ[A-Za-z0-9_-]{6,}",
    r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)?[-_]?[A-Za-z0-9_-]{12,}",
    r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}",
    r#"(?i)\b(?:pass(?:word|wd|phrase|code)?s?|pwd|pw|secret|token|api[ _-]?key|access[ _-]?key|private[ _-]?key|credentials?|pin|otp|cookie|session[ _-]?id|community string|psk|key)\b\s*(?:=|:|->)\s*\S{3,}"#,
    r#"(?i)\b(?:pass(?:word|phrase|code)?|secret|token|api key|pin|code)\b\s+(?:is|was|are|to|of)\s+(?:["'][^"']+["']|[A-Za-z]*[0-9!@#$%^&*]\S{2,}|\S*[A-Za-z][0-9]\S*)"#,
    r"://[^/\s:@]+:[^/\s@]+@",
    r#"(?i)\b(?:with|use|using|login|log in|user|account)\b.{0,30}\b(?:password|passphrase|pin)\s+["']?\S*[0-9!@#$%^&*]\S*"#,
];
static SECRETS: Rules = LazyLock::new(|| all(&SECRET_PATTERNS));

const LEAK_PATTERNS: [&str; 4] = [
    r"\b(?:send|post|paste|upload|e?-?mail|forward|share|reveal|print|type (?:in|your|the|their)|enter|give|tell|submit|copy|export|dump|attach|put|hand over|publish|write down|read out|disclose|provide|supply|transmit)\b[^.\n]{0,60}\b(?:passwords?|passphrases?|credentials?|secrets?|api keys?|access keys?|private keys?|tokens?|session cookies?|cookies|otp|mfa codes?|one-time codes?|recovery codes?|vault|keytab|krbtgt|key material)\b",
    r"/etc/(?:shadow|passwd|sudoers)|ntds\.dit|\bsam hive\b|\.ssh\b|id_(?:rsa|ed25519|ecdsa)|\bkrbtgt\b|\.aws\b|\.kube\b|\.env\b|credentials file",
    r"\b(?:dump|extract|export|copy|crack)\w*\b[^.\n]{0,30}\b(?:hashes|lsass|password database|key ?store|certificate store|vault)\b",
    r"\b(?:send|upload|post|forward|copy|e?-?mail|share|publish|push|sync|transfer|export|move|exfiltrate|deliver)\b[^.\n]{0,60}\b(?:pastebin|paste site|telegram|discord|dropbox|gist|wetransfer|mega\b|ngrok|webhook|gmail|personal (?:mail|e-?mail|account|drive|phone|address|cloud)|outside (?:the )?(?:company|organi[sz]ation|network)|external (?:server|address|drive|site|share|mail|host|bucket|party)|public (?:bucket|site|repo\w*|share|link|internet|forum))\b",
];
static LEAKS: Rules = LazyLock::new(|| all(&LEAK_PATTERNS));

const TEMPLATE_PATTERNS: [&str; 5] = [
    r"\{\{|\{%|<%|#\{|\}\}",
    r"<[A-Za-z/!?]",
    r"\]\(|!\[",
    r"(?i)\b(?:javascript|vbscript|data|file|ldap|gopher|smb|ms-\w+):\S",
    r"(?i)\$\{jndi|\bjndi:",
];
static TEMPLATES: Rules = LazyLock::new(|| all(&TEMPLATE_PATTERNS));

const BYPASS_PATTERNS: [&str; 15] = [
    // It vouches for itself, or imitates a turn of a chat.
    r"\b(?:checks?|linter|review) (?:have |has |had |was |were )?(?:all )?(?:passed|found nothing|fine|clean|skipped)\b|\bno findings\b|\b(?:was|were|is|been|already) (?:verified|vetted|certified|cleared|signed off) (?:by|as|and)\b|^\s*(?:assistant|system|user|developer)\s*:",
    r"\b(?:without|skip\w*|bypass\w*|ignor\w+|avoid\w*|circumvent\w*|instead of|rather than|omit\w*|waiv\w+|forgo|drop|don't (?:need|wait|ask)|do not (?:need|wait|ask|seek|request|require)|not wait(?:ing)?|no need|never mind|needs? no|need not|no)\b[^.\n]{0,50}\b(?:approv\w*|sign-?offs?|second person|permission|authori[sz]ations?|review(?:s|er|ers|ed)?|four[- ]eyes|change (?:control|board|ticket|request)|cab|polic(?:y|ies)|consent|confirm(?:ation|ing)|dual control|second pair of eyes)\b",
    r"\b(?:approv\w*|sign-?off|permission|authori[sz]ation|review)\b[^.\n]{0,30}\b(?:not (?:needed|required|necessary)|unnecessary|optional|can wait|later|afterwards|retroactive\w*|can be skipped|is implied|already given|on file|waived)\b",
    r"\b(?:pre-?approved|already (?:been )?approved|self-?approv\w*|auto-?approv\w*|approve (?:it|this|them|that)? ?(?:yourself|as yourself|automatically|on behalf|for (?:him|her|them|yourself))|on (?:my|his|her|the \w+'s) authority|rubber[- ]?stamp\w*|sign (?:for|on behalf|as (?:the|another))|approve (?:the |your |this )?(?:own )?(?:pending )?requests?|both approvals|second account|colleague's (?:session|account|key|login))\b",
    r"\b(?:disable|turn off|turning off|switch off|stop|pause|clear|delete|erase|wipe|mute|uninstall|tamper with|kill|suppress|truncate|edit|alter|rewrite|hide|backdate)\b[^.\n]{0,40}\b(?:audit\w*|logs?|logging|edr|antivirus|anti-virus|defender|sensors?|agents?|monitoring|kill switch|recording|telemetry|trail|history|timeline|evidence|detections?|detection rules?)\b",
    r"\b(?:ignore|disregard|forget|override|overrule|dismiss)\b[^.\n]{0,50}\b(?:instructions?|rules?|guardrails?|warnings?|findings?|checks?|linter|previous|above|safety|limits?|policy|prompts?|objections?)\b",
    r"\b(?:do not|don't|never|without|no need to|avoid|instead of|rather than)\b[^.\n]{0,15}\b(?:log|logging|record|recording|document|documenting|audit|escalate|escalating|inform|informing|notify|notifying|tell|telling|involve|involving|mention|mentioning|report|reporting)\b[^.\n]{0,40}\b(?:this|it|lead|commander|team|soc|audit\w*|any(?:one|body|thing)|analysts?|security|management|manager|actions?|steps?|change|what you|supervisor|owner|colleagues?|people)\b",
    r"\b(?:close|dismiss|suppress|resolve|ignore|mute|silence)\b[^.\n]{0,50}\b(?:all|every|without|immediately|regardless|no matter|related alerts|future alerts|any alert|unread|unseen)\b",
    r"\bmark\b[^.\n]{0,40}\b(?:without (?:look|read|check)|immediately|regardless|no matter|all)\b",
    r"\b(?:use|borrow|share|take|log ?in (?:with|as)|sign in (?:with|as)|act as|impersonate)\b[^.\n]{0,30}\b(?:break[- ]?glass|emergency|root|domain admin\w*|administrator|someone else|somebody else|another (?:person|analyst|user|account)|shared|service) ?(?:account|credentials?|login|key|session|person|user)?\b",
    r"\b(?:disable|turn off|remove|bypass|skip|relax|weaken|suspend|exempt)\b[^.\n]{0,40}\b(?:mfa|2fa|multi-?factor|two-?factor|conditional access|firewall|dlp|allow-?list|whitelist|protection|host key check\w*|certificate check\w*|tls|encryption|policy|policies|guard ?rails?|limits?|rate limit\w*|peer review)\b",
    r"\b(?:add|grant|give|elevate|promote|assign|make)\b[^.\n]{0,40}\b(?:domain admins?|administrators?|admin (?:rights|role|group|access|privileges?)|root access|global admin\w*|owner (?:role|rights)|sudo|full (?:control|access)|privileges?|permissions?)\b",
    r"\b(?:whitelist|allow-?list|exclude|exempt|except|permit|trust)\b[^.\n]{0,40}\b(?:from (?:detection|scanning|monitoring|alerts?|logging|the rule)|attacker|malware|payload|hash|all traffic|any traffic|inbound|c2)\b",
    r"\b(?:open|expose|forward)\b[^.\n]{0,25}\b(?:port|firewall|rdp|ssh|inbound|to the internet)\b",
    r"\b(?:download|install|fetch|pull|load|import)\b[^.\n]{0,50}\b(?:tool|script|agent|remote access|teamviewer|anydesk|payload|binary|program|update|patch|macro|extension|from (?:the )?(?:link|site|url|internet|web|mail|attachment))\b",
];
static BYPASS: Rules = LazyLock::new(|| all(&BYPASS_PATTERNS));

// --- what changes something ---------------------------------------------------------------------------

const CHANGE_PATTERNS: [&str; 9] = [
    r"\b(?:take|takes|taking|bring|put|pull|pulling)\b.{0,40}\b(?:offline|down|out of service|off the network|out of production)\b",
    r"\b(?:change|changing|set|setting|roll|rolling|rotate|rotating|renew|renewing)\b.{0,30}\b(?:passwords?|keys?|credentials?|certificates?|secrets?)\b",
    r"\b(?:stop|stopping|halt|halting|pause|pausing)\b.{0,20}\b(?:services?|process(?:es)?|servers?|machines?|sync|replication|backups?|jobs?|workloads?)\b",
    r"\b(?:lock|locking)\b.{0,20}\b(?:accounts?|screens?|users?|sessions?|out)\b",
    r"\b(?:end|ending|close|closing|cut|cutting)\b.{0,20}\b(?:sessions?|connections?|cables?|links?)\b",
    r"\b(?:drop|dropping)\b.{0,20}\b(?:traffic|connections?|packets?|tables?|database)\b",
    r"\b(?:move|moving|put|putting)\b.{0,30}\b(?:vlan|quarantine|sandbox segment|deny list|block list|blocklist)\b",
    r"\bpull the (?:cable|plug|network)\b",
    r"\b(?:sign|log|kick|throw|lock)(?:ging|ning|ing|s)?\b.{0,20}\bout\b",
];
static CHANGES: Rules = LazyLock::new(|| all(&CHANGE_PATTERNS));

static BLAST: Rules = LazyLock::new(|| {
    let many = tables::MANY;
    let wide = r"\b(?:company|domain|organi[sz]ation|tenant|fleet|enterprise|network|estate|site|group)[- ]wide\b|\beveryone\b|\beverybody\b|\beverything\b";
    let each = format!(
        r"\b(?:all|every|each|any|entire|whole|across|complete|both|remaining|other|neighbou?ring)\b(?: [a-z'-]+){{0,3}} (?:{many})\b"
    );
    all(&[&each, wide])
});

struct Clause<'a> {
    words: Vec<&'a str>,
    text: &'a str,
    /// The sentence it is of ends in a question mark and begins as one.
    asks: bool,
}

fn clauses(lower: &str) -> Vec<Clause<'_>> {
    const BEGINS: [&str; 20] = [
        "is", "are", "was", "were", "did", "does", "do", "has", "have", "had", "should", "can", "could", "would",
        "which", "what", "who", "how", "when", "where",
    ];
    static BREAK: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r",|\s-\s|\band\b|\bthen\b|\bor\b|\bso\b|\bbut\b|\(|\)|\bplus\b|\bafterwards\b|\bnext\b").ok()
    });
    let mut out = Vec::new();
    let mut rest = lower;
    while !rest.is_empty() {
        let end = rest.char_indices().find(|(i, c)| match c {
            '\n' | '!' | '?' | ';' => true,
            '.' | ':' => rest[i + 1..].chars().next().is_none_or(char::is_whitespace),
            _ => false,
        });
        let (sentence, mark) = end.map_or((rest, ' '), |(i, c)| (&rest[..i], c));
        rest = end.map_or("", |(i, c)| &rest[i + c.len_utf8()..]);
        let first = sentence.split_whitespace().next().unwrap_or_default();
        let asks = mark == '?' && BEGINS.contains(&first);
        let mut from = 0;
        let breaks = BREAK.iter().flat_map(|b| b.find_iter(sentence)).map(|m| (m.start(), m.end()));
        for (start, end) in breaks.chain([(sentence.len(), sentence.len())]) {
            let text = &sentence[from..start];
            from = end;
            let words: Vec<&str> = text
                .split(|c: char| !(c.is_alphanumeric() || "'-".contains(c)))
                .filter(|w| w.chars().any(char::is_alphanumeric))
                .collect();
            if !words.is_empty() {
                out.push(Clause { words, text, asks });
            }
        }
    }
    out
}

fn sentences(lower: &str, place: Place<'_>, scope: &Scope, out: &mut Out) {
    let act = place.act.filter(|a| scope.act(a).is_some());
    for clause in clauses(lower) {
        if let Some(word) = destructive(&clause, act, scope) {
            let why = "a change is a step with an action of the catalogue, which people approve";
            out.error(place.at, "destructive", format!("{} by hand: {why}", quoted(&word)));
        }
        let tells = ["tell", "inform", "notify", "warn", "thank", "contact", "call"];
        let looks = clause.asks || observes(&clause) || clause.words.first().is_some_and(|w| tells.contains(w));
        if !looks && let Some(m) = BLAST.iter().find_map(|r| r.find(clause.text)) {
            out.error(
                place.at,
                "blast-radius",
                format!("{} is more than the targets of this case", quoted(m.as_str())),
            );
        }
    }
}

fn lead<'a>(clause: &Clause<'a>) -> &'a str {
    const FILLS: [&str; 9] = ["please", "also", "now", "first", "again", "carefully", "briefly", "finally", "if"];
    clause.words.iter().find(|w| !FILLS.contains(w)).copied().unwrap_or_default()
}

fn observes(clause: &Clause<'_>) -> bool {
    tables::OBSERVES.contains(&lead(clause))
}

/// The destructive word of a clause that tells somebody to do it.
fn destructive(clause: &Clause<'_>, act: Option<&str>, scope: &Scope) -> Option<String> {
    let of_act = |stem: &str| act.is_some_and(|a| a.contains(text::front(stem, 5)));
    for phrase in tables::DESTRUCTIVE_PHRASES {
        let Some(at) = clause.text.find(phrase) else { continue };
        let start = clause.text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        let words_before = clause.text[..at].split_whitespace().count();
        if start && !of_act(&phrase.replace(' ', "-")) && !excused(clause, words_before, phrase) {
            return Some(phrase.to_owned());
        }
    }
    for m in CHANGES.iter().filter_map(|r| r.find(clause.text)) {
        let before = clause.text[..m.start()].split_whitespace().count();
        if !excused(clause, before, m.as_str()) && act.is_none() {
            return Some(m.as_str().to_owned());
        }
    }
    for (i, word) in clause.words.iter().enumerate() {
        // The name of an action is no deed.
        if scope.act(word).is_some() {
            continue;
        }
        for part in word.split('-') {
            let stem =
                tables::DESTRUCTIVE.iter().find(|s| if s.len() <= 3 { part == **s } else { part.starts_with(**s) });
            let Some(stem) = stem.filter(|_| part != "removable" && part != "encryption") else { continue };
            // `re-imaged` stands there as one word; a name of a thing such as `block-list` does not.
            if !of_act(stem) && !excused(clause, i, part) {
                return Some((*word).to_owned());
            }
        }
        if tables::DESTRUCTIVE.iter().any(|s| s.contains('-') && word.starts_with(s)) && !excused(clause, i, word) {
            return Some((*word).to_owned());
        }
    }
    None
}

/// It is asked, reported, proposed or ruled out, not told.
fn excused(clause: &Clause<'_>, at: usize, word: &str) -> bool {
    let before = clause.words.get(..at).unwrap_or_default();
    let back = |n: usize| before.iter().rev().take(n).copied();
    let told = back(1).any(|w| ["to", "please", "you", "must", "should", "will", "shall", "them", "just"].contains(&w));
    let hinted = ["evidence", "sign", "signs", "trace", "traces", "attempt", "attempts", "attempted", "tried"];
    if clause.asks || before.contains(&"whether") || back(3).any(|w| hinted.contains(&w)) {
        return true;
    }
    let nearest = back(1).next().unwrap_or_default();
    if tables::NOT_DONE.contains(&nearest) {
        let only_doing = ["without", "avoid", "before"].contains(&nearest);
        return !only_doing || word.ends_with("ing");
    }
    // `must not be deleted`, `propose to isolate`.
    let second = before.iter().rev().nth(1).copied().unwrap_or_default();
    let passive = ["not", "never", "cannot"].contains(&second) && ["be", "been", "get", "yet"].contains(&nearest);
    if passive || second.starts_with("propos") {
        return true;
    }
    let done = word.ends_with("ed") || word.ends_with("tion") || word.ends_with("ation") || word.ends_with("al");
    let past = ["was", "were", "been", "had", "already", "recently", "previously", "got"];
    if done && back(4).any(|w| past.contains(&w)) {
        return true;
    }
    observes(clause) && !told
}

#[cfg(test)]
pub(super) fn broken_patterns() -> Vec<&'static str> {
    let lists: [&[&'static str]; 7] = [
        &commands::SHELL_PATTERNS,
        &ENCODED_PATTERNS,
        &SECRET_PATTERNS,
        &LEAK_PATTERNS,
        &TEMPLATE_PATTERNS,
        &BYPASS_PATTERNS,
        &CHANGE_PATTERNS,
    ];
    lists.into_iter().flatten().copied().filter(|p| compiled(p).is_err()).collect()
}
