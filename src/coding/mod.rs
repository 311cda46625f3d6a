//! Channel coding after 3GPP TS 38.212: CRC, LDPC with rate matching for payload blocks, CRC-aided polar for headers; and
//! amplitude shaping, which no standard asks for.
//!
//! Bits are one per byte, 0 or 1. Log-likelihood ratios are ln P(0)/P(1): positive means 0; soft bits are 4 units a nat.

mod block;
pub mod calibration;
pub mod crc;
mod header_law;
mod law;
pub mod ldpc;
mod limit;
mod measure;
mod polar;
mod shaping;
mod shelf;

pub use block::{
    BLOCK_CRC, BLOCK_SYMBOLS, BlockCode, BlockFormat, BlockScratch, DecodeOutcome, MAX_INFORMATION_BITS, plan,
    planned_format,
};
pub use crc::Crc;
pub use header_law::{HEADER_SYMBOLS, header_loss, is_short as headers_are_short};
pub use law::BlockErrorLaw;
pub use ldpc::BATCH;
pub use limit::{normal_approximation, normal_approximation_snr_db};
pub use measure::{LinkCounts, SimulatedLink, add_noise};
pub use polar::{HeaderCode, HeaderScratch, KnownBeginning, Link};
pub use shelf::{CodeShelf, PlannedCodes};
