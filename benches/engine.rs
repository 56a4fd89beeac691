//! What the engine costs without Python: `cargo bench`, or `cargo bench -- get_hit` for some of it.
//!
//! Keys are the numbers that a seeded generator draws; hashing is left out, as Python caches the hashes of its strings.

use std::hint::black_box;
use std::time::Duration;

use _native::engine::{FOREVER, Limits, Now, PolicyKind, Put, Read, Stamp, Table};
use _native::host::place::DEFAULT_WORDS;
use _native::host::versions::Versions;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};

const SECOND: i64 = 1_000_000_000;
const POLICIES: [PolicyKind; 2] = [PolicyKind::Lru, PolicyKind::S3Fifo];

/// `SplitMix64`, so that every run draws the same keys.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Ranks below `limit` with Zipf's exponent 1, by inverting its continuous form.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks"
    )]
    fn rank(&mut self, limit: u64) -> u64 {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((limit as f64).powf(share) as u64).min(limit - 1)
    }
}

fn table(policy: PolicyKind, max_size: usize) -> Table<u64, u64> {
    Table::new(Limits {
        policy,
        ..Limits::new(max_size)
    })
    .expect("possible limits")
}

fn filled(policy: PolicyKind, size: u64) -> Table<u64, u64> {
    let mut table = table(policy, usize::try_from(size).expect("a size"));
    for key in 0..size {
        let put = Put {
            deadline: 3_600 * SECOND,
            ..Put::default()
        };
        assert!(
            table
                .insert(key, key, key, &put, Now::exactly(0))
                .is_empty()
        );
    }
    table
}

fn get(table: &mut Table<u64, u64>, key: u64, now: Now) -> Option<u64> {
    let Some(slot) = table.find(key, |known| *known == key) else {
        table.miss();
        return None;
    };
    match table.read(slot, now) {
        Read::Fresh(value) | Read::Early(value) => Some(*value),
        Read::Stale | Read::Expired(_) | Read::Outdated(_) => None,
    }
}

fn quick<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    group
}

fn reads(criterion: &mut Criterion) {
    let mut group = quick(criterion, "get_hit");
    for policy in POLICIES {
        for (name, size) in [("1k", 1_000), ("1M", 1_000_000)] {
            let (mut table, mut keys) = (filled(policy, size), Seeded(1));
            group.bench_function(format!("{}/{name}", policy.as_str()), |bencher| {
                bencher.iter(|| get(&mut table, black_box(keys.below(size)), Now::coarse()));
            });
        }
    }
    group.finish();
    let mut group = quick(criterion, "get_miss");
    let (mut table, mut keys) = (filled(PolicyKind::Lru, 1_000), Seeded(1));
    group.bench_function("1k", |bencher| {
        bencher.iter(|| {
            get(
                &mut table,
                black_box(1_000 + keys.below(1_000)),
                Now::coarse(),
            )
        });
    });
    group.finish();
}

fn writes(criterion: &mut Criterion) {
    let mut group = quick(criterion, "set_existing");
    for own_ttl in [false, true] {
        let (mut table, mut keys) = (filled(PolicyKind::Lru, 1_000), Seeded(1));
        let mut at = 0;
        group.bench_function(if own_ttl { "own_ttl/1k" } else { "1k" }, |bencher| {
            bencher.iter(|| {
                at += 1_000;
                let key = black_box(keys.below(1_000));
                let put = Put {
                    deadline: at + 3_600 * SECOND,
                    own_ttl,
                    ..Put::default()
                };
                table
                    .find(key, |known| *known == key)
                    .map(|slot| table.replace(slot, key, &put, Now::exactly(at)).0)
            });
        });
    }
    group.finish();
    let mut group = quick(criterion, "set_evict");
    for policy in POLICIES {
        let (mut table, mut key) = (filled(policy, 1_000), 1_000);
        group.bench_function(format!("{}/1k", policy.as_str()), |bencher| {
            bencher.iter(|| {
                key += 1;
                let put = Put {
                    deadline: 3_600 * SECOND,
                    ..Put::default()
                };
                table
                    .insert(key, key, key, &put, Now::exactly(0))
                    .into_iter()
                    .count()
            });
        });
    }
    group.finish();
}

fn mixes(criterion: &mut Criterion) {
    let mut group = quick(criterion, "zipf_cache_aside");
    for policy in POLICIES {
        let (mut table, mut keys) = (filled(policy, 1_000), Seeded(1));
        group.bench_function(format!("{}/1k_of_10k", policy.as_str()), |bencher| {
            bencher.iter(|| {
                let (key, now) = (keys.rank(10_000), Now::coarse());
                get(&mut table, key, now).unwrap_or_else(|| {
                    let put = Put {
                        deadline: FOREVER,
                        ..Put::default()
                    };
                    table.insert(key, key, key, &put, now).into_iter().count() as u64
                })
            });
        });
    }
    group.finish();
}

fn sweeps(criterion: &mut Criterion) {
    let mut group = quick(criterion, "sweep");
    for own_ttl in [false, true] {
        group.bench_function(if own_ttl { "own_ttl/10k" } else { "10k" }, |bencher| {
            let fill = || {
                let mut table = table(PolicyKind::Lru, 10_000);
                for number in 0..10_000_u32 {
                    let key = u64::from(number);
                    let put = Put {
                        deadline: 1 + i64::from(number) * 1_000_000,
                        own_ttl,
                        ..Put::default()
                    };
                    assert!(
                        table
                            .insert(key, key, key, &put, Now::exactly(0))
                            .is_empty()
                    );
                }
                table
            };
            bencher.iter_batched_ref(
                fill,
                |table| table.sweep(Now::exactly(SECOND)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// Four words of as many as there are by default, drawn anew each time: caches hold few of a million words. `hot` checks
/// the same four again and again.
fn versions(criterion: &mut Criterion) {
    let mut group = quick(criterion, "versions");
    let (words, mut drawn) = (Versions::private(DEFAULT_WORDS), Seeded(1));
    #[expect(clippy::cast_possible_truncation, reason = "below 2^20")]
    let mut word = || drawn.below(u64::from(DEFAULT_WORDS)) as u32;
    for number in 0..DEFAULT_WORDS {
        words.bump(number, 0); // or all untouched pages would be one page of zeros
    }
    let entries: Vec<[Stamp; 4]> = (0..100_000)
        .map(|_| [word(), word(), word(), word()].map(|word| words.capture(word)))
        .collect();
    let mut turn = 0;
    group.bench_function("check_4", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % entries.len();
            words.are_current(black_box(&entries[turn]))
        });
    });
    group.bench_function("check_4/hot", |bencher| {
        bencher.iter(|| words.are_current(black_box(&entries[0])));
    });
    group.bench_function("bump", |bencher| {
        bencher.iter(|| words.bump(black_box(word()), 1));
    });
    group.bench_function("word", |bencher| {
        bencher.iter(|| words.word(black_box(b"row:library.book:1234567")));
    });
    group.finish();
}

criterion_group!(benches, reads, writes, mixes, sweeps, versions);
criterion_main!(benches);
