//! Where "now" comes from: the machine's monotonic clock, or a time set by hand.
//!
//! One process has one source. Deadlines mean something only within one source, so whoever changes it empties the caches.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use super::error::Error;

/// Nanoseconds, as an instant on the source's time line or as a span.
pub type Nanos = i64;

/// The deadline of what never expires.
pub const FOREVER: Nanos = i64::MAX;

const SECOND: Nanos = 1_000_000_000;

/// Spans below this are counted from the precise clock: a coarse one would shorten them by up to a tick, some 4 ms.
const SHORT: Nanos = SECOND;

/// One reading of the clock, passed down so that a whole operation has one "now".
#[derive(Clone, Copy, Debug)]
pub struct Now {
    at: Nanos,
    /// Past this a deadline is certainly ahead; between `at` and this only the precise clock knows.
    horizon: Nanos,
}

impl Now {
    /// Reads the coarse monotonic clock, which costs a tenth of the precise one and lags by at most two ticks.
    #[inline]
    #[must_use]
    pub fn coarse() -> Self {
        let at = os::coarse();
        Self {
            at,
            horizon: at.wrapping_add(slack()),
        }
    }

    /// A time that is taken at its word: nothing else is read to decide about deadlines.
    #[inline]
    #[must_use]
    pub fn exactly(at: Nanos) -> Self {
        let at = at.min(FOREVER - 1); // FOREVER itself is never reached
        Self { at, horizon: at }
    }

    /// The instant that was read.
    #[inline]
    #[must_use]
    pub fn at(self) -> Nanos {
        self.at
    }

    /// Whether `deadline` is now or in the past. `FOREVER` never is.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::inline_always,
        reason = "one comparison in the path of every hit"
    )]
    pub fn reached(self, deadline: Nanos) -> bool {
        deadline <= self.horizon && self.settle(deadline)
    }

    /// The deadline of something that lives `ttl` from now; `FOREVER` stays `FOREVER`.
    #[inline]
    #[must_use]
    pub fn after(self, ttl: Nanos) -> Nanos {
        if ttl < SHORT && self.horizon != self.at {
            return precise().saturating_add(ttl);
        }
        if ttl == FOREVER {
            return FOREVER; // before zero, where a clock may be driven, the sum would fall short of it
        }
        self.at.saturating_add(ttl)
    }

    #[cold]
    fn settle(self, deadline: Nanos) -> bool {
        deadline <= self.at || (self.horizon != self.at && deadline <= precise())
    }
}

/// The exact monotonic time. Costs about 20 ns where [`Now::coarse`] costs 2.
#[must_use]
pub fn precise() -> Nanos {
    os::precise()
}

/// Who says what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The machine's monotonic clock.
    System,
    /// Frozen at the instant last given to [`drive`].
    Driven,
    /// The caller reads a clock of its own and passes [`Now::exactly`]; the engine cannot read it.
    External,
}

/// The source, and above it what is to be heeded before a cache is used at all: see [`ready`].
static SOURCE: AtomicU8 = AtomicU8::new(Source::System as u8);
static DRIVEN: AtomicI64 = AtomicI64::new(0);
/// Two ticks of the coarse clock; 0 until first needed.
static SLACK: AtomicI64 = AtomicI64::new(0);

/// Somebody asks for attention: see `orders`.
const ATTENTION: u8 = 1 << 6;
/// Caches are disabled in this process.
const DISABLED: u8 = 1 << 7;
const FLAGS: u8 = ATTENTION | DISABLED;

/// The source in force.
#[must_use]
pub fn source() -> Source {
    match SOURCE.load(Ordering::Relaxed) & !FLAGS {
        0 => Source::System,
        1 => Source::Driven,
        _ => Source::External,
    }
}

/// The source in force, unless there is something to heed first: attention is asked for, or caches are disabled.
///
/// One relaxed load. Whoever asks before each operation, as the paths of hits do for the time, needs not ask for the rest.
#[inline(always)]
#[must_use]
pub fn ready() -> Option<Source> {
    match SOURCE.load(Ordering::Relaxed) {
        0 => Some(Source::System),
        1 => Some(Source::Driven),
        flags if flags & FLAGS == 0 => Some(Source::External),
        _ => None,
    }
}

/// Whether somebody asks for attention.
#[inline]
#[must_use]
pub fn is_attention_asked() -> bool {
    SOURCE.load(Ordering::Relaxed) & ATTENTION != 0
}

/// Asks whoever uses a cache next for attention, or says that it was given.
pub(super) fn ask_attention(on: bool) {
    flag(ATTENTION, on);
}

/// Whether caches are disabled: nothing is held, and nothing may be stored.
#[inline]
#[must_use]
pub fn is_disabled() -> bool {
    SOURCE.load(Ordering::Relaxed) & DISABLED != 0
}

/// Disables caches or enables them; whether that was a change. Emptying them is the caller's business: see `orders`.
pub(super) fn disable(on: bool) -> bool {
    flag(DISABLED, on)
}

/// Sequentially consistent: what the asker wrote before is seen by whoever sees the flag, on any machine.
fn flag(bit: u8, on: bool) -> bool {
    let before = if on {
        SOURCE.fetch_or(bit, Ordering::SeqCst)
    } else {
        SOURCE.fetch_and(!bit, Ordering::SeqCst)
    };
    (before & bit != 0) != on
}

/// The present, by the source in force. Under [`Source::External`] it is the instant last given to [`drive`].
#[inline]
#[must_use]
pub fn now() -> Now {
    if SOURCE.load(Ordering::Relaxed) & !FLAGS == Source::System as u8 {
        Now::coarse()
    } else {
        driven()
    }
}

#[cold]
fn driven() -> Now {
    Now::exactly(DRIVEN.load(Ordering::Relaxed))
}

/// Freezes time at `at`; called again it moves time.
pub fn drive(at: Nanos) {
    DRIVEN.store(at, Ordering::Relaxed);
    change(Source::Driven);
}

/// Leaves the reading of time to the caller.
pub fn external() {
    change(Source::External);
}

/// Goes back to the machine's monotonic clock.
pub fn system() {
    change(Source::System);
}

/// The flags stay as they are, whoever sets them meanwhile.
fn change(source: Source) {
    let mut byte = SOURCE.load(Ordering::Relaxed);
    while let Err(other) = SOURCE.compare_exchange_weak(
        byte,
        byte & FLAGS | source as u8,
        Ordering::Relaxed,
        Ordering::Relaxed,
    ) {
        byte = other;
    }
}

/// Seconds as a span. Infinity and spans beyond the range (some 292 years) are `FOREVER`.
///
/// # Errors
/// When `seconds` is not a number or is negative.
pub fn nanos(seconds: f64) -> Result<Nanos, Error> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(Error::BadSeconds { value: seconds });
    }
    let nanos = (seconds * 1e9).round();
    // i64::MAX as a float is one above i64::MAX, so "not below" is the exact test for "does not fit".
    #[expect(
        clippy::cast_precision_loss,
        reason = "compared only, and the rounding is accounted for"
    )]
    let limit = FOREVER as f64;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole, and within range by the comparison"
    )]
    Ok(if nanos < limit {
        nanos as Nanos
    } else {
        FOREVER
    })
}

/// A span in seconds; `FOREVER` is infinite.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 104 days a float's second has no nanoseconds left"
)]
pub fn seconds(nanos: Nanos) -> f64 {
    if nanos == FOREVER {
        f64::INFINITY
    } else {
        nanos as f64 / 1e9
    }
}

#[inline]
fn slack() -> Nanos {
    match SLACK.load(Ordering::Relaxed) {
        0 => measure_slack(),
        slack => slack,
    }
}

#[cold]
fn measure_slack() -> Nanos {
    let slack = os::resolution().saturating_mul(2).clamp(1, SECOND);
    SLACK.store(slack, Ordering::Relaxed);
    slack
}

#[cfg(target_os = "linux")]
mod os {
    use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

    use super::{Nanos, SECOND};

    #[inline]
    fn nanos(time: Timespec) -> Nanos {
        time.tv_sec.wrapping_mul(SECOND).wrapping_add(time.tv_nsec)
    }

    #[inline]
    pub(super) fn coarse() -> Nanos {
        nanos(clock_gettime(ClockId::MonotonicCoarse))
    }

    pub(super) fn precise() -> Nanos {
        nanos(clock_gettime(ClockId::Monotonic))
    }

    pub(super) fn resolution() -> Nanos {
        nanos(clock_getres(ClockId::MonotonicCoarse))
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    //! No coarse clock that the standard library offers, so the precise one serves as both.

    use std::sync::OnceLock;
    use std::time::Instant;

    use super::Nanos;

    static START: OnceLock<Instant> = OnceLock::new();

    pub(super) fn coarse() -> Nanos {
        precise()
    }

    pub(super) fn precise() -> Nanos {
        let since = START.get_or_init(Instant::now).elapsed().as_nanos();
        Nanos::try_from(since).unwrap_or(Nanos::MAX - 1)
    }

    pub(super) fn resolution() -> Nanos {
        0
    }
}
