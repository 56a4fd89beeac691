//! Behaviour of the engine, through its public names.

mod cache_threads;
mod clock;
mod deletions;
mod errors;
mod expiry;
mod invalidation;
mod journal;
#[cfg(target_os = "linux")]
mod journal_file;
mod journal_loom;
mod limits;
mod manager;
mod matcher;
mod metrics;
mod metrics_process;
mod model;
mod orders;
mod pattern;
mod s3fifo;
mod stamps;
mod table;
mod table_model;
mod versions;
#[cfg(target_os = "linux")]
mod versions_file;
mod versions_loom;
mod versions_model;
mod wheel;

use _native::engine::{Cause, Displaced, Gone, Limits, Now, Put, Read, Slot, Table, TagRef};

/// A second, for readable deadlines.
const SECOND: i64 = 1_000_000_000;

/// A table that owns its keys, as the tests use it.
type Names = Table<&'static str, u32>;

/// The instant `seconds` after the origin.
fn at(seconds: i64) -> Now {
    Now::exactly(seconds * SECOND)
}

/// A write that expires at a second.
fn until(seconds: i64) -> Put<'static> {
    Put {
        deadline: seconds * SECOND,
        ..Put::default()
    }
}

/// Every two neighbours share a hash, so that comparison has something to do.
fn hash(key: &str) -> u64 {
    u64::from(key.as_bytes().first().copied().unwrap_or(0) / 2)
}

fn slot(table: &Names, key: &str) -> Option<Slot> {
    table.find(hash(key), |known| *known == key)
}

fn put(
    table: &mut Names,
    key: &'static str,
    value: u32,
    put: &Put<'_>,
    now: Now,
) -> Vec<Gone<&'static str, u32>> {
    match slot(table, key) {
        Some(slot) => {
            let (_old, displaced) = table.replace(slot, value, put, now);
            collect(displaced)
        }
        None => collect(table.insert(hash(key), key, value, put, now)),
    }
}

fn collect<K, V>(displaced: Displaced<K, V>) -> Vec<Gone<K, V>> {
    displaced.into_iter().collect()
}

/// All keys, the next to go first.
fn order(table: &Names) -> Vec<&'static str> {
    table
        .slots()
        .into_iter()
        .map(|slot| *table.key(slot))
        .collect()
}

const RED: TagRef<'_> = TagRef::Name("red");
const BLUE: TagRef<'_> = TagRef::Name("blue");

/// A table without entries.
fn empty(limits: Limits) -> Names {
    Table::new(limits).expect("possible limits")
}

/// A table of entries that never expire, numbered from 0.
fn filled(limits: Limits, keys: &[&'static str]) -> Names {
    let mut table = empty(limits);
    for (value, key) in (0..).zip(keys) {
        assert!(put(&mut table, key, value, &Put::default(), at(0)).is_empty());
    }
    table
}

/// What a reader gets.
fn read(table: &mut Names, key: &str, now: Now) -> Option<u32> {
    let slot = slot(table, key)?;
    match table.read(slot, now) {
        Read::Fresh(value) | Read::Early(value) => Some(*value),
        Read::Stale | Read::Expired(_) | Read::Outdated(_) => None,
    }
}

fn gone(key: &'static str, value: u32, cause: Cause) -> Gone<&'static str, u32> {
    Gone { key, value, cause }
}
