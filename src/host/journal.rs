//! What a store's word was moved for, where that was patterns: a ring of records beside the version words.
//!
//! The word alone says what was invalidated: a process that finds no record for each of its steps empties its store, as it
//! does for a clear. So a record may be lost in any way, but never believed wrongly. It is found by the word and the value
//! that the step gave it, and a sum over all that it says tells whether it is whole: writers hold no lock and wait for nobody,
//! and what is left of one that was killed, stopped or overtaken halfway is no record.
//!
//! - here: the protocol, apart from where the cells lie;
//! - `record`: what a record says, as bytes;
//! - `cells`: the file that the cells lie in, or this process's own memory.

pub(super) mod cells;
pub mod record;

use std::sync::atomic::{AtomicU64, Ordering};

use twox_hash::XxHash3_64;

use crate::engine::Stamp;

/// Changes with all that builds before and after could read differently: the cells, records, and what patterns match.
pub const LAYOUT: u32 = 1;
/// So many records there are before the first is written over.
pub const RECORDS: usize = 1024;
/// A record's sum, its length, and its bytes.
pub const RECORD_CELLS: usize = 64;
/// So many bytes a record has room for.
pub const RECORD_BYTES: usize = (RECORD_CELLS - BESIDE) * CELL_BYTES;
/// The cells of the whole ring.
pub const CELLS: usize = HEAD + RECORDS * (1 + RECORD_CELLS);

/// The first cell counts records, the others of its cache line are left out.
const HEAD: usize = 8;
/// Sum and length.
const BESIDE: usize = 2;
const CELL_BYTES: usize = size_of::<u64>();

/// What is asked of an atomic. A trait, so that loom runs this very protocol with atomics of its own.
///
/// All is relaxed: no order of the cells is relied on, a sum is either that of what was read or is not.
pub trait Cell {
    /// `AtomicU64::load`.
    fn load(&self) -> u64;
    /// `AtomicU64::store`.
    fn store(&self, value: u64);
    /// `AtomicU64::fetch_add`.
    fn fetch_add(&self, value: u64) -> u64;
}

impl Cell for AtomicU64 {
    #[inline]
    fn load(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    #[inline]
    fn store(&self, value: u64) {
        self.store(value, Ordering::Relaxed);
    }

    #[inline]
    fn fetch_add(&self, value: u64) -> u64 {
        self.fetch_add(value, Ordering::Relaxed)
    }
}

/// A ring of records over some cells.
#[derive(Clone, Copy)]
pub struct Ring<'a, C> {
    /// A counter, which step each record is for, and the records themselves.
    cells: &'a [C],
    records: usize,
    /// Of the words that the records are about: those about others have other sums.
    seed: u64,
}

impl<'a, C: Cell> Ring<'a, C> {
    /// The ring in these cells, of so many records.
    #[must_use]
    pub fn new(cells: &'a [C], records: usize, seed: u64) -> Self {
        Self {
            cells,
            records,
            seed,
        }
    }

    /// Says what a word was moved to this value for, which has happened already; nothing where there is no room for that.
    pub fn publish(&self, step: Stamp, text: &[u8]) {
        let claimed = self.cells[0].fetch_add(1) % (self.records as u64);
        #[expect(clippy::cast_possible_truncation, reason = "less than the records")]
        let place = claimed as usize;
        let record = self.record(place);
        if text.len() > (record.len() - BESIDE) * CELL_BYTES {
            return;
        }
        let tag = tag(step);
        self.cells[HEAD + place].store(tag);
        for (cell, part) in record[BESIDE..].iter().zip(text.chunks(CELL_BYTES)) {
            let mut bytes = [0; CELL_BYTES];
            bytes[..part.len()].copy_from_slice(part);
            cell.store(u64::from_le_bytes(bytes));
        }
        record[1].store(text.len() as u64);
        record[0].store(self.sum(tag, text));
    }

    /// What a word was moved for on its way from one value to another, in the order of the steps; None unless that is known
    /// of all of them.
    #[must_use]
    pub fn between(&self, word: u32, from: u32, to: u32) -> Option<Vec<Vec<u8>>> {
        let count = to.wrapping_sub(from) as usize;
        if count > self.records {
            return None;
        }
        let mut found = vec![None; count];
        let mut missing = count;
        for place in 0..self.records {
            if missing == 0 {
                break;
            }
            let tag = self.cells[HEAD + place].load();
            if tag >> 32 != u64::from(word) {
                continue;
            }
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
            let at = (tag as u32).wrapping_sub(from).wrapping_sub(1) as usize;
            if let Some(text @ None) = found.get_mut(at) {
                *text = self.text(place, tag);
                missing -= usize::from(text.is_some());
            }
        }
        found.into_iter().collect()
    }

    /// What stands in a record, if that is whole and about this step.
    fn text(&self, place: usize, tag: u64) -> Option<Vec<u8>> {
        let record = self.record(place);
        let sum = record[0].load();
        let length = usize::try_from(record[1].load()).ok()?;
        if length > (record.len() - BESIDE) * CELL_BYTES {
            return None;
        }
        let cells = &record[BESIDE..][..length.div_ceil(CELL_BYTES)];
        let mut text: Vec<u8> = cells
            .iter()
            .flat_map(|cell| cell.load().to_le_bytes())
            .collect();
        text.truncate(length);
        (self.sum(tag, &text) == sum).then_some(text)
    }

    fn record(&self, place: usize) -> &'a [C] {
        let room = (self.cells.len() - HEAD) / self.records - 1;
        &self.cells[HEAD + self.records + place * room..][..room]
    }

    fn sum(&self, tag: u64, text: &[u8]) -> u64 {
        let all = [&tag.to_le_bytes(), text].concat();
        XxHash3_64::oneshot_with_seed(self.seed, &all)
    }
}

/// Which word was moved to which value.
fn tag(step: Stamp) -> u64 {
    u64::from(step.word) << 32 | u64::from(step.value)
}
