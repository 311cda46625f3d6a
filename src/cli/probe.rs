//! `issc probe`: what a radio and its driver really do.

use std::path::PathBuf;

use super::radio::RadioArguments;
use crate::Result;

/// Tries a radio in ten steps and says what it can do (feature `soapy`). Without --transmit it only receives.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The device's profile: a shipped name or a file.
    #[arg(long, default_value = "virtual")]
    profile: String,
    /// The scene: carrier and rate.
    #[arg(long, default_value = "paper")]
    scene: String,
    /// The transmitter's ports are wired to the receiver's, with 30 dB of attenuation or more.
    #[arg(long)]
    cabled: bool,
    /// Writes the profile with what was measured to this file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    #[command(flatten)]
    radio: RadioArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc probe`.
#[cfg(not(feature = "soapy"))]
pub fn run(_arguments: Arguments) -> Result<()> {
    Err(crate::blocks::no_radios())
}

/// Runs `issc probe`.
#[cfg(feature = "soapy")]
pub fn run(arguments: Arguments) -> Result<()> {
    use crate::Error;
    use crate::frontend::{Bands, Profile, probe};

    // First of all: from the first instant on a signal leaves a silent device.
    crate::system::Signals::leave_at_once()?;
    let profile = Profile::find(&arguments.profile)?;
    let scene = crate::system::read_scene(&arguments.scene)?;
    let options = arguments.radio.settings().options(true)?;
    let permission =
        if options.transmit { Some(Bands::read(options.bands.as_deref())?.permit(&profile, &scene)?) } else { None };
    let args = options.device.map_or(profile.device.args.clone(), |more| format!("{},{more}", profile.device.args));
    // The scene's world belongs to runs.
    let args = args.replace("air=world", "air=sum");
    let probed = probe::probe(&profile, &args, &scene, permission.as_ref(), arguments.cabled)?;
    if let Some(path) = &arguments.write {
        let text = probed.into_profile(&Profile::text(&arguments.profile)?).map_err(Error::internal)?;
        crate::part::write_whole(path, text.as_bytes()).map_err(|error| crate::part::failed(path, &error))?;
    }
    if arguments.json {
        super::inputs::print_json(&probed)?;
    } else {
        for step in &probed.steps {
            let mark = step.passed.map_or("--", |passed| if passed { "ok" } else { "no" });
            say!("{:>2} {mark} {:<24} {}", step.step, step.name, step.found);
        }
    }
    if probed.passed() { Ok(()) } else { Err(Error::device("a step did not pass")) }
}
