//! Deadlines, grace and early refresh.

use _native::engine::{Cause, FOREVER, Limits, Nanos, Now, Put, Read};

use crate::{Names, RED, SECOND, at, collect, empty, filled, gone, put, slot, until};

/// An entry lives until its deadline, exclusively; reading it later removes it and counts a miss.
#[test]
fn an_entry_expires_at_its_deadline() {
    let mut table = empty(Limits::new(2));
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

/// Within its grace an expired entry is a miss that can still be served; past it, it is gone.
#[test]
fn grace_keeps_the_expired() {
    let mut table = empty(Limits {
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
            table.count_expired(at(12), usize::MAX),
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

/// A sweep may stop before its end, and goes on where it stopped.
#[test]
fn a_sweep_in_parts_removes_each_once() {
    let mut table = empty(Limits::new(4));
    for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
        put(&mut table, key, value, &until(10), at(0));
    }
    put(&mut table, "d", 4, &until(20), at(0));
    table.validate();
    let parts = [2, 2, 2].map(|most| table.sweep_some(at(12), most).len());
    assert_eq!((parts, table.len()), ([2, 1, 0], 1));
}

/// An invalidated entry is never served as stale: it is gone.
#[test]
fn grace_does_not_keep_the_invalidated() {
    let mut table = empty(Limits {
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
    let mut table = empty(Limits {
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

/// No hit far from its deadline is elected to refresh, all at the deadline are, and some in between.
#[test]
fn early_refresh_is_likelier_near_the_deadline() {
    const COST: Nanos = SECOND;
    let mut table = empty(Limits {
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
        let mut table = empty(Limits {
            early_refresh,
            ..Limits::new(2)
        });
        put(&mut table, "a", 1, &how, at(0));
        let a = slot(&table, "a").expect("stored");
        assert_eq!(table.read(a, at(9)), Read::Fresh(&1));
    }
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

/// A load time does not outlive its entry, though another takes its slot while early refresh is off.
#[test]
fn load_times_belong_to_their_entry() {
    let mut table = empty(Limits {
        early_refresh: 1.0,
        ..Limits::new(1)
    });
    let slow = Put {
        cost: SECOND,
        ..until(10)
    };
    put(&mut table, "a", 1, &slow, at(0));
    table.set_early_refresh(0.0);
    put(&mut table, "c", 2, &slow, at(0));
    table.set_early_refresh(1.0);
    let c = slot(&table, "c").expect("stored");
    assert_eq!(table.cost(c), 0);
}
