//! The `issc` command: parses its arguments and hands over to [`issc::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    issc::cli::main()
}
