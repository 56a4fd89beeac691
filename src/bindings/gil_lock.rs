//! The lock of a table: with the GIL, a flag that costs nothing; without, a mutex.
//!
//! A mutex takes two atomic read-modify-writes a hit, which cost a third of the whole hit (docs/decisions has the figures).
//! With the GIL they buy nothing: only attached threads reach a table, nothing between lock and unlock runs Python code or
//! lets go of the GIL, and so no other thread can meet a table half changed. The flag is there to notice if that rule is
//! ever broken: then the operation fails with an exception instead of waiting for itself for ever.
#![expect(
    unsafe_code,
    reason = "the contract of lock_api::RawMutex, which is what the engine asks of a lock"
)]

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::lock_api::{GuardNoSend, RawMutex};

/// The lock that tables of this build use.
#[cfg(not(Py_GIL_DISABLED))]
pub(super) type TableLock = GilLock;
#[cfg(Py_GIL_DISABLED)]
pub(super) type TableLock = parking_lot::RawMutex;

/// Exclusive among threads that hold the GIL, which is all that may use it.
pub(super) struct GilLock {
    is_held: AtomicBool,
}

// SAFETY: exclusive because its users hold the GIL from `lock` to `unlock`. That is so because only the bindings make one,
// each of their functions is called in an attached thread, none detaches but those of `control.rs`, with no table at hand, and
// while a table is locked they call nothing of Python's that could run code, collect garbage or release the GIL: they hash,
// compare exact built-in objects and count references up. What holds for one GIL holds for all: pyo3 refuses to be
// imported by subinterpreters.
unsafe impl RawMutex for GilLock {
    const INIT: Self = Self {
        is_held: AtomicBool::new(false),
    };

    type Guard = GuardNoSend;

    #[inline(always)]
    fn lock(&self) -> GuardNoSend {
        if self.is_held.load(Ordering::Relaxed) {
            entered_again();
        }
        self.is_held.store(true, Ordering::Relaxed);
        GuardNoSend::new()
    }

    #[inline]
    fn try_lock(&self) -> Option<GuardNoSend> {
        if self.is_held.load(Ordering::Relaxed) {
            return None;
        }
        self.is_held.store(true, Ordering::Relaxed);
        Some(GuardNoSend::new())
    }

    #[inline(always)]
    unsafe fn unlock(&self, _guard: GuardNoSend) {
        self.is_held.store(false, Ordering::Relaxed);
    }

    fn is_locked(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }
}

#[cold]
#[inline(never)]
fn entered_again() -> ! {
    panic!(
        "a cache was entered again while its table was locked; please report this as a bug of oxicache"
    )
}
