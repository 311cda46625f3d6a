//! Integrated sensing and semantic communication, on the air.

pub mod array;
pub mod blocks;
pub mod channel;
pub mod cli;
pub mod coding;
pub mod config;
pub mod control;
pub mod dsp;
pub mod error;
pub mod frontend;
pub mod modem;
pub mod optimize;
pub mod plot;
pub mod runtime;
pub mod scene;
pub mod semantic;
pub mod sensing;
pub mod stream;

pub use error::{Error, Result};
