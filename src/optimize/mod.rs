//! `optimize`.
