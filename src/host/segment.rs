//! The memory that version words lie in: a file mapped by every process of the host, or this process's own.
//!
//! A mapping is never unmapped: a reader may be anywhere in it, and there are only as many as files were replaced.

#![expect(
    unsafe_code,
    reason = "memory maps, and the pointer to what is published"
)]

use std::hash::{BuildHasher, RandomState};
#[cfg(target_os = "linux")]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use memmap2::MmapOptions;

use super::place::{DEFAULT_WORDS, GROUPS};
#[cfg(target_os = "linux")]
use super::place::{HEADER_BYTES, Header};

/// Words of a process that has not been told to share any. A library's zeros take no memory until they are touched.
static FIRST_WORDS: [AtomicU32; DEFAULT_WORDS as usize] =
    [const { AtomicU32::new(0) }; DEFAULT_WORDS as usize];
static FIRST_GROUPS: [AtomicU32; GROUPS] = [const { AtomicU32::new(0) }; GROUPS];

/// Version words, and when they were last bumped.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    /// A power of two of them.
    pub(super) words: &'static [AtomicU32],
    /// `GROUPS` seconds, each plus one: 0 is never.
    pub(super) groups: &'static [AtomicU32],
    /// Added to each word that is captured, so that no entry of another segment looks current in this one.
    pub(super) base: u32,
    /// The second in which a file was made, plus one; 0 where no words came before.
    pub(super) made: u32,
}

impl Segment {
    /// The words that a process starts with.
    pub(super) const FIRST: Self = Self {
        words: &FIRST_WORDS,
        groups: &FIRST_GROUPS,
        base: 0,
        made: 0,
    };

    /// The same memory, in which nothing captured before looks current, and nothing was bumped yet.
    pub(super) fn renewed(self) -> Self {
        for group in self.groups {
            // Memory that was never written is left so.
            if group.load(Ordering::Relaxed) != 0 {
                group.store(0, Ordering::Relaxed);
            }
        }
        Self {
            base: random(),
            made: 0,
            ..self
        }
    }

    /// Memory of this process alone, which a forked child copies when it writes. Without memory: the first words.
    pub(super) fn private(words: u32) -> Self {
        let count = words as usize;
        let base = random();
        let bytes = (count + GROUPS) * size_of::<AtomicU32>();
        let Ok(mut map) = MmapOptions::new().len(bytes).map_anon() else {
            return Self::FIRST.renewed();
        };
        let start = map.as_mut_ptr();
        std::mem::forget(map);
        // SAFETY: the mapping is as long as that, readable, writable, and never unmapped; a page is where it starts.
        unsafe { Self::at(start, count, base, 0) }
    }

    /// A file that every process maps. It must have the length that its header says, and keep it.
    #[cfg(target_os = "linux")]
    pub(super) fn shared(file: &std::fs::File, header: &Header) -> std::io::Result<Self> {
        let count = header.words as usize;
        let bytes = HEADER_BYTES + (count + GROUPS) * size_of::<AtomicU32>();
        let map = MmapOptions::new().len(bytes).map_raw(file)?;
        let start = map.as_mut_ptr();
        std::mem::forget(map);
        // SAFETY: as above, and the words start on a page too. Every process touches them through atomics only. Should
        // the file be truncated, an access ends in SIGBUS, not in other memory; `file::look` keeps that unlikely.
        Ok(unsafe { Self::at(start.add(HEADER_BYTES), count, header.base, header.made) })
    }

    /// # Safety
    /// From `start`, which is aligned, `count` words and all groups can be read and written for ever.
    #[expect(clippy::cast_ptr_alignment, reason = "the caller's promise")]
    unsafe fn at(start: *mut u8, count: usize, base: u32, made: u32) -> Self {
        // SAFETY: the caller's promise; any bits are a valid atomic.
        let all = unsafe { std::slice::from_raw_parts(start.cast::<AtomicU32>(), count + GROUPS) };
        let (words, groups) = all.split_at(count);
        Self {
            words,
            groups,
            base,
            made,
        }
    }
}

/// So many cells of a file that every process maps, which must be as long as they are.
#[cfg(target_os = "linux")]
pub(super) fn cells(file: &std::fs::File, count: usize) -> std::io::Result<&'static [AtomicU64]> {
    let map = MmapOptions::new()
        .len(count * size_of::<AtomicU64>())
        .map_raw(file)?;
    let start = map.as_mut_ptr();
    std::mem::forget(map);
    #[expect(clippy::cast_ptr_alignment, reason = "a page is where it starts")]
    let start = start.cast::<AtomicU64>();
    // SAFETY: the mapping is as long as that, readable, writable, and never unmapped; any bits are a valid atomic, and every
    // process touches them through atomics only. Should the file be truncated, an access ends in SIGBUS, not in other
    // memory; that its length is looked at before makes that unlikely.
    Ok(unsafe { std::slice::from_raw_parts(start, count) })
}

/// Good enough where no other process can see it: forked children may draw the same.
fn random() -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
    let bits = RandomState::new().hash_one(()) as u32;
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

    /// Puts `next` in the place of `seen`, unless another thread was quicker. Returns what is in force.
    pub(super) fn replace(&self, seen: &'static T, next: T) -> &'static T {
        let next: &'static T = Box::leak(Box::new(next));
        let _ = self.current.compare_exchange(
            std::ptr::from_ref(seen).cast_mut(),
            std::ptr::from_ref(next).cast_mut(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        self.get()
    }
}
