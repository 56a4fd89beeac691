//! The journal under every interleaving and every reordering that the memory model allows: `Ring` itself, with loom's atomics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use _native::engine::Stamp;
use _native::host::journal::{Cell, Ring};
use _native::host::word::{self, Word};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

const WORD: u32 = 5;
/// A counter and what is beside it, one record's step, and the record: its sum, its length, a cell of text.
const CELLS: usize = 8 + 1 + 3;

struct Loomed(AtomicU64);

impl Cell for Loomed {
    fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn fetch_add(&self, value: u64) -> u64 {
        self.0.fetch_add(value, Ordering::Relaxed)
    }
}

struct Counter(AtomicU32);

impl Word for Counter {
    fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_add(value, order)
    }

    fn compare_exchange(&self, seen: u32, next: u32, order: Ordering) -> Result<u32, u32> {
        self.0
            .compare_exchange(seen, next, order, Ordering::Relaxed)
    }
}

/// A word, and a journal with room for one record only: all writers meet in it.
struct Host {
    word: Counter,
    cells: Vec<Loomed>,
}

impl Host {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            word: Counter(AtomicU32::new(0)),
            cells: (0..CELLS).map(|_| Loomed(AtomicU64::new(0))).collect(),
        })
    }

    fn ring(&self) -> Ring<'_, Loomed> {
        Ring::new(&self.cells, 1, 1)
    }

    /// Moves the word; to which value.
    fn step(&self) -> Stamp {
        let value = word::advance(&self.word, 0);
        Stamp { word: WORD, value }
    }
}

/// A way to write for which row a step was made, and to read it.
struct Way {
    publish: fn(&Host, Stamp, u8),
    read: fn(&Host, u32) -> Option<u8>,
}

const JOURNAL: Way = Way {
    publish: |host, step, row| host.ring().publish(step, &[row]),
    read: |host, value| {
        let texts = host.ring().between(WORD, value - 1, value)?;
        texts[0].first().copied()
    },
};

/// A record without a sum: whoever wrote last in each cell is believed.
const UNSUMMED: Way = Way {
    publish: |host, step, row| {
        host.cells[8].store(u64::from(step.value));
        host.cells[11].store(u64::from(row));
    },
    read: |host, value| {
        let is_told = host.cells[8].load() == u64::from(value);
        is_told.then(|| u8::try_from(host.cells[11].load()).expect("a row"))
    },
};

/// Two that make a step for a row each, and one that reads meanwhile and afterwards: what it reads of a step is true. Counts
/// what was read.
fn two_against_a_reader(way: &'static Way, found: &AtomicUsize) {
    let host = Host::new();
    let writers = [1, 2].map(|row| {
        let host = Arc::clone(&host);
        thread::spawn(move || {
            let step = host.step();
            (way.publish)(&host, step, row);
            (step.value, row)
        })
    });
    let read = || [1, 2].map(|value| (value, (way.read)(&host, value)));
    let during = read();
    let made = writers.map(|writer| writer.join().expect("a writer"));
    for (value, row) in during.into_iter().chain(read()) {
        if let Some(row) = row {
            assert!(made.contains(&(value, row)), "step {value} for {row}");
            found.fetch_add(1, Relaxed);
        }
    }
}

fn check(way: &'static Way) -> usize {
    let found = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&found);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || two_against_a_reader(way, &counted));
    found.load(Relaxed)
}

#[test]
fn what_is_read_of_a_step_is_true_whoever_meets_in_a_record() {
    assert!(check(&JOURNAL) > 0);
}

#[test]
fn a_record_without_a_sum_is_caught() {
    let caught = catch_unwind(AssertUnwindSafe(|| check(&UNSUMMED)));
    assert!(caught.is_err());
}

#[test]
fn a_clear_beside_a_pattern_is_never_taken_for_one() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let host = Host::new();
        let (clearing, writing) = (Arc::clone(&host), Arc::clone(&host));
        let clears = thread::spawn(move || clearing.step().value);
        let writes = thread::spawn(move || JOURNAL.publish_step(&writing));
        let during = host.ring().between(WORD, 0, word::capture(&host.word, 0));
        let cleared = clears.join().expect("a clear");
        let written = writes.join().expect("a writer");
        if let Some(texts) = during {
            assert!(texts.is_empty() || (texts.len() == 1 && written == 1));
        }
        assert_eq!(host.ring().between(WORD, 0, 2), None);
        assert_eq!(host.ring().between(WORD, cleared - 1, cleared), None);
        let step = host.ring().between(WORD, written - 1, written);
        assert_eq!(step, Some(vec![vec![7]]));
    });
}

impl Way {
    fn publish_step(&self, host: &Host) -> u32 {
        let step = host.step();
        (self.publish)(host, step, 7);
        step.value
    }
}
