//! Which operations are samples: all at first, then one in many, at random distances.
//!
//! A sample counts for itself and for all operations of its kind since the one before, so the sums over all patterns are
//! exact as of the last sample. Distances are random: what is done in turns is not always sampled at the same turn.

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::Latency;
use super::patterns::{OTHER, PatternStats, Patterns};
use super::{Count, Metrics, Totals};
use crate::engine::clock::{self, Nanos};
use crate::engine::refresh::Draw;

/// So many operations of a cache are all samples.
pub const EXACT: u64 = 1_024;

/// The mean distance of samples grows to this, where a sample's cost is a hundredth of what it stands for.
pub const MAX_INTERVAL: u64 = 1_024;

/// From [`EXACT`] on the distance is such a part of what was counted of the same kind: some hundred samples lead to the
/// largest, and what is rare is sampled densely still.
const PART: u64 = 32;

/// No sample is ever due.
const NEVER: u64 = u64::MAX;

/// What is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A read that found a live entry.
    Hit,
    /// A read that found none.
    Miss,
    /// A value was stored.
    Set,
    /// An entry was deleted by its key.
    Delete,
}

impl Event {
    /// All of them, as they are numbered.
    pub const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Set, Self::Delete];
}

/// A count, some of whose events are samples.
#[derive(Debug)]
pub(in crate::engine) struct Stream {
    pub(in crate::engine) count: Count,
    /// The event that comes after so many is a sample.
    next: AtomicU64,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            count: Count::default(),
            next: AtomicU64::new(NEVER),
        }
    }
}

impl Stream {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    pub(in crate::engine) fn is_due(&self) -> bool {
        self.count.get() >= self.next.load(Ordering::Relaxed)
    }

    /// Whether the last event was a sample that nobody has taken yet.
    #[inline]
    fn is_past(&self) -> bool {
        self.count.get() > self.next.load(Ordering::Relaxed)
    }
}

/// Where one stream's samples are.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// The count at the beginning, or at the last reset.
    origin: u64,
    /// The count at the last sample.
    last: u64,
}

/// What samples are collected in.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    progress: [Progress; Event::ALL.len()],
    draw: Draw,
    patterns: Patterns,
    is_on: bool,
    /// What everything was when it was reset.
    pub(super) baseline: Totals,
    /// What loads without a pattern were then.
    unnamed_before: Latency,
}

impl Sampler {
    /// The mean distance of samples after `count` events; 0 when there are none. `all`: how many of each kind there were.
    pub(super) fn interval(&self, event: Event, all: [u64; Event::ALL.len()]) -> u64 {
        let counted = |event: Event| {
            let origin = self.progress[event as usize].origin;
            all[event as usize].saturating_sub(origin)
        };
        if !self.is_on {
            0
        } else if Event::ALL.map(counted).iter().sum::<u64>() < EXACT {
            1
        } else {
            (counted(event) / PART).clamp(1, MAX_INTERVAL)
        }
    }

    /// Takes a sample after `count` events: what it counts for, and after how many the next one is.
    fn take(&mut self, event: Event, all: [u64; Event::ALL.len()]) -> (u64, u64) {
        let count = all[event as usize];
        let mean = self.interval(event, all).max(1);
        let distance = 1 + self.draw.below(2 * mean - 1);
        let last = &mut self.progress[event as usize].last;
        let weight = count.saturating_sub(*last);
        *last = count;
        (weight, count.saturating_add(distance - 1))
    }
}

/// When samples are taken. They are for callers who tell keys: a table that is used by itself takes none.
impl Metrics {
    /// Begins to sample. From then on [`Table::hit`](crate::engine::Table::hit) declines what is to be sampled, and whoever
    /// reads on has to say so here.
    pub fn start_sampling(&self) {
        let mut sampler = self.sampler.lock();
        sampler.is_on = true;
        self.restart(&mut sampler);
    }

    fn stream(&self, event: Event) -> &Stream {
        match event {
            Event::Hit => &self.hits,
            Event::Miss => &self.misses,
            Event::Set => &self.sets,
            Event::Delete => &self.deletes,
        }
    }

    /// How many events of each kind there were.
    pub(super) fn events(&self) -> [u64; Event::ALL.len()] {
        Event::ALL.map(|event| self.stream(event).count.get())
    }

    /// Forgets the patterns; samples are dense again at first.
    pub(super) fn restart(&self, sampler: &mut Sampler) {
        sampler.patterns = Patterns::default();
        sampler.unnamed_before = self.unnamed_loads.totals();
        for event in Event::ALL {
            let stream = self.stream(event);
            let count = stream.count.get();
            sampler.progress[event as usize] = Progress {
                origin: count,
                last: count,
            };
            if sampler.is_on {
                stream.next.store(count, Ordering::Relaxed);
            }
        }
    }

    /// Whether the next event of this kind is to be a sample.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every raw miss and write")]
    #[must_use]
    pub fn is_due(&self, event: Event) -> bool {
        self.stream(event).is_due()
    }

    /// The precise time, where the read that now begins is to be a sample.
    #[inline]
    #[must_use]
    pub fn read_begins(&self) -> Option<Nanos> {
        (self.hits.is_due() || self.misses.is_due()).then(clock::precise)
    }

    /// Samples a read that has been counted, if it is due. `began` is what [`Self::read_begins`] gave.
    ///
    /// `pattern` gives the key's pattern, and is called only for a sample.
    #[inline]
    pub fn read_ended(&self, event: Event, began: Option<Nanos>, pattern: impl FnOnce() -> String) {
        let Some(began) = began else {
            return;
        };
        if self.stream(event).is_past() {
            let nanos = clock::precise().saturating_sub(began);
            self.sample(event, None, Some(nanos), pattern);
        }
    }

    /// Samples a write or a deletion that has been counted, if it is due. `bytes`: what was stored, where it was weighed.
    #[inline]
    pub fn changed(&self, event: Event, bytes: Option<u64>, pattern: impl FnOnce() -> String) {
        if self.stream(event).is_past() {
            self.sample(event, bytes, None, pattern);
        }
    }

    #[cold]
    #[inline(never)]
    fn sample(
        &self,
        event: Event,
        bytes: Option<u64>,
        nanos: Option<Nanos>,
        pattern: impl FnOnce() -> String,
    ) {
        let pattern = pattern();
        // Taken while somebody shows it: then the next operation is a sample, and counts for this one too.
        let Some(mut sampler) = self.sampler.try_lock() else {
            return;
        };
        let stream = self.stream(event);
        if !stream.is_past() {
            return;
        }
        let (weight, next) = sampler.take(event, self.events());
        stream.next.store(next, Ordering::Relaxed);
        let tallied = sampler.patterns.of(&pattern);
        tallied.event(event, weight);
        tallied.stored(bytes, weight);
        if let Some(nanos) = nanos {
            self.get.add(u64::try_from(nanos).unwrap_or(0), weight);
        }
    }

    /// Counts a load, whatever became of its value. Every load is counted, and is in the histogram of loads.
    pub fn loaded(&self, nanos: Nanos, has_failed: bool, pattern: impl FnOnce() -> String) {
        let nanos = u64::try_from(nanos).unwrap_or(0);
        let pattern = pattern();
        self.load.add(nanos, 1);
        if has_failed {
            self.load_errors.add_shared(1);
        }
        match self.sampler.try_lock() {
            Some(mut sampler) => sampler.patterns.of(&pattern).load(1, nanos),
            // Taken while somebody shows it, who is not waited for: whose load it was is lost.
            None => self.unnamed_loads.add(nanos, 1),
        }
    }

    /// What was done by key pattern since the last reset: exact for the first [`EXACT`] operations, estimated
    /// from samples then.
    #[must_use]
    pub fn patterns(&self) -> Vec<PatternStats> {
        let patterns = {
            let sampler = self.sampler.lock();
            let mut patterns = sampler.patterns.clone();
            let mut unnamed = self.unnamed_loads.totals();
            unnamed.subtract(&sampler.unnamed_before);
            patterns.of(OTHER).load(unnamed.count(), unnamed.nanos());
            patterns
        };
        patterns.shown()
    }
}
