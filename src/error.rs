//! The crate's error: what went wrong, in one line a person can act on.

use std::path::Path;

/// Why a request was not carried out. The text is one line and stands alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input is wrong (exit status 2): names the file, key or option, what was found and what is accepted.
    #[error("{0}")]
    Input(String),
    /// The input is right but the work failed (exit status 1).
    #[error("{0}")]
    Failure(String),
}

impl Error {
    /// An input error with this text.
    pub fn input(text: impl Into<String>) -> Self {
        Self::Input(text.into())
    }

    /// A failure with this text.
    pub fn failure(text: impl Into<String>) -> Self {
        Self::Failure(text.into())
    }

    /// An input error for a file that cannot be read or written.
    pub fn file(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::Input(format!("{}: {what}", path.display()))
    }

    /// The process's exit status for this error, by `contracts`: 2 = input, 1 = otherwise.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Failure(_) => 1,
        }
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
