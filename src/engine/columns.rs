//! What only some tables know about their entries: weights, load costs, stamps. Each column is made when first used.

use super::clock::Nanos;
use super::limits::Limits;
use super::put::Put;
use super::slab::Slot;
use super::stamp::Stamp;

const MICROSECOND: Nanos = 1_000;

#[derive(Debug, Default)]
pub(super) struct Columns {
    /// Whether entries are weighed, because a limit in bytes says so.
    weighs: bool,
    /// Whether load times are kept, because early refresh needs them.
    times: bool,
    /// Whether a hit has to ask here: load times are or were kept, or entries were stamped.
    asked: bool,
    weights: Vec<u32>,
    /// The sum of `weights`.
    bytes: u64,
    costs: Vec<u32>,
    /// The seconds in which entries were stored whose deadline does not tell; only where `Meta` says so, and never asked on
    /// a hit.
    births: Vec<u32>,
    stamps: Vec<Stamp>,
    /// How many stamps each slot has room for: the most that any entry had.
    stride: usize,
}

impl Columns {
    pub(super) fn new(limits: &Limits) -> Self {
        let (weighs, times) = (limits.max_bytes.is_some(), limits.early_refresh > 0.0);
        Self {
            weighs,
            times,
            asked: times,
            ..Self::default()
        }
    }

    /// Follows limits that were changed. Without a limit in bytes nothing weighs anything any more.
    pub(super) fn follow(&mut self, limits: &Limits) {
        self.weighs = limits.max_bytes.is_some();
        self.times = limits.early_refresh > 0.0;
        self.asked |= self.times;
        if !self.weighs {
            self.weights = Vec::new();
            self.bytes = 0;
        }
    }

    /// Whether any column may know something about an entry: most tables need no column, and ask only this.
    #[inline]
    pub(super) fn is_used(&self) -> bool {
        self.weighs || self.asked
    }

    /// Whether load times are kept.
    #[inline]
    pub(super) fn times(&self) -> bool {
        self.times
    }

    /// Whether any entry was ever stamped.
    #[inline]
    pub(super) fn stamps_any(&self) -> bool {
        self.stride != 0
    }

    /// Whether a hit depends on more than its deadline: on a draw, or on stamps.
    #[inline]
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Records what `put` says. `slots` is how many the slab has room for.
    #[inline(never)]
    pub(super) fn describe(&mut self, slot: Slot, put: &Put<'_>, slots: usize) {
        if self.weighs {
            self.set_weight(slot, put.weight, slots);
        }
        if self.times {
            self.set_cost(slot, put.cost, slots);
        }
        self.set_stamps(slot, put.stamps, slots);
    }

    /// The second in which an entry was stored, where it is noted.
    pub(super) fn birth(&self, slot: Slot) -> u32 {
        self.births.get(slot as usize).copied().unwrap_or(0)
    }

    #[inline(never)]
    pub(super) fn set_birth(&mut self, slot: Slot, second: u32, slots: usize) {
        *place(&mut self.births, slot, 1, slots, 0) = second;
    }

    /// What an entry weighs, where entries are weighed.
    pub(super) fn weight(&self, slot: Slot) -> Option<u64> {
        let weight = self.weights.get(slot as usize).copied();
        self.weighs.then(|| weight.map_or(0, u64::from))
    }

    /// What all entries weigh.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records another weight, where weights are kept.
    pub(super) fn reweigh(&mut self, slot: Slot, weight: u64, slots: usize) {
        if self.weighs {
            self.set_weight(slot, weight, slots);
        }
    }

    /// Weights beyond 4 GiB count as 4 GiB.
    fn set_weight(&mut self, slot: Slot, weight: u64, slots: usize) {
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let old = std::mem::replace(place(&mut self.weights, slot, 1, slots, 0), weight);
        self.bytes = self.bytes + u64::from(weight) - u64::from(old);
    }

    /// How long loading took, rounded up to microseconds; more than 71 minutes count as 71 minutes.
    pub(super) fn cost(&self, slot: Slot) -> Nanos {
        self.costs
            .get(slot as usize)
            .map_or(0, |&micros| Nanos::from(micros) * MICROSECOND)
    }

    /// The column is made by the first cost that is not zero.
    fn set_cost(&mut self, slot: Slot, cost: Nanos, slots: usize) {
        if cost > 0 || !self.costs.is_empty() {
            let micros = cost.max(0) / MICROSECOND + Nanos::from(cost % MICROSECOND > 0);
            *place(&mut self.costs, slot, 1, slots, 0) = u32::try_from(micros).unwrap_or(u32::MAX);
        }
    }

    #[inline]
    pub(super) fn stamps(&self, slot: Slot) -> &[Stamp] {
        let start = slot as usize * self.stride;
        let places = self
            .stamps
            .get(start..start + self.stride)
            .unwrap_or_default();
        // From the end: entries of one table mostly have equally many.
        let last = places.iter().rposition(|&stamp| stamp != Stamp::NONE);
        &places[..last.map_or(0, |last| last + 1)]
    }

    /// O(1), but for the first entry with more stamps than any before it, which lays the column out anew.
    fn set_stamps(&mut self, slot: Slot, stamps: &[Stamp], slots: usize) {
        if stamps.len() > self.stride {
            self.asked = true;
            self.widen(stamps.len());
        }
        if self.stride == 0 {
            return;
        }
        let _ = place(&mut self.stamps, slot, self.stride, slots, Stamp::NONE);
        let start = slot as usize * self.stride;
        let (used, unused) = self.stamps[start..start + self.stride].split_at_mut(stamps.len());
        used.copy_from_slice(stamps);
        unused.fill(Stamp::NONE);
    }

    /// Forgets what the next entry of this slot may not say anew. Stamps it always does.
    #[inline(never)]
    pub(super) fn vacate(&mut self, slot: Slot) {
        if let Some(weight) = self.weights.get_mut(slot as usize) {
            self.bytes -= u64::from(std::mem::take(weight));
        }
        if let Some(cost) = self.costs.get_mut(slot as usize) {
            *cost = 0;
        }
    }

    fn widen(&mut self, stride: usize) {
        let mut wider = Vec::with_capacity(self.stamps.len() / self.stride.max(1) * stride);
        for places in self.stamps.chunks(self.stride.max(1)) {
            wider.extend_from_slice(places);
            wider.resize(wider.len() + stride - self.stride, Stamp::NONE);
        }
        self.stamps = wider;
        self.stride = stride;
    }

    /// The sum of the weights is the sum.
    pub(super) fn validate(&self) {
        assert_eq!(
            self.bytes,
            self.weights
                .iter()
                .map(|&weight| u64::from(weight))
                .sum::<u64>(),
            "weights do not add up"
        );
    }
}

/// The first place of a slot in a column, which grows to the slab's own size when it is too short.
fn place<T: Clone>(
    column: &mut Vec<T>,
    slot: Slot,
    stride: usize,
    slots: usize,
    empty: T,
) -> &mut T {
    let at = slot as usize * stride;
    if at >= column.len() {
        let length = slots.max(slot as usize + 1) * stride;
        column.reserve_exact(length - column.len());
        column.resize(length, empty);
    }
    &mut column[at]
}
