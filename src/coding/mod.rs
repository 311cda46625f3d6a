//! `coding`.
