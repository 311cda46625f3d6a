//! Errors as exceptions, a class for each cause.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(issc, Error, PyException, "A request was not carried out; the message is one line and says why.");
create_exception!(
    issc,
    InputError,
    Error,
    "The request itself is wrong: the message names the key or argument, what was found and what is accepted."
);
create_exception!(issc, InfeasibleError, Error, "The request is right, but no beams, rate or position can meet it.");
create_exception!(issc, DeviceError, Error, "A radio, a disk or the operating system failed.");
create_exception!(issc, PeerError, Error, "Another process is not there, left, or answers what cannot be understood.");
create_exception!(issc, DamagedError, Error, "What was stored or sent is not whole.");
create_exception!(issc, InternalError, Error, "The program itself is at fault.");

/// The exception of an error's cause.
pub fn raised(error: issc::Error) -> PyErr {
    let text = error.to_string();
    match error.cause() {
        issc::Cause::Input => InputError::new_err(text),
        issc::Cause::Infeasible => InfeasibleError::new_err(text),
        issc::Cause::Device => DeviceError::new_err(text),
        issc::Cause::Peer => PeerError::new_err(text),
        issc::Cause::Damaged => DamagedError::new_err(text),
        issc::Cause::Internal => InternalError::new_err(text),
    }
}

/// An input error with this text.
pub fn wrong(text: impl Into<String>) -> PyErr {
    InputError::new_err(text.into())
}

/// A result with its error as an exception.
pub trait OrRaise<T> {
    /// The value, or the exception.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for issc::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(raised)
    }
}
