//! The native half of oxicache.
//!
//! Three parts, one wall before the last:
//!
//! - [`engine`]: pure Rust. Tables, recency, eviction, deadlines, counters. Knows neither Python nor I/O, and is
//!   tested by `cargo test` on a machine without Python.
//! - [`host`]: what the processes of one host share. Knows no Python either.
//! - `bindings` (feature `python`): the only Rust that knows Python. It converts, locks, calls and converts back.

pub mod engine;
pub mod host;

#[cfg(feature = "python")]
mod bindings;
