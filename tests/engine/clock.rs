//! Time: sources, deadlines, spans.

use std::sync::{Mutex, MutexGuard, PoisonError};

use _native::engine::clock::{self, FOREVER, Now, Source, nanos, seconds};

use crate::SECOND;

static SOURCE: Mutex<()> = Mutex::new(());

/// One test at a time may say what time it is; at its end time goes back to the machine's.
pub(crate) struct Driver(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

pub(crate) fn driver() -> Driver {
    Driver(SOURCE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Drop for Driver {
    fn drop(&mut self) {
        clock::system();
    }
}

/// A driven clock stands still until it is driven again, forwards or backwards.
#[test]
fn driven_time_moves_by_hand() {
    let _driver = driver();
    clock::drive(5 * SECOND);
    assert_eq!(clock::source(), Source::Driven);
    assert_eq!(
        (clock::now().at(), clock::now().at()),
        (5 * SECOND, 5 * SECOND)
    );
    clock::drive(3 * SECOND);
    assert_eq!(clock::now().at(), 3 * SECOND);
    clock::external();
    assert_eq!(
        (clock::source(), clock::now().at()),
        (Source::External, 3 * SECOND)
    );
    clock::system();
    assert_eq!(clock::source(), Source::System);
}

/// The coarse clock is never ahead of the precise one and lags by no more than its slack.
#[test]
fn coarse_time_lags_within_its_slack() {
    for _ in 0..1_000 {
        let before = clock::precise();
        let coarse = Now::coarse();
        assert!(coarse.at() <= clock::precise());
        assert!(
            coarse.reached(before),
            "the coarse clock missed a deadline that the precise one saw pass"
        );
        assert!(!coarse.reached(clock::precise() + SECOND));
    }
}

/// A deadline is reached at its very instant, not one nanosecond before.
#[test]
fn deadlines_are_exact() {
    let now = Now::exactly(10);
    assert_eq!(
        [9, 10, 11].map(|deadline| now.reached(deadline)),
        [true, true, false]
    );
}

/// For ever is never reached, not even at the end of time.
#[test]
fn forever_is_never_reached() {
    for at in [i64::MIN, 0, i64::MAX] {
        assert!(!Now::exactly(at).reached(FOREVER));
    }
    assert_eq!(Now::exactly(5).after(FOREVER), FOREVER);
    assert_eq!(Now::coarse().after(FOREVER), FOREVER);
    assert_eq!(Now::exactly(5).after(FOREVER - 2), FOREVER);
}

/// A short span is counted from the precise clock, so that it is never cut short by the coarse one's lag.
#[test]
fn short_spans_are_not_cut_short() {
    for _ in 0..1_000 {
        let before = clock::precise();
        let deadline = Now::coarse().after(1_000);
        assert!(deadline >= before + 1_000);
    }
}

/// Seconds become nanoseconds; too many become for ever; negative ones and nonsense are refused.
#[test]
fn spans_are_converted_and_checked() {
    assert_eq!(nanos(0.1), Ok(100_000_000));
    assert_eq!(nanos(-0.0), Ok(0));
    assert_eq!(nanos(3600.0), Ok(3_600 * SECOND));
    for forever in [f64::INFINITY, 1e30, 9_223_372_036.9] {
        assert_eq!(nanos(forever), Ok(FOREVER));
    }
    for wrong in [f64::NAN, -1e-300, f64::NEG_INFINITY] {
        assert!(nanos(wrong).is_err(), "{wrong} passed for a span");
    }
    assert!((seconds(1_500_000_000) - 1.5).abs() < f64::EPSILON);
    assert!(seconds(FOREVER).is_infinite());
}
