//! S3-FIFO: known sequences, and every eviction beside a plain spelling of the paper's algorithm.

use std::collections::VecDeque;

use _native::engine::{Cause, Limits, PolicyKind, Put, Read, Table};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{at, collect};

struct Cache {
    table: Table<u32, ()>,
}

impl Cache {
    fn new(max_size: usize) -> Self {
        let limits = Limits {
            policy: PolicyKind::S3Fifo,
            ..Limits::new(max_size)
        };
        Self {
            table: Table::new(limits).expect("possible limits"),
        }
    }

    /// Reads a key and stores it when it was absent; says who was evicted for it, or `None` for a hit.
    fn request(&mut self, key: u32) -> Option<Vec<u32>> {
        let hash = u64::from(key);
        if let Some(slot) = self.table.find(hash, |known| *known == key) {
            assert_eq!(self.table.read(slot, at(0)), Read::Fresh(&()));
            return None;
        }
        let gone = collect(self.table.insert(hash, key, (), &Put::default(), at(0)));
        assert!(gone.iter().all(|gone| gone.cause == Cause::Evicted));
        Some(gone.into_iter().map(|gone| gone.key).collect())
    }

    fn order(&self) -> Vec<u32> {
        self.table
            .slots()
            .into_iter()
            .map(|slot| *self.table.key(slot))
            .collect()
    }
}

/// Algorithm 1 of the paper, with lists and linear searches.
#[derive(Default)]
struct Paper {
    max_size: usize,
    small: VecDeque<(u32, u32)>,
    main: VecDeque<(u32, u32)>,
    ghost: VecDeque<Option<u32>>,
}

impl Paper {
    fn request(&mut self, key: u32) -> Option<Vec<u32>> {
        if let Some((_, frequency)) = self
            .small
            .iter_mut()
            .chain(&mut self.main)
            .find(|(known, _)| *known == key)
        {
            *frequency = 3.min(*frequency + 1);
            return None;
        }
        let mut evicted = Vec::new();
        if self.small.len() + self.main.len() == self.max_size {
            evicted.push(self.evict());
        }
        if let Some(remembered) = self.ghost.iter_mut().find(|known| **known == Some(key)) {
            *remembered = None;
            self.main.push_back((key, 0));
        } else {
            self.small.push_back((key, 0));
        }
        Some(evicted)
    }

    fn evict(&mut self) -> u32 {
        if self.small.len() >= self.max_size / 10 {
            while let Some((key, frequency)) = self.small.pop_front() {
                if frequency > 1 {
                    self.main.push_back((key, 0));
                    if self.main.len() > self.main_share() {
                        return self.evict_main();
                    }
                    continue;
                }
                while self.ghost.len() >= self.main_share() {
                    self.ghost.pop_front();
                }
                self.ghost.push_back(Some(key));
                return key;
            }
        }
        self.evict_main()
    }

    fn evict_main(&mut self) -> u32 {
        loop {
            match self.main.pop_front() {
                Some((key, 0)) => return key,
                Some((key, frequency)) => self.main.push_back((key, frequency - 1)),
                None => panic!("nothing to evict"),
            }
        }
    }

    fn main_share(&self) -> usize {
        self.max_size - self.max_size / 10
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Hits and evictions are the paper's, one by one.
    #[test]
    fn evictions_are_the_papers(
        max_size in 1..40_usize,
        keys in vec(prop_oneof![3 => 0..12_u32, 2 => 0..60_u32, 1 => 0..400_u32], 1..600),
    ) {
        let (mut cache, mut paper) = (Cache::new(max_size), Paper { max_size, ..Paper::default() });
        for key in keys {
            prop_assert_eq!(cache.request(key), paper.request(key), "request for {}", key);
            cache.table.validate();
        }
        let order: Vec<_> = paper.small.iter().chain(&paper.main).map(|(key, _)| *key).collect();
        prop_assert_eq!(cache.order(), order);
    }
}

/// A scan of keys that nobody reads again does not flush those that are read.
#[test]
fn a_scan_does_not_flush_the_cache() {
    let mut cache = Cache::new(100);
    for round in 0..3 {
        for key in 0..50 {
            assert_eq!(cache.request(key).is_none(), round > 0);
        }
    }
    for key in 1_000..3_000 {
        assert!(cache.request(key).is_some());
    }
    assert!(
        (0..50).all(|key| cache.request(key).is_none()),
        "the scan evicted keys in use"
    );
}

/// A key that comes back soon after it was turned away goes to the main queue at once.
#[test]
fn what_comes_back_is_remembered() {
    let mut cache = Cache::new(10);
    for key in 0..11 {
        cache.request(key);
    }
    assert_eq!(cache.request(0), Some(vec![1]));
    assert_eq!(cache.order().last(), Some(&0), "main comes after small");
    for key in 100..108 {
        cache.request(key);
    }
    assert_eq!(cache.request(0), None, "it outlived younger ones");
}

/// A key turned away too long ago is new again: the memory is as long as the main queue.
#[test]
fn what_comes_back_late_is_new() {
    let mut cache = Cache::new(10);
    for key in 0..20 {
        cache.request(key);
    }
    assert_eq!(cache.order(), (10..20).collect::<Vec<_>>());
    cache.request(0); // 10 were turned away after it, and the main queue holds 9
    assert_eq!(cache.order().last(), Some(&0));
    cache.request(9);
    assert_eq!(
        cache.order()[cache.order().len() - 2..],
        [0, 9],
        "9 went to main, 0 is the youngest of small"
    );
}

/// Clearing forgets what was turned away.
#[test]
fn clearing_forgets_the_ghosts() {
    let mut cache = Cache::new(2);
    for key in 0..3 {
        cache.request(key);
    }
    drop(cache.table.clear());
    cache.request(7);
    cache.request(0);
    assert_eq!(cache.order(), [7, 0]);
}

/// An entry of the main queue stays there when a heavier value takes its place and others must go.
#[test]
fn a_heavier_value_keeps_its_queue() {
    let limits = Limits {
        policy: PolicyKind::S3Fifo,
        max_bytes: Some(4),
        ..Limits::new(4)
    };
    let mut table: Table<u64, ()> = Table::new(limits).expect("possible limits");
    let weighing = |weight| Put {
        weight,
        ..Put::default()
    };
    for key in [0, 1, 2, 3, 4, 0] {
        let _ = table.insert(key, key, (), &weighing(1), at(0));
    }
    let returned = table.find(0, |key| *key == 0).expect("just stored");
    assert_eq!(
        table.slots().last(),
        Some(&returned),
        "it came back, so it is in main"
    );
    let ((), displaced) = table.replace(returned, (), &weighing(2), at(0));
    assert_eq!(collect(displaced).len(), 1);
    let _ = table.insert(9, 9, (), &weighing(1), at(0));
    assert_eq!(
        table.slots().last(),
        Some(&returned),
        "the youngest of small comes before main"
    );
    table.validate();
}
