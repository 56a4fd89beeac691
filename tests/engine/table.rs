//! What a table keeps about its entries, case by case.

use _native::engine::{Cause, Limits, Put, Stamp};

use crate::{Names, at, empty, filled, gone, hash, order, put, read, slot, until};

/// The generation stands still for hits, misses and replacements, and moves when a slot is filled or freed.
#[test]
fn the_generation_says_whether_slots_are_valid() {
    let mut table = filled(Limits::new(3), &["a"]);
    let filled = table.generation();
    read(&mut table, "a", at(0));
    table.miss();
    put(&mut table, "a", 1, &until(9), at(0));
    assert_eq!(table.generation(), filled);
    put(&mut table, "c", 1, &until(9), at(0));
    let both = table.generation();
    assert_ne!(both, filled);
    assert_eq!(table.sweep(at(10)).len(), 2);
    assert_ne!(table.generation(), both);
}

/// Entries that may take part in cycles are counted as long as they are there.
#[test]
fn traced_entries_are_counted() {
    let mut table = empty(Limits::new(2));
    let traced = Put {
        traced: true,
        ..Put::default()
    };
    put(&mut table, "a", 0, &traced, at(0));
    put(&mut table, "c", 0, &traced, at(0));
    assert_eq!(table.traced(), 2);
    put(&mut table, "a", 0, &Put::default(), at(0));
    assert_eq!(table.traced(), 1);
    put(&mut table, "e", 0, &Put::default(), at(0));
    assert_eq!((order(&table), table.traced()), (vec!["a", "e"], 0));
}

/// Each entry keeps its own stamps, however many the others have.
#[test]
fn stamps_belong_to_their_entry() {
    let mut table = empty(Limits::new(3));
    let stamps = |count: u32| {
        (0..count)
            .map(|word| Stamp {
                word,
                value: word * 10,
            })
            .collect::<Vec<_>>()
    };
    for (key, count) in [("a", 1), ("c", 0), ("e", 3)] {
        put(
            &mut table,
            key,
            0,
            &Put {
                stamps: &stamps(count),
                ..Put::default()
            },
            at(0),
        );
    }
    let held = |table: &Names, key| table.stamps(slot(table, key).expect("stored")).to_vec();
    assert_eq!(
        (held(&table, "a"), held(&table, "c"), held(&table, "e")),
        (stamps(1), stamps(0), stamps(3))
    );
    put(
        &mut table,
        "a",
        0,
        &Put {
            stamps: &stamps(2),
            ..Put::default()
        },
        at(0),
    );
    put(&mut table, "e", 0, &Put::default(), at(0));
    assert_eq!(
        (held(&table, "a"), held(&table, "e")),
        (stamps(2), stamps(0))
    );
    put(&mut table, "g", 0, &Put::default(), at(0)); // in the slot of c, which was evicted
    assert_eq!(held(&table, "g"), []);
}

/// Keys of one hash are told apart, and only keys of that hash are compared.
#[test]
fn keys_of_one_hash_are_told_apart() {
    let table = filled(Limits::new(9), &["b", "c", "d"]);
    assert_eq!(
        (hash("b") == hash("c"), hash("b") == hash("d")),
        (true, false)
    );
    let mut asked = Vec::new();
    let found = table.find(hash("c"), |known| {
        asked.push(*known);
        false
    });
    asked.sort_unstable();
    assert_eq!((found, asked), (None, vec!["b", "c"]));
    assert_ne!(slot(&table, "b"), slot(&table, "c"));
}

/// Every cause has its own lower-case name.
#[test]
fn causes_have_names() {
    let names: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    assert_eq!(
        names,
        [
            "evicted",
            "expired",
            "replaced",
            "deleted",
            "cleared",
            "invalidated"
        ]
    );
}

/// All entries can be walked, and using a slot after its entry is gone is caught.
#[test]
fn entries_can_be_walked() {
    let mut table = filled(Limits::new(4), &["a", "c", "e"]);
    let c = slot(&table, "c").expect("stored");
    assert_eq!(
        table.remove(c, Cause::Deleted),
        gone("c", 1, Cause::Deleted)
    );
    let walked: Vec<_> = table
        .iter()
        .map(|(slot, key, value)| (table.hash(slot) == hash(key), *key, *value))
        .collect();
    assert_eq!(walked, [(true, "a", 0), (true, "e", 2)]);
    let used = std::panic::catch_unwind(|| *table.value(c));
    assert!(used.is_err());
}
