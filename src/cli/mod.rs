//! The command line: one subcommand per file, one variant per subcommand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::Result;

/// Integrated sensing and semantic communication, on the air.
#[derive(Debug, Parser)]
#[command(name = "issc", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

/// One variant per subcommand.
#[derive(Debug, Subcommand)]
enum Command {}

/// Runs the program: exit status 0 = done, 2 = the input is wrong, 1 = it failed otherwise.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("issc: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn dispatch(command: Option<Command>) -> Result<()> {
    match command {
        Some(command) => match command {},
        None => Ok(()),
    }
}
