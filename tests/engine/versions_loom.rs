//! The protocol of version words under every interleaving and every reordering that the memory model allows.
//!
//! loom runs `host::word` itself, with atomics of its own. The source of the data is a relaxed atomic, which promises less
//! than any database: all order there is comes from the words. Each rule is also broken once, and must then be caught.

use std::panic::{AssertUnwindSafe, catch_unwind};

use _native::host::word::{self, Word};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// What captured values are moved by.
const BASE: u32 = u32::MAX;
const NOW: u32 = 100;

/// An atomic of loom's, as a version word.
struct Cell(AtomicU32);

impl Cell {
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }
}

impl Word for Cell {
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

/// A row, its word, the note of its last bump, and what a worker cached of it: value and stamp.
struct Host {
    row: AtomicU32,
    word: Cell,
    group: Cell,
    entry: Mutex<Option<(u32, u32)>>,
    told: AtomicU32,
}

impl Host {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            row: AtomicU32::new(0),
            word: Cell::new(),
            group: Cell::new(),
            entry: Mutex::new(None),
            told: AtomicU32::new(0),
        })
    }

    fn write(&self) {
        self.row.store(1, Ordering::Relaxed);
    }

    fn invalidate(&self) {
        word::note(&self.group, NOW);
        word::bump(&self.word);
    }

    fn load(&self) -> u32 {
        self.row.load(Ordering::Relaxed)
    }

    fn capture(&self) -> u32 {
        word::capture(&self.word, BASE)
    }

    fn store(&self, value: u32, stamp: u32) {
        *self.entry.lock().expect("nobody panics with it") = Some((value, stamp));
    }

    /// What a hit gives.
    fn hit(&self) -> Option<u32> {
        let (value, stamp) = (*self.entry.lock().expect("nobody panics with it"))?;
        word::is_current(&self.word, BASE, stamp).then_some(value)
    }
}

/// Whether some execution of the model fails an assertion.
fn is_caught(model: impl Fn() + Sync + Send + 'static) -> bool {
    catch_unwind(AssertUnwindSafe(|| loom::model(model))).is_err()
}

/// A worker that loads, one that writes, and one that reads when it was told that the writing is over.
fn load_against_write(load: fn(&Host), write: fn(&Host)) {
    let host = Host::new();
    let (loading, writing) = (Arc::clone(&host), Arc::clone(&host));
    let loader = thread::spawn(move || load(&loading));
    let writer = thread::spawn(move || {
        write(&writing);
        writing.told.store(1, Ordering::Release);
    });
    if host.told.load(Ordering::Acquire) == 1 {
        assert_ne!(host.hit(), Some(0), "stale though invalidated");
    }
    loader.join().expect("the loader");
    writer.join().expect("the writer");
    assert_ne!(host.hit(), Some(0), "stale for ever");
}

fn capture_then_load(host: &Host) {
    let stamp = host.capture();
    host.store(host.load(), stamp);
}

fn load_then_capture(host: &Host) {
    let value = host.load();
    host.store(value, host.capture());
}

fn write_then_invalidate(host: &Host) {
    host.write();
    host.invalidate();
}

fn invalidate_then_write(host: &Host) {
    host.invalidate();
    host.write();
}

#[test]
fn a_value_loaded_before_the_write_is_never_read_after_the_invalidation() {
    loom::model(|| load_against_write(capture_then_load, write_then_invalidate));
}

#[test]
fn a_capture_after_the_load_is_caught() {
    assert!(is_caught(|| load_against_write(
        load_then_capture,
        write_then_invalidate
    )));
}

#[test]
fn an_invalidation_before_the_write_is_caught() {
    assert!(is_caught(|| load_against_write(
        capture_then_load,
        invalidate_then_write
    )));
}

/// A replica that has not heard of the write: what it gives may be kept only when no bump was noted lately.
fn load_from_a_replica(invalidate: fn(&Host)) {
    let host = Host::new();
    let writing = Arc::clone(&host);
    let writer = thread::spawn(move || {
        writing.write();
        invalidate(&writing);
    });
    let stamp = host.capture();
    let (lagging, noted) = (0, word::noted(&host.group).is_some());
    if !noted && word::is_current(&host.word, BASE, stamp) {
        host.store(lagging, stamp);
    }
    writer.join().expect("the writer");
    assert_eq!(
        host.hit(),
        None,
        "the replica's old value outlived the invalidation"
    );
}

#[test]
fn whoever_captures_a_bumped_word_finds_the_note() {
    loom::model(|| load_from_a_replica(Host::invalidate));
}

#[test]
fn a_note_after_the_bump_is_caught() {
    assert!(is_caught(|| {
        load_from_a_replica(|host| {
            word::bump(&host.word);
            word::note(&host.group, NOW);
        });
    }));
}

#[test]
fn of_two_notes_the_later_one_stays() {
    loom::model(|| {
        let host = Host::new();
        let other = Arc::clone(&host);
        let noting = thread::spawn(move || word::note(&other.group, NOW + 1));
        word::note(&host.group, NOW);
        noting.join().expect("the other");
        assert_eq!(word::noted(&host.group), Some(NOW + 1));
    });
}

/// Two files, and the path that leads to one of them. Databases and file systems order what is done to them: mutexes.
struct Moving {
    row: Mutex<u32>,
    path: Mutex<usize>,
    files: [Cell; 2],
}

/// One process writes and bumps with the old file mapped; another replaces the file, captures and loads.
fn replace_against_write(looks: bool) {
    let host = Arc::new(Moving {
        row: Mutex::new(0),
        path: Mutex::new(0),
        files: [Cell::new(), Cell::new()],
    });
    let replacing = Arc::clone(&host);
    let other = thread::spawn(move || {
        *replacing.path.lock().expect("the path") = 1;
        let stamp = word::capture(&replacing.files[1], BASE);
        let value = *replacing.row.lock().expect("the row");
        (value, stamp)
    });
    *host.row.lock().expect("the row") = 1;
    let moved = looks && *host.path.lock().expect("the path") == 1;
    word::bump(&host.files[0]);
    if moved {
        word::bump(&host.files[1]);
    }
    let (value, stamp) = other.join().expect("the other");
    assert!(value == 1 || !word::is_current(&host.files[1], BASE, stamp));
}

#[test]
fn a_file_that_is_replaced_during_a_bump_loses_nothing() {
    loom::model(|| replace_against_write(true));
}

#[test]
fn a_bump_that_does_not_look_for_its_file_is_caught() {
    assert!(is_caught(|| replace_against_write(false)));
}
