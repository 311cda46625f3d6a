//! The crate's error: what went wrong, in one line a person can act on, and its cause, for programs to act on.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Whose doing it was that a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The request itself: a file, a key, an option. The line names it, what was found and what is accepted.
    Input,
    /// The request is right, but no beams, rate or position can meet it.
    Infeasible,
    /// A radio, a disk or the system that the program runs on.
    Device,
    /// Another process: it is not there, left, or answers what cannot be understood.
    Peer,
    /// What was stored or sent is not whole.
    Damaged,
    /// The program itself; a mistake in it.
    Internal,
}

/// Why a request was not carried out. The text is one line and stands alone.
///
/// ```
/// use issc::{Error, error::Cause};
///
/// let error = Error::input("scene.toml: array.transmit_antennas = 0 is out of range; accepted: 1 to 256");
/// assert_eq!((error.cause(), error.exit_status()), (Cause::Input, 2));
/// assert_eq!(Error::device("radio: no samples").exit_status(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    cause: Cause,
    text: String,
}

impl Error {
    /// An error of this cause with this text.
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into() }
    }

    /// The request is wrong (exit status 2): the text names the file, key or option, what was found and what is accepted.
    pub fn input(text: impl Into<String>) -> Self {
        Self::new(Cause::Input, text)
    }

    /// The request is right, but cannot be met.
    pub fn infeasible(text: impl Into<String>) -> Self {
        Self::new(Cause::Infeasible, text)
    }

    /// A radio, a disk or the operating system failed.
    pub fn device(text: impl Into<String>) -> Self {
        Self::new(Cause::Device, text)
    }

    /// Another process failed.
    pub fn peer(text: impl Into<String>) -> Self {
        Self::new(Cause::Peer, text)
    }

    /// What was stored or sent is not whole (exit status 2): the text names it.
    pub fn damaged(text: impl Into<String>) -> Self {
        Self::new(Cause::Damaged, text)
    }

    /// The program itself is at fault.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::new(Cause::Internal, text)
    }

    /// An input error for a file that cannot be read or written.
    pub fn file(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::input(format!("{}: {what}", path.display()))
    }

    /// The cause.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The same error with words before its text, e.g. the file that it is about.
    pub fn within(mut self, place: impl std::fmt::Display) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }

    /// The process's exit status for this error: 2 where what was given is wrong or damaged, else 1.
    pub fn exit_status(&self) -> u8 {
        if matches!(self.cause, Cause::Input | Cause::Damaged) { 2 } else { 1 }
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_request_and_a_damaged_file_exit_with_2_and_causes_are_written_in_lower_case() {
        for (error, name) in [
            (Error::input("x"), "input"),
            (Error::infeasible("x"), "infeasible"),
            (Error::device("x"), "device"),
            (Error::peer("x"), "peer"),
            (Error::damaged("x"), "damaged"),
            (Error::internal("x"), "internal"),
        ] {
            assert_eq!(serde_json::to_value(error.cause()).unwrap(), name);
            assert_eq!(error.exit_status(), if ["input", "damaged"].contains(&name) { 2 } else { 1 });
        }
    }

    #[test]
    fn a_place_stands_before_the_text_and_the_cause_stays() {
        let error = Error::peer("gone").within("link 1");
        assert_eq!((error.to_string().as_str(), error.cause()), ("link 1: gone", Cause::Peer));
    }
}
