//! `modem`.
