//! `stream`.
