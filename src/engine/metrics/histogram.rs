//! How long things took, in buckets that grow as 1, 2, 5.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The upper bounds of the buckets: from 50 ns, which a hit takes, to 10 s, which nobody waits for.
pub const BOUNDS_NANOS: [u64; BOUNDS] = [
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

const BOUNDS: usize = 26;
/// The last one is for what took longer than the last bound.
const BUCKETS: usize = BOUNDS + 1;

/// How often something took how long. Written by whoever measured, read by anybody.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl Tally {
    /// Notes a duration that stands for `weight` of its kind.
    pub(super) fn add(&self, nanos: u64, weight: u64) {
        let bucket = BOUNDS_NANOS.partition_point(|&bound| bound < nanos);
        self.counts[bucket].fetch_add(weight, Ordering::Relaxed);
        let sum = nanos.saturating_mul(weight);
        self.sum_nanos.fetch_add(sum, Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> Latency {
        let mut totals = Latency::default();
        for (total, count) in totals.counts.iter_mut().zip(&self.counts) {
            *total = count.load(Ordering::Relaxed);
        }
        totals.sum_nanos = self.sum_nanos.load(Ordering::Relaxed);
        totals
    }
}

/// What was tallied up to one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; BUCKETS],
    sum_nanos: u64,
}

impl Latency {
    pub(super) fn subtract(&mut self, before: &Self) {
        for (count, before) in self.counts.iter_mut().zip(before.counts) {
            *count = count.saturating_sub(before);
        }
        self.sum_nanos = self.sum_nanos.saturating_sub(before.sum_nanos);
    }

    /// How many durations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, &count| sum.saturating_add(count))
    }

    pub(super) fn nanos(&self) -> u64 {
        self.sum_nanos
    }

    /// All durations together.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "beyond 104 days a float's second has no nanoseconds left"
    )]
    pub fn seconds(&self) -> f64 {
        self.sum_nanos as f64 / 1e9
    }

    /// As statistics have it.
    #[must_use]
    pub fn shown(&self) -> Histogram {
        Histogram {
            bounds_seconds: bounds_seconds(),
            counts: self.counts.to_vec(),
            sum_seconds: self.seconds(),
            count: self.count(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the bounds are round numbers")]
fn bounds_seconds() -> Vec<f64> {
    BOUNDS_NANOS
        .iter()
        .map(|&nanos| nanos as f64 / 1e9)
        .collect()
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// The upper bounds of the buckets, inclusive, in seconds.
    pub bounds_seconds: Vec<f64>,
    /// How often it took at most that long, and longer than the bound before; then how often longer than all bounds.
    pub counts: Vec<u64>,
    /// All durations together.
    pub sum_seconds: f64,
    /// How many durations there were.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS_NANOS, BUCKETS, Tally};

    /// A duration is counted under the first bound that is not below it, and behind the last one when there is none.
    #[test]
    fn durations_fall_below_their_bounds() {
        let tally = Tally::default();
        for nanos in [0, 50, 51, 10_000_000_000, 10_000_000_001] {
            tally.add(nanos, 2);
        }
        let totals = tally.totals();
        assert_eq!((totals.counts[0], totals.counts[1]), (4, 2));
        assert_eq!(totals.counts[BUCKETS - 2..], [2, 2]);
        assert_eq!((totals.count(), totals.sum_nanos), (10, 40_000_000_204));
    }

    /// Bounds rise, as a reader of cumulated counts expects.
    #[test]
    fn bounds_rise() {
        assert!(BOUNDS_NANOS.is_sorted_by(|one, next| one < next));
    }
}
