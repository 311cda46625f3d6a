//! `sensing`.
