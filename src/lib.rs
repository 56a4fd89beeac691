//! The native half of oxicache.
//!
//! Two halves, one wall between them:
//!
//! - [`engine`]: pure Rust. Tables, recency, eviction, deadlines, counters. Knows neither Python nor I/O, and is
//!   tested by `cargo test` on a machine without Python.
//! - `bindings` (feature `python`): the only Rust that knows Python. It converts, locks, calls and converts back.

pub mod engine;

#[cfg(feature = "python")]
mod bindings;
