//! `issc supervise`: silences a radio when the program that transmits with it dies. Started by that program.

use crate::Result;

/// Waits at the standard input for the end of the program that transmits (feature `soapy`).
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The device, as the program opened it.
    #[arg(long, value_name = "KEY=VALUE,…")]
    device: String,
}

/// Runs `issc supervise`.
#[cfg(not(feature = "soapy"))]
pub fn run(_arguments: Arguments) -> Result<()> {
    Err(crate::blocks::no_radios())
}

/// Runs `issc supervise`.
#[cfg(feature = "soapy")]
pub fn run(arguments: Arguments) -> Result<()> {
    crate::frontend::supervise(&arguments.device, std::io::stdin())
}
