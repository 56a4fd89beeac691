//! Words that are moved for patterns, and what they were moved for: version words and journal together.
//!
//! The word is moved first, and its record written then: whoever sees the record sees the word. Whoever sees the word
//! before the record waits a little, and takes it for a clear otherwise.

use std::hint;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use twox_hash::XxHash3_64;

use super::{BUMPS, LOOK_EVERY, Look, MOVES, Nanos, Stamp, Versions, current};
use crate::host::journal::cells;
use crate::host::journal::record::Record;
use crate::host::journal::{RECORDS, Ring};

/// How often a record is looked for that is not there. Its writer takes less than a microsecond between the word and the
/// record; one that was interrupted there is not waited for, as after a clear all wait in vain.
const LOOKS: u32 = 6;
const SPINS: u32 = 32;

/// Why this process found no journal to write to when it needed one first.
static FAULT: OnceLock<String> = OnceLock::new();
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Which words a value was captured of: those of another file, or private ones that were renewed, are counted otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ground {
    address: usize,
    base: u32,
}

/// Makes stale what matches some patterns, for the processes that find the records; for the others everything that was
/// captured of the name's word. What the word is from then on. Without records it is all that is told of it.
///
/// What is to be found by the time the word has moved must be readable already. The file is looked for as by `bump`.
pub fn outdate(name: &[u8], records: Option<&[Vec<u8>]>, now: Nanos) -> Stamp {
    let steps = records.map_or(1, <[_]>::len);
    BUMPS.fetch_add(steps as u64, Ordering::Relaxed);
    let mut stamp = Stamp { word: 0, value: 0 };
    for _ in 0..MOVES {
        let seen = current();
        let look = seen.look();
        let word = seen.word(name);
        stamp = match (&look, records) {
            (Look::Shrunk(_), _) => seen.capture(word),
            (_, None) => seen.advance(word),
            (_, Some(records)) => seen.publish_all(word, records),
        };
        if !matches!(look, Look::Same) {
            seen.followed(look, u32::try_from(now / LOOK_EVERY).unwrap_or(0));
        }
        if std::ptr::eq(current(), seen) {
            break;
        }
    }
    stamp
}

/// Why pattern invalidations empty stores, to be told once in a process.
pub fn untold_fault() -> Option<&'static str> {
    let fault = FAULT.get()?;
    (!IS_TOLD.swap(true, Ordering::Relaxed)).then_some(fault)
}

impl Versions {
    /// Which words these are.
    #[must_use]
    pub fn ground(&self) -> Ground {
        Ground {
            address: self.segment.words.as_ptr() as usize,
            base: self.segment.base,
        }
    }

    /// Moves a word once for each record, and writes it. What the word is then.
    pub fn publish_all(&self, word: u32, records: &[Vec<u8>]) -> Stamp {
        // Opened before the word is moved, so that nobody waits for it.
        let cells = self.cells(true);
        let mut stamp = self.capture(word);
        for record in records {
            stamp = self.advance(word);
            if let Some(cells) = cells {
                Ring::new(cells, RECORDS, self.journal_seed()).publish(stamp, record);
            }
        }
        stamp
    }

    /// What a word was moved for between two values that were captured of these words; None unless that is known of each
    /// step, which then has to be taken for an invalidation of everything. Takes some 20 us to find that out.
    #[must_use]
    pub fn records_between(&self, word: u32, from: u32, to: u32) -> Option<Vec<Record>> {
        if to.wrapping_sub(from) as usize > RECORDS {
            return None;
        }
        let ring = Ring::new(self.cells(false)?, RECORDS, self.journal_seed());
        let mut looks = 0;
        let texts = loop {
            if let Some(texts) = ring.between(word, from, to) {
                break texts;
            }
            looks += 1;
            if looks == LOOKS {
                return None;
            }
            (0..SPINS).for_each(|_| hint::spin_loop());
        };
        texts.iter().map(|text| Record::decode(text)).collect()
    }

    /// The journal's cells, opened at their first use, and anew when their file is not at its path any more.
    fn cells(&self, is_making: bool) -> Option<&'static [AtomicU64]> {
        let seen = self.journal.get();
        if let Some(cells) = seen.get() {
            return Some(cells);
        }
        let home = self.home.as_ref().filter(|home| !home.lost)?;
        match cells::open(&home.place, is_making) {
            Ok(opened) => self.journal.replace(seen, opened).get(),
            Err(reason) => {
                if is_making {
                    FAULT.get_or_init(|| reason);
                }
                None
            }
        }
    }

    /// Records are about the words of one file, or of one process.
    fn journal_seed(&self) -> u64 {
        let of = [self.segment.base, self.segment.made, self.words()];
        let bytes: Vec<u8> = of.iter().flat_map(|part| part.to_le_bytes()).collect();
        XxHash3_64::oneshot_with_seed(self.seed, &bytes)
    }
}
