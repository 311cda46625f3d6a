//! Every transmitter of this process, so that whoever has to leave at once can turn all gains down: a second interrupt, a
//! calibration or a probe that is interrupted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use super::device::SoapyDevice;
use super::lock;
use super::watchdog::Vitals;

/// A transmitter that may have its gains up.
pub(super) struct Loud {
    device: SoapyDevice,
    channels: Vec<usize>,
    vitals: Arc<Vitals>,
}

static TRANSMITTERS: Mutex<Vec<Weak<Loud>>> = Mutex::new(Vec::new());

impl Loud {
    /// Notes a transmitter down, for as long as this is kept.
    pub(super) fn new(device: &SoapyDevice, channels: &[usize], vitals: &Arc<Vitals>) -> Arc<Self> {
        let loud = Arc::new(Self { device: device.clone(), channels: channels.to_vec(), vitals: Arc::clone(vitals) });
        let mut all = lock(&TRANSMITTERS);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&loud));
        loud
    }

    fn silence(&self) {
        self.vitals.abort.store(true, Ordering::SeqCst);
        // Whoever raises a gain just now sees the flag before the next one; the second round gets that one.
        for round in 0..2 {
            for &channel in &self.channels {
                if self.device.silence(channel).is_err() && round == 1 {
                    remark!("issc: check the transmitter: channel {channel}'s gain is not at its minimum");
                }
            }
        }
    }
}

/// Turns all gains of this process down at once, without a ramp.
pub fn silence_all() {
    let all: Vec<_> = lock(&TRANSMITTERS).iter().filter_map(Weak::upgrade).collect();
    all.iter().for_each(|loud| loud.silence());
}
