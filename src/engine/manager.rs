//! Caches by name.

use parking_lot::Mutex;

use super::error::Error;

/// The name under which the statistics report their sums, which no cache may have.
pub const RESERVED_NAME: &str = "_global";

/// Caches by name, in the order in which they were registered. `C` is a handle that is cheap to clone.
///
/// Every operation is linear in the number of caches: they are looked up at start-up, not per request.
#[derive(Debug, Default)]
pub struct CacheManager<C> {
    caches: Mutex<Vec<(String, C)>>,
    /// Told of every change, in its order.
    watcher: Option<fn(Change<'_, C>)>,
}

/// What became of a manager's caches.
#[derive(Debug)]
pub enum Change<'a, C> {
    /// A cache has this name now.
    Added(&'a str, &'a C),
    /// A cache has this name no longer.
    Removed(&'a str, &'a C),
}

/// What became of a cache offered to [`CacheManager::adopt`].
#[derive(Debug, PartialEq, Eq)]
pub enum Adopted<C> {
    /// The name was free; this is the cache offered.
    New(C),
    /// The name was taken. The refused cache comes back so that the caller drops it after the lock is gone.
    Existing {
        /// The cache that has the name.
        kept: C,
        /// The cache offered.
        refused: C,
    },
}

impl<C: Clone> CacheManager<C> {
    /// A manager without caches.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            caches: Mutex::new(Vec::new()),
            watcher: None,
        }
    }

    /// A manager without caches that tells `watcher` of every change, under its lock: it must not ask the manager.
    #[must_use]
    pub const fn watched(watcher: fn(Change<'_, C>)) -> Self {
        Self {
            caches: Mutex::new(Vec::new()),
            watcher: Some(watcher),
        }
    }

    fn tell(&self, change: Change<'_, C>) {
        if let Some(watcher) = self.watcher {
            watcher(change);
        }
    }

    /// The cache of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<C> {
        self.caches
            .lock()
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, cache)| cache.clone())
    }

    /// All names, oldest first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.caches
            .lock()
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// All names and caches, oldest first, as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(String, C)> {
        self.caches.lock().clone()
    }

    /// Shows each cache, under the lock: `look` must not ask the manager.
    pub fn each(&self, mut look: impl FnMut(&C)) {
        for (_, cache) in self.caches.lock().iter() {
            look(cache);
        }
    }

    /// All names and caches, unless the lock is taken: for a garbage collector, which must not wait.
    #[must_use]
    pub fn try_snapshot(&self) -> Option<Vec<(String, C)>> {
        self.caches.try_lock().map(|caches| caches.clone())
    }

    /// How many caches are registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.caches.lock().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Registers `cache` under `name`, unless another one has the name: then that one is kept.
    ///
    /// # Errors
    /// When the name is reserved.
    pub fn adopt(&self, name: &str, cache: C) -> Result<Adopted<C>, Error> {
        check(name)?;
        let mut caches = self.caches.lock();
        if let Some((_, kept)) = caches.iter().find(|(known, _)| known == name) {
            return Ok(Adopted::Existing {
                kept: kept.clone(),
                refused: cache,
            });
        }
        self.tell(Change::Added(name, &cache));
        caches.push((name.to_owned(), cache.clone()));
        Ok(Adopted::New(cache))
    }

    /// Registers `cache` and returns the name used: `name`, or `name#2`, `name#3` and so on when others have it.
    ///
    /// `same` recognises the cache itself; when it is registered already, the name it has is returned.
    ///
    /// # Errors
    /// When the name is reserved.
    pub fn register(
        &self,
        name: &str,
        cache: C,
        same: impl Fn(&C) -> bool,
    ) -> Result<String, Error> {
        check(name)?;
        let mut caches = self.caches.lock();
        if let Some((known, _)) = caches.iter().find(|(_, known)| same(known)) {
            let known = known.clone();
            drop(caches); // before `cache`, whose drop is the caller's code
            return Ok(known);
        }
        let mut free = name.to_owned();
        let mut number = 1_u64;
        while caches.iter().any(|(known, _)| *known == free) {
            number += 1;
            free = format!("{name}#{number}");
        }
        self.tell(Change::Added(&free, &cache));
        caches.push((free.clone(), cache));
        Ok(free)
    }

    /// Removes the cache of that name if `matches` says that it is the one meant.
    pub fn remove(&self, name: &str, matches: impl Fn(&C) -> bool) -> Option<C> {
        let mut caches = self.caches.lock();
        let at = caches
            .iter()
            .position(|(known, cache)| known == name && matches(cache))?;
        let (name, cache) = caches.remove(at);
        self.tell(Change::Removed(&name, &cache));
        Some(cache)
    }
}

fn check(name: &str) -> Result<(), Error> {
    if name == RESERVED_NAME {
        return Err(Error::ReservedName {
            name: name.to_owned(),
        });
    }
    Ok(())
}
