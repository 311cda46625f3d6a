//! Radios as the ends of chains, through SoapySDR: `soapy-sink` in the place of the air's inlet and `soapy-source` in
//! that of its outlet. The chains between are those of the loopback.
//!
//! A stream's sample time and the device's clock differ by one constant, the origin, for as long as a run lasts: a frame
//! that comes too late is left out, never sent at another time. Samples inside the chains are in √W at the antenna;
//! profiles say which nominal power a full-scale sample stands for. The file `device.rs` alone names the library.

mod air;
mod bands;
mod calibrate;
mod device;
pub mod probe;
mod profile;
mod radio;
mod second_clock;
pub(crate) mod sink;
pub(crate) mod source;
mod transmitter;

pub use bands::{Bands, Permission};
pub use calibrate::{Calibrated, Calibration, Mode, Offset};
pub use device::{Side, SoapyDevice};
pub use profile::{Profile, profile_names};
pub use radio::{Counters, Radio, RadioOptions, Radios, Started, Surroundings};
