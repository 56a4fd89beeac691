//! What was done under which key pattern: a table of bounded size, filled by samples.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use serde::Serialize;
use twox_hash::XxHash3_64;

use super::sampling::Event;

/// How many patterns of one cache are told apart.
pub const MAX_PATTERNS: usize = 256;

/// What all the others are counted under.
pub const OTHER: &str = "other";

/// What was done under one key pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tallied {
    events: [u64; Event::ALL.len()],
    loads: u64,
    load_nanos: u64,
    /// What was set, where it was weighed.
    bytes: u64,
    weighed: u64,
    /// How many samples all that is made of.
    samples: u64,
    /// When the pattern was met, by a clock that counts patterns.
    met: u64,
}

impl Tallied {
    fn absorb(&mut self, other: &Self) {
        for (count, more) in self.events.iter_mut().zip(other.events) {
            *count += more;
        }
        self.loads += other.loads;
        self.load_nanos = self.load_nanos.saturating_add(other.load_nanos);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.weighed += other.weighed;
    }

    pub(super) fn event(&mut self, event: Event, weight: u64) {
        self.events[event as usize] += weight;
    }

    pub(super) fn stored(&mut self, bytes: Option<u64>, weight: u64) {
        if let Some(bytes) = bytes {
            self.bytes = self.bytes.saturating_add(bytes.saturating_mul(weight));
            self.weighed += weight;
        }
    }

    pub(super) fn load(&mut self, loads: u64, nanos: u64) {
        self.loads += loads;
        self.load_nanos = self.load_nanos.saturating_add(nanos);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "estimates, and sums of nanoseconds"
    )]
    fn shown(&self, pattern: &str) -> PatternStats {
        let count = |event: Event| self.events[event as usize];
        PatternStats {
            pattern: pattern.to_owned(),
            hits: count(Event::Hit),
            misses: count(Event::Miss),
            sets: count(Event::Set),
            deletes: count(Event::Delete),
            loads: self.loads,
            load_seconds: self.load_nanos as f64 / 1e9,
            bytes: self.bytes,
            avg_size: (self.weighed > 0).then(|| self.bytes as f64 / self.weighed as f64),
        }
    }
}

/// What was done under one key pattern, as far as samples tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PatternStats {
    /// The pattern; [`OTHER`] for all that have no place of their own.
    pub pattern: String,
    /// Reads that found a live entry.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Values stored.
    pub sets: u64,
    /// Entries deleted by their key.
    pub deletes: u64,
    /// Loads, stored or not. Each is counted.
    pub loads: u64,
    /// What they took together.
    pub load_seconds: f64,
    /// What was set weighed so much together, where it was weighed.
    pub bytes: u64,
    /// What an entry weighed when it was set; null where none was weighed.
    pub avg_size: Option<f64>,
}

/// The patterns of one cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    /// Hashed without a secret: keys that collide on purpose meet 256 others.
    known: HashTable<(Box<str>, Tallied)>,
    other: Tallied,
    clock: u64,
}

impl Patterns {
    /// Where a sample of this pattern is to be counted.
    ///
    /// When all places are taken, the pattern that was met longest ago and of which there was but one sample gives way, so
    /// that keys that are all different do not keep out what comes later.
    pub(super) fn of(&mut self, pattern: &str) -> &mut Tallied {
        if pattern == OTHER {
            return &mut self.other;
        }
        if self.known.len() >= MAX_PATTERNS && !self.is_known(pattern) && !self.give_way() {
            return &mut self.other;
        }
        let is_same = |(known, _): &(Box<str>, Tallied)| **known == *pattern;
        let entry = self
            .known
            .entry(hash(pattern), is_same, |(known, _)| hash(known));
        let tallied = match entry {
            Entry::Occupied(found) => &mut found.into_mut().1,
            Entry::Vacant(place) => {
                self.clock += 1;
                let tallied = Tallied {
                    met: self.clock,
                    ..Tallied::default()
                };
                &mut place.insert((pattern.into(), tallied)).into_mut().1
            }
        };
        tallied.samples += 1;
        tallied
    }

    fn is_known(&self, pattern: &str) -> bool {
        let is_same = |(known, _): &(Box<str>, Tallied)| **known == *pattern;
        self.known.find(hash(pattern), is_same).is_some()
    }

    /// Makes a place free, if there is one to be had.
    fn give_way(&mut self) -> bool {
        let once = self
            .known
            .iter()
            .filter(|(_, tallied)| tallied.samples <= 1);
        let Some(oldest) = once.map(|(_, tallied)| tallied.met).min() else {
            return false;
        };
        for (_, gone) in self.known.extract_if(|(_, tallied)| tallied.met == oldest) {
            self.other.absorb(&gone);
        }
        true
    }

    /// All patterns, the most read first, the others last.
    pub(super) fn shown(&self) -> Vec<PatternStats> {
        let known = self.known.iter();
        let mut shown: Vec<_> = known.map(|(name, tallied)| tallied.shown(name)).collect();
        shown.sort_unstable_by(|one, next| {
            let reads = |stats: &PatternStats| stats.hits + stats.misses;
            (reads(next), &one.pattern).cmp(&(reads(one), &next.pattern))
        });
        if self.other != Tallied::default() {
            shown.push(self.other.shown(OTHER));
        }
        shown
    }
}

fn hash(pattern: &str) -> u64 {
    XxHash3_64::oneshot(pattern.as_bytes())
}
