//! Was this key written or invalidated while its value was being loaded?
//!
//! A token is the time, by a clock that counts events, at which a load began. A key that is being loaded is watched from
//! its first token on; whatever outdates its loads ends the watch. A load is current while its key has been watched ever
//! since its token, and none of its tags was invalidated later than that.
//!
//! A wrong "yes" cannot be. A wrong "no" costs one fill that is not stored, and takes four younger keys in the set of
//! the same key, or more invalidated tags during one load than are remembered.

use std::hash::{BuildHasher, RandomState};

use super::slab::mix;
use super::tags::TagRef;

/// With four keys each, 1,024 are watched at once: 16 KiB, of which a write looks at one cache line.
const SETS: usize = 256;
const WAYS: usize = 4;

/// How many tags are remembered as invalidated.
const TAGS: usize = 64;

/// Nothing is allocated before the first token, and until then nothing is noted: there is no load to be outdated.
#[derive(Debug)]
pub(super) struct Stripes {
    /// Goes on when the rest is dropped, so that no token is ever given again for a later watch.
    clock: u64,
    watch: Option<Box<Watch>>,
}

#[derive(Debug)]
struct Watch {
    sets: [Set; SETS],
    tags: [TagEvent; TAGS],
    /// When the last one of the tags was invalidated that are remembered no more.
    forgotten: u64,
    hasher: RandomState,
}

/// The keys watched, and since when each is; 0 is a free way.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Set {
    hashes: [u64; WAYS],
    since: [u64; WAYS],
}

#[derive(Clone, Copy, Debug)]
struct TagEvent {
    hash: u64,
    /// 0 is a free place.
    at: u64,
}

impl Stripes {
    pub(super) const fn new() -> Self {
        Self {
            clock: 0,
            watch: None,
        }
    }

    /// What a load remembers when it starts.
    ///
    /// The watch of a key outlasts its loads and their fills. That is right: a fill is no write, and says nothing about
    /// another load of the key; and a later token is a later time, so that what was invalidated between two loads is
    /// not held against the second.
    pub(super) fn token(&mut self, hash: u64) -> u64 {
        let set = &mut self.watch.get_or_insert_with(Watch::new).sets[set_of(hash)];
        if set.since(hash).is_none() {
            self.clock += 1;
            set.begin(hash, self.clock);
        }
        self.clock
    }

    /// Whether nothing outdated a load since its token. `tags` are those of its value; owners do not matter.
    pub(super) fn is_current(&self, hash: u64, token: u64, tags: &[TagRef<'_>]) -> bool {
        let Some(watch) = &self.watch else {
            return false;
        };
        watch.sets[set_of(hash)]
            .since(hash)
            .is_some_and(|since| since <= token)
            && tags.iter().all(|tag| watch.is_tag_current(*tag, token))
    }

    /// A key was written or invalidated.
    #[inline]
    pub(super) fn bump_key(&mut self, hash: u64) {
        if let Some(watch) = &mut self.watch {
            watch.sets[set_of(hash)].end(hash);
        }
    }

    /// Everything was invalidated.
    pub(super) fn bump_all(&mut self) {
        self.watch = None;
    }

    /// Something was invalidated that the caller remembers: the time of it, later than that of every token so far.
    pub(super) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A tag was invalidated.
    pub(super) fn bump_tag(&mut self, tag: TagRef<'_>) {
        if let Some(watch) = &mut self.watch {
            self.clock += 1;
            watch.note_tag(tag, self.clock);
        }
    }
}

impl Watch {
    fn new() -> Box<Self> {
        Box::new(Self {
            sets: [Set {
                hashes: [0; WAYS],
                since: [0; WAYS],
            }; SETS],
            tags: [TagEvent { hash: 0, at: 0 }; TAGS],
            forgotten: 0,
            hasher: RandomState::new(),
        })
    }

    /// A tag keeps its one place however often it is invalidated; another takes the place of the one longest ago.
    fn note_tag(&mut self, tag: TagRef<'_>, at: u64) {
        let hash = self.hasher.hash_one(tag);
        let rank = |event: &TagEvent| (event.hash != hash, event.at);
        if let Some(event) = self.tags.iter_mut().min_by_key(|event| rank(event)) {
            if event.hash != hash {
                self.forgotten = event.at; // later than all that were forgotten before
            }
            *event = TagEvent { hash, at };
        }
    }

    fn is_tag_current(&self, tag: TagRef<'_>, token: u64) -> bool {
        if matches!(tag, TagRef::Owner(_)) {
            return true;
        }
        let hash = self.hasher.hash_one(tag);
        self.forgotten <= token
            && self
                .tags
                .iter()
                .all(|event| event.hash != hash || event.at <= token)
    }
}

impl Set {
    /// Since when a key is watched.
    fn since(&self, hash: u64) -> Option<u64> {
        let ways = self.hashes.iter().zip(self.since);
        ways.filter(|&(&watched, _)| watched == hash)
            .map(|(_, since)| since)
            .find(|&since| since != 0)
    }

    /// Watch a key, in a free way or in place of the one that is watched the longest.
    fn begin(&mut self, hash: u64, at: u64) {
        let mut way = 0;
        for other in 1..WAYS {
            if self.since[other] < self.since[way] {
                way = other;
            }
        }
        self.hashes[way] = hash;
        self.since[way] = at;
    }

    #[inline]
    fn end(&mut self, hash: u64) {
        for (watched, since) in self.hashes.iter().zip(&mut self.since) {
            if *watched == hash {
                *since = 0;
            }
        }
    }
}

#[inline]
fn set_of(hash: u64) -> usize {
    (mix(hash) >> 32) as usize % SETS
}
