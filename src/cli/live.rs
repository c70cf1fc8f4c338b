//! `demo`, `serve`, `screenshot`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use super::CliError;
use super::Ctx;
use super::Exit;
use crate::desk::Demo;
use crate::desk::Desk;
use crate::desk::LinkState;

#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// How fast the scenario runs: 1 to 60 times.
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    speed: f64,
    /// Fill the desk and leave, without a console. Needs --data-dir.
    #[arg(long)]
    headless: bool,
    /// Scenario seconds that have already passed when it opens.
    #[arg(long, default_value_t = 45.0, value_name = "S")]
    skip: f64,
    /// One of `watchfloor themes`: the demo reads no settings.
    #[arg(long, value_name = "NAME")]
    theme: Option<String>,
}

/// Opens the console on a throwaway desk with the bundled scenario running. With --data-dir the desk stays there, and
/// a second console can be opened on it.
pub fn demo(ctx: &Ctx, args: DemoArgs) -> Result<Exit, CliError> {
    if !(0.1..=600.0).contains(&args.speed) {
        return Err(CliError::usage(format!("--speed {}: 1 to 60 was expected", args.speed)));
    }
    let demo = Demo::open(ctx.global.data_dir.clone(), ctx.global.as_person.as_deref())?;
    ctx.start_log(&demo.desk)?;
    demo.fill(args.skip)?;
    if args.headless {
        if ctx.global.data_dir.is_none() {
            return Err(CliError::usage("--headless fills a desk that is then thrown away: name one with --data-dir"));
        }
        return Ok(Exit::Done);
    }
    let _live = demo.desk.start_live(Some(demo.replay(args.skip, args.speed)))?;
    super::console::open(ctx, &demo.desk, args.theme)
}

#[derive(Debug, clap::Args)]
pub struct ServeArgs {}

/// Runs the live sources, the triage workers and the housekeeping without a console, until told to stop.
pub fn serve(ctx: &Ctx, _: ServeArgs) -> Result<Exit, CliError> {
    let desk = ctx.desk()?;
    let live = desk.start_live(None)?;
    ctx.out().note(format!("serving {}; stop with ctrl-c", desk.data_dir().display()))?;
    super::block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut said = BTreeMap::new();
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok::<(), CliError>(()),
                _ = term.recv() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(500)) => say_changes(ctx, &desk, &mut said)?,
            }
        }
    })??;
    drop(live);
    Ok(Exit::Done)
}

/// A line for each source whose state or fault is another than when it was last said.
fn say_changes(ctx: &Ctx, desk: &Desk, said: &mut BTreeMap<String, String>) -> Result<(), CliError> {
    for link in desk.links() {
        let quiet = link.state == LinkState::Live;
        let detail = if quiet { "" } else { link.detail.expose() };
        let line = format!("{} ({}): {} {detail}", link.name, link.kind, link.state.word());
        if said.get(&link.name) != Some(&line) {
            ctx.out().note(&line)?;
            said.insert(link.name, line);
        }
    }
    Ok(())
}

#[derive(Debug, clap::Args)]
pub struct ScreenshotArgs {
    /// SVG file to write.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 132)]
    width: u16,
    #[arg(long, default_value_t = 38)]
    height: u16,
    /// Keys pressed before the picture is taken, as in a keymap: `j j enter`.
    #[arg(long, default_value = "")]
    keys: String,
    /// One of `watchfloor themes`.
    #[arg(long, value_name = "NAME")]
    theme: Option<String>,
}

/// The platform's panes are filled by background work; a picture waits for its first round.
fn await_platform(desk: &Desk) {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let p = desk.platform();
        let unread = p.slos.is_empty() || p.rollouts.is_empty() || p.assets.is_empty() || p.checklists.is_empty();
        if !unread || std::time::Instant::now() > until {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Draws the console's own buffer: of the demo without --data-dir, else of that desk.
pub fn screenshot(ctx: &Ctx, args: ScreenshotArgs) -> Result<Exit, CliError> {
    let (desk, _demo) = match ctx.global.data_dir {
        Some(_) => (ctx.desk()?, None),
        None => {
            let demo = Demo::open(None, None)?;
            demo.fill(700.0)?;
            let live = demo.desk.start_live(None)?;
            await_platform(&demo.desk);
            drop(live);
            (Arc::clone(&demo.desk), Some(demo))
        }
    };
    let svg = crate::console::screenshot(&desk, args.width, args.height, &args.keys, args.theme)
        .map_err(|e| super::console::failed(&e))?;
    std::fs::write(&args.out, svg)
        .map_err(|e| CliError::unreachable(format!("{}: cannot be written: {e}", args.out.display())))?;
    ctx.out().note(format!("{} written", args.out.display()))?;
    Ok(Exit::Done)
}
