//! What is being deleted right now.

use _native::engine::{DeletionTracker, Slot};

type Ids = DeletionTracker<u64>;

/// All ids share a few hashes, so that comparison has something to do.
fn find(tracker: &Ids, id: u64) -> Option<Slot> {
    tracker.find(id % 3, |known| *known == id)
}

fn add(tracker: &mut Ids, id: u64, at: f64) -> Option<u64> {
    tracker.add(id % 3, find(tracker, id), id, at)
}

fn hold(tracker: &mut Ids, id: u64, at: f64) -> Option<u64> {
    tracker.hold(id % 3, find(tracker, id), id, at)
}

fn discard(tracker: &mut Ids, id: u64) -> Option<u64> {
    find(tracker, id).and_then(|slot| tracker.discard(slot))
}

fn release(tracker: &mut Ids, id: u64) -> Option<u64> {
    find(tracker, id).and_then(|slot| tracker.release(slot))
}

/// Adding is not counted: one discard ends it, and another does nothing.
#[test]
fn add_add_discard_tracks_no_more() {
    let mut tracker = Ids::new(0.0);
    assert_eq!(add(&mut tracker, 7, 0.0), None);
    assert_eq!(add(&mut tracker, 7, 0.0), Some(7));
    assert_eq!(tracker.len(), 1);
    assert_eq!(discard(&mut tracker, 7), Some(7));
    assert_eq!(
        (
            find(&tracker, 7),
            discard(&mut tracker, 7),
            tracker.is_empty()
        ),
        (None, None, true)
    );
}

/// Holds are counted: the key leaves with the last of them.
#[test]
fn holds_are_counted() {
    let mut tracker = Ids::new(0.0);
    assert_eq!(hold(&mut tracker, 7, 0.0), None);
    assert_eq!(hold(&mut tracker, 7, 0.0), Some(7));
    assert_eq!(release(&mut tracker, 7), None);
    assert!(find(&tracker, 7).is_some());
    assert_eq!(release(&mut tracker, 7), Some(7));
    assert!(find(&tracker, 7).is_none());
}

/// A discard inside a hold ends the plain tracking only; the end of the hold then ends all.
#[test]
fn a_held_key_survives_a_discard() {
    let mut tracker = Ids::new(0.0);
    assert_eq!(add(&mut tracker, 7, 0.0), None);
    assert_eq!(hold(&mut tracker, 7, 0.0), Some(7));
    assert_eq!(discard(&mut tracker, 7), None);
    assert!(find(&tracker, 7).is_some());
    assert_eq!(release(&mut tracker, 7), Some(7));
}

/// A key added before or during a hold is still tracked after it.
#[test]
fn an_added_key_survives_a_release() {
    let mut tracker = Ids::new(0.0);
    assert_eq!(hold(&mut tracker, 7, 0.0), None);
    assert_eq!(add(&mut tracker, 7, 0.0), Some(7));
    assert_eq!(release(&mut tracker, 7), None);
    assert_eq!(discard(&mut tracker, 7), Some(7));
}

/// A key is stale when more than the threshold has passed, not when exactly it has; held ones never are.
#[test]
fn sweeping_takes_what_is_older_than_the_threshold() {
    let mut tracker = Ids::new(0.0);
    for id in [1, 2] {
        assert_eq!(add(&mut tracker, id, 0.0), None);
    }
    assert_eq!(hold(&mut tracker, 3, 0.0), None);
    assert_eq!(add(&mut tracker, 1, 0.5), Some(1));
    assert!(tracker.sweep(3600.0).is_empty());
    assert_eq!(tracker.sweep(3600.25), [2]);
    assert_eq!(tracker.sweep(99_999.0), [1]);
    assert_eq!(
        tracker
            .slots()
            .into_iter()
            .map(|slot| *tracker.key(slot))
            .collect::<Vec<_>>(),
        [3]
    );
    assert!(
        tracker.last_cleanup() == 0.0,
        "a sweep by hand set the time of the automatic one"
    );
}

/// The automatic sweep runs when more than a quarter of the threshold has passed since it last ran.
#[test]
fn the_automatic_sweep_waits_a_quarter_of_the_threshold() {
    let mut tracker = Ids::new(100.0);
    tracker.set_threshold(40.0);
    assert_eq!(add(&mut tracker, 1, 60.0), None);
    assert!(
        tracker.auto_sweep(110.0).is_empty(),
        "exactly a quarter is not more than a quarter"
    );
    assert_eq!(tracker.auto_sweep(110.5), [1]);
    assert!((tracker.last_cleanup() - 110.5).abs() < f64::EPSILON);
    assert_eq!(add(&mut tracker, 2, 0.0), None);
    assert!(tracker.auto_sweep(111.0).is_empty());
    tracker.set_last_cleanup(0.0);
    assert_eq!(tracker.auto_sweep(111.0), [2]);
}

/// A stamp can be moved, and what it says is what a sweep goes by.
#[test]
fn stamps_can_be_moved() {
    let mut tracker = Ids::new(0.0);
    assert_eq!(add(&mut tracker, 1, 0.0), None);
    let slot = find(&tracker, 1).expect("just added");
    tracker.set_stamp(slot, 5_000.0);
    assert!((tracker.stamp(slot) - 5_000.0).abs() < f64::EPSILON);
    assert!(tracker.sweep(8_000.0).is_empty());
}

/// The generation stands still exactly as long as slots stay valid.
#[test]
fn the_generation_says_whether_slots_are_valid() {
    let mut tracker = Ids::new(0.0);
    let start = tracker.generation();
    assert_eq!(add(&mut tracker, 1, 0.0), None);
    let filled = tracker.generation();
    assert_ne!(filled, start);
    assert_eq!(add(&mut tracker, 1, 1.0), Some(1));
    assert_eq!(hold(&mut tracker, 1, 1.0), Some(1));
    assert_eq!(tracker.generation(), filled);
    assert!(tracker.clear().is_empty(), "a held key was cleared");
    assert_eq!(tracker.generation(), filled);
    assert_eq!(release(&mut tracker, 1), Some(1));
    assert_ne!(tracker.generation(), filled);
}

/// Thousands of keys of few hashes are found, removed and added again.
#[test]
fn many_keys_come_and_go() {
    let mut tracker = Ids::new(0.0);
    for round in 0..3 {
        for id in 0..500 {
            assert_eq!(add(&mut tracker, id, f64::from(round)), None);
        }
        for id in (0..500).rev() {
            assert_eq!(discard(&mut tracker, id), Some(id));
        }
        assert!(tracker.is_empty() && tracker.slots().is_empty());
    }
}

/// What a sweep would remove is told without removing it; what is held is not stale.
#[test]
fn stale_keys_are_told_and_stay() {
    let mut tracker = Ids::new(0.0);
    for id in 1..=3 {
        assert_eq!(add(&mut tracker, id, 0.0), None);
    }
    assert_eq!(hold(&mut tracker, 2, 0.0), Some(2));
    assert_eq!(add(&mut tracker, 3, 4000.0), Some(3));
    let stale: Vec<u64> = tracker.stale(4000.0).copied().collect();
    assert_eq!(stale, [1]);
    assert_eq!(tracker.len(), 3);
    assert_eq!(tracker.sweep(4000.0), stale);
}
