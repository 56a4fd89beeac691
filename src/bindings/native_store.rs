//! `NativeStore`: the memory behind one LOCATION of the Django backend, and what the backend does to it.
//!
//! Values are kept apart from their owners (`values/`), keys are `backend_key.rs`'s. With coherence "host" each entry is
//! stamped with the version word of its key and those of its tags, so that what one process deletes or writes no other
//! serves any more; a fill (`tokens.rs`) moves no word. The word of the store is kept by the store itself: when it moved,
//! everything goes at once, or what some patterns take (`outdating.rs`). `add`, `incr` and `touch` are this process's own, as `LocMemCache`'s are.

// Long because what is done to an entry, and in which order, is to be read in one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use twox_hash::XxHash3_64;

use super::args::TtlArg;
use super::backend_key::{self, Name};
use super::cache::{Options, PyTtlCache};
use super::clock as python_clock;
use super::outside;
use super::shared::{PyDisplaced, Shared};
use super::tokens::{self, Seen};
use super::typed::fold;
use super::values::{self, Frozen, Isolation, Thawed};
use super::versions::whole_seconds;
use crate::engine::clock::{self, FOREVER, Nanos, Now};
use crate::engine::metrics::{Event, Kind};
use crate::engine::{Cause, MAX_STAMPS, Put, Read, Stamp, TagRef};
use crate::host::journal::RECORDS;
use crate::host::versions::{self, Ground, Versions};

static STORES: AtomicU64 = AtomicU64::new(1);

/// One store's memory, shared by all handlers of its location.
#[pyclass(frozen, weakref, module = "oxicache._native")]
pub(super) struct NativeStore {
    cache: Py<PyTtlCache>,
    pub(super) shared: Arc<Shared>,
    /// Tells the tokens of stores apart.
    pub(super) id: u64,
    location: Py<PyString>,
    /// The location as part of words' names.
    place: Vec<u8>,
    /// What it is called in the journal: stores may share a word.
    pub(super) name_hash: u64,
    isolation: Isolation,
    pub(super) is_host: bool,
    jitter: f64,
    drawn: AtomicU64,
    /// The word of the store, and what it was when the store was emptied last.
    word: AtomicU32,
    value: AtomicU32,
    /// The word that moves with each tag.
    tags_word: AtomicU32,
    /// The words that these are of.
    ground: Mutex<Option<Ground>>,
}

/// The words of a store, and what that of the store itself is now.
pub(super) struct OwnWords {
    store: Stamp,
    tags: u32,
    ground: Ground,
}

/// How long an entry lives.
#[derive(Clone, Copy)]
pub(super) enum Life {
    For(Nanos),
    /// It is over already.
    Over,
}

/// Everything about a value that is stored, but itself.
pub(super) struct Storing<'a> {
    pub(super) life: Life,
    pub(super) tags: &'a [String],
    /// Whoever stores says that it is a write, whatever he missed.
    pub(super) is_write: bool,
}

/// What an entry is stored with.
struct Placing<'a> {
    ttl: Nanos,
    tags: &'a [String],
    stamps: &'a [Stamp],
    cost: Nanos,
    /// The engine's token, for what a loader loaded.
    token: Option<u64>,
    /// What the memory's epoch was when a fill was missed.
    epoch: Option<u32>,
    /// What the store's word was when this was found to be as good as new.
    store: Option<u32>,
    is_add: bool,
    is_write: bool,
}

impl NativeStore {
    pub(super) fn build(
        py: Python<'_>,
        location: &Bound<'_, PyString>,
        options: Options,
        isolation: Isolation,
        is_host: bool,
        jitter: f64,
    ) -> PyResult<Self> {
        let cache = Py::new(py, PyTtlCache::build(py, options)?)?;
        cache.get().shared.cache.metrics().set_kind(Kind::Django);
        let mut place = Vec::new();
        super::versions::encode(location, &mut place)?;
        let name_hash = XxHash3_64::oneshot(&place);
        let store = Self {
            shared: Arc::clone(&cache.get().shared),
            cache,
            id: STORES.fetch_add(1, Ordering::Relaxed),
            location: location.clone().unbind(),
            place,
            name_hash,
            isolation,
            is_host,
            jitter,
            drawn: AtomicU64::new(0),
            word: AtomicU32::new(0),
            value: AtomicU32::new(0),
            tags_word: AtomicU32::new(0),
            ground: Mutex::new(None),
        };
        store.shared.is_store.store(true, Ordering::Relaxed);
        store.look_up_words();
        if is_host {
            let metrics = store.shared.cache.metrics();
            metrics.set_word(store.store_word());
        }
        Ok(store)
    }

    fn own_word(&self, kind: &[u8]) -> Vec<u8> {
        [kind, &self.place].concat()
    }

    pub(super) fn store_word(&self) -> Vec<u8> {
        self.own_word(b"store:")
    }

    /// The store's words as they are now.
    pub(super) fn words_of(&self, versions: &Versions) -> OwnWords {
        OwnWords {
            store: versions.capture(versions.word(&self.store_word())),
            tags: versions.word(&self.own_word(b"tags:")),
            ground: versions.ground(),
        }
    }

    /// Remember the store's words: what is held or comes later is as new.
    pub(super) fn remember(&self, words: OwnWords) {
        self.word.store(words.store.word, Ordering::Relaxed);
        self.value.store(words.store.value, Ordering::Relaxed);
        self.tags_word.store(words.tags, Ordering::Relaxed);
        *self.ground.lock() = Some(words.ground);
    }

    /// Remember the store's words as they are now.
    fn look_up_words(&self) {
        self.remember(self.words_of(versions::current()));
    }

    /// Remember that the store is as new as this value of its word. Under the table's lock, which a fill compares it under.
    pub(super) fn set_value(&self, value: u32) {
        self.value.store(value, Ordering::Relaxed);
    }

    /// The words that those of the store are of.
    pub(super) fn ground(&self) -> Option<Ground> {
        *self.ground.lock()
    }

    /// What stands before the key in the names of the words of a handler's keys.
    pub(super) fn word_start(
        &self,
        prefix: &Bound<'_, PyString>,
        version: i64,
    ) -> PyResult<Vec<u8>> {
        let mut start = Vec::new();
        backend_key::word_start(&self.place, prefix, version, &mut start)?;
        Ok(start)
    }

    /// The word of all tags as it is now.
    #[inline]
    pub(super) fn tags_value(&self) -> u32 {
        versions::current()
            .capture(self.tags_word.load(Ordering::Relaxed))
            .value
    }

    #[inline]
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            word: self.word.load(Ordering::Relaxed),
            value: self.value.load(Ordering::Relaxed),
        }
    }

    /// Was nothing invalidated but by keys and tags since the store was looked at last?
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        !self.is_host || versions::current().are_current(&[self.stamp()])
    }

    /// Empty the store if anybody cleared it, or remove what was invalidated by patterns: what goes is dropped later. Before
    /// each operation.
    #[inline]
    pub(super) fn settle(&self, py: Python<'_>) {
        python_clock::heed(py);
        if !self.is_settled() {
            self.catch_up(py);
        }
    }

    /// The words of a key as they are now.
    pub(super) fn seen(&self, name: &Name<'_, '_>) -> PyResult<Seen> {
        let word = name.word(&self.place)?;
        let versions = versions::current();
        Ok(Seen {
            key: versions.capture(versions.word(&word)),
            store: self.value.load(Ordering::Relaxed),
            tags: self.tags_value(),
            epoch: self.shared.renounced.epoch(),
        })
    }

    /// Note that a key was missed: what its owner stores next was read elsewhere.
    pub(super) fn missed(&self, py: Python<'_>, name: &Name<'_, '_>) -> PyResult<()> {
        if !self.is_host || python_clock::is_disabled(py) {
            return Ok(());
        }
        tokens::note(py, self.id, name.hash, self.seen(name)?)
    }

    /// Use up this thread's or task's token of a key.
    pub(super) fn take_token(&self, py: Python<'_>, name: &Name<'_, '_>) -> PyResult<Option<Seen>> {
        if self.is_host {
            tokens::take(py, self.id, name.hash)
        } else {
            Ok(None)
        }
    }

    /// The value of a live entry. Counts a hit or a miss, and notes no miss.
    pub(super) fn read(&self, py: Python<'_>, name: &Name<'_, '_>) -> PyResult<Option<Py<PyAny>>> {
        self.settle(py);
        let now = python_clock::now(py)?;
        let metrics = self.shared.cache.metrics();
        let began = metrics.read_begins();
        let (stored, gone) = {
            let mut table = self.shared.cache.lock();
            match name.find(&table) {
                Some(slot) => match table.read(slot, now) {
                    Read::Fresh(stored) | Read::Early(stored) => (Some(stored.clone_ref(py)), None),
                    Read::Stale => (None, None),
                    Read::Expired(gone) | Read::Outdated(gone) => (None, Some(gone)),
                },
                None => {
                    table.miss();
                    (None, None)
                }
            }
        };
        let Some(stored) = stored else {
            metrics.read_ended(Event::Miss, began, || name.pattern());
            self.shared.removed(py, gone);
            return Ok(None);
        };
        let value = self.thaw(py, name, stored)?;
        metrics.read_ended(Event::Hit, began, || name.pattern());
        Ok(value)
    }

    /// A stored value as its reader's own. One that can't be read any more is removed, and is a miss.
    fn thaw(
        &self,
        py: Python<'_>,
        name: &Name<'_, '_>,
        stored: Py<PyAny>,
    ) -> PyResult<Option<Py<PyAny>>> {
        match values::thaw(stored.bind(py))? {
            Thawed::Value(value) => Ok(Some(value)),
            Thawed::Unreadable(error) => {
                log::warn!(
                    target: "oxicache.backend",
                    "The value of '{}' in store '{}' can't be read any more and is treated as a miss: {error}",
                    name.text()?.to_string_lossy(),
                    self.location.bind(py).to_string_lossy(),
                );
                let mut table = self.shared.cache.lock();
                let slot = name
                    .find(&table)
                    .filter(|&slot| table.value(slot).is(&stored));
                let gone = slot.map(|slot| table.remove(slot, Cause::Invalidated));
                drop(table);
                self.shared.removed(py, gone);
                Ok(None)
            }
        }
    }

    /// Look without counting or touching.
    pub(super) fn look(&self, py: Python<'_>, name: &Name<'_, '_>) -> PyResult<Option<Py<PyAny>>> {
        self.settle(py);
        match self.stored(py, name, python_clock::now(py)?) {
            Some(stored) => self.thaw(py, name, stored),
            None => Ok(None),
        }
    }

    /// The stored form of a live entry's value. Neither counts nor touches.
    fn stored(&self, py: Python<'_>, name: &Name<'_, '_>, now: Now) -> Option<Py<PyAny>> {
        let table = self.shared.cache.lock();
        name.find(&table)
            .and_then(|slot| table.peek(slot, now))
            .map(|stored| stored.clone_ref(py))
    }

    pub(super) fn has(&self, py: Python<'_>, name: &Name<'_, '_>) -> PyResult<bool> {
        Ok(self.deadline(py, name)?.is_some())
    }

    /// When a live entry expires, on the engine's clock.
    pub(super) fn deadline(
        &self,
        py: Python<'_>,
        name: &Name<'_, '_>,
    ) -> PyResult<Option<(Nanos, Now)>> {
        self.settle(py);
        let now = python_clock::now(py)?;
        let table = self.shared.cache.lock();
        let live = name.find(&table).filter(|&slot| table.is_live(slot, now));
        Ok(live.map(|slot| (table.deadline(slot), now)))
    }

    /// Store a value: a fill where its owner missed the key before, else a write.
    pub(super) fn write(
        &self,
        py: Python<'_>,
        name: &Name<'_, '_>,
        value: &Bound<'_, PyAny>,
        storing: &Storing<'_>,
    ) -> PyResult<()> {
        let token = self.take_token(py, name)?.filter(|_| !storing.is_write);
        if python_clock::is_disabled(py) {
            // Others may hold what this would have replaced.
            if self.is_host && token.is_none() {
                self.advance(py, name, true)?;
            }
            return Ok(());
        }
        let frozen = values::freeze(value, self.isolation)?;
        let Life::For(ttl) = storing.life else {
            self.remove(py, name)?;
            return Ok(());
        };
        // Pickling may have missed the key too, yet the value was made before.
        self.take_token(py, name)?;
        self.settle(py);
        let mut stamps = Vec::new();
        let mut store = None;
        if self.is_host {
            self.stamp_tags(storing.tags, &mut stamps)?;
            match token {
                Some(seen) => {
                    store = self.still_good(name, seen, storing.tags.is_empty())?;
                    if store.is_none() {
                        return Ok(());
                    }
                    stamps.push(seen.key);
                }
                None => self.stamp_write(py, name, &mut stamps)?,
            }
        }
        self.place(
            py,
            name,
            frozen,
            &Placing {
                ttl: self.jittered(ttl),
                tags: storing.tags,
                stamps: &stamps,
                cost: 0,
                token: None,
                epoch: token.map(|seen| seen.epoch),
                store,
                is_add: false,
                is_write: token.is_none(),
            },
        )?;
        Ok(())
    }

    /// The words of tags as they are now. Before the word of all tags is compared: see `delete_by_tag`.
    fn stamp_tags(&self, tags: &[String], stamps: &mut Vec<Stamp>) -> PyResult<()> {
        if tags.len() >= MAX_STAMPS {
            return Err(PyValueError::new_err(format!(
                "an entry may have at most {} tags, not {}",
                MAX_STAMPS - 1,
                tags.len()
            )));
        }
        let versions = versions::current();
        for tag in tags {
            stamps.push(versions.capture(versions.word(&self.tag_word(tag))));
        }
        Ok(())
    }

    /// Make stale all that anybody holds for a key, and add what its word is now to the words of tags.
    fn stamp_write(
        &self,
        py: Python<'_>,
        name: &Name<'_, '_>,
        stamps: &mut Vec<Stamp>,
    ) -> PyResult<()> {
        let own = self.advance(py, name, true)?;
        // A tag may have the key's word, which was moved by this write itself.
        for stamp in stamps.iter_mut().filter(|stamp| stamp.word == own.word) {
            *stamp = own;
        }
        stamps.push(own);
        Ok(())
    }

    fn tag_word(&self, tag: &str) -> Vec<u8> {
        [b"tag:", self.place.as_slice(), b":", tag.as_bytes()].concat()
    }

    /// Make stale all that anybody holds for a key; what its word is now.
    fn advance(&self, py: Python<'_>, name: &Name<'_, '_>, is_hurried: bool) -> PyResult<Stamp> {
        let now = python_clock::now(py)?.at();
        let word = name.word(&self.place)?;
        let mut stamp = Stamp { word: 0, value: 0 };
        versions::advance(&[&word], now, is_hurried, |_, now| stamp = now);
        let before = Stamp {
            value: stamp.value.wrapping_sub(1),
            ..stamp
        };
        tokens::moved(self.id, name.hash, before, stamp);
        Ok(stamp)
    }

    /// Store unless there is a live entry; whether there was none.
    pub(super) fn add(
        &self,
        py: Python<'_>,
        name: &Name<'_, '_>,
        value: &Bound<'_, PyAny>,
        storing: &Storing<'_>,
    ) -> PyResult<bool> {
        if python_clock::is_disabled(py) {
            return Ok(true);
        }
        let frozen = values::freeze(value, self.isolation)?;
        self.take_token(py, name)?;
        self.settle(py);
        let mut stamps = Vec::new();
        if self.is_host {
            self.stamp_tags(storing.tags, &mut stamps)?;
            stamps.push(self.seen(name)?.key);
        }
        let ttl = match storing.life {
            Life::For(ttl) => self.jittered(ttl),
            Life::Over => 0,
        };
        self.place(
            py,
            name,
            frozen,
            &Placing {
                ttl,
                tags: storing.tags,
                stamps: &stamps,
                cost: 0,
                token: None,
                epoch: None,
                store: None,
                is_add: true,
                is_write: true,
            },
        )
    }

    /// Put a frozen value into the table; false where a live entry or an outdated token forbade it.
    // Long because it is one sequence under one lock, and a step moved out would hide what runs before and after.
    fn place(
        &self,
        py: Python<'_>,
        name: &Name<'_, '_>,
        frozen: Frozen,
        placing: &Placing<'_>,
    ) -> PyResult<bool> {
        let now = python_clock::now(py)?;
        let tags: Vec<TagRef<'_>> = placing.tags.iter().map(|tag| TagRef::Name(tag)).collect();
        let put = Put {
            deadline: now.after(placing.ttl),
            own_ttl: placing.ttl != self.shared.cache.ttl(),
            weight: frozen.weight
                + name.bytes()
                + tag_bytes(placing.tags.iter().map(String::as_str)),
            cost: placing.cost,
            tags: &tags,
            stamps: placing.stamps,
            traced: frozen.traced,
            write: placing.is_write,
        };
        let mut table = self.shared.cache.lock();
        let mut slot = name.find(&table);
        let mut key = None;
        if slot.is_none() {
            // A key is made without the lock, and only where there is no entry that has one.
            drop(table);
            key = Some(name.object()?);
            table = self.shared.cache.lock();
            slot = name.find(&table);
        }
        if clock::is_disabled() {
            drop(table); // before the key
            return Ok(placing.is_add);
        }
        let is_forbidden = (placing.is_add && slot.is_some_and(|slot| table.is_live(slot, now)))
            || placing.token.is_some_and(|token| {
                !table.is_current(name.hash, token, &tags) || !self.has_spared_load(name, token)
            })
            || placing
                .epoch
                .is_some_and(|epoch| !self.has_spared_fill(name, epoch))
            || placing
                .store
                .is_some_and(|store| store != self.value.load(Ordering::Relaxed));
        if is_forbidden {
            drop(table); // before the key
            return Ok(false);
        }
        let is_dead = now.reached(put.deadline);
        let (unused, displaced) = match (slot, key) {
            (None, Some(key)) => (
                [None, None],
                table.insert(name.hash, key, frozen.stored, &put, now),
            ),
            (Some(slot), key) => {
                let (old, displaced) = table.replace(slot, frozen.stored, &put, now);
                ([key, Some(old)], displaced)
            }
            (None, None) => return Ok(false), // made just above
        };
        drop(table);
        let metrics = self.shared.cache.metrics();
        metrics.changed(Event::Set, Some(put.weight), || name.pattern());
        self.release(py, unused.into_iter().flatten(), displaced);
        self.shared.sweep_if_due(py, now);
        Ok(!is_dead || placing.is_add)
    }

    /// Let go what a write left over. Hold no lock.
    fn release(
        &self,
        py: Python<'_>,
        unused: impl IntoIterator<Item = Py<PyAny>>,
        displaced: PyDisplaced,
    ) {
        for object in unused {
            outside::release(object, py);
        }
        self.shared.removed(py, displaced);
    }

    /// Remove an entry, here and in every process; whether there was a live one here.
    pub(super) fn remove(&self, py: Python<'_>, name: &Name<'_, '_>) -> PyResult<bool> {
        self.take_token(py, name)?;
        self.settle(py);
        let now = python_clock::now(py)?;
        let mut table = self.shared.cache.lock();
        let slot = name.find(&table);
        let was_live = slot.is_some_and(|slot| table.is_live(slot, now));
        let gone = slot.map(|slot| table.remove(slot, Cause::Deleted));
        if gone.is_none() {
            table.bump(name.hash);
        }
        drop(table);
        self.deleted(name);
        if self.is_host {
            self.advance(py, name, false)?;
        }
        self.shared.removed(py, gone);
        Ok(was_live)
    }

    /// Sample the deletion of a key, which was counted.
    fn deleted(&self, name: &Name<'_, '_>) {
        let metrics = self.shared.cache.metrics();
        metrics.changed(Event::Delete, None, || name.pattern());
    }

    /// Give a live entry another life; whether there was one.
    pub(super) fn retime(
        &self,
        py: Python<'_>,
        name: &Name<'_, '_>,
        deadline: impl FnOnce(Now) -> Nanos,
    ) -> PyResult<bool> {
        self.take_token(py, name)?;
        self.settle(py);
        let now = python_clock::now(py)?;
        let deadline = deadline(now);
        let mut table = self.shared.cache.lock();
        let Some(slot) = name.find(&table).filter(|&slot| table.is_live(slot, now)) else {
            return Ok(false);
        };
        if now.reached(deadline) {
            let gone = table.remove(slot, Cause::Deleted);
            drop(table);
            self.deleted(name);
            self.shared.removed(py, [gone]);
        } else {
            self.shared.postpone(&mut table, slot, now, deadline);
        }
        Ok(true)
    }

    /// Add to a value; None without a live entry. Nothing of Python's runs between its read and its write, or it is read again.
    pub(super) fn add_to(
        &self,
        py: Python<'_>,
        name: &Name<'_, '_>,
        delta: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Py<PyAny>>> {
        self.take_token(py, name)?;
        self.settle(py);
        loop {
            let now = python_clock::now(py)?;
            let Some(stored) = self.stored(py, name, now) else {
                return Ok(None);
            };
            let Some(value) = self.thaw(py, name, stored.clone_ref(py))? else {
                return Ok(None);
            };
            let sum = outside::add(value.bind(py), delta)?;
            let frozen = values::freeze(&sum, self.isolation)?;
            let mut table = self.shared.cache.lock();
            let found = name
                .find(&table)
                .filter(|&slot| table.value(slot).is(&stored));
            let Some(slot) = found else {
                continue;
            };
            let tags = table.tags(slot).filter_map(|tag| match tag {
                TagRef::Name(name) => Some(name),
                TagRef::Owner(_) => None,
            });
            let weight = frozen.weight + name.bytes() + tag_bytes(tags);
            let (old, displaced) = table.update(slot, frozen.stored, weight, frozen.traced, now);
            drop(table);
            let metrics = self.shared.cache.metrics();
            metrics.changed(Event::Set, Some(weight), || name.pattern());
            self.release(py, [old], displaced);
            return Ok(Some(sum.unbind()));
        }
    }

    /// Remove everything, here and in every process.
    pub(super) fn clear_all(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_host {
            let (before, seen) = (self.stamp(), versions::current());
            versions::bump(&[self.store_word()], || seconds(py));
            self.look_up_words();
            let after = self.stamp();
            if std::ptr::eq(seen, versions::current()) && is_next(before, after) {
                tokens::stepped(
                    py,
                    self.id,
                    |seen| &mut seen.store,
                    before.value,
                    after.value,
                )?;
            }
        }
        self.shared.clear(py);
        Ok(())
    }

    /// Remove a tag's entries, here and in every process; how many were here.
    pub(super) fn delete_tag(&self, py: Python<'_>, tag: &str) -> PyResult<usize> {
        self.settle(py);
        let count = self.shared.delete_by_tag(py, tag);
        if self.is_host {
            // The word of all tags first: whoever sees the tag's new value then finds that one moved, too.
            self.bump_tags(py, &[self.own_word(b"tags:"), self.tag_word(tag)])?;
        }
        Ok(count)
    }

    /// Remove the entries of several tags, here and in every process; bump the words that they have outside of stores, too.
    pub(super) fn delete_tags(
        &self,
        py: Python<'_>,
        tags: &[String],
        is_everywhere: bool,
    ) -> PyResult<()> {
        self.settle(py);
        let mut words = Vec::with_capacity(2 * tags.len() + 2);
        if is_everywhere && !tags.is_empty() {
            words.extend(tags.iter().map(|tag| [b"tag:", tag.as_bytes()].concat()));
            words.push(b"tags".to_vec());
        }
        if self.is_host {
            words.push(self.own_word(b"tags:")); // before those of the tags, as above
            words.extend(tags.iter().map(|tag| self.tag_word(tag)));
        }
        let mut gone = Vec::new();
        let mut table = self.shared.cache.lock();
        for tag in tags {
            gone.append(&mut table.remove_tag(TagRef::Name(tag)));
        }
        drop(table);
        self.shared.removed(py, gone);
        if words.is_empty() {
            return Ok(());
        }
        self.bump_tags(py, &words)
    }

    /// Bump words, that of all tags of the store once among them. What this thread stores next comes after that.
    fn bump_tags(&self, py: Python<'_>, words: &[Vec<u8>]) -> PyResult<()> {
        let word = self.tags_word.load(Ordering::Relaxed);
        let seen = versions::current();
        let before = seen.capture(word);
        versions::bump(words, || seconds(py));
        let after = seen.capture(word);
        // Where others moved it meanwhile, nobody knows what was read before and what after.
        if std::ptr::eq(seen, versions::current()) && is_next(before, after) {
            tokens::stepped(
                py,
                self.id,
                |seen| &mut seen.tags,
                before.value,
                after.value,
            )?;
        }
        Ok(())
    }

    /// A ttl, some fraction longer or shorter, so that what was stored together does not expire together.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a random fraction of a span"
    )]
    fn jittered(&self, ttl: Nanos) -> Nanos {
        if self.jitter == 0.0 || ttl == FOREVER {
            return ttl;
        }
        let drawn = fold(self.drawn.fetch_add(1, Ordering::Relaxed), self.id);
        let unit = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
        let factor = 1.0 + self.jitter * (2.0 * unit - 1.0);
        ((ttl as f64 * factor) as Nanos).max(1)
    }

    /// What a loader takes before it loads: the engine's token, and what the words were.
    pub(super) fn token(&self, name: &Name<'_, '_>) -> PyResult<u128> {
        self.settle(name.py());
        let sum = if self.is_host {
            sum_of(self.seen(name)?)
        } else {
            0
        };
        let token = self.shared.cache.lock().token(name.hash);
        Ok(u128::from(token) << 64 | u128::from(sum))
    }

    /// The words of a key, when they are those of a digest or have moved since for nothing but patterns that it does not match.
    fn same_words(&self, name: &Name<'_, '_>, sum: u64) -> PyResult<Option<Seen>> {
        let seen = self.seen(name)?;
        if sum_of(seen) == sum {
            return Ok(Some(seen));
        }
        // A digest does not tell which of the words has moved: it is that of the store if an earlier value of it fits.
        let mut before = seen;
        let from = (0..RECORDS).find_map(|_| {
            before.store = before.store.wrapping_sub(1);
            (sum_of(before) == sum).then_some(before.store)
        });
        let is_spared = from.is_some_and(|from| self.has_spared(name, from));
        Ok(is_spared.then_some(seen))
    }

    /// Is what was loaded since this token still good?
    pub(super) fn is_current(
        &self,
        name: &Name<'_, '_>,
        token: u128,
        tags: &[String],
    ) -> PyResult<bool> {
        self.settle(name.py());
        let (token, sum) = halves(token);
        if self.is_host && self.same_words(name, sum)?.is_none() {
            return Ok(false);
        }
        let tags: Vec<TagRef<'_>> = tags.iter().map(|tag| TagRef::Name(tag)).collect();
        let is_current = self.shared.cache.lock().is_current(name.hash, token, &tags);
        Ok(is_current && self.has_spared_load(name, token))
    }

    /// Store what was loaded, unless it is outdated; whether it was stored.
    #[expect(clippy::too_many_arguments, reason = "what a loader knows")]
    pub(super) fn fill(
        &self,
        py: Python<'_>,
        name: &Name<'_, '_>,
        value: &Bound<'_, PyAny>,
        token: u128,
        ttl: TtlArg,
        tags: &[String],
        cost: Nanos,
        given: &[Stamp],
    ) -> PyResult<bool> {
        let frozen = values::freeze(value, self.isolation)?;
        self.take_token(py, name)?;
        self.settle(py);
        let mut stamps = Vec::new();
        let mut store = None;
        let (token, sum) = halves(token);
        if self.is_host {
            self.stamp_tags(tags, &mut stamps)?;
            let Some(seen) = self.same_words(name, sum)? else {
                return Ok(false);
            };
            stamps.push(seen.key);
            store = Some(seen.store);
        }
        stamps.extend_from_slice(given);
        self.place(
            py,
            name,
            frozen,
            &Placing {
                ttl: self.jittered(ttl.or(self.shared.cache.ttl())),
                tags,
                stamps: &stamps,
                cost,
                token: Some(token),
                epoch: None,
                store,
                is_add: false,
                is_write: false,
            },
        )
    }

    /// A value that expired and is kept for its grace. Counts as a stale serve.
    pub(super) fn stale(&self, py: Python<'_>, name: &Name<'_, '_>) -> PyResult<Option<Py<PyAny>>> {
        self.settle(py);
        let now = python_clock::now(py)?;
        let stored = {
            let mut table = self.shared.cache.lock();
            let stored = name
                .find(&table)
                .and_then(|slot| table.stale(slot, now))
                .map(|stored| stored.clone_ref(py));
            if stored.is_some() {
                table.stale_served();
            }
            stored
        };
        match stored {
            Some(stored) => self.thaw(py, name, stored),
            None => Ok(None),
        }
    }

    /// Would a hit elect its reader to refresh the entry early?
    pub(super) fn is_early(&self, py: Python<'_>, name: &Name<'_, '_>) -> PyResult<bool> {
        let now = python_clock::now(py)?;
        let mut table = self.shared.cache.lock();
        let slot = name.find(&table);
        Ok(slot.is_some_and(|slot| table.is_live(slot, now) && table.would_refresh(slot, now)))
    }

    pub(super) fn cache(&self) -> &Py<PyTtlCache> {
        &self.cache
    }

    pub(super) fn isolation_name(&self) -> &'static str {
        match self.isolation {
            Isolation::Auto => "auto",
            Isolation::Pickle => "pickle",
            Isolation::None => "none",
        }
    }

    pub(super) fn jitter(&self) -> f64 {
        self.jitter
    }

    pub(super) fn location(&self) -> &Py<PyString> {
        &self.location
    }
}

fn halves(token: u128) -> (u64, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are meant")]
    let halves = ((token >> 64) as u64, token as u64);
    halves
}

/// A digest of the words of a key, of its store and of all tags.
fn sum_of(seen: Seen) -> u64 {
    let Seen {
        key, store, tags, ..
    } = seen;
    fold(
        fold(u64::from(key.word), u64::from(key.value)),
        fold(u64::from(store), u64::from(tags)),
    )
}

/// Whether a word was moved once.
fn is_next(before: Stamp, after: Stamp) -> bool {
    before.word == after.word && after.value == before.value.wrapping_add(1)
}

fn seconds(py: Python<'_>) -> u32 {
    let now = python_clock::now(py).map_or_else(|_| clock::precise(), Now::at);
    whole_seconds(now)
}

/// An estimate of what an entry's tags take: a name that no other entry has, its set of entries, and the links to it.
fn tag_bytes<'a>(tags: impl Iterator<Item = &'a str>) -> u64 {
    const LINKS: u64 = 110;
    tags.map(|tag| tag.len() as u64 + LINKS).sum()
}
