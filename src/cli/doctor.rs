//! `issc doctor`: whether this machine can keep up with a radio.

use crate::Result;
use crate::system::doctor::examine;

/// Looks at what makes radios stumble: clocks, priorities, buffers, other load. Nothing is changed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

/// Runs `issc doctor`.
pub fn run(arguments: Arguments) -> Result<()> {
    let found = examine();
    if arguments.json {
        return super::inputs::print_json(&found);
    }
    for finding in &found {
        let mark = finding.ok.map_or("--", |ok| if ok { "ok" } else { "no" });
        say!("{mark} {:<22} {}; wanted: {}", finding.check, finding.found, finding.wanted);
        if finding.ok == Some(false) {
            say!("   {}", finding.mend);
        }
    }
    Ok(())
}
