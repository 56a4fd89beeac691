//! What is stored, what is refused, and who makes room.

use _native::engine::{Cause, Limits, PolicyKind, Put, TagRef};

use crate::{at, collect, empty, filled, gone, order, put, read, slot, until};

/// The least recently used entry makes room; reading and replacing are uses, peeking is none.
#[test]
fn the_least_recently_used_goes() {
    let mut table = filled(Limits::new(3), &["a", "b", "c"]);
    assert_eq!(read(&mut table, "a", at(1)), Some(0));
    put(&mut table, "b", 9, &Put::default(), at(1));
    let c = slot(&table, "c").expect("stored");
    assert_eq!(
        (table.peek(c, at(1)), table.stale(c, at(1))),
        (Some(&2), Some(&2))
    );
    assert_eq!(order(&table), ["c", "a", "b"]);
    assert_eq!(
        put(&mut table, "d", 3, &Put::default(), at(1)),
        [gone("c", 2, Cause::Evicted)]
    );
    assert_eq!(order(&table), ["a", "b", "d"]);
    table.validate();
}

/// An expired entry makes room before a live one that was used longer ago.
#[test]
fn the_expired_go_before_the_living() {
    for own_ttl in [false, true] {
        let mut table = empty(Limits::new(2));
        put(&mut table, "live", 0, &until(100), at(0));
        put(
            &mut table,
            "dead",
            1,
            &Put {
                own_ttl,
                ..until(5)
            },
            at(0),
        );
        assert_eq!(
            put(&mut table, "new", 2, &until(100), at(6)),
            [gone("dead", 1, Cause::Expired)]
        );
        assert_eq!(
            (table.counters().expirations, table.counters().evictions),
            (1, 0)
        );
        table.validate();
    }
}

/// A size of 0 stores nothing, and what was to be stored comes back.
#[test]
fn a_table_of_size_zero_stores_nothing() {
    let mut table = empty(Limits::new(0));
    assert_eq!(
        put(&mut table, "a", 1, &until(10), at(0)),
        [gone("a", 1, Cause::Evicted)]
    );
    assert_eq!(
        (
            table.len(),
            table.counters().sets,
            table.counters().evictions
        ),
        (0, 0, 0)
    );
}

/// A limit in bytes holds; what alone exceeds it is rejected and displaces nobody but its own old value.
#[test]
fn weights_are_limited() {
    let mut table = empty(Limits {
        max_bytes: Some(100),
        ..Limits::new(10)
    });
    let heavy = |weight| Put {
        weight,
        ..Put::default()
    };
    for (key, weight) in [("a", 40), ("c", 40), ("e", 20)] {
        assert!(put(&mut table, key, 0, &heavy(weight), at(0)).is_empty());
    }
    assert_eq!(table.weight_bytes(), 100);
    assert_eq!(
        put(&mut table, "g", 1, &heavy(101), at(0)),
        [gone("g", 1, Cause::Evicted)]
    );
    assert_eq!((table.len(), table.counters().rejected), (3, 1));
    assert_eq!(
        put(&mut table, "g", 1, &heavy(30), at(0)),
        [gone("a", 0, Cause::Evicted)]
    );
    assert_eq!(
        put(&mut table, "c", 2, &heavy(60), at(0)),
        [gone("e", 0, Cause::Evicted)]
    );
    assert_eq!((order(&table), table.weight_bytes()), (vec!["g", "c"], 90));
    assert_eq!(
        put(&mut table, "g", 3, &heavy(101), at(0)),
        [gone("g", 3, Cause::Evicted)]
    );
    assert_eq!((order(&table), table.weight_bytes()), (vec!["c"], 60));
    table.validate();
}

/// A heavier value in place of an old one never evicts itself, whatever the policy.
#[test]
fn a_replaced_entry_survives_its_own_weight() {
    for policy in [PolicyKind::Lru, PolicyKind::S3Fifo] {
        let mut table = empty(Limits {
            max_bytes: Some(100),
            policy,
            ..Limits::new(10)
        });
        for key in ["a", "c", "e", "g"] {
            put(
                &mut table,
                key,
                0,
                &Put {
                    weight: 25,
                    ..until(50)
                },
                at(0),
            );
        }
        put(
            &mut table,
            "a",
            1,
            &Put {
                weight: 100,
                ..until(50)
            },
            at(1),
        );
        assert_eq!((order(&table), table.weight_bytes()), (vec!["a"], 100));
        table.validate();
    }
}

/// Weights beyond 4 GiB count as 4 GiB and stay in balance.
#[test]
fn enormous_weights_saturate() {
    let mut table = empty(Limits {
        max_bytes: Some(u64::MAX),
        ..Limits::new(2)
    });
    put(
        &mut table,
        "a",
        0,
        &Put {
            weight: u64::MAX,
            ..Put::default()
        },
        at(0),
    );
    assert_eq!(table.weight_bytes(), u64::from(u32::MAX));
    let a = slot(&table, "a").expect("stored");
    let _ = table.remove(a, Cause::Deleted);
    assert_eq!(table.weight_bytes(), 0);
}

/// What has expired makes room for a lower limit before anything live does.
#[test]
fn a_lower_limit_takes_the_expired_first() {
    let mut table = filled(Limits::new(2), &["a"]);
    put(&mut table, "c", 9, &until(1), at(0));
    let shrunk = collect(table.set_max_size(1, at(1)));
    assert_eq!(shrunk, [gone("c", 9, Cause::Expired)]);
}

/// A lower limit removes what is too much at once, and for ever no limit weighs nothing.
#[test]
fn limits_can_be_changed() {
    let mut table = filled(Limits::new(4), &["a", "c", "e", "g"]);
    let shrunk = collect(table.set_max_size(2, at(0)));
    assert_eq!(
        shrunk,
        [gone("a", 0, Cause::Evicted), gone("c", 1, Cause::Evicted)]
    );
    assert!(collect(table.set_max_size(3, at(0))).is_empty());
    assert!(
        collect(table.set_max_bytes(Some(10), at(0))).is_empty(),
        "entries stored without a limit weigh nothing"
    );
    put(
        &mut table,
        "a",
        7,
        &Put {
            weight: 8,
            ..Put::default()
        },
        at(0),
    );
    assert_eq!(collect(table.set_max_bytes(Some(7), at(0))).len(), 3);
    table.validate();
    assert!(collect(table.set_max_bytes(None, at(0))).is_empty());
    assert_eq!(table.weight_bytes(), 0);
}

/// An updated entry keeps deadline and tags, is weighed anew, and makes room for what it gained.
#[test]
fn an_update_changes_value_and_weight_alone() {
    let mut table = empty(Limits {
        max_bytes: Some(100),
        ..Limits::new(10)
    });
    let heavy = |weight| Put {
        weight,
        tags: &[TagRef::Name("t")],
        ..until(50)
    };
    put(&mut table, "a", 0, &heavy(40), at(0));
    put(&mut table, "b", 1, &heavy(40), at(0));
    let a = slot(&table, "a").expect("stored");
    let (old, displaced) = table.update(a, 5, 70, false, at(1));
    assert_eq!(
        (old, collect(displaced)),
        (0, vec![gone("b", 1, Cause::Evicted)])
    );
    assert_eq!(
        (table.weight_bytes(), table.deadline(a)),
        (70, until(50).deadline)
    );
    assert_eq!(table.tags(a).count(), 1);
    table.validate();

    let (old, displaced) = table.update(a, 6, 101, false, at(1));
    assert_eq!(
        (old, collect(displaced)),
        (5, vec![gone("a", 6, Cause::Evicted)])
    );
    assert!(table.is_empty());
    table.validate();
}
