//! What a table is, said with a list: the model that `table_model.rs` compares it with.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use _native::engine::{Cause, FOREVER, Gone, Limits, PolicyKind, Stamp, TagRef, Words};
use proptest::collection::btree_set;
use proptest::option;
use proptest::prelude::*;

/// A tick of the wheel: how late an entry with a TTL of its own may count as expired when room is needed.
const TICK: i64 = 1 << 24;

/// The tags that operations choose from.
pub(crate) const TAGS: [TagRef<'_>; 4] = [
    TagRef::Name("red"),
    TagRef::Name("blue"),
    TagRef::Owner(1),
    TagRef::Owner(2),
];

/// Version words that a test bumps by hand; a table has one handle to them, the test another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bumpable(Rc<[Cell<u32>; WORDS]>);

/// How many words operations choose from.
pub(crate) const WORDS: usize = 4;

impl Bumpable {
    pub(crate) fn bump(&self, word: usize) {
        self.0[word].set(self.0[word].get() + 1);
    }

    /// The words as they are now.
    pub(crate) fn capture(&self, words: impl IntoIterator<Item = usize>) -> Vec<Stamp> {
        let stamp = |word: usize| Stamp {
            word: u32::try_from(word).expect("a few words"),
            value: self.0[word].get(),
        };
        words.into_iter().map(stamp).collect()
    }
}

impl Words for Bumpable {
    fn are_current(&self, stamps: &[Stamp]) -> bool {
        let value = |stamp: &Stamp| self.0.get(stamp.word as usize).map(Cell::get);
        stamps.iter().all(|stamp| value(stamp) == Some(stamp.value))
    }
}

/// What can be done to a table.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Set {
        key: u8,
        ttl: Option<i64>,
        own_ttl: bool,
        weight: u64,
        tags: BTreeSet<usize>,
        words: BTreeSet<usize>,
        /// The word that is bumped between capturing the stamps and storing.
        bumped: Option<usize>,
        write: bool,
    },
    Bump(usize),
    Get(u8),
    Delete(u8),
    Retime {
        key: u8,
        ttl: Option<i64>,
        own_ttl: bool,
    },
    RemoveTag(usize),
    Advance(i64),
    Sweep,
    Clear,
    MaxSize(usize),
    MaxBytes(u64),
    Grace(i64),
}

/// Any operation, the usual ones more often.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    let key = 0..12_u8;
    let ttl = prop_oneof![1 => Just(None), 6 => (0..20_i64).prop_map(Some), 1 => (0..100_000_i64).prop_map(Some)];
    let set = (
        key.clone(),
        ttl.clone(),
        any::<bool>(),
        0..40_u64,
        btree_set(0..TAGS.len(), 0..3),
        btree_set(0..WORDS, 0..3),
        option::weighted(0.1, 0..WORDS),
        any::<bool>(),
    );
    prop_oneof![
        12 => set.prop_map(|(key, ttl, own_ttl, weight, tags, words, bumped, write)| Op::Set {
            key, ttl, own_ttl, weight, tags, words, bumped, write,
        }),
        3 => (0..WORDS).prop_map(Op::Bump),
        8 => key.clone().prop_map(Op::Get),
        2 => key.clone().prop_map(Op::Delete),
        2 => (key, ttl, any::<bool>()).prop_map(|(key, ttl, own_ttl)| Op::Retime { key, ttl, own_ttl }),
        2 => (0..TAGS.len()).prop_map(Op::RemoveTag),
        4 => (1..15_i64).prop_map(Op::Advance),
        1 => Just(Op::Sweep),
        1 => Just(Op::Clear),
        1 => (0..9_usize).prop_map(Op::MaxSize),
        1 => (10..100_u64).prop_map(Op::MaxBytes),
        1 => (0..10_i64).prop_map(Op::Grace),
    ]
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) key: u8,
    pub(crate) value: u32,
    pub(crate) deadline: i64,
    pub(crate) weight: u64,
    pub(crate) tags: BTreeSet<usize>,
    pub(crate) stamps: Vec<Stamp>,
    /// When it was stored, where its TTL is its own.
    pub(crate) born: Option<i64>,
}

/// What a table is: a list, least recently used first.
pub(crate) struct Model {
    pub(crate) entries: Vec<Known>,
    pub(crate) limits: Limits,
    pub(crate) words: Bumpable,
    pub(crate) at: i64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) sets: u64,
    pub(crate) gone: [u64; Cause::ALL.len()],
}

impl Model {
    /// An empty list.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            entries: Vec::new(),
            limits,
            words: Bumpable::default(),
            at: 0,
            hits: 0,
            misses: 0,
            sets: 0,
            gone: [0; Cause::ALL.len()],
        }
    }

    pub(crate) fn position(&self, key: u8) -> Option<usize> {
        self.entries.iter().position(|known| known.key == key)
    }

    pub(crate) fn weight(&self) -> u64 {
        self.entries.iter().map(|known| known.weight).sum()
    }

    pub(crate) fn is_over(&self, deadline: i64, grace: i64) -> bool {
        deadline.saturating_add(grace) <= self.at
    }

    pub(crate) fn is_outdated(&self, known: &Known) -> bool {
        !self.words.are_current(&known.stamps)
    }

    pub(crate) fn deadline(&self, ttl: Option<i64>) -> i64 {
        ttl.map_or(FOREVER, |ttl| self.at + unit(ttl))
    }

    /// Takes out what the table says it displaced, if that was right: `protected` may not go.
    pub(crate) fn displace(&mut self, gone: &[Gone<u8, u32>], protected: Option<u8>) {
        for Gone { key, value, cause } in gone {
            let position = self.position(*key).expect("displaced something unknown");
            let known = &self.entries[position];
            assert_eq!(known.value, *value);
            assert_ne!(protected, Some(*key), "displaced what was being stored");
            match cause {
                Cause::Expired => assert!(
                    self.is_over(known.deadline, 0),
                    "called a live entry expired"
                ),
                Cause::Evicted => {
                    let mut others = self
                        .entries
                        .iter()
                        .filter(|known| protected != Some(known.key));
                    let overdue = others
                        .clone()
                        .any(|known| self.is_over(known.deadline, TICK));
                    assert!(!overdue, "evicted while an expired entry stayed");
                    if self.limits.policy == PolicyKind::Lru {
                        assert_eq!(
                            others.next().map(|known| known.key),
                            Some(*key),
                            "not the least recently used"
                        );
                    }
                }
                other => panic!("displaced as {other:?}"),
            }
            self.remove(position, *cause);
        }
    }

    pub(crate) fn remove(&mut self, position: usize, cause: Cause) -> Known {
        self.gone[cause as usize] += 1;
        self.entries.remove(position)
    }

    pub(crate) fn use_again(&mut self, position: usize) {
        let known = self.entries.remove(position);
        self.entries.push(known);
    }
}

/// Some instants meet ticks of the wheel exactly, others do not.
pub(crate) fn unit(count: i64) -> i64 {
    count * (TICK / 4 + 1)
}
