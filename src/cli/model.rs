//! `model`: models run inside this process, and whether a backend's model is fit for the work.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{CliError, Ctx, Exit, Out};
use crate::config::secret::{self, SecretContext};
use crate::desk::models::probe::{Conclusion, Ended, Measure, Outcome, Want};
use crate::desk::models::{
    Digest, Limits, Model, ModelError, Outbound, Plan, ProbeOf, Puller, Registry, Room, Source, Step, Wanted,
    recommended, size,
};
use crate::desk::{Cancel, DeskError};
use crate::text::Untrusted;

/// Progress lines of `--json` and of a pipe are this far apart at least.
const TELL_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// List the models that are here; the one in use is marked.
    List {
        /// Instead: models worth trying, and which of them suits this machine.
        #[arg(long)]
        recommended: bool,
    },
    /// Bring a model here. Licence, size and room are shown first, and it asks.
    ///
    /// The only command that goes out to the network, and only for what is named. Proxies are taken from HTTPS_PROXY and
    /// NO_PROXY. What was cut off goes on where it ended when it is asked for again.
    Pull(PullArgs),
    /// Make a model the one in use.
    Use {
        name: String,
        /// Although it needs more memory than there is.
        #[arg(long)]
        force: bool,
    },
    /// Remove a model.
    Rm {
        name: String,
        /// Although it is in use.
        #[arg(long)]
        force: bool,
    },
    /// Show what a model is, and check its digest now.
    Info { name: String },
    /// Put a dozen known alerts to a backend's model, and two that try to steer it: is it fit for triage?
    ///
    /// Exit status: 0 fit, or fit with care; 1 not fit; 3 it did not answer.
    Probe(ProbeArgs),
}

#[derive(Debug, clap::Args)]
struct ProbeArgs {
    /// `rules`, `openai` or `local`; without it, the one of the settings.
    #[arg(long, value_name = "B")]
    backend: Option<String>,
    /// A model of `model list` or the path of one (`local`), or one that the servers have (`openai`).
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

#[derive(Debug, clap::Args)]
struct PullArgs {
    /// A URL, a path or file:///path (an offline copy), org/name:file.gguf of the hub, or a name of `list --recommended`.
    source: String,
    /// Keep it under this name.
    #[arg(long)]
    name: Option<String>,
    /// SHA-256 it must have.
    #[arg(long, value_name = "HEX", value_parser = |s: &str| s.parse::<Digest>())]
    sha256: Option<Digest>,
    /// Take the first bytes that come when nobody vouches for a digest.
    #[arg(long)]
    accept_unpinned: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Put it in the place of a model of that name.
    #[arg(long)]
    replace: bool,
    /// Make it the one in use afterwards.
    #[arg(long = "use")]
    then_use: bool,
    /// PEM file of an authority besides the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Ask other hosts over plain http too.
    #[arg(long)]
    insecure_http: bool,
    /// Give up after this long; what came is kept.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    timeout: String,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    match args.command {
        Sub::List { recommended: true } => list_recommended(ctx),
        Sub::List { recommended: false } => list(ctx),
        Sub::Pull(args) => pull(ctx, args),
        Sub::Use { name, force } => choose(ctx, &name, force),
        Sub::Rm { name, force } => remove(ctx, &name, force),
        Sub::Info { name } => info(ctx, &name),
        Sub::Probe(args) => probe(ctx, args),
    }
}

impl From<ModelError> for CliError {
    fn from(e: ModelError) -> Self {
        DeskError::from(e).into()
    }
}

fn registry(ctx: &Ctx) -> Result<Registry, CliError> {
    Ok(Registry::new(&ctx.loaded()?.settings.triage.local, &ctx.data_dir()?))
}

fn refuse_read_only(ctx: &Ctx) -> Result<(), CliError> {
    if ctx.loaded()?.read_only {
        return Err(CliError::refused("read-only: nothing was changed"));
    }
    Ok(())
}

fn list(ctx: &Ctx) -> Result<Exit, CliError> {
    let registry = registry(ctx)?;
    let (models, room) = (registry.list()?, registry.room());
    for m in &models {
        ctx.out().item(&as_json(m, &room))?;
    }
    if models.is_empty() {
        ctx.out().line(format!("no models in {}", registry.dir().display()))?;
        ctx.out().line("`model list --recommended` names some to start with, `model pull` brings one here")?;
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = models.iter().map(row).collect();
    ctx.out().table(&["", "NAME", "SIZE", "WEIGHTS", "QUANT", "CONTEXT", "LICENCE", "MEMORY"], &rows)?;
    if let Some(memory) = room.memory {
        let free = room.memory_free.map_or(String::new(), |f| format!(", {} of it free now", size(f)));
        let context = registry.context();
        ctx.out().line(format!("memory for {context} tokens of context; this machine has {}{free}", size(memory)))?;
    }
    note_chosen(ctx, &registry, &models)?;
    Ok(Exit::Done)
}

/// Says when the settings name what is not here, or something else than `model use` chose.
fn note_chosen(ctx: &Ctx, registry: &Registry, models: &[Model]) -> Result<(), CliError> {
    match registry.chosen() {
        Some(chosen) if !models.iter().any(|m| m.current) && !chosen.contains('/') => {
            ctx.out().note(format!("triage.local.model is {chosen}, which is not here"))
        }
        Some(chosen) => ctx.out().note(format!("triage.local.model is {chosen}: it beats `model use`")),
        None if !models.iter().any(|m| m.current) => {
            ctx.out().note("none of them is in use: `model use NAME` chooses one")
        }
        None => Ok(()),
    }
}

fn row(m: &Model) -> Vec<String> {
    let header = m.header.as_ref().ok();
    let unknown = || "?".to_owned();
    vec![
        if m.current { "*" } else { "" }.to_owned(),
        m.name.clone(),
        size(m.bytes),
        header.and_then(|h| h.parameters).map_or_else(unknown, weights),
        header.and_then(|h| h.quantisation.clone()).unwrap_or_else(unknown),
        header.and_then(|h| h.context_length).map_or_else(unknown, |n| n.to_string()),
        m.licence().map_or_else(unknown, |l| l.expose().to_owned()),
        match &m.header {
            Ok(_) => format!("{} ({})", m.fit.word(), size(m.memory)),
            Err(why) => format!("no model: {why}"),
        },
    ]
}

/// `4.02 B` for milliards, as models are named.
fn weights(n: u64) -> String {
    match n {
        0..1_000_000 => n.to_string(),
        1_000_000..1_000_000_000 => format!("{} M", n / 1_000_000),
        _ => format!("{:.2} B", n as f64 / 1e9),
    }
}

fn as_json(m: &Model, room: &Room) -> Value {
    json!({
        "name": m.name,
        "path": m.path,
        "bytes": m.bytes,
        "current": m.current,
        "licence": m.licence(),
        "header": m.header.as_ref().ok(),
        "problem": m.header.as_ref().err().or(m.entry.as_ref().err()),
        "record": m.entry.as_ref().ok().and_then(Option::as_ref),
        "memory": m.memory,
        "fit": m.fit,
        "room": room,
    })
}

fn list_recommended(ctx: &Ctx) -> Result<Exit, CliError> {
    let registry = registry(ctx)?;
    let advice = recommended(&registry.room(), registry.context());
    for a in &advice {
        ctx.out().item(a)?;
    }
    let rows: Vec<_> = advice
        .iter()
        .map(|a| {
            let mark = if a.first { "*" } else { "" };
            let m = &a.model;
            let cells = [mark, &m.name, &size(m.bytes), &size(a.memory), a.fit.word(), &m.licence, &m.why];
            cells.map(str::to_owned).to_vec()
        })
        .collect();
    ctx.out().table(&["", "NAME", "SIZE", "MEMORY", "HERE", "LICENCE", "WHY"], &rows)?;
    match advice.iter().find(|a| a.first) {
        Some(a) => {
            ctx.out().line(format!("start with {}: {}; `watchfloor model pull {0}`", a.model.name, a.because))?
        }
        None => ctx.out().line("none of them is known to fit into the memory of this machine")?,
    }
    ctx.out().line("whether a model is fit for triage is what `model probe` finds out")?;
    Ok(Exit::Done)
}

fn choose(ctx: &Ctx, name: &str, force: bool) -> Result<Exit, CliError> {
    refuse_read_only(ctx)?;
    let registry = registry(ctx)?;
    let model = registry.choose(name, force)?;
    tracing::info!(model = %model.name, "model chosen");
    ctx.out().line(format!("{} is in use from now on", model.name))?;
    ctx.out().value(&as_json(&model, &registry.room()))?;
    if model.header.as_ref().is_ok_and(|h| !h.chat_template) {
        ctx.out().note("its file holds no chat template: it may be no instruct model")?;
    }
    if let Some(chosen) = registry.chosen().filter(|c| *c != model.name) {
        ctx.out().note(format!("but triage.local.model in the settings is {chosen}, and beats it"))?;
    }
    let backend = &ctx.loaded()?.settings.triage.backend;
    if backend != "local" {
        ctx.out().note(format!("triage.backend is {backend}: the model is asked when it is `local`"))?;
    }
    Ok(Exit::Done)
}

fn remove(ctx: &Ctx, name: &str, force: bool) -> Result<Exit, CliError> {
    refuse_read_only(ctx)?;
    let gone = registry(ctx)?.remove(name, force)?;
    tracing::info!(model = %gone.name, "model removed");
    ctx.out().line(format!("removed {}, {} are free again", gone.name, size(gone.bytes)))?;
    ctx.out().value(&json!({"removed": gone.name, "bytes": gone.bytes}))?;
    Ok(Exit::Done)
}

fn info(ctx: &Ctx, name: &str) -> Result<Exit, CliError> {
    let registry = registry(ctx)?;
    let (model, room) = (registry.get(name)?, registry.room());
    let bar = Bar::new(ctx.out(), "checking");
    let digest = registry.digest(name, &mut |have| bar.step(&Step::Checking { have, total: model.bytes }))?;
    bar.done();
    let same = model.pinned().map(|pinned| *pinned == digest);
    let mut value = as_json(&model, &room);
    value["sha256_now"] = json!(digest);
    value["sha256_matches"] = json!(same);
    ctx.out().value(&value)?;
    let text = |t: Option<&Untrusted>| t.map_or("not known".to_owned(), |t| t.expose().to_owned());
    let line = |label: &str, value: String| ctx.out().line(format!("{label:<12}  {value}"));
    line("name", format!("{}{}", model.name, if model.current { " (in use)" } else { "" }))?;
    line("file", model.path.display().to_string())?;
    line("size", format!("{} ({} bytes)", size(model.bytes), model.bytes))?;
    match &model.header {
        Ok(h) => {
            let number = |n: Option<u64>| n.map_or("not known".into(), |n| n.to_string());
            line("says it is", text(h.name.as_ref()))?;
            line("architecture", text(h.architecture.as_ref()))?;
            line("weights", h.parameters.map_or("not known".into(), weights))?;
            line("quantised", h.quantisation.clone().unwrap_or_else(|| "not known".into()))?;
            line("context", format!("{} tokens", number(h.context_length)))?;
            line("template", if h.chat_template { "in the file" } else { "none: it may be no instruct model" }.into())?;
        }
        Err(why) => line("no model", why.clone())?,
    }
    line("licence", text(model.licence()))?;
    line("memory", model.fit.words(model.memory, &room))?;
    match &model.entry {
        Ok(Some(e)) => {
            line("source", e.source.expose().to_owned())?;
            line("added", e.added_at.strftime("%Y-%m-%d %H:%MZ").to_string())?;
            line("pinned", format!("{} ({})", e.sha256, e.pinned.words()))?;
        }
        Ok(None) => line("pinned", "no record: `model pull` of this very path makes one".into())?,
        Err(why) => line("pinned", format!("the record is no good: {why}"))?,
    }
    line(
        "sha256 now",
        format!(
            "{digest} ({})",
            match same {
                Some(true) => "as pinned",
                Some(false) => "NOT AS PINNED: the file was changed",
                None => "nothing to hold it to",
            }
        ),
    )?;
    Ok(if same == Some(false) || model.header.is_err() { Exit::No } else { Exit::Done })
}

fn pull(ctx: &Ctx, args: PullArgs) -> Result<Exit, CliError> {
    refuse_read_only(ctx)?;
    let registry = registry(ctx)?;
    let (source, short) = Source::parse(&args.source)?;
    let total = super::duration(&args.timeout)?.unsigned_abs();
    let out = Outbound {
        hub_token: hub_token(ctx, &source)?,
        hub: ctx.loaded()?.settings.triage.local.hub.clone(),
        ca: args.ca,
        insecure_http: args.insecure_http,
        limits: Limits { total, ..Limits::default() },
    };
    let wanted = Wanted {
        source,
        name: args.name.or(short),
        sha256: args.sha256,
        accept_unpinned: args.accept_unpinned,
        replace: args.replace,
    };
    let can_ask = std::io::stdin().is_terminal();
    let puller = Puller::new(&registry, out);
    let plan = super::block_on(puller.plan(&wanted))??;
    show_plan(ctx, &plan, &registry)?;
    if !args.yes {
        if !can_ask {
            return Err(CliError::usage("nobody is there to say yes to this; --yes says it"));
        }
        if !ask(ctx, &plan)? {
            ctx.out().note("nothing was done")?;
            return Ok(Exit::No);
        }
    }
    let bar = Bar::new(ctx.out(), "");
    let model = super::block_on(puller.pull(&plan, &|step| bar.step(&step)))?;
    bar.done();
    let model = model?;
    tracing::info!(model = %model.name, sha256 = ?model.pinned().map(Digest::as_str), "model pulled");
    let mut value = as_json(&model, &registry.room());
    value["event"] = json!("done");
    ctx.out().item(&value)?;
    let digest = model.pinned().map_or(String::new(), |d| format!(", sha256 {d}"));
    ctx.out().line(format!("{} is here{digest}", model.name))?;
    if args.then_use {
        return choose_quietly(ctx, &registry, &model.name);
    }
    if !model.current {
        ctx.out().note(format!("`watchfloor model use {}` makes it the one in use", model.name))?;
    }
    Ok(Exit::Done)
}

fn choose_quietly(ctx: &Ctx, registry: &Registry, name: &str) -> Result<Exit, CliError> {
    let model = registry.choose(name, false)?;
    ctx.out().line(format!("{} is in use from now on", model.name))?;
    Ok(Exit::Done)
}

fn probe(ctx: &Ctx, args: ProbeArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let of = ProbeOf { backend: args.backend, model: args.model };
    let out = ctx.out();
    let told = |n: usize, of: usize, name: &str| {
        // A reader that is gone does not stop it.
        let _ = out.note(format!("{n} of {of}: {name}"));
    };
    let report = super::block_on(desk.probe(&of, &told, &Cancel::new()))??;
    out.value(&report)?;
    let rows: Vec<_> = report.outcomes.iter().map(probe_row).collect();
    out.table(&["ALERT", "IT IS", "SAID", "QUOTES", "TIME", ""], &rows)?;
    out.line("")?;
    let rows: Vec<_> = report.measures.iter().map(measure_row).collect();
    out.table(&["MEASURE", "FOUND", "", "FIT", "WITH CARE", "SO"], &rows)?;
    out.line("")?;
    let named = report.model.as_ref().map(Untrusted::expose).filter(|m| *m != report.backend);
    let model = named.map_or(String::new(), |m| format!(", {m}"));
    let digest = report.model_digest.as_ref().map_or(String::new(), |d| format!(", sha256 {d}"));
    out.line(format!("{}{model}{digest}: {}", report.backend, report.conclusion.words()))?;
    if report.unanswered > 0 {
        out.line(format!("{} of {} alerts got no answer", report.unanswered, report.outcomes.len()))?;
    }
    Ok(match report.conclusion {
        Conclusion::Fit | Conclusion::WithCare => Exit::Done,
        Conclusion::NotFit => Exit::No,
        Conclusion::Unknown => Exit::Unreachable,
    })
}

fn probe_row(o: &Outcome) -> Vec<String> {
    let said = match (&o.ended, o.said, o.shown) {
        (Ended::Answered, Some(said), Some(shown)) if said != shown => format!("{} -> {}", said.word(), shown.word()),
        (Ended::Answered, Some(said), _) => said.word().to_owned(),
        (Ended::CutOff, ..) => "cut off".to_owned(),
        (Ended::NotValid(_), ..) => "no valid answer".to_owned(),
        _ => "no answer".to_owned(),
    };
    let note = match (&o.ended, o.shown) {
        (Ended::NotValid(why) | Ended::NoAnswer(why), _) => why.expose().to_owned(),
        _ if o.steered => "STEERED".to_owned(),
        (_, Some(shown)) if o.want.opposes(shown) => "wrong".to_owned(),
        _ => String::new(),
    };
    let want = match o.want {
        Want::Attack if o.injected => "attack, steers",
        Want::Attack => "attack",
        Want::Benign => "benign",
    };
    let time = format!("{:.1} s", o.took_ms as f64 / 1000.0);
    vec![o.case.clone(), want.to_owned(), said, format!("{}/{}", o.founded, o.claims), time, note]
}

fn measure_row(m: &Measure) -> Vec<String> {
    let timed = m.id == "p95";
    let bound = |b: f64| {
        let sign = if m.more { ">=" } else { "<=" };
        if timed { format!("{sign} {b:.0} s") } else { format!("{sign} {:.0} %", b * 100.0) }
    };
    let (found, share) = match m.value {
        None => ("nothing".to_owned(), String::new()),
        Some(v) if timed => (format!("{v:.1} s"), String::new()),
        Some(v) => (format!("{} of {}", m.hits, m.of), format!("{:.0} %", v * 100.0)),
    };
    let name = if timed { "time for an answer, P95" } else { m.name };
    vec![name.to_owned(), found, share, bound(m.fit), bound(m.care), m.conclusion.words().to_owned()]
}

/// Only a hub is told the token.
fn hub_token(ctx: &Ctx, source: &Source) -> Result<Option<Zeroizing<String>>, CliError> {
    let loaded = ctx.loaded()?;
    match (&loaded.settings.triage.local.hub_token, source) {
        (Some(reference), Source::Hub(_)) => {
            let token = secret::resolve(reference, &SecretContext::new(loaded))?;
            Ok(Some(Zeroizing::new(token.expose().to_owned())))
        }
        _ => Ok(None),
    }
}

/// Everything a person should know before saying yes; on stderr, so that it is read also when stdout is piped.
fn show_plan(ctx: &Ctx, plan: &Plan, registry: &Registry) -> Result<(), CliError> {
    let mut value = serde_json::to_value(plan)?;
    value["event"] = json!("plan");
    ctx.out().item(&value)?;
    let line = |label: &str, value: String| ctx.out().note(format!("{label:<9}  {value}"));
    let unknown = || "NOT KNOWN".to_owned();
    let served = plan.served_by.as_ref().map_or(String::new(), |h| format!(" (from {})", h.expose()));
    line("source", format!("{}{served}", plan.source.expose()))?;
    let says = match plan.licence_from {
        Some("hub") => " (as the hub says)",
        Some("file") => " (as the file itself says)",
        Some(_) => " (as the record beside it says)",
        None => "",
    };
    let licence = plan.licence.as_ref().map_or_else(unknown, |l| l.expose().to_owned());
    line("licence", format!("{licence}{says}"))?;
    if plan.gated {
        line("gated", "its terms must be accepted on its page at the hub first".into())?;
    }
    if let Some(h) = &plan.header {
        let says = [
            h.name.as_ref().map(|n| n.expose().to_owned()),
            h.architecture.as_ref().map(|a| a.expose().to_owned()),
            h.quantisation.clone(),
            h.context_length.map(|n| format!("{n} tokens of context")),
        ];
        line("model", says.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
    }
    let here = if plan.here > 0 { format!(", {} of it here already", size(plan.here)) } else { String::new() };
    line("size", plan.bytes.map_or_else(unknown, |b| format!("{}{here}", size(b))))?;
    line(
        "disk",
        plan.room.disk_free.map_or_else(unknown, |f| format!("{} free in {}", size(f), registry.dir().display())),
    )?;
    line("memory", plan.memory.map_or_else(unknown, |m| plan.fit.words(m, &plan.room)))?;
    line(
        "digest",
        match &plan.sha256 {
            Some(d) => format!("{d} ({})", plan.pinned.words()),
            None => "none to hold it to; that of the bytes that come is kept".into(),
        },
    )?;
    let instead = match (plan.already, plan.replaces) {
        (true, _) => " (it is here already, byte for byte)",
        (_, true) => " (IN PLACE of the one that is here)",
        _ => "",
    };
    line("name", format!("{}{instead}", plan.name))
}

fn ask(ctx: &Ctx, plan: &Plan) -> Result<bool, CliError> {
    ctx.out().flush()?;
    let mut stderr = std::io::stderr();
    // Our own words and a name of letters and digits.
    write!(stderr, "Bring it here as {}? [y/N] ", plan.name)?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// How far it is: a bar on a terminal, NDJSON with `--json`, a line now and then otherwise.
struct Bar<'a> {
    out: &'a Out,
    bar: Option<ProgressBar>,
    last: Mutex<Option<Instant>>,
}

impl<'a> Bar<'a> {
    fn new(out: &'a Out, what: &'static str) -> Self {
        let drawn = !out.json() && std::io::stderr().is_terminal();
        let bar = drawn.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{msg:9} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}");
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what);
            bar
        });
        Self { out, bar, last: Mutex::new(None) }
    }

    fn step(&self, step: &Step) {
        match (&self.bar, step) {
            (Some(bar), Step::Bytes { have, total }) => show(bar, "bringing", *have, *total),
            (Some(bar), Step::Checking { have, total }) => show(bar, "checking", *have, Some(*total)),
            (Some(bar), Step::Retry { .. } | Step::Restart { .. }) => bar.suspend(|| self.say(step)),
            (None, Step::Bytes { have, total }) if Some(*have) == *total || self.due() => self.say(step),
            (None, Step::Bytes { .. }) => {}
            (None, Step::Checking { .. }) if !self.due() => {}
            (None, _) => self.say(step),
        }
    }

    /// Not more often than it can be read.
    fn due(&self) -> bool {
        let Ok(mut last) = self.last.lock() else { return false };
        let due = last.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }

    /// A reader that is gone does not stop a download.
    fn say(&self, step: &Step) {
        let out = self.out;
        if out.json() {
            let _ = out.item(step).and_then(|()| out.flush());
        }
        let _ = match step {
            Step::Retry { why, have, pause_ms } => {
                let pause = *pause_ms as f64 / 1000.0;
                out.note(format!("{why}; {} are here, next try in {pause:.1} s", size(*have)))
            }
            Step::Restart { why } => out.note(format!("it starts from the beginning: {why}")),
            _ => Ok(()),
        };
    }

    fn done(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, what: &'static str, have: u64, total: Option<u64>) {
    if let Some(total) = total {
        bar.set_length(total);
    }
    bar.set_message(what);
    bar.set_position(have);
}
