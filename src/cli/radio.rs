//! What the command line says about radios. Without the feature `soapy` there are no options.

use crate::system::RadioSettings;

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
    calibrate: Option<crate::frontend::Mode>,
    /// A calibration that `issc calibrate` made.
    #[arg(long, value_name = "FILE")]
    calibration: Option<std::path::PathBuf>,
}

#[cfg(feature = "soapy")]
impl RadioArguments {
    /// The same as a system's settings.
    pub fn settings(self) -> RadioSettings {
        let Self { transmit, bands, device, calibrate, calibration } = self;
        RadioSettings { transmit, bands, device, calibrate, calibration }
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
