//! The virtual radio: a SoapySDR device (`driver=virtual`) without hardware, written in C++ against SoapySDR's device
//! interface. A Rust program links it with [`link`]; other programs load the shared library that
//! `cargo build --release -p virtual-radio` leaves as a SoapySDR module.
//!
//! Its air is linear taps, or an [`Air`] of this program, put there under a name ([`Installed`]). Amplitudes are in
//! full scale of the converters, times the channels' gains.

use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

use num_complex::Complex32;

/// Most channels of a direction, as the driver has it.
const MAX_CHANNELS: usize = 64;

/// A world between transmitting and receiving channels.
pub trait Air: Send {
    /// Carries the samples `sent` at `tick` and after to the receivers; called once per stretch of time, in order. All
    /// rows have one length; `received` comes zeroed. False where it cannot be known yet what is received: the same
    /// stretch is asked for again. An air may wait for it, but not long: whoever reads has a timeout.
    fn propagate(&mut self, tick: i64, sent: &[&[Complex32]], received: &mut [&mut [Complex32]]) -> bool;
}

type AirFunction =
    unsafe extern "C" fn(*mut c_void, i64, usize, *const *const Complex32, usize, *const *mut Complex32, usize) -> i32;

unsafe extern "C" {
    fn virtual_radio_link();
    fn virtual_radio_air(name: *const c_char, function: Option<AirFunction>, context: *mut c_void);
}

/// Links the driver into the program and registers it with SoapySDR.
pub fn link() {
    // SAFETY: an empty function.
    unsafe { virtual_radio_link() }
}

type Context = Box<dyn Air>;

/// An air that devices opened with `air=NAME` use, until this is dropped; then they are silent.
pub struct Installed {
    name: CString,
    context: *mut Context,
}

// SAFETY: the context is touched by the driver alone, under a mutex of its own, until `drop` has taken it away.
unsafe impl Send for Installed {}
// SAFETY: as above; nothing here is reachable through `&self`.
unsafe impl Sync for Installed {}

impl Installed {
    /// Puts `air` there. `name` holds no NUL.
    pub fn new(name: &str, air: Box<dyn Air>) -> Self {
        let name = CString::new(name).expect("a name without NUL");
        let context = Box::into_raw(Box::new(air));
        // SAFETY: the context lives until the air is taken away in `drop`; the driver calls it under a mutex.
        unsafe { virtual_radio_air(name.as_ptr(), Some(propagate), context.cast()) };
        Self { name, context }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // SAFETY: after this call, which waits for one under way, the driver does not use the context any more.
        unsafe {
            virtual_radio_air(self.name.as_ptr(), None, std::ptr::null_mut());
            drop(Box::from_raw(self.context));
        }
    }
}

/// What the driver calls: pointers to slices. A panic must not cross into C++: the receivers then hear silence.
unsafe extern "C" fn propagate(
    context: *mut c_void,
    tick: i64,
    count: usize,
    sent: *const *const Complex32,
    transmitters: usize,
    received: *const *mut Complex32,
    receivers: usize,
) -> i32 {
    // SAFETY: the driver hands back the context of `Installed::new`, under its mutex, with as many rows as it says
    // (at most 64), each `count` samples long and none overlapping another.
    unsafe {
        let air = &mut *context.cast::<Context>();
        let mut rows_in: [&[Complex32]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
        for (row, samples) in rows_in.iter_mut().zip(slice::from_raw_parts(sent, transmitters)) {
            *row = slice::from_raw_parts(*samples, count);
        }
        let mut rows_out: [&mut [Complex32]; MAX_CHANNELS] = std::array::from_fn(|_| &mut [][..]);
        for (row, samples) in rows_out.iter_mut().zip(slice::from_raw_parts(received, receivers)) {
            *row = slice::from_raw_parts_mut(*samples, count);
        }
        let call = || air.propagate(tick, &rows_in[..transmitters], &mut rows_out[..receivers]);
        i32::from(catch_unwind(AssertUnwindSafe(call)).unwrap_or(true))
    }
}
