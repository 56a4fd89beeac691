//! What the processes of one host share: words that say what was invalidated. Knows no Python.
//!
//! - [`versions`]: which words this process looks at; capture, check, bump.
//! - [`word`]: the protocol of one word, apart from where it lies.
//! - [`journal`]: what a store's word was moved for, where that was patterns.
//! - [`segment`]: the memory they lie in. The only `unsafe` of this half.
//! - [`file`](mod@file): the file behind it: found, judged, looked for; `making`: made, and put in a broken one's place.
//! - [`place`]: where the file is and how it is laid out; `folder`: the folder around it, checked.
//! - [`control`]: the socket on which a live worker answers operators, and the threads behind it.

pub mod control;
#[cfg(target_os = "linux")]
pub mod file;
#[cfg(not(target_os = "linux"))]
#[path = "no_file.rs"]
pub mod file;
#[cfg(target_os = "linux")]
mod folder;
#[cfg(target_os = "linux")]
mod identity;
pub mod journal;
#[cfg(target_os = "linux")]
mod making;
pub mod place;
pub mod segment;
pub mod versions;
pub mod word;
