//! What a run may do with radios, and what is left to do for them when it ends. Without the feature `soapy` there is
//! nothing to say and there are no radios.

#[cfg(feature = "soapy")]
pub(super) use crate::frontend::silence_all;
#[cfg(feature = "soapy")]
pub(super) use with::Radios;
#[cfg(feature = "soapy")]
pub use with::{OpenRadios, RadioSettings};
#[cfg(not(feature = "soapy"))]
pub use without::{OpenRadios, RadioSettings};
#[cfg(not(feature = "soapy"))]
pub(super) use without::{Radios, silence_all};

#[cfg(feature = "soapy")]
mod with {
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use super::super::report::RadioFigures;
    use crate::blocks::Registry;
    use crate::control::PowerCheck;
    use crate::frontend::{
        Calibrated, Calibration, Counters, Mode, Radio, RadioOptions, SharedRadios, Traffic, with_radios,
    };
    use crate::{Error, Result};

    /// What a run may do with radios.
    #[derive(Debug, Clone, Default)]
    pub struct RadioSettings {
        /// Let radios transmit, inside the bands that the band file allows.
        pub transmit: bool,
        /// The band file; the user's own where absent.
        pub bands: Option<PathBuf>,
        /// Device arguments beside the profile's, e.g. `serial=1234`.
        pub device: Option<String>,
        /// Calibrate the channels at the start.
        pub calibrate: Option<Mode>,
        /// A calibration that `issc calibrate` made, in place of one at the start.
        pub calibration: Option<PathBuf>,
        /// What comes between a calibration at the start and the run: a command, or - for a key at the terminal.
        pub then: Option<String>,
        /// What puts the reflector of a calibration by reference in its place, after what is there without it was measured:
        /// a command, or - for a key at the terminal.
        pub placing: Option<String>,
        /// A process beside this one silences devices when this one dies.
        pub supervise: bool,
    }

    impl RadioSettings {
        /// What they mean to the front end; whether devices are opened at all.
        pub fn options(&self, opens: bool) -> Result<RadioOptions> {
            let calibrated = match (self.calibrate, &self.calibration) {
                (Some(mode), _) => Calibrated::AtStart(mode),
                (None, Some(path)) => Calibrated::File(Arc::new(Calibration::read(path)?)),
                (None, None) => Calibrated::No,
            };
            Ok(RadioOptions {
                transmit: self.transmit,
                bands: self.bands.clone(),
                device: self.device.clone(),
                calibrated,
                supervise: self.supervise,
                then: self.then.clone(),
                placing: self.placing.clone(),
                opens,
            })
        }
    }

    /// The radios of a run, which its stages open as they are made.
    pub struct Radios(SharedRadios);

    impl Radios {
        /// None yet; whether devices are opened at all.
        pub fn new(settings: &RadioSettings, opens: bool) -> Result<Self> {
            Ok(Self(Arc::new(Mutex::new(crate::frontend::Radios::new(settings.options(opens)?)))))
        }

        /// The shipped kinds, of which those of radios open these.
        pub fn kinds(&self) -> Registry {
            with_radios(Registry::shipped(), &self.0)
        }

        /// The radios that are open.
        pub fn opened(&self) -> OpenRadios {
            OpenRadios { radios: self.0.lock().unwrap_or_else(PoisonError::into_inner).opened() }
        }
    }

    /// The radios that a run has open.
    #[derive(Clone, Default)]
    pub struct OpenRadios {
        radios: Vec<Arc<Radio>>,
    }

    impl OpenRadios {
        /// Refuses to measure directions with channels whose phases nobody knows, and delays of a transmitter elsewhere on
        /// a clock that is not its own.
        pub fn check_sensing(&self, far: bool) -> Result<()> {
            if let Some(radio) = self.radios.iter().find(|radio| far && !radio.profile.has_shared_time()) {
                return Err(Error::input(format!(
                    "sensing with radio {} away from the transmitter: device.time_source = \"internal\"; accepted: a time that \
                     both share, e.g. external",
                    radio.profile.name
                )));
            }
            match self.radios.iter().find(|radio| radio.is_uncalibrated()) {
                Some(radio) => Err(Error::input(format!(
                    "sensing with radio {}: its phases are random after each tuning; accepted: --calibrate cable or reference",
                    radio.profile.name
                ))),
                None => Ok(()),
            }
        }

        /// Whether all that transmit may do so with a power, which a live command asks for.
        pub fn power_check(&self) -> PowerCheck {
            let permissions: Vec<_> = self.radios.iter().filter_map(|radio| radio.permission().cloned()).collect();
            Box::new(move |power_dbm| permissions.iter().try_for_each(|may| may.check("power_dbm", power_dbm)))
        }

        /// Whether one sends by a clock that waits for nobody.
        pub fn send_in_real_time(&self) -> bool {
            self.radios.iter().any(|radio| radio.sends_in_real_time())
        }

        /// Whether the run has to end because of one.
        pub fn failed(&self) -> bool {
            self.radios.iter().any(|radio| radio.counters.failure().is_some())
        }

        /// Samples per channel sent and received, and the time that drivers took for each, of all radios.
        pub fn traffic(&self) -> [(u64, Duration); 2] {
            let sum = |side: fn(&Counters) -> &Traffic| {
                let sides = || self.radios.iter().map(|radio| side(&radio.counters));
                (sides().map(Traffic::samples).sum(), sides().map(Traffic::in_driver).sum())
            };
            [sum(|counters| &counters.sent), sum(|counters| &counters.received)]
        }

        /// How often devices had nothing to send, and no room.
        pub fn faults(&self) -> [u64; 2] {
            let count = |name| {
                let tables = self.radios.iter().flat_map(|radio| radio.counters.table());
                tables.filter(|(known, _)| *known == name).map(|(_, count)| count).sum()
            };
            [count("underflows"), count("overflows")]
        }

        /// What happened at each.
        pub fn figures(&self) -> Vec<RadioFigures> {
            let figures = |radio: &Arc<Radio>| RadioFigures {
                radio: radio.profile.name.clone(),
                device: radio.description().into(),
                counters: radio.counters.table().map(|(name, count)| (name.replace(' ', "_"), count)).into(),
                failure: radio.counters.failure().map(Into::into),
            };
            self.radios.iter().map(figures).collect()
        }

        /// Draws their calibrations into a folder.
        pub fn draw(&self, folder: &Path) -> Result<()> {
            let drawn = self.radios.iter().filter_map(|radio| Some((radio, radio.calibration()?)));
            drawn.into_iter().try_for_each(|(radio, calibration)| {
                crate::system::drawings::calibration(
                    folder,
                    &format!("calibration-{}", radio.profile.name),
                    calibration,
                )
            })
        }

        /// Says what happened at each; an error where one failed.
        pub fn finish(&self) -> Result<()> {
            for radio in &self.radios {
                let counts: Vec<_> = radio.counters.table().map(|(name, count)| format!("{count} {name}")).into();
                remark!("issc: radio {}: {}", radio.profile.name, counts.join(", "));
                if let Some(calibration) = radio.calibration() {
                    remark!("issc: radio {}: {}", radio.profile.name, calibration.line());
                }
            }
            self.result()
        }

        /// An error where one failed.
        pub fn result(&self) -> Result<()> {
            let failed = self.radios.iter().find_map(|radio| Some((&radio.profile.name, radio.counters.failure()?)));
            match failed {
                Some((name, what)) => Err(Error::device(format!("radio {name}: {what}"))),
                None => Ok(()),
            }
        }
    }
}

#[cfg(not(feature = "soapy"))]
mod without {
    use super::super::report::RadioFigures;
    use crate::Result;
    use crate::blocks::Registry;
    use crate::control::PowerCheck;

    /// Nothing can be said.
    #[derive(Debug, Clone, Default)]
    pub struct RadioSettings {}

    /// Nothing to silence.
    pub fn silence_all() {}

    /// Nothing to open.
    pub struct Radios;

    impl Radios {
        /// None.
        pub fn new(_settings: &RadioSettings, _opens: bool) -> Result<Self> {
            Ok(Self)
        }

        /// The shipped kinds.
        pub fn kinds(&self) -> Registry {
            Registry::shipped()
        }

        /// None.
        pub fn opened(&self) -> OpenRadios {
            OpenRadios
        }
    }

    /// No radios.
    #[derive(Clone, Default)]
    pub struct OpenRadios;

    impl OpenRadios {
        /// Nothing to refuse.
        pub fn check_sensing(&self, _far: bool) -> Result<()> {
            Ok(())
        }

        /// Every power may be simulated.
        pub fn power_check(&self) -> PowerCheck {
            Box::new(|_| Ok(()))
        }

        /// None does.
        pub fn send_in_real_time(&self) -> bool {
            false
        }

        /// Never.
        pub fn failed(&self) -> bool {
            false
        }

        /// None.
        pub fn figures(&self) -> Vec<RadioFigures> {
            Vec::new()
        }

        /// Nothing to draw.
        pub fn draw(&self, _folder: &std::path::Path) -> Result<()> {
            Ok(())
        }

        /// Nothing to say.
        pub fn finish(&self) -> Result<()> {
            Ok(())
        }

        /// None failed.
        pub fn result(&self) -> Result<()> {
            Ok(())
        }
    }
}
