//! What the Python package `issc` is made of: classes and functions over the library's own, arrays as NumPy's. Work that
//! takes long is done without the interpreter's lock.
//!
//! The documentation comments are the docstrings. Shapes stand in brackets, units behind them.

mod arrays;
mod beams;
mod codec;
mod error;
mod lab;
mod link;
mod modem;
mod optimizer;
mod recording;
mod scene;
mod sensing;
mod system;
mod world;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::beams::{Plan, PositionBound, fim, hcrb, optimize, optimize_batch};
    #[pymodule_export]
    use super::codec::{Codec, Coded, Decoded, ms_ssim, mse, psnr_db, read_picture, shipped_pictures};
    #[pymodule_export]
    use super::error::{DamagedError, DeviceError, Error, InfeasibleError, InputError, InternalError, PeerError};
    #[pymodule_export]
    use super::lab::{codec_curve, link, merge, robustness, sense};
    #[pymodule_export]
    use super::link::LinkCode;
    #[pymodule_export]
    use super::modem::{FrameModem, ReceivedFrame};
    #[pymodule_export]
    use super::optimizer::Request;
    #[pymodule_export]
    use super::recording::{Recording, read_recording};
    #[pymodule_export]
    use super::scene::Scene;
    #[pymodule_export]
    use super::sensing::{EchoFrame, EchoTrials, Estimate, Estimator, LikelihoodMap};
    #[pymodule_export]
    use super::system::{Events, Run, System};
    #[pymodule_export]
    use super::world::World;
}
