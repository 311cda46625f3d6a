//! `blocks`.
