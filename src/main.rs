//! Parse arguments and run.

use std::process::ExitCode;

fn main() -> ExitCode {
    watchfloor::cli::run(std::env::args_os())
}
