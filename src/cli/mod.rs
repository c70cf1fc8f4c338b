//! Command line: one file per subcommand.
//!
//! To add a command: a file with `pub struct Args` (derives [`clap::Args`]) and
//! `pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError>`, then one row in [`Command`] and one in
//! [`dispatch`]. A command writes through [`Ctx::out`] only: [`Out::line`] and [`Out::table`] for people,
//! [`Out::value`] (one JSON value) or [`Out::item`] (one NDJSON line each) under `--json`, [`Out::note`] for messages.

pub mod alert;
pub mod alerts;
pub mod audit;
pub mod backup;
pub mod bench;
pub mod checklist;
pub mod completions;
pub mod config;
pub mod console;
pub mod ctx;
pub mod dead_letter;
pub mod doctor;
pub mod drill;
pub mod error;
pub mod eval;
pub mod import;
pub mod keys;
pub mod life;
pub mod live;
pub mod model;
pub mod notify;
pub mod organise;
pub mod out;
pub mod playbook;
mod playbook_draft;
pub mod playbook_run;
pub mod policy;
pub mod report;
pub mod respond;
pub mod rollout;
pub mod secret;
pub mod sign;
pub mod sla;
pub mod slo;
pub mod status;
pub mod triage;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::desk::Desk;
use crate::model::ids::PersonId;
use crate::model::query::Query;

pub use ctx::Ctx;
pub use error::{CliError, Exit};
pub use out::Out;

const ENVIRONMENT: &str = "\
Environment:
  WATCHFLOOR_SECTION__KEY=value  any setting, such as WATCHFLOOR_CONSOLE__THEME=light; lists are separated by commas
  WATCHFLOOR_CONFIG, WATCHFLOOR_PROFILE, WATCHFLOOR_DATA_DIR  as the flags of these names, which beat them
  VAULT_ADDR, VAULT_TOKEN, VAULT_CACERT, VAULT_NAMESPACE  for vault: references, unless the settings say otherwise
  NO_COLOR  as --no-color";

/// The console of a security operations centre, in a terminal.
///
/// Without a subcommand it opens the console on the configured desk.
///
/// Exit status: 0 done; 1 the answer is no; 2 bad usage or configuration; 3 a needed service is unreachable;
/// 4 refused by policy or permission.
#[derive(Debug, Parser)]
#[command(name = "watchfloor", version, max_term_width = 100, after_long_help = ENVIRONMENT)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Global {
    /// Settings file instead of the one in the platform's own place (see `config path`).
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use the `[profile.NAME]` tables of the settings file.
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Folder of the store, the audit log and the logs.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// JSON on stdout (NDJSON for lists) and nothing else there; messages go to stderr.
    #[arg(long, global = true)]
    pub json: bool,
    /// No colour, whatever the terminal can do.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Take no action that changes anything.
    #[arg(long, global = true)]
    pub read_only: bool,
    /// Act as this person. Demo desks only: elsewhere the person is the OS user, taken from the kernel.
    #[arg(long = "as", global = true, value_name = "PERSON")]
    pub as_person: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The console on a throwaway desk with a live bundled scenario: no network, no settings.
    Demo(live::DemoArgs),
    /// The desk without a console: live sources, triage workers, housekeeping.
    Serve(live::ServeArgs),
    /// Read alerts from files, folders or standard input.
    Import(import::Args),
    /// List alerts.
    Alerts(alerts::Args),
    /// Show alerts and work on them.
    Alert(alert::Args),
    /// Records that could not be read.
    DeadLetter(dead_letter::Args),
    /// Form an opinion on alerts.
    Triage(triage::Args),
    /// Models run inside this process, and whether a model is fit for triage.
    Model(model::Args),
    /// Score opinions on labelled alerts, or see what text that addresses the reader achieves.
    Eval(eval::Args),
    /// How much a backend takes: opinions a second and time to the first token.
    Bench(bench::Args),
    /// The action catalogue, or requests by state.
    Actions(respond::ActionsArgs),
    /// Propose a response action: policy and dry run, nothing else.
    Propose(respond::ProposeArgs),
    /// Approve a request exactly as it was shown.
    Approve(respond::ApproveArgs),
    /// Sign an approval on your own machine: shows what is asked, asks you, prints the signature.
    Sign(sign::Args),
    /// Deny a request; one denial ends it.
    Deny(respond::DenyArgs),
    /// Withdraw your own request.
    Withdraw(respond::IdArgs),
    /// Run an approved request, once.
    Execute(respond::ExecuteArgs),
    /// Requests kept before anybody is asked.
    Draft(life::DraftArgs),
    /// Ask back about a request you may approve; the clock goes on.
    Question(life::SayArgs),
    /// Answer what an approver asked about your request.
    Answer(life::SayArgs),
    /// Tell the change board's ticket of a request.
    Ticket(life::TicketArgs),
    /// What one person did alone behind broken glass, and what others say of it.
    Review(life::ReviewArgs),
    /// What governs response actions.
    Policy(policy::Args),
    /// The people of this desk.
    Roster(life::RosterArgs),
    /// Stop all execution, or allow it again.
    KillSwitch(respond::KillArgs),
    /// Those who are told of what happens to requests: chats, pagers, ticket systems.
    Notify(notify::Args),
    /// Verify, query and export the audit log.
    Audit(audit::Args),
    /// Checklists: what is seen, ticked and signed off.
    Checklist(checklist::Args),
    /// Playbooks: read, checked, suggested, worked step by step.
    Playbook(playbook::Args),
    /// Reports for others.
    Report(report::Args),
    /// Agreements: exclusions, and one probe of each service.
    Sla(sla::Args),
    /// What clusters are changing: rollouts, read now.
    Rollout(rollout::Args),
    /// A status page for the public.
    Status(status::Args),
    /// Backups: how well they are proven, objectives, what could go.
    Backup(backup::Args),
    /// Saved views.
    View(organise::ViewArgs),
    /// Suppressions.
    Suppress(organise::SuppressArgs),
    /// Cases.
    Case(organise::CaseArgs),
    /// Service level objectives.
    Slo(slo::Args),
    /// Draw the console's own buffer as SVG.
    Screenshot(live::ScreenshotArgs),
    /// Show, check and explain the settings.
    Config(config::Args),
    /// Keep, fetch and remove secrets in a keyring.
    Secret(secret::Args),
    /// Show every key and what it does, keymaps, and the columns of the queue.
    Keys(keys::Args),
    /// Show the themes, or how one looks.
    Themes(keys::ThemesArgs),
    /// Say whether this host, the settings and this terminal are fit for a desk.
    Doctor(doctor::Args),
    /// Write a shell's completion script.
    Completions(completions::Args),
    /// Write the manual page (roff).
    Man(completions::ManArgs),
}

fn dispatch(ctx: &Ctx, command: Option<Command>) -> Result<Exit, CliError> {
    match command {
        None => console::run(ctx),
        Some(Command::Demo(args)) => live::demo(ctx, args),
        Some(Command::Serve(args)) => live::serve(ctx, args),
        Some(Command::Import(args)) => import::run(ctx, args),
        Some(Command::Alerts(args)) => alerts::run(ctx, args),
        Some(Command::Alert(args)) => alert::run(ctx, args),
        Some(Command::DeadLetter(args)) => dead_letter::run(ctx, args),
        Some(Command::Triage(args)) => triage::run(ctx, args),
        Some(Command::Model(args)) => model::run(ctx, args),
        Some(Command::Eval(args)) => eval::run(ctx, args),
        Some(Command::Bench(args)) => bench::run(ctx, args),
        Some(Command::Actions(args)) => respond::actions(ctx, args),
        Some(Command::Propose(args)) => respond::propose(ctx, args),
        Some(Command::Approve(args)) => respond::approve(ctx, args),
        Some(Command::Sign(args)) => sign::run(ctx, &args),
        Some(Command::Deny(args)) => respond::deny(ctx, args),
        Some(Command::Withdraw(args)) => respond::withdraw(ctx, args),
        Some(Command::Execute(args)) => respond::execute(ctx, args),
        Some(Command::Draft(args)) => life::draft(ctx, args),
        Some(Command::Question(args)) => life::question(ctx, args),
        Some(Command::Answer(args)) => life::answer(ctx, args),
        Some(Command::Ticket(args)) => life::ticket(ctx, args),
        Some(Command::Review(args)) => life::review(ctx, args),
        Some(Command::Policy(args)) => policy::run(ctx, args),
        Some(Command::Roster(args)) => life::roster(ctx, args),
        Some(Command::KillSwitch(args)) => respond::kill_switch(ctx, args),
        Some(Command::Notify(args)) => notify::run(ctx, args),
        Some(Command::Audit(args)) => audit::run(ctx, args),
        Some(Command::Checklist(args)) => checklist::run(ctx, args),
        Some(Command::Playbook(args)) => playbook::run(ctx, args),
        Some(Command::Report(args)) => report::run(ctx, args),
        Some(Command::Sla(args)) => sla::run(ctx, args),
        Some(Command::Rollout(args)) => rollout::run(ctx, args),
        Some(Command::Status(args)) => status::run(ctx, args),
        Some(Command::Backup(args)) => backup::run(ctx, args),
        Some(Command::View(args)) => organise::view(ctx, args),
        Some(Command::Suppress(args)) => organise::suppress(ctx, args),
        Some(Command::Case(args)) => organise::case(ctx, args),
        Some(Command::Slo(args)) => slo::run(ctx, args),
        Some(Command::Screenshot(args)) => live::screenshot(ctx, args),
        Some(Command::Config(args)) => config::run(ctx, args),
        Some(Command::Secret(args)) => secret::run(ctx, args),
        Some(Command::Keys(args)) => keys::run(ctx, args),
        Some(Command::Themes(args)) => keys::themes(ctx, args),
        Some(Command::Doctor(args)) => doctor::run(ctx, args),
        Some(Command::Completions(args)) => completions::run(ctx, args),
        Some(Command::Man(args)) => completions::man(ctx, args),
    }
}

/// Parses the arguments (the first is the program's name), runs the command and says how it went.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_with(args, Out::std, crate::config::Env::process()).into()
}

/// As [`run`], with the places it writes to and the environment given.
pub fn run_with(
    args: impl IntoIterator<Item = OsString>,
    out: impl FnOnce(bool) -> Out,
    env: crate::config::Env,
) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) => return usage(&e, &out(false)),
    };
    let ctx = Ctx::new(cli.global, out, env);
    let result = dispatch(&ctx, cli.command).and_then(|exit| ctx.out().flush().map(|()| exit));
    match result {
        Ok(exit) => {
            tracing::info!(exit = exit as u8, "ended");
            exit
        }
        Err(e) => {
            tracing::warn!(exit = e.exit() as u8, error = %e, "ended");
            e.report(ctx.out())
        }
    }
}

/// `--help` and `--version` are answers, everything else is bad usage.
fn usage(e: &clap::Error, out: &Out) -> Exit {
    let text = e.render().to_string();
    if e.use_stderr() {
        let _ = out.note(text.trim_end());
        return Exit::Usage;
    }
    match out.text(&text).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(e) => e.report(out),
    }
}

/// The person commands act for.
fn me(ctx: &Ctx, desk: &Desk) -> Result<PersonId, CliError> {
    let me = desk
        .me()
        .ok_or_else(|| CliError::refused("your OS account is no person of the roster: ask who keeps it to add you"))?;
    if ctx.global.read_only {
        return Err(CliError::refused("--read-only: nothing is changed"));
    }
    Ok(me.id)
}

/// A query of the command line; a fault is shown under the column it is in.
fn query(ctx: &Ctx, desk: &Desk, text: &str) -> Result<Query, CliError> {
    let nobody = || PersonId::new("nobody");
    let Some(me) = desk.me().map(|p| p.id).or_else(nobody) else { return Ok(Query::All) };
    desk.parse_query(text, &me).map_err(|e| {
        let _ = ctx.out().note(format!("  {text}"));
        let _ = ctx.out().note(format!("  {}{}", " ".repeat(e.column.saturating_sub(1)), "^".repeat(e.len)));
        CliError::usage(e.to_string())
    })
}

/// `30m`, `2h`, `7d` as a time span of at least a second.
fn duration(text: &str) -> Result<jiff::SignedDuration, CliError> {
    let wrong = || CliError::usage(format!("{text}: a time such as 30m, 2h or 7d was expected"));
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let n: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let all = n.checked_mul(seconds).filter(|s| *s > 0 && *s <= 3_660 * 86_400).ok_or_else(wrong)?;
    Ok(jiff::SignedDuration::from_secs(all))
}

/// Runs asynchronous work of one command to its end.
fn block_on<F: Future>(work: F) -> Result<F::Output, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| CliError::unreachable(format!("no runtime: {e}")))?;
    Ok(runtime.block_on(work))
}

/// The whole grammar, for completions, the manual and tests.
pub fn grammar() -> clap::Command {
    Cli::command()
}
