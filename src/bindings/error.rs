//! Engine errors as Python exceptions: one table.

use pyo3::PyErr;
use pyo3::exceptions::PyValueError;

use crate::engine::Error;
use crate::host::place::WrongPlace;

impl From<Error> for PyErr {
    /// Every engine error is a wrong value; wrong types are refused while arguments are converted.
    fn from(error: Error) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

impl From<WrongPlace> for PyErr {
    fn from(error: WrongPlace) -> Self {
        PyValueError::new_err(error.to_string())
    }
}
