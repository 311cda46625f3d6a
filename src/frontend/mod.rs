//! `frontend`.
