//! What can be told of this process without asking Python.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::Value;

use super::wire::Speaker;

static DESCRIBED: Mutex<Described> = Mutex::new(Described {
    methods: "none",
    description: Value::Null,
});
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// What others said of this process.
#[derive(Clone)]
pub(super) struct Described {
    /// Which methods the caches have.
    pub(super) methods: &'static str,
    /// A JSON object of Python's.
    pub(super) description: Value,
}

/// How many requests had which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) answered: u64,
    pub(super) refused: u64,
}

pub(super) fn described() -> Described {
    DESCRIBED.lock().clone()
}

/// Which methods the caches of this process have.
pub fn set_methods(methods: &'static str) {
    DESCRIBED.lock().methods = methods;
}

/// Keeps a JSON object of static facts, which `config` shows.
///
/// # Errors
/// What it is instead.
pub fn describe(text: &str) -> Result<(), String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => {
            DESCRIBED.lock().description = Value::Object(object);
            Ok(())
        }
        Ok(_) => Err("the description must be a JSON object".to_owned()),
        Err(error) => Err(format!("the description is no JSON: {error}")),
    }
}

pub(super) fn count_answered() {
    ANSWERED.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn count_refused() {
    REFUSED.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn counted() -> Counted {
    Counted {
        answered: ANSWERED.load(Ordering::Relaxed),
        refused: REFUSED.load(Ordering::Relaxed),
    }
}

/// For a forked child, which has answered nobody yet.
pub(super) fn count_anew() {
    ANSWERED.store(0, Ordering::Relaxed);
    REFUSED.store(0, Ordering::Relaxed);
}

/// This process, as it introduces itself in each answer.
pub(super) fn speaker() -> Speaker {
    static KNOWN: Mutex<Speaker> = Mutex::new(Speaker {
        pid: 0,
        started: 0.0,
    });
    let pid = std::process::id();
    let mut known = KNOWN.lock();
    if known.pid != pid {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        *known = Speaker {
            pid,
            started: now - uptime_seconds(),
        };
    }
    *known
}

/// The tick since the host's start in which this process started, which with its number is no other's; 0 where unknown.
#[cfg(target_os = "linux")]
pub(super) fn start_tick() -> u64 {
    const FIELD: usize = 22;
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses, and may hold anything.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = rest.split_ascii_whitespace().nth(FIELD - 3);
    field.and_then(|tick| tick.parse().ok()).unwrap_or(0)
}

/// How long this process has run; 0 where unknown.
#[cfg(target_os = "linux")]
pub(super) fn uptime_seconds() -> f64 {
    use rustix::time::{ClockId, clock_gettime};

    #[expect(clippy::cast_precision_loss, reason = "seconds for display")]
    match start_tick() {
        0 => 0.0,
        tick => {
            let now = clock_gettime(ClockId::Boottime);
            let started = tick as f64 / rustix::param::clock_ticks_per_second() as f64;
            let since = now.tv_sec as f64 + now.tv_nsec as f64 / 1e9 - started;
            (since.max(0.0) * 100.0).round() / 100.0
        }
    }
}

/// How much memory of this process is resident; 0 where unknown.
#[cfg(target_os = "linux")]
pub(super) fn rss_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_ascii_whitespace().nth(1);
    let pages: u64 = pages.and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// The kernel's number of the calling thread.
#[cfg(target_os = "linux")]
pub(super) fn thread_number() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// A thread that was joined is counted by the kernel for a moment more, and CPython warns of forks beside threads.
#[cfg(target_os = "linux")]
pub(super) fn wait_until_gone(thread: i32) {
    const MOMENT: std::time::Duration = std::time::Duration::from_millis(50);
    let path = format!("/proc/self/task/{thread}");
    let until = std::time::Instant::now() + MOMENT;
    while thread != 0
        && std::fs::exists(&path).unwrap_or(false)
        && std::time::Instant::now() < until
    {
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn thread_number() -> i32 {
    0
}

#[cfg(not(target_os = "linux"))]
pub(super) fn wait_until_gone(_thread: i32) {}

#[cfg(not(target_os = "linux"))]
pub(super) fn uptime_seconds() -> f64 {
    0.0
}

#[cfg(not(target_os = "linux"))]
pub(super) fn rss_bytes() -> u64 {
    0
}
