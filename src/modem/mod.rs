//! The air interface: constellations, the frame and its known words, and the receiver of the semantic stream.

pub mod constellation;
pub mod frame;
pub mod header;
pub mod receiver;
mod synchronise;
pub mod words;
