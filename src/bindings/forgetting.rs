//! Names that a save invalidates, in all named caches at once: one call, however many caches and names there are.
//!
//! What each cache had is not counted. The memories of the Django backend hear of it by their own words.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use super::args;
use super::compiled;
use super::manager;
use super::outside;
use super::shared::Shared;
use crate::engine::{PatternKind, Selector, TagRef, Within};

/// What is to go.
struct Names<'py> {
    tags: Vec<String>,
    keys: Vec<Bound<'py, PyAny>>,
    selector: Option<Arc<Selector>>,
}

impl Names<'_> {
    fn leave(&self, py: Python<'_>, cache: &Arc<Shared>) -> PyResult<()> {
        if !self.tags.is_empty() {
            let mut table = cache.cache.lock();
            let tags = self.tags.iter();
            let gone: Vec<_> = tags
                .flat_map(|tag| table.remove_tag(TagRef::Name(tag)))
                .collect();
            drop(table);
            cache.removed(py, gone);
        }
        for key in &self.keys {
            cache.delete(key)?;
        }
        if let Some(selector) = &self.selector {
            cache.remove_matching(py, selector)?;
        }
        Ok(())
    }
}

/// Remove what has one of these tags or keys, or a key that one of these globs takes, from each cache that is registered,
/// but where none but a decorated callable stores: what it holds under a tag goes when the words of the tag move.
/// Where a cache fails the others are reached, and the first error is raised. O(caches, and their entries with globs).
#[pyfunction]
#[pyo3(signature = (tags, keys, globs, /))]
pub(super) fn forget_named(
    tags: &Bound<'_, PyAny>,
    keys: &Bound<'_, PyAny>,
    globs: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = tags.py();
    let matchers = compiled::matchers(globs, PatternKind::Glob)?;
    let names = Names {
        tags: args::tags(Some(tags))?,
        keys: outside::iterate(keys)?.collect::<PyResult<_>>()?,
        selector: (!matchers.is_empty()).then(|| Arc::new(Selector::new(matchers, Within::Any))),
    };
    let mut outcome = Ok(());
    let is_wanted =
        |cache: &Shared| !cache.is_of_calls_alone() && !cache.is_store.load(Ordering::Relaxed);
    for cache in manager::wanted(py, is_wanted) {
        outcome = outcome.and(names.leave(py, &cache));
    }
    outcome
}
