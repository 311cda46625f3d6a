//! `channel`.
