//! One thread's cache: finds, reads, stores and removes, counts what happened, hands back what it displaced.
//!
//! A `Table` knows neither locks nor Python. Everything that leaves it is returned, so that its caller drops keys and
//! values after the lock is gone. Keys are compared by a closure over a hash that the caller computed.

// Long because each method keeps all indexes in step, and sees them all.

mod adjust;
mod inspect;
mod walk;

use std::sync::Arc;

use super::clock::{FOREVER, Nanos, Now};
use super::contents::Contents;
use super::deadlines::Deadlines;
use super::error::Error;
use super::eviction::Eviction;
use super::metrics::{Event, Metrics};
use super::refresh::Draw;
use super::slab::MAX_ENTRIES;
use super::stamp::MAX_STAMPS;
use super::stripes::Stripes;

pub use super::displaced::{Cause, Cleared, ClearedIter, Displaced, Gone, Step};
pub use super::limits::Limits;
pub use super::put::Put;
pub use super::slab::Slot;
pub use super::stamp::{NoWords, Stamp, Words};
pub use super::tags::TagRef;

/// What reading an entry found.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'a, K, V> {
    /// A live value.
    Fresh(&'a V),
    /// A live value, and this reader is elected to load it anew before it expires.
    Early(&'a V),
    /// It is over, but kept for its grace: see [`Table::stale`].
    Stale,
    /// It was over and is removed now.
    Expired(Gone<K, V>),
    /// What it was computed from has changed since; it is removed now.
    Outdated(Gone<K, V>),
}

/// A cache for one thread. `W` knows the version words that entries depend on.
#[derive(Debug)]
pub struct Table<K, V, W = NoWords> {
    contents: Contents<K, V>,
    metrics: Arc<Metrics>,
    generation: u64,
    limits: Limits,
    draw: Draw,
    stripes: Stripes,
    words: W,
}

impl<K, V> Table<K, V> {
    /// An empty table whose entries depend on nothing but time.
    ///
    /// # Errors
    /// See [`Limits::validated`].
    pub fn new(limits: Limits) -> Result<Self, Error> {
        Self::with_words(limits, NoWords)
    }
}

impl<K, V, W: Words> Table<K, V, W> {
    /// An empty table. Allocates next to nothing: storage grows with the entries.
    ///
    /// # Errors
    /// See [`Limits::validated`].
    pub fn with_words(limits: Limits, words: W) -> Result<Self, Error> {
        let limits = limits.validated()?;
        Ok(Self {
            contents: Contents::new(&limits),
            metrics: Arc::new(Metrics::new(&limits)),
            generation: 0,
            limits,
            draw: Draw::new(),
            stripes: Stripes::new(),
            words,
        })
    }

    /// The slot of a key, whether its entry is live or not. Neither counts nor touches.
    ///
    /// `eq` is asked about entries of the same hash only.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    pub fn find(&self, hash: u64, eq: impl FnMut(&K) -> bool) -> Option<Slot> {
        self.contents.find(hash, eq)
    }

    /// The fast half of [`Self::read`], a handful of loads: the value of a live entry, counted and marked as used.
    ///
    /// `None` says that nothing was done and `read` is to be asked: the entry is over or outdated, its table elects early
    /// refreshes, or this hit is to be a sample.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    pub fn hit(&mut self, slot: Slot, now: Now) -> Option<&V> {
        if now.reached(self.deadline(slot))
            || self.contents.columns.is_asked() && !self.is_certain(slot)
            || self.metrics.is_due(Event::Hit)
        {
            return None;
        }
        self.touch(slot);
        Some(self.value(slot))
    }

    /// Whether a live entry is served as it is: nothing is drawn, and its stamps are current.
    #[inline(never)]
    fn is_certain(&self, slot: Slot) -> bool {
        !self.contents.columns.times() && !self.is_outdated(slot)
    }

    /// Reads an entry: counts a hit or a miss and marks it as used. An entry past its grace, or outdated, is removed.
    #[inline]
    pub fn read(&mut self, slot: Slot, now: Now) -> Read<'_, K, V> {
        if self.is_outdated(slot) {
            return self.read_outdated(slot);
        }
        if now.reached(self.deadline(slot)) {
            return self.read_expired(slot, now);
        }
        self.touch(slot);
        if self.contents.columns.times() && self.would_refresh(slot, now) {
            return Read::Early(self.value(slot));
        }
        Read::Fresh(self.value(slot))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    fn touch(&mut self, slot: Slot) {
        self.metrics.hits.count.bump();
        self.contents.policy.touched(&mut self.contents.slab, slot);
    }

    #[cold]
    fn read_expired(&mut self, slot: Slot, now: Now) -> Read<'_, K, V> {
        self.miss();
        if self.is_kept(slot, now) {
            return Read::Stale;
        }
        Read::Expired(self.depart(slot, Cause::Expired))
    }

    /// Loads in flight are left alone: they know by their own stamps whether they are outdated.
    #[cold]
    fn read_outdated(&mut self, slot: Slot) -> Read<'_, K, V> {
        self.miss();
        Read::Outdated(self.depart(slot, Cause::Invalidated))
    }

    /// Counts a read of a key that was not found.
    #[inline]
    pub fn miss(&mut self) {
        self.metrics.misses.count.bump();
    }

    /// The value of a live entry. Neither counts nor touches.
    #[inline]
    #[must_use]
    pub fn peek(&self, slot: Slot, now: Now) -> Option<&V> {
        self.is_live(slot, now).then(|| self.value(slot))
    }

    /// The value of an entry that is live or within its grace, and not outdated. Neither counts nor touches.
    #[must_use]
    pub fn stale(&self, slot: Slot, now: Now) -> Option<&V> {
        (self.is_kept(slot, now) && !self.is_outdated(slot)).then(|| self.value(slot))
    }

    /// Counts that an expired value was served.
    pub fn stale_served(&mut self) {
        self.metrics.stale.bump();
    }

    /// Whether a hit at `now` is elected to load the value anew. Each call draws again.
    #[cold]
    pub fn would_refresh(&mut self, slot: Slot, now: Now) -> bool {
        let cost = self.contents.columns.cost(slot);
        let deadline = self.deadline(slot);
        if cost == 0 || deadline == FOREVER {
            return false;
        }
        self.draw.elects(
            deadline.saturating_sub(now.at()),
            cost,
            self.limits.early_refresh,
        )
    }

    /// Stores a value under a key that is known to be absent, and hands back what had to go.
    ///
    /// Room is made by expired entries first, those in their grace included, and then by the policy. Expired entries
    /// with a TTL of their own are seen up to one tick of the wheel (17 ms) late here. A value whose deadline is reached
    /// comes straight back as expired, one whose stamps are outdated as invalidated; one that no limit allows comes back
    /// as evicted, and, when too heavy or stamped more than [`MAX_STAMPS`] times, is counted as rejected.
    #[inline]
    pub fn insert(
        &mut self,
        hash: u64,
        key: K,
        value: V,
        put: &Put<'_>,
        now: Now,
    ) -> Displaced<K, V> {
        if put.write {
            self.stripes.bump_key(hash);
        }
        let mut displaced = Displaced::none();
        if let Some(cause) = self.refusal(put, now) {
            displaced.push(Gone { key, value, cause });
            return displaced;
        }
        while self.len() >= self.limits.max_size && self.displace(now, &mut displaced) {}
        self.shed(put.weight, now, &mut displaced);
        if put.own_ttl {
            self.contents.expiry.turn(&mut self.contents.slab, now);
        }
        let slot = self
            .contents
            .add(hash, (key, value), put, self.limits.max_size);
        if put.own_ttl {
            self.note_birth(slot, now.at());
        }
        self.changed();
        self.metrics.sets.count.bump();
        displaced
    }

    /// Stores a value under a key that has an entry: the key object stays, deadline, tags and the rest are renewed.
    ///
    /// Returns the old value and what had to go to make room for a heavier one. A value that may not be stored (see
    /// [`Self::insert`]) takes the entry with it: it is then among the displaced, with its key.
    #[inline]
    pub fn replace(
        &mut self,
        slot: Slot,
        value: V,
        put: &Put<'_>,
        now: Now,
    ) -> (V, Displaced<K, V>) {
        if put.write {
            self.stripes.bump_key(self.hash(slot));
        }
        let mut displaced = Displaced::none();
        if let Some(cause) = self.refusal(put, now) {
            let (key, old) = self.contents.take(slot);
            self.changed();
            displaced.push(Gone { key, value, cause });
            return (old, displaced);
        }
        if put.own_ttl {
            self.contents.expiry.turn(&mut self.contents.slab, now);
        }
        let old = self.contents.renew(slot, value, put);
        if put.own_ttl {
            self.note_birth(slot, now.at());
        }
        self.contents.policy.touched(&mut self.contents.slab, slot);
        if self.is_overweight(0) {
            self.contents.detach(slot);
            self.shed(0, now, &mut displaced);
            self.contents.attach(slot, put.own_ttl);
        }
        self.resized();
        self.metrics.sets.count.bump();
        (old, displaced)
    }

    /// [`Self::replace`] for the common case: a write under the table's own TTL, where nothing but the deadline is known
    /// about entries. Hands the value back where the case is another.
    ///
    /// # Errors
    /// The value, when tags, weights, costs or stamps are recorded.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every plain write")]
    pub fn overwrite(
        &mut self,
        slot: Slot,
        value: V,
        deadline: Nanos,
        traced: bool,
    ) -> Result<V, V> {
        if !self.contents.is_plain(slot) || self.limits.max_bytes.is_some() {
            return Err(value);
        }
        self.stripes.bump_key(self.hash(slot));
        let old = self.contents.overwrite(slot, value, deadline, traced);
        self.contents.policy.touched(&mut self.contents.slab, slot);
        self.metrics.sets.count.bump();
        Ok(old)
    }

    /// Gives an entry another value; its deadline, tags, stamps and the rest stay. It is a write and a use.
    ///
    /// Returns the old value and what had to go to make room. A value that is too heavy takes the entry with it, as in
    /// [`Self::replace`].
    pub fn update(
        &mut self,
        slot: Slot,
        value: V,
        weight: u64,
        traced: bool,
        now: Now,
    ) -> (V, Displaced<K, V>) {
        self.stripes.bump_key(self.hash(slot));
        let mut displaced = Displaced::none();
        if self.limits.max_bytes.is_some_and(|most| weight > most) {
            self.metrics.rejected.bump();
            let (key, old) = self.contents.take(slot);
            self.changed();
            let cause = Cause::Evicted;
            displaced.push(Gone { key, value, cause });
            return (old, displaced);
        }
        let old = self.contents.update(slot, value, weight, traced);
        self.contents.policy.touched(&mut self.contents.slab, slot);
        if self.is_overweight(0) {
            self.contents.detach(slot);
            self.shed(0, now, &mut displaced);
            self.contents.attach(slot, true);
        }
        self.resized();
        self.metrics.sets.count.bump();
        (old, displaced)
    }

    /// Gives an entry another deadline. It is no write and no use.
    pub fn retime(&mut self, slot: Slot, deadline: Nanos, own_ttl: bool) {
        let is_born = self.contents.slab[slot].meta.is_born();
        self.contents.retime(slot, deadline, own_ttl);
        self.contents.slab[slot].meta.set_born(is_born && own_ttl);
    }

    /// Removes an entry. Loads of its key in flight will not be stored when it was deleted, cleared or invalidated.
    pub fn remove(&mut self, slot: Slot, cause: Cause) -> Gone<K, V> {
        if matches!(cause, Cause::Deleted | Cause::Cleared | Cause::Invalidated) {
            self.stripes.bump_key(self.hash(slot));
        }
        if matches!(cause, Cause::Deleted) {
            self.metrics.deletes.count.bump();
        }
        self.depart(slot, cause)
    }

    /// Invalidates all entries that carry a tag. O(their number).
    ///
    /// No load in flight is stored afterwards whose value carries the tag or whose key has an entry that did; but for
    /// owners, whose loads nobody can ask for any more.
    pub fn remove_tag(&mut self, tag: TagRef<'_>) -> Vec<Gone<K, V>> {
        self.bump_tag(tag);
        self.remove_tag_some(tag, usize::MAX)
    }

    /// Says that a tag is being invalidated, before its entries are removed a few at a time.
    pub fn bump_tag(&mut self, tag: TagRef<'_>) {
        if matches!(tag, TagRef::Name(_)) {
            self.stripes.bump_tag(tag);
        }
    }

    /// Removes `most` of a tag's entries: a part of what [`Self::remove_tag`] does.
    pub fn remove_tag_some(&mut self, tag: TagRef<'_>, most: usize) -> Vec<Gone<K, V>> {
        let is_name = matches!(tag, TagRef::Name(_));
        let mut gone = Vec::new();
        while gone.len() < most
            && let Some(slot) = self.contents.tags.any(tag)
        {
            if is_name {
                self.stripes.bump_key(self.hash(slot));
            }
            gone.push(self.depart(slot, Cause::Invalidated));
        }
        gone
    }

    /// Removes everything in O(1): the storage leaves with the entries. Counters and limits stay.
    pub fn clear(&mut self) -> Cleared<K, V> {
        let contents = std::mem::replace(&mut self.contents, Contents::new(&self.limits));
        self.metrics.invalidations.add(contents.len() as u64);
        self.stripes.bump_all();
        self.changed();
        Cleared { contents }
    }

    /// Removes all entries past their grace. O(expired).
    pub fn sweep(&mut self, now: Now) -> Vec<Gone<K, V>> {
        self.sweep_some(now, usize::MAX)
    }

    /// As [`Self::sweep`], but for `most` of them: what is over nobody is given, so that it may wait for another time.
    pub fn sweep_some(&mut self, now: Now, most: usize) -> Vec<Gone<K, V>> {
        let (contents, grace) = (&mut self.contents, self.limits.grace);
        let over = contents.expiry.all_expired(&mut contents.slab, now, grace);
        let over: Vec<Slot> = over.take(most).collect();
        over.into_iter()
            .map(|slot| self.depart(slot, Cause::Expired))
            .collect()
    }

    /// How many entries are expired and still held, those in their grace included; at most `most`. O(that many).
    pub fn count_expired(&mut self, now: Now, most: usize) -> usize {
        let contents = &mut self.contents;
        let over = contents.expiry.all_expired(&mut contents.slab, now, 0);
        let count = over.take(most).count();
        self.metrics.expired_counted(count);
        count
    }

    /// Remembers the present state of a key, before its value is loaded.
    #[must_use]
    pub fn token(&mut self, hash: u64) -> u64 {
        self.stripes.token(hash)
    }

    /// Whether neither a key was written or invalidated nor one of these tags since `token` was taken.
    ///
    /// May say no wrongly, never yes. Owners among the tags do not matter.
    #[must_use]
    pub fn is_current(&self, hash: u64, token: u64, tags: &[TagRef<'_>]) -> bool {
        self.stripes.is_current(hash, token, tags)
    }

    /// Says that a key was invalidated, though it may have no entry.
    pub fn bump(&mut self, hash: u64) {
        self.stripes.bump_key(hash);
    }

    /// The time of what the caller notes as invalidated: a load of before has a smaller token, one of afterwards does not.
    #[must_use]
    pub fn tick(&mut self) -> u64 {
        self.stripes.tick()
    }

    /// Says that anything may have been invalidated that is being loaded.
    pub fn bump_all(&mut self) {
        self.stripes.bump_all();
    }

    /// What is counted, for any thread to read.
    #[inline]
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Why a value may not be stored at all, if so.
    #[inline]
    fn refusal(&mut self, put: &Put<'_>, now: Now) -> Option<Cause> {
        if now.reached(put.deadline) {
            return Some(Cause::Expired);
        }
        if !self.are_current(put.stamps) {
            return Some(Cause::Invalidated);
        }
        let is_too_heavy = self.limits.max_bytes.is_some_and(|most| put.weight > most);
        if is_too_heavy || put.stamps.len() > MAX_STAMPS {
            self.metrics.rejected.bump();
            return Some(Cause::Evicted);
        }
        (self.limits.max_size == 0).then_some(Cause::Evicted)
    }

    /// Makes room for `weight` more.
    #[inline]
    fn shed(&mut self, weight: u64, now: Now, displaced: &mut Displaced<K, V>) {
        while self.is_overweight(weight) && self.displace(now, displaced) {}
    }

    #[inline]
    fn is_overweight(&self, more: u64) -> bool {
        self.limits
            .max_bytes
            .is_some_and(|most| self.weight_bytes().saturating_add(more) > most)
    }

    /// Removes the entry that should go first; says whether there was one.
    #[inline]
    fn displace(&mut self, now: Now, displaced: &mut Displaced<K, V>) -> bool {
        let (slot, cause) = match self.contents.expired(now) {
            Some(slot) => (slot, Cause::Expired),
            None => match self.contents.victim() {
                Some(slot) => (slot, Cause::Evicted),
                None => return false,
            },
        };
        displaced.push(self.depart(slot, cause));
        true
    }

    /// Removes an entry and counts why.
    #[inline]
    fn depart(&mut self, slot: Slot, cause: Cause) -> Gone<K, V> {
        let (key, value) = self.contents.take(slot);
        self.changed();
        match cause {
            Cause::Evicted => self.metrics.evictions.bump(),
            Cause::Expired => self.metrics.expirations.bump(),
            Cause::Deleted | Cause::Cleared | Cause::Invalidated => {
                self.metrics.invalidations.bump();
            }
            Cause::Replaced => {}
        }
        Gone { key, value, cause }
    }

    /// Entries came or went.
    #[inline]
    fn changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.resized();
    }

    #[inline]
    fn resized(&self) {
        self.metrics.resized(self.len(), self.weight_bytes());
    }

    fn is_kept(&self, slot: Slot, now: Now) -> bool {
        !now.reached(self.deadline(slot).saturating_add(self.limits.grace))
    }
}
