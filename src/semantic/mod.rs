//! `semantic`.
