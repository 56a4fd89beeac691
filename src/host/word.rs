//! The protocol of one version word: captured before a load, compared at a hit, incremented by an invalidation.
//!
//! Written against a trait, so that loom runs these very functions, orderings included, with atomics of its own.

use std::sync::atomic::{AtomicU32, Ordering};

/// Notes that lie further ahead are of another boot, or of a clock that tests set back.
const AHEAD: u32 = 2;

/// What is asked of an atomic.
pub trait Word {
    /// `AtomicU32::load`.
    fn load(&self, order: Ordering) -> u32;
    /// `AtomicU32::fetch_add`.
    fn fetch_add(&self, value: u32, order: Ordering) -> u32;
    /// `AtomicU32::compare_exchange`.
    #[expect(
        clippy::missing_errors_doc,
        reason = "the other value, as atomics give it"
    )]
    fn compare_exchange(&self, seen: u32, next: u32, order: Ordering) -> Result<u32, u32>;
}

impl Word for AtomicU32 {
    #[inline]
    fn load(&self, order: Ordering) -> u32 {
        self.load(order)
    }

    #[inline]
    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.fetch_add(value, order)
    }

    #[inline]
    fn compare_exchange(&self, seen: u32, next: u32, order: Ordering) -> Result<u32, u32> {
        self.compare_exchange(seen, next, order, Ordering::Relaxed)
    }
}

/// What an entry keeps of a word. To be called before the load begins, which Acquire holds behind it.
#[inline]
pub fn capture(word: &impl Word, base: u32) -> u32 {
    word.load(Ordering::Acquire).wrapping_add(base)
}

/// Whether the word is still what was captured.
#[inline]
pub fn is_current(word: &impl Word, base: u32, captured: u32) -> bool {
    word.load(Ordering::Acquire).wrapping_add(base) == captured
}

/// Makes stale what was captured so far. To be called when the change can be read: Release puts it before the increment.
#[inline]
pub fn bump(word: &impl Word) {
    word.fetch_add(1, Ordering::AcqRel);
}

/// As [`bump`], and what `capture` gives for as long as nobody else bumps the word.
#[inline]
pub fn advance(word: &impl Word, base: u32) -> u32 {
    let before = word.fetch_add(1, Ordering::AcqRel);
    before.wrapping_add(1).wrapping_add(base)
}

/// Notes when. To be called before `bump`: whoever captures the new value then finds the note.
pub fn note(group: &impl Word, seconds: u32) {
    let next = seconds.saturating_add(1);
    let mut seen = group.load(Ordering::Relaxed);
    while seen < next || seen > next.saturating_add(AHEAD) {
        match group.compare_exchange(seen, next, Ordering::AcqRel) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// The second that was noted last; None for never.
#[inline]
pub fn noted(group: &impl Word) -> Option<u32> {
    group.load(Ordering::Acquire).checked_sub(1)
}

/// Whether something noted in that second may have happened in the `span` before `now`, both in nanoseconds.
///
/// A second that began within the span may have ended after the event: at most a second too much, never too little.
#[must_use]
pub fn is_within(second: u32, now: i64, span: i64) -> bool {
    const SECOND: i64 = 1_000_000_000;
    let start = i64::from(second) * SECOND;
    start <= now.saturating_add(i64::from(AHEAD) * SECOND)
        && start + SECOND > now.saturating_sub(span)
}
