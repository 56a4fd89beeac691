//! Early refresh: a hit near its deadline is now and then elected to reload, so that no crowd meets an expired entry.
//!
//! Source: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention" (VLDB 2015), `XFetch`.
//! Random numbers: `SplitMix64` by Sebastiano Vigna (public domain).

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Nanos;

static TABLES: AtomicU64 = AtomicU64::new(0);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// `-ln` of the smallest number that is drawn, rounded up: beyond it no draw elects, so none is made.
const FARTHEST: f64 = 37.0;

/// One table's random numbers.
#[derive(Debug)]
pub(super) struct Draw {
    state: u64,
}

impl Default for Draw {
    fn default() -> Self {
        Self::new()
    }
}

impl Draw {
    /// Each table draws its own sequence; a run of a program repeats them.
    pub(super) fn new() -> Self {
        Self {
            state: TABLES.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN),
        }
    }

    /// Whether a hit with `remaining` time and a load time of `cost` is elected. `beta` above 1 elects earlier.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a comparison of spans against a random number"
    )]
    pub(super) fn elects(&mut self, remaining: Nanos, cost: Nanos, beta: f64) -> bool {
        let (remaining, scale) = (remaining as f64, cost as f64 * beta);
        remaining <= scale * FARTHEST && remaining <= scale * -self.unit().ln()
    }

    /// Uniform in (0, 1].
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform below `end`, which is not 0, but for a bias that nobody can measure while `end` is small.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        let mut bits = self.state;
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ bits >> 31
    }
}
