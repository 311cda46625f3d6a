//! `issc set`: one live command to a running process.

use std::path::PathBuf;

use crate::control::{Command, socket};
use crate::{Error, Result};

/// Changes a running system: power_dbm, hcrb_max_m2, bandwidth_ratio_max, target=[x,y] (what the optimizer believes),
/// weights=@FILE, weights=auto, and in the loopback world.target=[x,y] and world.reflection. `target.ID`,
/// `world.target.ID` and `world.reflection.ID` mean the scene's target of this id, the others the first.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The change.
    #[arg(value_name = "KEY=VALUE")]
    change: String,
    /// Socket of the running process.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc set`.
pub fn run(arguments: Arguments) -> Result<()> {
    let command = Command::parse(&arguments.change)?;
    let path = arguments.control.map_or_else(socket::default_path, Ok)?;
    let answer = socket::send(&path, &command)?;
    if arguments.json {
        say!("{}", serde_json::to_string(&answer).expect("an answer is valid JSON"));
    } else if let Some(frame) = answer.frame {
        let feasible = if answer.feasible == Some(true) { "feasible" } else { "not feasible: best effort" };
        say!("{} from frame {frame} on ({feasible})", arguments.change);
    }
    match answer.reason {
        Some(reason) if !answer.accepted => Err(Error::infeasible(format!("refused: {reason}"))),
        _ => Ok(()),
    }
}
