//! The journal: what is written is read, and nothing else is; whoever is killed, stopped or overtaken leaves a gap.

use std::cell::Cell as Value;
use std::sync::atomic::{AtomicU64, Ordering};

use _native::engine::{PatternKind, Stamp, Within};
use _native::host::journal::record::Record;
use _native::host::journal::{CELLS, Cell, RECORD_BYTES, RECORD_CELLS, RECORDS, Ring};
use proptest::prelude::*;

const SEED: u64 = 7;
const WORD: u32 = 3;

fn cells() -> Vec<AtomicU64> {
    (0..CELLS).map(|_| AtomicU64::new(0)).collect()
}

fn ring(cells: &[AtomicU64]) -> Ring<'_, AtomicU64> {
    Ring::new(cells, RECORDS, SEED)
}

fn step(value: u32) -> Stamp {
    Stamp { word: WORD, value }
}

fn text(value: u32) -> Vec<u8> {
    format!("what step {value} was made for").into_bytes()
}

#[test]
fn what_was_written_is_read_in_the_order_of_the_steps() {
    let cells = cells();
    let ring = ring(&cells);
    for value in [12, 11, 14, 13] {
        ring.publish(step(value), &text(value));
    }
    let expected: Vec<_> = (11..=14).map(text).collect();
    assert_eq!(ring.between(WORD, 10, 14), Some(expected));
    assert_eq!(ring.between(WORD, 12, 14), Some(vec![text(13), text(14)]));
    assert_eq!(ring.between(WORD, 14, 14), Some(vec![]));
}

#[test]
fn a_step_without_a_record_is_a_gap_for_all() {
    let cells = cells();
    let ring = ring(&cells);
    ring.publish(step(11), &text(11));
    ring.publish(step(13), &text(13));
    assert_eq!(ring.between(WORD, 10, 13), None);
    assert_eq!(ring.between(WORD, 11, 12), None);
    assert_eq!(ring.between(WORD, 12, 14), None);
    assert_eq!(ring.between(WORD, 13, 12), None, "all values there are");
    assert_eq!(ring.between(WORD + 1, 10, 11), None, "of another word");
    assert_eq!(ring.between(WORD, 12, 13), Some(vec![text(13)]));
}

#[test]
fn values_go_on_after_the_last_one() {
    let cells = cells();
    let ring = ring(&cells);
    for value in [u32::MAX, 0, 1] {
        ring.publish(step(value), &text(value));
    }
    let expected = vec![text(u32::MAX), text(0), text(1)];
    assert_eq!(ring.between(WORD, u32::MAX - 1, 1), Some(expected));
}

#[test]
fn the_oldest_records_are_written_over() {
    let cells = cells();
    let ring = ring(&cells);
    let last = u32::try_from(RECORDS).expect("few") + 2;
    for value in 1..=last {
        ring.publish(step(value), &text(value));
    }
    let expected: Vec<_> = (3..=last).map(text).collect();
    assert_eq!(ring.between(WORD, 2, last), Some(expected));
    assert_eq!(ring.between(WORD, 1, last), None);
    assert_eq!(ring.between(WORD, 1, 2), None);
}

#[test]
fn what_has_no_room_is_left_out() {
    let cells = cells();
    let ring = ring(&cells);
    ring.publish(step(1), &[b'x'; RECORD_BYTES]);
    ring.publish(step(2), &[b'x'; RECORD_BYTES + 1]);
    assert_eq!(
        ring.between(WORD, 0, 1),
        Some(vec![vec![b'x'; RECORD_BYTES]])
    );
    assert_eq!(ring.between(WORD, 1, 2), None);
}

#[test]
fn records_about_other_words_are_not_believed() {
    let cells = cells();
    ring(&cells).publish(step(1), &text(1));
    assert_eq!(
        Ring::new(&cells, RECORDS, SEED + 1).between(WORD, 0, 1),
        None
    );
}

#[test]
fn zeros_are_no_record() {
    let cells = cells();
    for seed in 0..1000 {
        assert_eq!(
            Ring::new(&cells, RECORDS, seed).between(0, u32::MAX, 0),
            None
        );
    }
}

#[test]
fn whatever_bit_is_changed_it_is_no_record_any_more() {
    let cells = cells();
    let ring = ring(&cells);
    ring.publish(step(1), &text(1));
    let used: Vec<usize> = (0..CELLS)
        .filter(|&at| cells[at].load(Ordering::Relaxed) != 0)
        .collect();
    assert!(used.len() > 5, "a counter, a step, a sum, a length, a text");
    for &at in &used[1..] {
        for bit in 0..64 {
            cells[at].fetch_xor(1 << bit, Ordering::Relaxed);
            assert!(
                ring.between(WORD, 0, 1)
                    .is_none_or(|texts| texts == [text(1)]),
                "bit {bit} of cell {at}"
            );
            cells[at].fetch_xor(1 << bit, Ordering::Relaxed);
        }
    }
    assert_eq!(ring.between(WORD, 0, 1), Some(vec![text(1)]));
}

thread_local! {
    /// How much the writer of this thread still does.
    static LEFT: Value<u32> = const { Value::new(u32::MAX) };
}

/// A cell whose writer may be killed between any two steps.
struct Mortal(AtomicU64);

impl Mortal {
    fn may_go_on() -> bool {
        LEFT.with(|left| {
            let may = left.get() > 0;
            left.set(left.get().saturating_sub(1));
            may
        })
    }
}

impl Cell for Mortal {
    fn load(&self) -> u64 {
        Cell::load(&self.0)
    }

    fn store(&self, value: u64) {
        if Self::may_go_on() {
            Cell::store(&self.0, value);
        }
    }

    fn fetch_add(&self, value: u64) -> u64 {
        if Self::may_go_on() {
            Cell::fetch_add(&self.0, value)
        } else {
            Cell::load(&self.0)
        }
    }
}

#[test]
fn a_writer_that_is_killed_at_any_step_leaves_its_record_or_a_gap() {
    const SLOTS: usize = 2;
    let mut whole = 0;
    for step_count in 0..12 {
        let cells: Vec<Mortal> = (0..8 + SLOTS * (1 + RECORD_CELLS))
            .map(|_| Mortal(AtomicU64::new(0)))
            .collect();
        let ring = Ring::new(&cells, SLOTS, SEED);
        // What is written over is no record of the new step, and the new step no record of the old one.
        for value in [1, 2] {
            ring.publish(step(value), &text(value));
        }
        LEFT.set(step_count);
        ring.publish(step(3), &text(3));
        LEFT.set(u32::MAX);
        let found = ring.between(WORD, 2, 3);
        assert!(found.is_none() || found == Some(vec![text(3)]));
        whole += u32::from(found.is_some());
        let old = ring.between(WORD, 0, 1);
        assert!(old.is_none() || old == Some(vec![text(1)]));
        // Those who come after write as ever.
        for value in [4, 5] {
            ring.publish(step(value), &text(value));
        }
        assert_eq!(ring.between(WORD, 3, 5), Some(vec![text(4), text(5)]));
    }
    assert!(whole > 0, "one that is not killed leaves its record");
}

fn points(text: &str) -> Vec<u32> {
    text.chars().map(u32::from).collect()
}

fn record(patterns: Vec<Vec<u32>>) -> Record {
    Record {
        store: 9,
        kind: PatternKind::Glob,
        within: Within::Any,
        patterns,
    }
}

#[test]
fn many_patterns_take_as_many_texts_as_they_need() {
    let patterns: Vec<_> = (0..200).map(|n| points(&format!("user:{n}:*"))).collect();
    let texts = record(patterns.clone()).encode().expect("room");
    assert!((2..10).contains(&texts.len()), "{}", texts.len());
    let mut found = Vec::new();
    for text in &texts {
        assert!(text.len() <= RECORD_BYTES);
        let decoded = Record::decode(text).expect("a record");
        assert_eq!((decoded.store, decoded.kind), (9, PatternKind::Glob));
        found.extend(decoded.patterns);
    }
    assert_eq!(found, patterns);
}

#[test]
fn a_pattern_that_is_too_long_has_no_text() {
    assert!(record(vec![points(&"x".repeat(400))]).encode().is_some());
    assert!(
        record(vec![points("a"), points(&"x".repeat(500)), points("b")])
            .encode()
            .is_none()
    );
}

fn characters() -> impl Strategy<Value = Vec<u32>> {
    // Whatever Python's strings hold, lone surrogates included.
    proptest::collection::vec(prop_oneof![32..127_u32, 0..=0x10_FFFF_u32], 0..20)
}

fn within() -> impl Strategy<Value = Within> {
    let prefix = proptest::option::of(characters().prop_map(Into::into));
    prop_oneof![
        Just(Within::Any),
        (prefix, proptest::option::of(any::<i64>()))
            .prop_map(|(prefix, version)| Within::Parts { prefix, version }),
        (characters(), characters()).prop_map(|(before, behind)| Within::Made {
            before: before.into(),
            behind: behind.into()
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        store: u64, is_regex: bool, within in within(), patterns in proptest::collection::vec(characters(), 0..12)
    ) {
        let kind = if is_regex { PatternKind::Regex } else { PatternKind::Glob };
        let record = Record { store, kind, within, patterns };
        let texts = record.encode().expect("each is short");
        let decoded: Vec<_> = texts.iter().map(|text| Record::decode(text).expect("a record")).collect();
        let patterns: Vec<_> = decoded.iter().flat_map(|part| part.patterns.clone()).collect();
        prop_assert_eq!(&patterns, &record.patterns);
        for part in decoded {
            prop_assert_eq!(Record { patterns: vec![], ..part }, Record { patterns: vec![], ..record.clone() });
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..RECORD_BYTES)) {
        let _ = Record::decode(&bytes);
    }
}
