//! The memory that version words lie in: a file mapped by every process of the host, or this process's own.
//!
//! A mapping is never unmapped: a reader may be anywhere in it, and there are as many as files were replaced.

#![expect(
    unsafe_code,
    reason = "memory maps, and the pointer to what is published"
)]

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use memmap2::MmapOptions;

/// How many instants of "last bumped" a segment keeps; word `w` has number `w % GROUPS`.
pub const GROUPS: usize = 1 << 16;
/// The fewest words of a segment: a smaller one would invalidate much that nobody meant.
pub const MIN_WORDS: u32 = 1 << 16;
/// The most words of a segment; entries keep word numbers in 32 bits, and 64 MiB are enough.
pub const MAX_WORDS: u32 = 1 << 24;
/// As many words as a setting asks for when nobody says otherwise.
pub const DEFAULT_WORDS: u32 = 1 << 20;

/// Words of a process that has not been told to share any. Zeros of a library take no memory until they are touched.
static FIRST_WORDS: [AtomicU32; DEFAULT_WORDS as usize] =
    [const { AtomicU32::new(0) }; DEFAULT_WORDS as usize];
static FIRST_GROUPS: [AtomicU32; GROUPS] = [const { AtomicU32::new(0) }; GROUPS];

/// Version words, and when they were last bumped.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    /// A power of two of them.
    pub(super) words: &'static [AtomicU32],
    /// `GROUPS` seconds, each plus one: 0 is never.
    pub(super) bumped: &'static [AtomicU32],
    /// Added to each word that is captured, so that no entry of another segment looks current in this one.
    pub(super) base: u32,
}

impl Segment {
    /// The words that a process starts with.
    pub(super) const FIRST: Self = Self {
        words: &FIRST_WORDS,
        bumped: &FIRST_GROUPS,
        base: 0,
    };

    /// Memory of this process alone, which a forked child copies when it writes. Without memory: what there is.
    pub(super) fn private(words: u32) -> Self {
        debug_assert!(words.is_power_of_two());
        let base = random();
        let count = words as usize;
        let Ok(map) = MmapOptions::new()
            .len((count + GROUPS) * size_of::<AtomicU32>())
            .map_anon()
        else {
            return Self {
                base,
                ..Self::FIRST
            };
        };
        let start = map.as_ptr().cast::<AtomicU32>();
        std::mem::forget(map);
        // SAFETY: the mapping is page-aligned, writable, zeroed, of this length, and is never unmapped.
        let all = unsafe { std::slice::from_raw_parts(start, count + GROUPS) };
        let (words, bumped) = all.split_at(count);
        Self {
            words,
            bumped,
            base,
        }
    }
}

fn random() -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
    let bits = RandomState::new().hash_one(std::process::id()) as u32;
    bits
}

/// A value that is replaced whole, and read by everybody without a lock. Replaced ones are kept for ever.
pub(super) struct Published<T: 'static> {
    current: AtomicPtr<T>,
}

impl<T: Sync> Published<T> {
    pub(super) const fn new(first: &'static T) -> Self {
        Self {
            current: AtomicPtr::new(std::ptr::from_ref(first).cast_mut()),
        }
    }

    #[inline]
    pub(super) fn get(&self) -> &'static T {
        // SAFETY: the pointer was made from a reference that lives for ever, and is never written through.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// Puts `next` in the place of `seen`, unless somebody was quicker. Tells what is in force.
    pub(super) fn replace(&self, seen: &'static T, next: T) -> &'static T {
        let next: &'static T = Box::leak(Box::new(next));
        let _ = self.current.compare_exchange(
            std::ptr::from_ref(seen).cast_mut(),
            std::ptr::from_ref(next).cast_mut(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        self.get()
    }
}
