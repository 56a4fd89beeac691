//! Entries that depend on version words: never served once a word was bumped, whatever else is asked of them.

use _native::engine::{Cause, FOREVER, Gone, Limits, MAX_STAMPS, Put, Read, Stamp, Table};

use crate::model::Bumpable;
use crate::{SECOND, at, collect};

type Stamped = Table<&'static str, u32, Bumpable>;

fn table(limits: Limits) -> (Stamped, Bumpable) {
    let words = Bumpable::default();
    let table = Table::with_words(limits, words.clone()).expect("possible limits");
    (table, words)
}

/// Stores under a hash that all keys share, unless the key has an entry already.
fn put(
    table: &mut Stamped,
    key: &'static str,
    value: u32,
    put: &Put<'_>,
) -> Vec<Gone<&'static str, u32>> {
    match table.find(0, |known| *known == key) {
        Some(slot) => collect(table.replace(slot, value, put, at(0)).1),
        None => collect(table.insert(0, key, value, put, at(0))),
    }
}

fn stamped(stamps: &[Stamp]) -> Put<'_> {
    Put {
        stamps,
        ..Put::default()
    }
}

/// One entry "a" of 1 that depends on words 0 and 1, in a table with grace.
fn one_entry(deadline: i64) -> (Stamped, Bumpable, u32) {
    let limits = Limits {
        grace: 60 * SECOND,
        ..Limits::new(9)
    };
    let (mut table, words) = table(limits);
    let stamps = words.capture([0, 1]);
    let how = Put {
        deadline,
        ..stamped(&stamps)
    };
    assert!(put(&mut table, "a", 1, &how).is_empty());
    let slot = table.find(0, |known| *known == "a").expect("just stored");
    (table, words, slot)
}

/// An entry is served as long as its words stand still; others may move.
#[test]
fn an_entry_lives_while_its_words_stand_still() {
    let (mut table, words, slot) = one_entry(FOREVER);
    words.bump(2);
    assert_eq!(table.hit(slot, at(0)), Some(&1));
    assert_eq!(table.read(slot, at(0)), Read::Fresh(&1));
    assert_eq!(table.stamps(slot), words.capture([0, 1]));
}

/// Any one bumped word takes the entry away from every way of looking at it.
#[test]
fn one_bumped_word_hides_the_entry() {
    for word in [0, 1] {
        let (mut table, words, slot) = one_entry(FOREVER);
        words.bump(word);
        assert!(table.is_outdated(slot) && !table.is_live(slot, at(0)));
        assert_eq!(table.hit(slot, at(0)), None);
        assert_eq!(table.peek(slot, at(0)), None);
        assert_eq!(table.stale(slot, at(0)), None);
    }
}

/// Met by a reader it goes: one miss, one invalidation, no hit, and loads in flight are left alone.
#[test]
fn an_outdated_entry_goes_when_it_is_read() {
    let (mut table, words, slot) = one_entry(FOREVER);
    let token = table.token(0);
    words.bump(1);
    let gone = Gone {
        key: "a",
        value: 1,
        cause: Cause::Invalidated,
    };
    assert_eq!(table.read(slot, at(0)), Read::Outdated(gone));
    assert!(table.is_current(0, token, &[]));
    let counters = table.counters();
    assert_eq!(
        (
            counters.hits,
            counters.misses,
            counters.invalidations,
            counters.expirations
        ),
        (0, 1, 1, 0)
    );
    assert!(table.is_empty());
    table.validate();
}

/// What expired and is kept for its grace is not served once its words moved.
#[test]
fn grace_does_not_serve_what_is_outdated() {
    let (mut table, words, slot) = one_entry(SECOND);
    assert_eq!(table.stale(slot, at(2)), Some(&1));
    words.bump(0);
    assert_eq!(table.stale(slot, at(2)), None);
    assert!(matches!(table.read(slot, at(2)), Read::Outdated(_)));
}

/// An early refresh is never elected on an outdated value: it is no value any more.
#[test]
fn early_refresh_does_not_serve_what_is_outdated() {
    let (mut table, words) = table(Limits {
        early_refresh: 1e9,
        ..Limits::new(9)
    });
    let stamps = words.capture([3]);
    let how = Put {
        deadline: 9 * SECOND,
        cost: SECOND,
        ..stamped(&stamps)
    };
    put(&mut table, "a", 1, &how);
    let slot = table.find(0, |known| *known == "a").expect("just stored");
    assert_eq!(table.read(slot, at(8)), Read::Early(&1));
    words.bump(3);
    assert!(matches!(table.read(slot, at(8)), Read::Outdated(_)));
}

/// A write without stamps depends on nothing, whatever the entry before it did.
#[test]
fn a_write_without_stamps_has_none() {
    let (mut table, words, slot) = one_entry(FOREVER);
    assert_eq!(
        table.overwrite(slot, 2, FOREVER, false),
        Err(2),
        "the fast half cannot forget stamps"
    );
    put(&mut table, "a", 2, &Put::default());
    words.bump(0);
    assert_eq!(table.stamps(slot), []);
    assert_eq!(table.hit(slot, at(0)), Some(&2));
}

/// An entry in the slot of one that left has its own stamps only.
#[test]
fn a_slot_forgets_the_stamps_of_its_last_entry() {
    let (mut table, words, slot) = one_entry(FOREVER);
    let _gone = table.remove(slot, Cause::Deleted);
    words.bump(0);
    put(&mut table, "b", 2, &Put::default());
    let slot = table.find(0, |known| *known == "b").expect("just stored");
    assert_eq!(table.hit(slot, at(0)), Some(&2));
}

/// A value whose words moved while it was computed comes straight back, and takes an older entry with it.
#[test]
fn what_is_outdated_before_it_is_stored_is_not_stored() {
    let (mut table, words, _) = one_entry(FOREVER);
    let stamps = words.capture([0]);
    words.bump(0);
    assert!(!table.are_current(&stamps));
    for key in ["a", "b"] {
        let gone = put(&mut table, key, 7, &stamped(&stamps));
        let cause = Cause::Invalidated;
        assert_eq!(
            gone,
            [Gone {
                key,
                value: 7,
                cause
            }]
        );
    }
    assert!(table.is_empty());
    assert_eq!(table.counters().sets, 1);
}

/// An entry has at most 32 stamps: one with more is rejected.
#[test]
fn too_many_stamps_are_rejected() {
    let (mut table, words) = table(Limits::new(9));
    let stamp = words.capture([0])[0];
    assert!(put(&mut table, "a", 1, &stamped(&vec![stamp; MAX_STAMPS])).is_empty());
    let gone = put(&mut table, "b", 2, &stamped(&vec![stamp; MAX_STAMPS + 1]));
    assert_eq!(gone[0].cause, Cause::Evicted);
    assert_eq!((table.len(), table.counters().rejected), (1, 1));
}

/// A word that there is none of is never current.
#[test]
fn an_unknown_word_is_not_current() {
    let (mut table, _words) = table(Limits::new(9));
    let stamp = Stamp { word: 99, value: 0 };
    assert_eq!(
        put(&mut table, "a", 1, &stamped(&[stamp]))[0].cause,
        Cause::Invalidated
    );
}

/// A table asks for words only where there is something to ask: one that never saw a stamp is the one it was before.
#[test]
fn a_table_without_stamps_asks_for_no_words() {
    struct Forbidden;
    impl _native::engine::Words for Forbidden {
        fn are_current(&self, _stamps: &[Stamp]) -> bool {
            panic!("asked")
        }
    }
    let mut table: Table<u8, u8, Forbidden> =
        Table::with_words(Limits::new(9), Forbidden).expect("possible limits");
    assert!(table.insert(1, 1, 1, &Put::default(), at(0)).is_empty());
    let slot = table.find(1, |key| *key == 1).expect("just stored");
    assert_eq!(table.read(slot, at(0)), Read::Fresh(&1));
    assert_eq!(table.hit(slot, at(0)), Some(&1));
    assert_eq!(table.overwrite(slot, 2, FOREVER, false), Ok(1));
    assert!(table.is_live(slot, at(0)) && !table.is_stamped());
}
