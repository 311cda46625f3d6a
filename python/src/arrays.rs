//! Arrays and objects from one side to the other. What Python hands over is read in place where its type and its order
//! allow; what Rust made becomes an array without a copy.

use issc::array::Beams;
use nalgebra::DVector;
use num_complex::{Complex32, Complex64};
use numpy::{
    AllowTypeChange, Element, IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayLike1, PyArrayLike2, PyArrayMethods,
};
use pyo3::prelude::*;
use serde::Serialize;

use crate::error::{InternalError, wrong};

/// Anything that NumPy makes a vector of weights of.
pub type Weights<'py> = PyArrayLike1<'py, Complex64, AllowTypeChange>;
/// Anything that NumPy makes rows of samples of.
pub type Rows<'py> = PyArrayLike2<'py, Complex32, AllowTypeChange>;

/// A vector as an array.
pub fn vector<T: Element>(py: Python<'_>, values: Vec<T>) -> Bound<'_, PyArray1<T>> {
    values.into_pyarray(py)
}

/// Rows that follow one another as an array of two axes.
pub fn matrix<T: Element>(py: Python<'_>, values: Vec<T>, shape: [usize; 2]) -> PyResult<Bound<'_, PyArray2<T>>> {
    values.into_pyarray(py).reshape(shape)
}

/// The same of three axes.
pub fn cube<T: Element>(py: Python<'_>, values: Vec<T>, shape: [usize; 3]) -> PyResult<Bound<'_, PyArray3<T>>> {
    values.into_pyarray(py).reshape(shape)
}

/// The rows of an array one after the other: in place where they stand so.
pub fn flat<'a>(rows: &'a Rows<'_>, copy: &'a mut Vec<Complex32>) -> &'a [Complex32] {
    match rows.as_slice() {
        Ok(slice) => slice,
        Err(_) => {
            *copy = rows.as_array().iter().copied().collect();
            copy
        }
    }
}

/// A beam that must fit so many antennas.
pub fn beam(name: &str, weights: &Weights<'_>, antennas: usize) -> PyResult<DVector<Complex64>> {
    let weights = weights.as_array();
    if weights.len() != antennas {
        return Err(wrong(format!(
            "{name}: found {} weights; accepted: {antennas} (array.transmit_antennas)",
            weights.len()
        )));
    }
    match weights.iter().all(|weight| weight.is_finite()) {
        true => Ok(DVector::from_iterator(antennas, weights.iter().copied())),
        false => Err(wrong(format!("{name}: found a weight that is not finite; accepted: finite numbers in √W"))),
    }
}

/// Both beams.
pub fn beams(w_c: &Weights<'_>, w_0: &Weights<'_>, antennas: usize) -> PyResult<Beams> {
    Ok(Beams { w_c: beam("w_c", w_c, antennas)?, w_0: beam("w_0", w_0, antennas)? })
}

/// What serialises, as Python's own dictionaries, lists and numbers.
pub fn object<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    pythonize::pythonize(py, value).map_err(|error| InternalError::new_err(error.to_string()))
}

/// A TOML or JSON value from Python's own or NumPy's objects.
pub fn value<T: serde::de::DeserializeOwned>(what: &str, given: &Bound<'_, PyAny>) -> PyResult<T> {
    let plain = match given.hasattr("tolist")? {
        true => given.call_method0("tolist")?,
        false => given.clone(),
    };
    pythonize::depythonize(&plain).map_err(|error| wrong(format!("{what}: {error}")))
}
