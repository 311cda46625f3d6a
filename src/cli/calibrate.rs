//! `issc calibrate`: how a radio's channels differ in gain, phase and delay, as a dated file.

use std::path::PathBuf;

use super::radio::RadioArguments;
use crate::Result;

/// Measures how a radio's channels differ, through cables or with a reflector at a known place (feature `soapy`).
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The device's profile: a shipped name or a file.
    #[arg(long, default_value = "virtual")]
    profile: String,
    /// The scene: carrier, rate, arrays, and the reflector's place as geometry.target.
    #[arg(long, default_value = "paper")]
    scene: String,
    /// Where the calibration goes.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draws the channels into this folder.
    #[arg(long, value_name = "DIR")]
    draw: Option<PathBuf>,
    /// Seed of the virtual radio's world.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    radio: RadioArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc calibrate`.
#[cfg(not(feature = "soapy"))]
pub fn run(_arguments: Arguments) -> Result<()> {
    Err(crate::blocks::no_radios())
}

/// Runs `issc calibrate`.
#[cfg(feature = "soapy")]
pub fn run(arguments: Arguments) -> Result<()> {
    use std::sync::Arc;

    use crate::frontend::{Bands, Calibrated, Mode, Profile, Radio, RadioOptions, Surroundings};
    use crate::{Error, stream::Telemetry};

    // First of all: from the first instant on a signal leaves a silent device.
    crate::system::Signals::leave_at_once()?;
    let profile = Profile::find(&arguments.profile)?;
    let scene = Arc::new(crate::system::read_scene(&arguments.scene)?);
    let options = arguments.radio.settings().options(true)?;
    if !options.transmit {
        return Err(Error::input("calibration transmits; accepted: only with --transmit, inside an allowed band"));
    }
    let options = match options.calibrated {
        Calibrated::AtStart(_) => options,
        _ => RadioOptions { calibrated: Calibrated::AtStart(Mode::Cable), ..options },
    };
    let permission = Bands::read(options.bands.as_deref())?.permit(&profile, &scene)?;
    let (telemetry, _events) = Telemetry::new(1);
    let around = Surroundings::new(scene, arguments.seed, Arc::default(), telemetry);
    let channels = profile.rx.channels.clone();
    let radio = Arc::new(Radio::open(profile, &options, around)?);
    radio.add_receiver(&channels)?;
    radio.add_transmitter(&permission)?;
    radio.start();
    radio.end(0);
    let Some(calibration) = radio.calibration() else {
        return Err(Error::device("no calibration: see above"));
    };
    if let Some(path) = &arguments.out {
        calibration.write(path)?;
    }
    if let Some(folder) = &arguments.draw {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        crate::system::drawings::calibration(folder, "calibration", calibration)?;
    }
    if arguments.json {
        return super::inputs::print_json(&**calibration);
    }
    say!("{}, session {}", calibration.device, calibration.session);
    for (side, offsets) in [("TX", &calibration.tx), ("RX", &calibration.rx)] {
        for offset in offsets {
            say!(
                "{side} {}  {:+7.3} dB  {:+8.3}° ± {:.3}°  {:+7.4} samples",
                offset.channel,
                offset.gain_db,
                offset.phase_deg,
                offset.error_deg,
                offset.delay_samples
            );
        }
    }
    Ok(())
}
