//! The caches that this process shows: those of the process-wide manager, under the names they have there.
//!
//! The list is read by threads that have no part in Python. Whoever holds its lock does nothing but copy.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Metrics, PatternStats};
use crate::engine::stats::Stats;

/// How many entries of a cache are looked at, at most, to count those that are expired.
pub const MAX_COUNTED: usize = 20_000;

static LISTED: Mutex<Vec<(String, Weak<Metrics>)>> = Mutex::new(Vec::new());

/// Shows a cache under a name, until it is dropped or [`unregister`] is called.
pub fn register(name: &str, metrics: &Arc<Metrics>) {
    let mut listed = LISTED.lock();
    listed.retain(|(known, metrics)| known != name && metrics.strong_count() > 0);
    listed.push((name.to_owned(), Arc::downgrade(metrics)));
}

/// Shows a cache under this name no longer. Another one that has the name meanwhile stays.
pub fn unregister(name: &str, metrics: &Arc<Metrics>) {
    let mut listed = LISTED.lock();
    listed.retain(|(known, listed)| known != name || listed.as_ptr() != Arc::as_ptr(metrics));
}

/// All names and caches, in the order in which they were registered.
#[must_use]
pub fn registered() -> Vec<(String, Arc<Metrics>)> {
    let listed = LISTED.lock();
    let living = listed.iter();
    living
        .filter_map(|(name, metrics)| Some((name.clone(), metrics.upgrade()?)))
        .collect()
}

/// The cache of that name.
#[must_use]
pub fn find(name: &str) -> Option<Arc<Metrics>> {
    let listed = LISTED.lock();
    let found = listed.iter().find(|(known, _)| known == name);
    found.and_then(|(_, metrics)| metrics.upgrade())
}

/// Resets what was counted: of these caches, or of all. The names of those that there are.
#[expect(clippy::must_use_candidate, reason = "the names are for reports")]
pub fn reset(caches: Option<&[String]>) -> Vec<String> {
    let mut names = Vec::new();
    for (name, metrics) in registered() {
        if is_asked(caches, &name) {
            metrics.reset();
            names.push(name);
        }
    }
    names
}

fn is_asked(caches: Option<&[String]>, name: &str) -> bool {
    caches.is_none_or(|asked| asked.iter().any(|asked| asked == name))
}

/// What is asked of a process.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The names of caches; `None` for all.
    pub caches: Option<&'a [String]>,
    /// Whether key patterns are to be told.
    pub patterns: bool,
    /// Whether expired entries have just been counted.
    pub is_exact: bool,
    /// Whether the process caches at all.
    pub is_enabled: bool,
}

/// What a process tells of its caches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessStats {
    /// The state of each cache, by its name.
    pub caches: ByName<Stats>,
    /// What was done by key pattern, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patterns: Option<ByName<Vec<PatternStats>>>,
    /// Whether expired entries have just been counted; else there are as many as when they were counted last.
    pub exact: bool,
    /// Whether the process caches at all.
    pub enabled: bool,
}

/// Pairs that are serialised as a map, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ByName<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for ByName<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// What this process counts, without touching a table. From any thread.
#[must_use]
pub fn process_stats(asked: Asked<'_>) -> ProcessStats {
    let mut caches = registered();
    caches.retain(|(name, _)| is_asked(asked.caches, name));
    let told = caches.iter();
    ProcessStats {
        patterns: asked.patterns.then(|| {
            let told = told.clone();
            ByName(
                told.map(|(name, metrics)| (name.clone(), metrics.patterns()))
                    .collect(),
            )
        }),
        caches: ByName(
            told.map(|(name, metrics)| (name.clone(), metrics.stats()))
                .collect(),
        ),
        exact: asked.is_exact,
        enabled: asked.is_enabled,
    }
}
