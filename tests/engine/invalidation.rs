//! Tags, tokens and clearing.

use _native::engine::{Cause, Limits, Put, Table, TagRef};

use crate::{
    BLUE, Names, RED, SECOND, at, empty, filled, gone, hash, order, put, read, slot, until,
};

/// A tag removes exactly its entries; a replaced value has the new tags only.
#[test]
fn tags_remove_their_entries() {
    let mut table = empty(Limits::new(10));
    put(
        &mut table,
        "a",
        0,
        &Put {
            tags: &[RED, BLUE, RED],
            ..until(9)
        },
        at(0),
    );
    put(
        &mut table,
        "c",
        1,
        &Put {
            tags: &[BLUE],
            ..until(9)
        },
        at(0),
    );
    put(
        &mut table,
        "e",
        2,
        &Put {
            tags: &[RED],
            ..until(9)
        },
        at(0),
    );
    put(
        &mut table,
        "e",
        3,
        &Put {
            tags: &[TagRef::Owner(7)],
            ..until(9)
        },
        at(0),
    );
    table.validate();
    let a = slot(&table, "a").expect("stored");
    let mut tags: Vec<_> = table.tags(a).collect();
    tags.sort_by_key(|tag| format!("{tag:?}"));
    assert_eq!(tags, [BLUE, RED]);
    assert_eq!(table.remove_tag(RED), [gone("a", 0, Cause::Invalidated)]);
    assert_eq!(table.remove_tag(TagRef::Owner(8)), []);
    assert_eq!(
        table.remove_tag(TagRef::Owner(7)),
        [gone("e", 3, Cause::Invalidated)]
    );
    assert_eq!(order(&table), ["c"]);
    assert_eq!(table.counters().invalidations, 2);
    table.validate();
}

/// A name and an owner are never the same tag.
#[test]
fn names_and_owners_do_not_meet() {
    let mut table = empty(Limits::new(10));
    put(
        &mut table,
        "a",
        0,
        &Put {
            tags: &[TagRef::Name("7")],
            ..Put::default()
        },
        at(0),
    );
    put(
        &mut table,
        "c",
        1,
        &Put {
            tags: &[TagRef::Owner(7)],
            ..Put::default()
        },
        at(0),
    );
    assert_eq!(
        table.remove_tag(TagRef::Owner(7)),
        [gone("c", 1, Cause::Invalidated)]
    );
    assert_eq!(order(&table), ["a"]);
}

const GREEN: TagRef<'_> = TagRef::Name("green");

/// What happened to the key between a token and its check.
type Event = fn(&mut Names);

/// A load is outdated by a write, deletion or invalidation of its key, by clear and by the tags of its value or of the
/// entry that its key has, and by nothing else.
// Long because it is one case after another on one token.
#[test]
fn tokens_see_writes_and_invalidations() {
    let outdating: [(&str, Event); 8] = [
        ("write", |table| drop(put(table, "a", 1, &until(9), at(0)))),
        ("first write", |table| {
            drop(put(table, "A", 1, &until(9), at(0)));
        }),
        ("dead write", |table| {
            drop(put(table, "a", 1, &until(0), at(0)));
        }),
        ("delete", |table| {
            let a = slot(table, "a").expect("stored");
            let _ = table.remove(a, Cause::Deleted);
        }),
        ("bump", |table| table.bump(hash("a"))),
        ("clear", |table| drop(table.clear())),
        ("tag without entries", |table| drop(table.remove_tag(BLUE))),
        ("tag of the entry", |table| drop(table.remove_tag(GREEN))),
    ];
    let harmless: [(&str, Event); 8] = [
        ("read", |table| assert_eq!(read(table, "a", at(0)), Some(0))),
        ("fill", |table| {
            drop(put(
                table,
                "a",
                1,
                &Put {
                    write: false,
                    ..until(9)
                },
                at(0),
            ));
        }),
        ("retime", |table| {
            let a = slot(table, "a").expect("stored");
            table.retime(a, 5 * SECOND, true);
        }),
        ("eviction", |table| drop(table.set_max_size(0, at(0)))),
        ("sweep", |table| drop(table.sweep(at(99)))),
        ("owner", |table| drop(table.remove_tag(TagRef::Owner(1)))),
        ("other tag", |table| drop(table.remove_tag(RED))),
        ("other load", |table| {
            let _ = table.token(hash("c"));
        }),
    ];
    let check = |events: &[(&str, Event)], current: bool| {
        for (name, event) in events {
            let mut table = empty(Limits::new(4));
            put(
                &mut table,
                "a",
                0,
                &Put {
                    tags: &[GREEN, TagRef::Owner(1)],
                    ..until(9)
                },
                at(0),
            );
            let key = if *name == "first write" { "A" } else { "a" };
            let token = table.token(hash(key));
            let tags = [BLUE, TagRef::Owner(1)];
            assert!(table.is_current(hash(key), token, &tags));
            event(&mut table);
            let is_current = table.is_current(hash(key), token, &tags);
            assert_eq!(is_current, current, "{name}");
            let later = table.token(hash(key));
            assert!(table.is_current(hash(key), later, &tags), "{name}");
            assert_eq!(table.is_current(hash(key), token, &tags), current, "{name}");
        }
    };
    check(&outdating, false);
    check(&harmless, true);
}

/// Traffic of others neither refuses a fill nor tells two loads of one key apart.
#[test]
fn unrelated_traffic_outdates_no_load() {
    let mut table = Table::new(Limits::new(10)).expect("possible limits");
    let token = table.token(0);
    for number in 1..=2_000 {
        let put = Put {
            tags: &[RED],
            ..until(9)
        };
        drop(table.insert(number, number, 0, &put, at(0)));
        table.bump(number + 5_000);
        drop(table.remove_tag(RED));
        drop(table.remove_tag(TagRef::Owner(number)));
    }
    assert!(table.is_current(0, token, &[]));
    assert!(table.is_current(0, token, &[BLUE]));
    assert!(!table.is_current(0, token, &[BLUE, RED]));
    let later = table.token(0);
    assert!(table.is_current(0, token, &[]), "a token outdates no other");
    assert!(table.is_current(0, later, &[RED]));
    table.bump(0);
    assert!(!table.is_current(0, later, &[]));
}

/// Some loads of other keys do not outdate a load; so many that its key can't be watched any longer do.
#[test]
fn a_key_among_many_loads_is_watched_or_refused() {
    let mut table = empty(Limits::new(10));
    let token = table.token(0);
    for other in 1..=64 {
        let _ = table.token(other);
    }
    assert!(table.is_current(0, token, &[]));
    for other in 1..=100_000 {
        let _ = table.token(other);
    }
    assert!(!table.is_current(0, token, &[]));
    let _ = table.token(0);
    assert!(
        !table.is_current(0, token, &[]),
        "nobody knows what happened while it was not watched"
    );
}

/// 64 tags are remembered as invalidated. Beyond that, loads of tagged values are refused, and no others.
#[test]
fn too_many_invalidated_tags_refuse_tagged_loads() {
    let mut table = empty(Limits::new(10));
    let (key, names) = (hash("a"), (0..65).map(|number| format!("tag {number}")));
    let token = table.token(key);
    for (number, name) in names.enumerate() {
        assert!(table.is_current(key, token, &[BLUE]), "after {number} tags");
        drop(table.remove_tag(TagRef::Name(&name)));
        assert!(!table.is_current(key, token, &[TagRef::Name("tag 0")]));
        assert!(!table.is_current(key, token, &[TagRef::Name(&name)]));
    }
    assert!(!table.is_current(key, token, &[BLUE]));
    assert!(table.is_current(key, token, &[]));
    assert!(table.is_current(key, token, &[TagRef::Owner(1)]));
    let later = table.token(key);
    assert!(table.is_current(key, later, &[BLUE, TagRef::Name("tag 64")]));
}

/// A clear outdates all tokens, those of keys asked again too, and a token of nobody is never current.
#[test]
fn no_token_outlives_a_clear() {
    let mut table = empty(Limits::new(10));
    assert!(!table.is_current(0, 0, &[]), "no token was given");
    let token = table.token(0);
    assert!(!table.is_current(0, 0, &[]));
    drop(table.clear());
    assert!(!table.is_current(0, token, &[]));
    let later = table.token(0);
    assert!(!table.is_current(0, token, &[]));
    assert!(table.is_current(0, later, &[]));
}

/// Clearing hands out everything, forgets every index and keeps counters and limits.
#[test]
fn clearing_hands_everything_out() {
    let mut table = filled(
        Limits {
            max_bytes: Some(50),
            ..Limits::new(3)
        },
        &["a", "c"],
    );
    put(
        &mut table,
        "e",
        2,
        &Put {
            tags: &[RED],
            weight: 9,
            traced: true,
            own_ttl: true,
            ..until(9)
        },
        at(0),
    );
    let cleared = table.clear();
    assert_eq!(cleared.len(), 3);
    let mut pairs: Vec<_> = cleared.into_iter().collect();
    pairs.sort_unstable();
    assert_eq!(pairs, [("a", 0), ("c", 1), ("e", 2)]);
    assert_eq!(
        (
            table.len(),
            table.traced(),
            table.weight_bytes(),
            table.remove_tag(RED).len()
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(
        (table.counters().sets, table.counters().invalidations),
        (3, 3)
    );
    table.validate();
    put(&mut table, "a", 5, &until(9), at(0));
    assert_eq!(read(&mut table, "a", at(1)), Some(5));
}
