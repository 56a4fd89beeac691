//! One table: what is stored, read, displaced and counted, case by case.

use _native::engine::{
    Cause, FOREVER, Gone, Limits, Nanos, Now, PolicyKind, Put, Read, Stamp, Table, TagRef,
};

use crate::{BLUE, Names, RED, SECOND, at, collect, hash, order, put, slot, until};

fn table(limits: Limits) -> Names {
    Table::new(limits).expect("possible limits")
}

fn filled(limits: Limits, keys: &[&'static str]) -> Names {
    let mut table = table(limits);
    for (value, key) in (0..).zip(keys) {
        assert!(put(&mut table, key, value, &Put::default(), at(0)).is_empty());
    }
    table
}

fn read(table: &mut Names, key: &str, now: Now) -> Option<u32> {
    let slot = slot(table, key)?;
    match table.read(slot, now) {
        Read::Fresh(value) | Read::Early(value) => Some(*value),
        Read::Stale | Read::Expired(_) => None,
    }
}

fn gone(key: &'static str, value: u32, cause: Cause) -> Gone<&'static str, u32> {
    Gone { key, value, cause }
}

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
        let mut table = table(Limits::new(2));
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

/// An entry lives until its deadline, exclusively; reading it later removes it and counts a miss.
#[test]
fn an_entry_expires_at_its_deadline() {
    let mut table = table(Limits::new(2));
    put(&mut table, "a", 1, &until(10), at(0));
    let a = slot(&table, "a").expect("stored");
    assert_eq!(
        table.read(a, Now::exactly(10 * SECOND - 1)),
        Read::Fresh(&1)
    );
    assert!(!table.is_live(a, at(10)));
    assert_eq!(table.peek(a, at(10)), None);
    assert_eq!(
        table.read(a, at(10)),
        Read::Expired(gone("a", 1, Cause::Expired))
    );
    assert!(slot(&table, "a").is_none());
    let counters = table.counters();
    assert_eq!(
        (counters.hits, counters.misses, counters.expirations),
        (1, 1, 1)
    );
}

/// A size of 0 stores nothing, and what was to be stored comes back.
#[test]
fn a_table_of_size_zero_stores_nothing() {
    let mut table = table(Limits::new(0));
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

/// What is over before it is stored comes back as expired, new or in place of an old value.
#[test]
fn a_reached_deadline_is_dead_on_arrival() {
    let mut table = filled(Limits::new(3), &["a"]);
    assert_eq!(
        put(&mut table, "b", 5, &until(7), at(7)),
        [gone("b", 5, Cause::Expired)]
    );
    let a = slot(&table, "a").expect("stored");
    let (old, displaced) = table.replace(a, 6, &until(7), at(7));
    assert_eq!(
        (old, collect(displaced)),
        (0, vec![gone("a", 6, Cause::Expired)])
    );
    assert!(table.is_empty());
    table.validate();
}

/// A limit in bytes holds; what alone exceeds it is rejected and displaces nobody but its own old value.
#[test]
fn weights_are_limited() {
    let mut table = table(Limits {
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
        let mut table = table(Limits {
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
    let mut table = table(Limits {
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

/// A lower limit removes what is too much at once, and for ever no limit weighs nothing.
#[test]
fn limits_can_be_changed() {
    let mut table = filled(Limits::new(4), &["a", "c", "e", "g"]);
    let shrunk = collect(table.set_max_size(2));
    assert_eq!(
        shrunk,
        [gone("a", 0, Cause::Evicted), gone("c", 1, Cause::Evicted)]
    );
    assert!(collect(table.set_max_size(3)).is_empty());
    assert!(
        collect(table.set_max_bytes(Some(10))).is_empty(),
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
    assert_eq!(collect(table.set_max_bytes(Some(7))).len(), 3);
    table.validate();
    assert!(collect(table.set_max_bytes(None)).is_empty());
    assert_eq!(table.weight_bytes(), 0);
}

/// Within its grace an expired entry is a miss that can still be served; past it, it is gone.
#[test]
fn grace_keeps_the_expired() {
    let mut table = table(Limits {
        grace: 5 * SECOND,
        ..Limits::new(2)
    });
    put(&mut table, "a", 1, &until(10), at(0));
    let a = slot(&table, "a").expect("stored");
    assert_eq!(table.read(a, at(12)), Read::Stale);
    assert_eq!(
        (table.peek(a, at(12)), table.stale(a, at(12))),
        (None, Some(&1))
    );
    table.stale_served();
    assert_eq!(
        (
            table.count_expired(at(12)),
            table.sweep(at(14)).len(),
            table.len()
        ),
        (1, 0, 1)
    );
    assert_eq!(table.stale(a, at(15)), None);
    let counters = table.counters();
    assert_eq!((counters.hits, counters.misses, counters.stale), (0, 1, 1));
    assert_eq!(table.sweep(at(15)), [gone("a", 1, Cause::Expired)]);
}

/// An invalidated entry is never served as stale: it is gone.
#[test]
fn grace_does_not_keep_the_invalidated() {
    let mut table = table(Limits {
        grace: FOREVER,
        ..Limits::new(2)
    });
    put(
        &mut table,
        "a",
        1,
        &Put {
            tags: &[RED],
            ..until(10)
        },
        at(0),
    );
    assert_eq!(table.remove_tag(RED), [gone("a", 1, Cause::Invalidated)]);
    assert!(slot(&table, "a").is_none());
}

/// When room is needed, an entry in its grace goes before a live one.
#[test]
fn grace_does_not_outweigh_the_living() {
    let mut table = table(Limits {
        grace: FOREVER,
        ..Limits::new(2)
    });
    put(&mut table, "live", 0, &until(100), at(0));
    put(&mut table, "dead", 1, &until(5), at(0));
    assert_eq!(
        put(&mut table, "new", 2, &until(100), at(6)),
        [gone("dead", 1, Cause::Expired)]
    );
}

/// A tag removes exactly its entries; a replaced value has the new tags only.
#[test]
fn tags_remove_their_entries() {
    let mut table = table(Limits::new(10));
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
    let mut table = table(Limits::new(10));
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

/// What happened to the key between a token and its check.
type Event = fn(&mut Names);

/// A load is outdated by a write, deletion or invalidation of its key, by clear and by any named tag, and by nothing else.
#[test]
fn tokens_see_writes_and_invalidations() {
    let outdating: [(&str, Event); 7] = [
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
    ];
    let harmless: [(&str, Event); 6] = [
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
        ("eviction", |table| drop(table.set_max_size(0))),
        ("sweep", |table| drop(table.sweep(at(99)))),
        ("owner", |table| drop(table.remove_tag(TagRef::Owner(1)))),
    ];
    let check = |events: &[(&str, Event)], current: bool| {
        for (name, event) in events {
            let mut table = table(Limits::new(4));
            put(
                &mut table,
                "a",
                0,
                &Put {
                    tags: &[TagRef::Owner(1)],
                    ..until(9)
                },
                at(0),
            );
            let key = if *name == "first write" { "A" } else { "a" };
            let token = table.token(hash(key));
            assert!(table.is_current(hash(key), token));
            event(&mut table);
            assert_eq!(table.is_current(hash(key), token), current, "{name}");
        }
    };
    check(&outdating, false);
    check(&harmless, true);
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
    let mut table = table(Limits::new(2));
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
    let mut table = table(Limits::new(3));
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

/// No hit far from its deadline is elected to refresh, all at the deadline are, and some in between.
#[test]
fn early_refresh_is_likelier_near_the_deadline() {
    const COST: Nanos = SECOND;
    let mut table = table(Limits {
        early_refresh: 1.0,
        ..Limits::new(2)
    });
    put(
        &mut table,
        "a",
        1,
        &Put {
            cost: COST,
            ..until(1_000)
        },
        at(0),
    );
    let a = slot(&table, "a").expect("stored");
    let mut elected = |seconds| {
        (0..1_000)
            .filter(|_| table.read(a, at(seconds)) == Read::Early(&1))
            .count()
    };
    assert_eq!(elected(900), 0);
    let near = elected(999); // e^-1 of them: 368, give or take
    assert!(
        (250..500).contains(&near),
        "{near} of 1000 were elected one load time before the deadline"
    );
    assert_eq!(table.cost(a), COST);
    assert_eq!(table.counters().hits, 2_000);
}

/// Without a known load time, without a deadline or with the feature off, no hit is elected.
#[test]
fn early_refresh_needs_a_cost_and_a_deadline() {
    let cases: [(f64, Put<'_>); 3] = [
        (1e9, until(10)),
        (
            1e9,
            Put {
                cost: SECOND,
                ..Put::default()
            },
        ),
        (
            0.0,
            Put {
                cost: SECOND,
                ..until(10)
            },
        ),
    ];
    for (early_refresh, how) in cases {
        let mut table = table(Limits {
            early_refresh,
            ..Limits::new(2)
        });
        put(&mut table, "a", 1, &how, at(0));
        let a = slot(&table, "a").expect("stored");
        assert_eq!(table.read(a, at(9)), Read::Fresh(&1));
    }
}

/// Keys of one hash are told apart, and comparison is asked about that hash only.
#[test]
fn keys_of_one_hash_are_told_apart() {
    let table = filled(Limits::new(9), &["b", "c", "d"]); // b is alone, c and d share their hash
    let mut asked = Vec::new();
    let found = table.find(hash("c"), |known| {
        asked.push(*known);
        false
    });
    asked.sort_unstable();
    assert_eq!(
        (found, asked),
        (
            None,
            vec![("b"), ("c")]
                .into_iter()
                .filter(|key| hash(key) == hash("c"))
                .collect()
        )
    );
}

/// Deadlines move without a write: later, earlier, and to for ever.
#[test]
fn deadlines_can_be_moved() {
    let mut table = filled(Limits::new(4), &["a"]);
    put(&mut table, "c", 1, &until(10), at(0));
    put(&mut table, "e", 2, &until(10), at(0));
    let of = |table: &Names, key| slot(table, key).expect("stored");
    table.retime(of(&table, "c"), 30 * SECOND, true);
    table.retime(of(&table, "e"), FOREVER, false);
    table.retime(of(&table, "a"), 5 * SECOND, true);
    table.validate();
    assert_eq!(table.sweep(at(20)), [gone("a", 0, Cause::Expired)]);
    assert_eq!(table.sweep(at(30)), [gone("c", 1, Cause::Expired)]);
    assert_eq!(table.deadline(of(&table, "e")), FOREVER);
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
