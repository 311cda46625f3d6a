//! The device's time as the host reckons it: a call to the device may take milliseconds, which a transmitter does not have.
//!
//! A device in real time is asked now and then by a thread of its own, and in between the host's clock goes on from there.
//! A virtual radio in lockstep, whose time stands still while nobody reads, is asked each time.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use super::device::SoapyDevice;
use crate::Result;

/// The device's time at a moment of the host's.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    at: Instant,
    sample: i64,
}

/// A device's clock.
pub(super) struct DeviceClock {
    device: SoapyDevice,
    rate_hz: f64,
    /// None where each question goes to the device.
    anchor: Option<ArcSwap<Anchor>>,
}

impl DeviceClock {
    /// The clock of a device that is started up.
    pub(super) fn new(device: &SoapyDevice, rate_hz: f64) -> Result<Self> {
        let anchor = match device.waits() || !device.has_time() {
            true => None,
            false => Some(ArcSwap::from(Arc::new(anchor(device)?))),
        };
        Ok(Self { device: device.clone(), rate_hz, anchor })
    }

    /// Whether the device's time waits for the program.
    pub(super) fn waits(&self) -> bool {
        self.anchor.is_none()
    }

    /// The present, in samples.
    pub(super) fn now(&self) -> i64 {
        match &self.anchor {
            Some(anchor) => {
                let anchor = anchor.load();
                anchor.sample + (anchor.at.elapsed().as_secs_f64() * self.rate_hz) as i64
            }
            None => self.device.now().unwrap_or_default(),
        }
    }

    /// Asks the device again. Called now and then, by nobody who is in a hurry.
    pub(super) fn refresh(&self) {
        if let Some(known) = &self.anchor
            && let Ok(new) = anchor(&self.device)
        {
            known.store(Arc::new(new));
        }
    }
}

/// The device read its clock at some time of the call: its end is the safe side, for then it is later than is thought.
fn anchor(device: &SoapyDevice) -> Result<Anchor> {
    let before = Instant::now();
    let sample = device.now()?;
    Ok(Anchor { at: before + before.elapsed() / 2, sample })
}
