//! Patterns as callers and records give them, read; regular expressions are compiled once for many uses.

use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::matching;
use super::outside;
use crate::engine::{Error, Matcher, PatternKind};

/// So many compiled regular expressions are kept, of so many bytes altogether.
const MOST_COMPILED: usize = 64;
const MOST_COMPILED_BYTES: usize = 8 << 20;

/// Regular expressions, which take longer to compile than to match with; the last used stands last.
static COMPILED: Mutex<Vec<Matcher>> = Mutex::new(Vec::new());

/// How much memory a regular expression takes; none for what is no such.
pub(super) fn regex_bytes(matcher: &Matcher) -> usize {
    match matcher.kind() {
        PatternKind::Glob => 0,
        PatternKind::Regex => matcher.bytes(),
    }
}

/// Reads a pattern.
pub(super) fn read(kind: PatternKind, source: &[u32]) -> Result<Matcher, Error> {
    if kind == PatternKind::Glob {
        return Matcher::new(kind, source);
    }
    let known = {
        let mut compiled = COMPILED.lock();
        let mut places = compiled.iter();
        let place = places.position(|matcher| matcher.source() == source);
        place.map(|place| {
            let matcher = compiled.remove(place);
            compiled.push(matcher.clone());
            matcher
        })
    };
    if let Some(known) = known {
        return Ok(known);
    }
    let matcher = Matcher::new(kind, source)?;
    let mut compiled = COMPILED.lock();
    compiled.push(matcher.clone());
    let mut bytes: usize = compiled.iter().map(Matcher::bytes).sum();
    while compiled.len() > MOST_COMPILED || bytes > MOST_COMPILED_BYTES {
        bytes -= compiled.remove(0).bytes();
    }
    Ok(matcher)
}

/// Patterns that somebody gave, each of which can be read. A single string is refused: its letters are never what was meant.
pub(super) fn sources(patterns: &Bound<'_, PyAny>, kind: PatternKind) -> PyResult<Vec<Vec<u32>>> {
    let matchers = matchers(patterns, kind)?.into_iter();
    Ok(matchers.map(|matcher| matcher.source().to_vec()).collect())
}

/// The same, read.
pub(super) fn matchers(patterns: &Bound<'_, PyAny>, kind: PatternKind) -> PyResult<Vec<Matcher>> {
    if patterns.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!(
            "patterns must be an iterable of strings such as ['user:7:*'], not the single string {}",
            outside::repr(patterns)?
        )));
    }
    let mut matchers = Vec::new();
    for pattern in outside::iterate(patterns)? {
        let pattern = pattern?;
        let text = pattern.cast::<PyString>().map_err(|_| {
            let kind = pattern.get_type();
            PyTypeError::new_err(format!("a key pattern is a string, not {kind}"))
        })?;
        matchers.push(read(kind, &matching::points(text))?);
    }
    Ok(matchers)
}
