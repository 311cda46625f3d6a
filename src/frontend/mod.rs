//! Radios as the ends of chains, through SoapySDR: `soapy-sink` in the place of the air's inlet and `soapy-source` in
//! that of its outlet. The chains between are those of the loopback.
//!
//! A stream's sample time and the device's clock differ by one constant, the origin, for as long as a run lasts: a frame
//! that comes too late is left out, never sent at another time. Samples inside the chains are in √W at the antenna;
//! profiles say which nominal power a full-scale sample stands for. The file `device.rs` alone names the library.

mod air;
mod arrivals;
mod bands;
mod bursts;
mod calibrate;
mod calibration;
mod contract;
mod counters;
mod device;
mod device_clock;
mod drift;
mod feed;
pub mod probe;
mod profile;
mod radio;
mod radios;
mod second_clock;
mod shared_air;
mod silencer;
mod sink;
mod source;
mod start_up;
mod supervisor;
#[cfg(test)]
mod tests;
mod transmitter;
mod tx_log;
mod watchdog;

pub use bands::{Bands, Permission};
pub use calibration::{Calibrated, Calibration, Mode, Offset};
pub use contract::Contract;
pub use counters::{Counters, Traffic};
pub use device::{Side, SoapyDevice};
pub use profile::{Profile, profile_names};
pub use radio::{Radio, Started};
pub use radios::{RadioOptions, Radios, SharedRadios, Surroundings, with_radios};
pub use silencer::silence_all;
pub use supervisor::supervise;

use std::sync::{Mutex, MutexGuard, PoisonError};

use num_complex::Complex32;

/// Factors that turn full scale into √W and back.
fn sqrt_w(full_scale_dbm: f64) -> f32 {
    crate::scene::dbm_to_w(full_scale_dbm).sqrt() as f32
}

/// What one factor makes of a row.
fn scale_row(row: &mut [Complex32], factor: Complex32) {
    row.iter_mut().for_each(|sample| *sample *= factor);
}

/// Takes the part `image` of its own conjugate out of a row: y = x + k x* gives x = (y − k y*) / (1 − |k|²).
fn take_out_image(row: &mut [Complex32], image: Complex32) {
    let scale = 1.0 / (1.0 - image.norm_sqr());
    row.iter_mut().for_each(|sample| *sample = (*sample - image * sample.conj()) * scale);
}

/// What a mutex guards, whatever became of those who held it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
