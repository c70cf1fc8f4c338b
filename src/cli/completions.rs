//! `completions SHELL` and `man`: generated from the grammar, so they cannot drift.

use clap_complete::Shell;

use super::{CliError, Ctx, Exit, grammar};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell: bash, elvish, fish, powershell or zsh.
    shell: Shell,
}

pub fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut grammar(), "watchfloor", &mut script);
    ctx.out().bytes(&script)?;
    Ok(Exit::Done)
}

#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The page of a subcommand, such as `man config explain`, instead of the program's own.
    command: Vec<String>,
}

pub fn man(ctx: &Ctx, args: ManArgs) -> Result<Exit, CliError> {
    let mut command = grammar();
    command.build();
    let mut name = String::from("watchfloor");
    for word in &args.command {
        command = command
            .find_subcommand(word)
            .cloned()
            .ok_or_else(|| CliError::usage(format!("{name} has no subcommand {word:?}")))?;
        name = format!("{name} {}", command.get_name());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    ctx.out().bytes(&page)?;
    Ok(Exit::Done)
}
