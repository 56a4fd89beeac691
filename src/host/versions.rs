//! Version words: a name hashes to a word, to invalidate is to increment it, and an entry keeps what it saw.

use std::sync::atomic::Ordering;

use twox_hash::XxHash3_64;

use super::segment::{DEFAULT_WORDS, MAX_WORDS, MIN_WORDS, Published, Segment};
use crate::engine::Stamp;

/// The words that a process looks at.
pub struct Versions {
    segment: Segment,
    /// The hash of the namespace, which seeds those of the names.
    seed: u64,
}

static FIRST: Versions = Versions {
    segment: Segment::FIRST,
    seed: 0,
};
static CURRENT: Published<Versions> = Published::new(&FIRST);

/// The words in force: this process's own, until it shares some.
#[inline]
#[must_use]
pub fn current() -> &'static Versions {
    CURRENT.get()
}

/// Leaves sharing, for words of this process's own. Entries that were captured before are not current any more.
pub fn keep_private(words: u32) {
    let next = Versions::private(words);
    CURRENT.replace(CURRENT.get(), next);
}

impl Versions {
    /// Words of this process alone; `words` is a power of two within the limits. Their memory is never given back.
    #[must_use]
    pub fn private(words: u32) -> Self {
        let words = words.clamp(MIN_WORDS, MAX_WORDS).next_power_of_two();
        Self {
            segment: Segment::private(words),
            seed: 0,
        }
    }

    /// The word of a name: the same in every process and build.
    #[must_use]
    pub fn word(&self, name: &[u8]) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low bits are what is wanted"
        )]
        let hash = XxHash3_64::oneshot_with_seed(self.seed, name) as u32;
        hash & self.mask()
    }

    /// How many words there are.
    #[must_use]
    pub fn words(&self) -> u32 {
        u32::try_from(self.segment.words.len()).unwrap_or(DEFAULT_WORDS)
    }

    #[inline]
    fn mask(&self) -> u32 {
        self.words() - 1
    }

    /// What the word is now. To be asked before a load begins: what is bumped after that makes the load's result stale.
    #[inline]
    #[must_use]
    pub fn capture(&self, word: u32) -> Stamp {
        let word = word & self.mask();
        let value = self.segment.words[word as usize]
            .load(Ordering::Acquire)
            .wrapping_add(self.segment.base);
        Stamp { word, value }
    }

    /// Whether none of the words was bumped since they were captured.
    #[inline]
    #[must_use]
    pub fn are_current(&self, stamps: &[Stamp]) -> bool {
        stamps.iter().all(|stamp| {
            self.segment
                .words
                .get(stamp.word as usize)
                .is_some_and(|word| {
                    word.load(Ordering::Acquire).wrapping_add(self.segment.base) == stamp.value
                })
        })
    }

    /// Makes everything that was captured of this word stale. `seconds` is now, on the clock that all processes share.
    pub fn bump(&self, word: u32, seconds: u32) {
        let word = (word & self.mask()) as usize;
        let group = &self.segment.bumped[word % self.segment.bumped.len()];
        group.fetch_max(seconds.saturating_add(1), Ordering::AcqRel);
        self.segment.words[word].fetch_add(1, Ordering::AcqRel);
    }

    /// The second of the last bump of this word, or of another one of its group; None for never.
    #[must_use]
    pub fn bumped_at(&self, word: u32) -> Option<u32> {
        let group = (word & self.mask()) as usize % self.segment.bumped.len();
        self.segment.bumped[group]
            .load(Ordering::Acquire)
            .checked_sub(1)
    }
}
