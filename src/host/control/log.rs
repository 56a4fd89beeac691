//! What operators ordered of this process: the newest orders that change caches, for whoever asks where an entry went.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;

use super::LOCK_PATIENCE;

/// How many orders are remembered.
const REMEMBERED: usize = 64;
/// How many names of one order are: a command may send hundreds.
const MOST_NAMES: usize = 64;

static ORDERS: Mutex<VecDeque<Ordered>> = Mutex::new(VecDeque::new());

thread_local! {
    /// Whose request this thread is answering; `None` for its own process's.
    static ASKING: Cell<Option<u32>> = const { Cell::new(None) };
}

/// One order that changed caches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ordered {
    /// When, in seconds since the epoch.
    pub at: f64,
    /// What was ordered.
    pub verb: &'static str,
    /// The user who asked; `None` for this process itself.
    pub user: Option<u32>,
    /// The names of the version words that were bumped at once.
    pub names: Vec<String>,
    /// In which caches; `None` for all.
    pub caches: Option<Vec<String>>,
    /// The keys that were invalidated there.
    pub keys: Vec<String>,
    /// The tags that were.
    pub tags: Vec<String>,
    /// The patterns of keys that were.
    pub patterns: Vec<String>,
    #[serde(skip)]
    pid: u32,
}

/// What an order names, as it was given.
#[derive(Default)]
pub(super) struct Named {
    pub(super) keys: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) patterns: Vec<String>,
}

/// Says whose request is answered next on this thread.
#[cfg(target_os = "linux")]
pub(super) fn asked_by(user: Option<u32>) {
    ASKING.set(user);
}

/// Remembers an order of whoever asks now.
pub(super) fn enter(
    verb: &'static str,
    words: &[Vec<u8>],
    caches: Option<&[String]>,
    named: &Named,
) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let names = words.iter().take(MOST_NAMES);
    let ordered = Ordered {
        at: since.map_or(0.0, |since| since.as_secs_f64()),
        verb,
        user: ASKING.get(),
        names: names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
        caches: caches.map(some_of),
        keys: some_of(&named.keys),
        tags: some_of(&named.tags),
        patterns: some_of(&named.patterns),
        pid: std::process::id(),
    };
    if let Some(mut orders) = ORDERS.try_lock_for(LOCK_PATIENCE) {
        orders.truncate(REMEMBERED - 1);
        orders.push_front(ordered);
    }
}

fn some_of(names: &[String]) -> Vec<String> {
    names.iter().take(MOST_NAMES).cloned().collect()
}

/// What this process was ordered, newest first; what its parent was is not its own.
#[must_use]
pub fn orders() -> Vec<Ordered> {
    let pid = std::process::id();
    let Some(orders) = ORDERS.try_lock_for(LOCK_PATIENCE) else {
        return Vec::new();
    };
    let own = orders.iter().filter(|ordered| ordered.pid == pid);
    own.cloned().collect()
}
