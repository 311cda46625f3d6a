//! What the command line says about radios. Without the feature `soapy` there are no options.

use crate::system::RadioSettings;

/// What is between the channels while they are calibrated.
#[cfg(feature = "soapy")]
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Mode {
    /// Combiner, attenuator and splitter: equal paths from every TX to every RX channel.
    Cable,
    /// A reflector at the scene's `geometry.target`; RX channel 0 is no part of the array.
    Reference,
}

#[cfg(feature = "soapy")]
impl From<Mode> for crate::frontend::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Cable => Self::Cable,
            Mode::Reference => Self::Reference,
        }
    }
}

/// Options of commands that use a radio.
#[cfg(feature = "soapy")]
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RadioArguments {
    /// Let radios transmit, inside the bands that the band file allows.
    #[arg(long)]
    transmit: bool,
    /// The band file; ~/.config/issc/bands.toml by default.
    #[arg(long, value_name = "FILE")]
    bands: Option<std::path::PathBuf>,
    /// Device arguments beside the profile's, e.g. serial=1234.
    #[arg(long, value_name = "KEY=VALUE,…")]
    device: Option<String>,
    /// Calibrate the channels at the start: through cables, or with a reflector at geometry.target.
    #[arg(long, value_name = "MODE", conflicts_with = "calibration")]
    calibrate: Option<Mode>,
    /// A command between the calibration and the run, e.g. one that switches to the antennas; - waits for Enter.
    #[arg(long, value_name = "COMMAND", requires = "calibrate")]
    then: Option<String>,
    /// A command that puts the reflector of `--calibrate reference` in its place, after a look without it; - waits for Enter.
    #[arg(long, value_name = "COMMAND", requires = "calibrate")]
    placing: Option<String>,
    /// A calibration that `issc calibrate` made.
    #[arg(long, value_name = "FILE")]
    calibration: Option<std::path::PathBuf>,
    /// Start a process beside this one that silences the device should this one be killed.
    #[arg(long)]
    supervise: bool,
}

#[cfg(feature = "soapy")]
impl RadioArguments {
    /// The same as a system's settings.
    pub fn settings(self) -> RadioSettings {
        let Self { transmit, bands, device, calibrate, then, placing, calibration, supervise } = self;
        let calibrate = calibrate.map(Mode::into);
        RadioSettings { transmit, bands, device, calibrate, then, placing, calibration, supervise }
    }
}

/// No options.
#[cfg(not(feature = "soapy"))]
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RadioArguments {}

#[cfg(not(feature = "soapy"))]
impl RadioArguments {
    /// No settings.
    pub fn settings(self) -> RadioSettings {
        RadioSettings {}
    }
}
