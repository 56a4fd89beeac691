//! Deadlines that do not come in order.

use _native::engine::{Cause, FOREVER, Limits, Now, Put, Table};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::SECOND;

/// Spans from a nanosecond to a century, evenly over their magnitudes.
fn span() -> impl Strategy<Value = i64> {
    (0..62_u32, any::<i64>())
        .prop_map(|(bits, noise)| (1_i64 << bits) + (noise & ((1 << bits) - 1)))
}

fn table(grace: i64) -> Table<usize, i64> {
    Table::new(Limits {
        grace,
        ..Limits::new(1_000)
    })
    .expect("possible limits")
}

fn sorted(mut keys: Vec<usize>) -> Vec<usize> {
    keys.sort_unstable();
    keys
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A sweep removes exactly what is past its grace, to the nanosecond, wherever time jumps.
    #[test]
    fn sweeps_are_exact(
        spans in vec((span(), any::<bool>()), 1..60),
        steps in vec(span(), 1..30),
        grace in prop_oneof![Just(0), span()],
    ) {
        let mut table = table(grace);
        let mut held: Vec<(usize, i64)> = Vec::new();
        let mut at = 0_i64;
        let mut waiting = spans.into_iter().enumerate();
        for step in steps {
            for (key, (span, own_ttl)) in waiting.by_ref().take(3) {
                let deadline = at.saturating_add(span);
                let put = Put { deadline, own_ttl, ..Put::default() };
                prop_assert!(table.insert(key as u64, key, deadline, &put, Now::exactly(at)).is_empty());
                held.push((key, deadline));
            }
            at = at.saturating_add(step).min(FOREVER - 1);
            let now = Now::exactly(at);
            let expired = held.iter().filter(|(_, deadline)| *deadline <= at).count();
            prop_assert_eq!(table.count_expired(now, usize::MAX), expired);
            table.validate();
            let swept = table.sweep(now);
            prop_assert!(swept.iter().all(|gone| gone.cause == Cause::Expired));
            let (over, kept): (Vec<_>, Vec<_>) =
                held.into_iter().partition(|(_, deadline)| deadline.saturating_add(grace) <= at);
            prop_assert_eq!(
                sorted(swept.into_iter().map(|gone| gone.key).collect()),
                sorted(over.into_iter().map(|(key, _)| key).collect())
            );
            held = kept;
            prop_assert_eq!(table.len(), held.len());
            table.validate();
        }
    }

    /// Moved deadlines are kept exactly, whichever list they move from and to.
    #[test]
    fn moved_deadlines_are_exact(moves in vec((0..8_usize, span(), any::<bool>(), 0..SECOND), 1..80)) {
        let mut table = table(0);
        let mut deadlines = [FOREVER; 8];
        for key in 0..deadlines.len() {
            prop_assert!(table.insert(key as u64, key, 0, &Put::default(), Now::exactly(0)).is_empty());
        }
        let mut at = 0_i64;
        for (key, span, own_ttl, step) in moves {
            if let Some(slot) = table.find(key as u64, |known| *known == key) {
                deadlines[key] = at.saturating_add(span);
                table.retime(slot, deadlines[key], own_ttl);
            }
            at += step;
            table.validate();
            let mut swept: Vec<_> = table.sweep(Now::exactly(at)).into_iter().map(|gone| gone.key).collect();
            swept.sort_unstable();
            let over: Vec<_> = (0..8).filter(|&key| deadlines[key] <= at).collect();
            prop_assert_eq!(&swept, &over);
            for key in over {
                deadlines[key] = FOREVER;
            }
        }
    }
}

/// Room is made by an entry of the wheel at most one tick, 17 ms, after its deadline.
#[test]
fn room_is_made_within_a_tick() {
    const TICK: i64 = 1 << 24;
    for deadline in [TICK, TICK + 1, 100 * TICK - 1, 64 * TICK, 4096 * TICK + 5] {
        let mut table = Table::new(Limits::new(2)).expect("possible limits");
        let own = Put {
            deadline,
            own_ttl: true,
            ..Put::default()
        };
        assert!(
            table
                .insert(1, 1, (), &Put::default(), Now::exactly(0))
                .is_empty()
        );
        assert!(table.insert(2, 2, (), &own, Now::exactly(0)).is_empty());
        let gone: Vec<_> = table
            .insert(3, 3, (), &Put::default(), Now::exactly(deadline + TICK))
            .into_iter()
            .collect();
        assert_eq!((gone[0].key, gone[0].cause), (2, Cause::Expired));
        table.validate();
    }
}

/// A clock that is set back expires nobody, and time that goes on afterwards does.
#[test]
fn time_may_be_set_back() {
    let mut table = table(0);
    for (key, seconds) in [(1, 10), (2, 20), (3, 30)] {
        let put = Put {
            deadline: seconds * SECOND,
            own_ttl: true,
            ..Put::default()
        };
        assert!(
            table
                .insert(key as u64, key, 0, &put, Now::exactly(0))
                .is_empty()
        );
    }
    assert_eq!(
        table.count_expired(Now::exactly(25 * SECOND), usize::MAX),
        2
    );
    assert_eq!(table.count_expired(Now::exactly(5 * SECOND), usize::MAX), 0);
    assert!(table.sweep(Now::exactly(5 * SECOND)).is_empty());
    table.validate();
    let put = Put {
        deadline: 12 * SECOND,
        own_ttl: true,
        ..Put::default()
    };
    assert!(
        table
            .insert(4, 4, 0, &put, Now::exactly(5 * SECOND))
            .is_empty()
    );
    table.validate();
    assert_eq!(table.sweep(Now::exactly(15 * SECOND)).len(), 2);
    assert_eq!(table.sweep(Now::exactly(30 * SECOND)).len(), 2);
    table.validate();
}

/// A queue of one TTL and a wheel of others are swept alike, also when the shared TTL is lowered in between.
#[test]
fn a_lowered_shared_ttl_is_kept() {
    let mut table = table(0);
    for (key, seconds) in [(1, 100), (2, 101), (3, 10), (4, 11), (5, 102)] {
        let put = Put {
            deadline: seconds * SECOND,
            ..Put::default()
        };
        assert!(
            table
                .insert(key as u64, key, 0, &put, Now::exactly(0))
                .is_empty()
        );
        table.validate();
    }
    assert_eq!(
        sorted(
            table
                .sweep(Now::exactly(11 * SECOND))
                .into_iter()
                .map(|gone| gone.key)
                .collect()
        ),
        [3, 4]
    );
    assert_eq!(table.sweep(Now::exactly(102 * SECOND)).len(), 3);
}
