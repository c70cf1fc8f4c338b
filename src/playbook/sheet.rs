//! A run sheet in Markdown: to print, to hang up, to follow when nothing else works.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::ids;
use super::react;
use super::run;
use crate::model::playbook::Command;
use crate::model::playbook::Playbook;
use crate::model::playbook::Step;
use crate::model::playbook::StepKind;
use crate::model::playbook::Tlp;
use crate::model::playbook_run::Deadline;
use crate::model::playbook_run::Run;
use crate::model::technique;
use crate::text::Untrusted;
use crate::text::clean;

/// The whole playbook, and with a run of it what happened so far. Its marking stands at both ends, as TLP 2.0 asks.
pub fn markdown(book: &Playbook, run: Option<(&Run, &[Deadline])>) -> String {
    let mut out = String::new();
    let marking = match run {
        // What happened here is for fewer people than what to do.
        Some(_) => Some(marking_of_run(book)),
        None => book.tlp,
    };
    let marking = marking.map_or("not marked: keep it in the house", |t| t.word());
    let _ = writeln!(out, "**{marking}**\n\n# {}\n", said(&book.title));
    if let Some(g) = &book.generated {
        let model = g.model.as_ref().map_or_else(|| "a model".to_owned(), said);
        let _ = writeln!(out, "**GENERATED** by {model}\n");
    }
    if !book.description.is_empty() {
        let _ = writeln!(out, "{}\n", block(&book.description, ""));
    }
    let _ = writeln!(out, "- Playbook `{}`, version {}, `sha256:{}`", book.key, said(&book.modified), &book.hash[..16]);
    if !book.techniques.is_empty() {
        let named = |id: &String| technique::lookup(id).map_or(id.clone(), |t| format!("{id} {}", t.name));
        let _ = writeln!(out, "- For {}", escape(&book.techniques.iter().map(named).collect::<Vec<_>>().join(", ")));
    }
    if !book.restricted.is_empty() {
        let _ = writeln!(out, "- **Restricted**: only {} and people named for the run", book.restricted.join(", "));
    }
    match run {
        Some((run, deadlines)) => {
            of_run(run, &mut out);
            of_deadlines(deadlines, &mut out);
        }
        None => variables(book, &mut out),
    }
    let numbers: BTreeMap<&str, usize> =
        book.steps.iter().filter(|s| numbered(s)).enumerate().map(|(i, s)| (s.id.as_str(), i + 1)).collect();
    let mut phase = None;
    for step in book.steps.iter().filter(|s| numbered(s)) {
        if step.phase.is_some() && step.phase != phase {
            phase = step.phase;
            if let Some(p) = phase {
                let _ = writeln!(out, "\n## {} ({})", capital(p.word()), p.csf());
            }
        }
        one(&Sheet { book, run: run.map(|(r, _)| r), step }, &numbers, &mut out);
        for line in run.map(|(r, _)| happened(r, &step.id)).unwrap_or_default() {
            let _ = writeln!(out, "- > {}", escape(&line));
        }
    }
    let _ = writeln!(out, "\n**{marking}**");
    out
}

/// How the sheet of a run is marked: it names hosts, people and evidence, so it stays in the house whatever the playbook
/// itself is marked.
pub fn marking_of_run(book: &Playbook) -> Tlp {
    book.tlp.unwrap_or(Tlp::AmberStrict).max(Tlp::AmberStrict)
}

/// What a run is about, how it stands, and what is known in it.
fn of_run(run: &Run, out: &mut String) {
    let _ = writeln!(
        out,
        "- Run {}, begun by {} at {:.0}: **{}**",
        run.id,
        run.started_by,
        run.started_at,
        run.state.word()
    );
    if let Some(end) = run.ended_at {
        let why = run.ended_why.as_ref().map(|w| format!(": {}", said(w))).unwrap_or_default();
        let _ = writeln!(out, "- Ended at {end:.0}{why}");
    }
    for (what, id) in [("Case", run.case.map(|c| c.to_string())), ("Alert", run.alert.map(|a| a.to_string()))] {
        if let Some(id) = id {
            let _ = writeln!(out, "- {what} {id}");
        }
    }
    if !run.variables.is_empty() {
        let _ = writeln!(out, "\nKnown:\n");
    }
    for (name, held) in &run.variables {
        let value = held.value.as_ref().map_or("not known".to_owned(), said);
        let by = held.by.as_ref().map(|b| format!(" ({b})")).unwrap_or_default();
        let _ = writeln!(out, "- {}: {value}{by}", escape(name.trim_matches('_')));
    }
}

/// Who has to hear of it by when, and what was said of it.
fn of_deadlines(deadlines: &[Deadline], out: &mut String) {
    if deadlines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nDeadlines (not legal advice: counsel says which apply):\n");
    for d in deadlines {
        let by = match (d.due, d.began) {
            (Some(due), _) => format!("by {due:.0}"),
            (None, Some(_)) => d.within.clone(),
            (None, None) => format!("{}, once {} is known", d.within, d.from.trim_matches('_').replace('_', " ")),
        };
        let tick = if d.open() { ' ' } else { 'x' };
        let mark = d.mark.as_ref().map(|m| format!(": {} ({} at {:.0}: {})", m.word.word(), m.by, m.at, said(&m.text)));
        let text = format!("{} {by} {}", d.id, d.to);
        let _ = writeln!(out, "- [{tick}] {} ({}){}", escape(&text), escape(&d.law), mark.unwrap_or_default());
    }
}

/// Lines about one step.
fn happened(run: &Run, step: &str) -> Vec<String> {
    let mut out = Vec::new();
    for v in run.visits.iter().filter(|v| v.step == step) {
        let when = v.ended_at.unwrap_or(v.entered_at);
        let who = v.ended_by.as_ref().or(v.owner.as_ref()).map_or("nobody yet".to_owned(), |p| p.to_string());
        out.push(format!("{} at {when:.0} by {who}", v.state.word()));
        out.extend(v.reason.as_ref().map(|r| format!("reason: {}", r.expose())));
        for (name, value) in &v.outputs {
            let value = value.as_ref().map_or("not known", |v| v.expose());
            out.push(format!("{} = {value}", name.trim_matches('_')));
        }
        out.extend(v.signed.iter().map(|s| match &s.named {
            Some(n) => format!("signed as {} by {} ({})", s.role, n.expose(), s.by),
            None => format!("signed as {} by {}", s.role, s.by),
        }));
        out.extend(v.requests.iter().map(|r| format!("action asked for: request {}", r.as_str())));
        out.extend(v.evidence.iter().map(|e| format!("evidence {} sha256:{}", e.name.expose(), e.sha256)));
        out.extend(v.advice.iter().map(|a| format!("advice of the model {}: {}", a.model.expose(), a.text.expose())));
        out.extend(v.notes.iter().map(|n| format!("{}: {}", n.by, n.text.expose())));
    }
    out
}

fn numbered(step: &Step) -> bool {
    !matches!(step.kind, StepKind::Start | StepKind::End)
}

fn variables(book: &Playbook, out: &mut String) {
    let asked: Vec<_> = book.variables.iter().filter(|(_, v)| v.external).collect();
    if asked.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nTo be filled in at the start:\n");
    for (name, v) in asked {
        let name = escape(name.trim_matches('_'));
        let _ = writeln!(out, "- {name} ({}): {} ____________", escape(&v.kind), said(&v.description));
    }
}

/// A step and what its texts are filled in with.
struct Sheet<'a> {
    book: &'a Playbook,
    run: Option<&'a Run>,
    step: &'a Step,
}

impl Sheet<'_> {
    /// What is known put in; without a run, the name of what has to be known: `<account>`.
    fn text(&self, text: &Untrusted) -> Untrusted {
        match self.run {
            Some(run) => run::fill(run, self.step, text),
            None => named(text),
        }
    }

    /// A condition's names as words.
    fn asks(&self, text: &Untrusted) -> String {
        let bare = text.expose().replace(":value", "");
        let names = ids::references(text.expose());
        said(&Untrusted::new(names.iter().fold(bare, |t, name| t.replace(name, name.trim_matches('_')))))
    }

    /// Commands are for pasting: values of alerts stand in none of them.
    fn command(&self, c: &Command) -> String {
        if c.kind == "manual" {
            return format!("{}\n", block(&self.text(&c.text), ""));
        }
        let what = match c.kind.as_str() {
            crate::model::playbook::ACTION => "Propose the action",
            crate::model::playbook::ANSIBLE => "Ansible",
            crate::model::playbook::OPENSEARCH => "Search",
            other => other,
        };
        // Indented code: nothing in it is read as Markdown.
        format!("{}:\n\n{}\n", escape(what), block_code(&named(&c.text)))
    }
}

/// `__account__:value` as `<account>`.
fn named(text: &Untrusted) -> Untrusted {
    let names = ids::references(text.expose());
    let put = |t: String, name: &String| t.replace(&format!("{name}:value"), &format!("<{}>", name.trim_matches('_')));
    Untrusted::new(names.iter().fold(text.expose().to_owned(), put))
}

fn one(sheet: &Sheet<'_>, numbers: &BTreeMap<&str, usize>, out: &mut String) {
    let Sheet { book, step, .. } = sheet;
    let n = numbers.get(step.id.as_str()).copied().unwrap_or_default();
    let who = step.who.as_ref().map(|w| format!(" ({})", said(w))).unwrap_or_default();
    let boxed = step.box_ms.or(step.timeout_ms).map(|ms| format!(", within {}", span(ms))).unwrap_or_default();
    let _ = writeln!(out, "\n### {n}. {}{who}{boxed}\n", said(&step.name));
    if !step.description.is_empty() {
        let _ = writeln!(out, "{}\n", block(&sheet.text(&step.description), ""));
    }
    for c in &step.commands {
        let _ = writeln!(out, "{}", sheet.command(c));
    }
    let mut line = |label: &str, text: String| {
        let _ = writeln!(out, "- {label}: {text}");
    };
    if let Some(t) = &step.look_at {
        line("Look at", said(&sheet.text(t)));
    }
    for t in &step.attach {
        line("[ ] Attach", said(&sheet.text(t)));
    }
    for name in &step.out_args {
        line("[ ] Note down", format!("{} ____________", escape(name.trim_matches('_'))));
    }
    if let Some(t) = &step.stop_when {
        line("Stop when", said(&sheet.text(t)));
    }
    if !step.sign_off.is_empty() {
        line(
            "[ ] Sign-off",
            step.sign_off.iter().map(|s| format!("{} ____________", escape(s))).collect::<Vec<_>>().join(", "),
        );
    }
    if let Some(ms) = step.delay_ms {
        line("Wait first", span(ms));
    }
    if !step.react.is_empty() {
        let named = |id: &String| react::name(id).map_or(id.clone(), |n| format!("{id} {n}"));
        line("RE&amp;CT", escape(&step.react.iter().map(named).collect::<Vec<_>>().join(", ")));
    }
    let to = |id: &str| place(book, id, numbers);
    match &step.kind {
        StepKind::Parallel(heads) => {
            line("At the same time", heads.iter().map(|h| to(h)).collect::<Vec<_>>().join(", "));
        }
        StepKind::If { condition, yes, no } => {
            line("If", format!("{}: {}", sheet.asks(condition), to(yes)));
            line("If not", no.as_ref().map_or("go on".to_owned(), |n| to(n)));
        }
        StepKind::While { condition, body } => line("As long as", format!("{}: {}", sheet.asks(condition), to(body))),
        StepKind::Switch { on, cases } => {
            for (value, head) in cases {
                line("If", format!("{} is {}: {}", sheet.asks(on), escape(value), to(head)));
            }
        }
        StepKind::Playbook(id) => line("Work the playbook", escape(id)),
        StepKind::Start | StepKind::End | StepKind::Action => {}
    }
    if let Some(next) = step.next() {
        line("Then", to(next));
    }
    if let Some(failed) = step.on_failure.as_deref().or(book.exception.as_deref()) {
        line("If it fails", to(failed));
    }
    if matches!(step.kind, StepKind::Action | StepKind::Playbook(_)) {
        line("[ ] Done", "____:____ by ____________".to_owned());
    }
}

fn place(book: &Playbook, id: &str, numbers: &BTreeMap<&str, usize>) -> String {
    match (numbers.get(id), book.step(id)) {
        (Some(n), Some(step)) => format!("{n} {}", said(&step.name)).trim_end().to_owned(),
        (None, Some(step)) if step.kind == StepKind::End && step.name.is_empty() => "end of this branch".to_owned(),
        (None, Some(step)) if step.kind == StepKind::End => format!("end: {}", said(&step.name)),
        _ => "a step that is not there".to_owned(),
    }
}

fn block_code(text: &Untrusted) -> String {
    lines(text).map(|l| format!("    {l}\n")).collect()
}

fn lines(text: &Untrusted) -> impl Iterator<Item = String> {
    text.expose().lines().map(|l| clean(&Untrusted::new(l)).into_owned().as_str().to_owned())
}

fn block(text: &Untrusted, indent: &str) -> String {
    lines(text).map(|l| format!("{indent}{}", line_escape(&l))).collect::<Vec<_>>().join("\n")
}

/// Lists that authors write stay lists.
fn line_escape(line: &str) -> String {
    let trimmed = line.trim_start();
    let indent = &line[..line.len() - trimmed.len()];
    match trimmed.strip_prefix("- ").or_else(|| trimmed.strip_prefix("* ")) {
        Some(item) => format!("{indent}- {}", escape(item)),
        None => format!("{indent}{}", escape(trimmed)),
    }
}

fn said(text: &Untrusted) -> String {
    escape(clean(text).as_str())
}

/// Shows text as itself in Markdown, whatever it is.
fn escape(text: &str) -> String {
    let cleaned = Untrusted::new(text);
    let mut out = String::with_capacity(text.len());
    for c in clean(&cleaned).as_str().chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// Milliseconds as people say them.
pub fn span(ms: u64) -> String {
    let s = ms.div_ceil(1000);
    match (s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, 0) => format!("{m} min"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, 0, _) => format!("{h} h"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, 0, ..) => format!("{d} d"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}
