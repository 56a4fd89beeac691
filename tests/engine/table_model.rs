//! Random operations on a table and on a plain list, compared after each.

// Long because it compares all that a table can be asked.

use std::collections::BTreeSet;

use _native::engine::{
    Cause, Cleared, Gone, Limits, Now, PolicyKind, Put, Read, Slot, Step, Table,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{Bumpable, Known, Model, Op, TAGS, op, unit};

type Real = Table<u8, u32, Bumpable>;

/// Two neighbouring keys share a hash.
fn hash(key: u8) -> u64 {
    u64::from(key / 2)
}

struct Run {
    real: Real,
    model: Model,
    value: u32,
}

impl Run {
    fn new(limits: Limits) -> Self {
        let model = Model::new(limits.clone());
        let real = Table::with_words(limits, model.words.clone()).expect("possible limits");
        Self {
            real,
            model,
            value: 0,
        }
    }

    fn find(&self, key: u8) -> Option<Slot> {
        let slot = self.real.find(hash(key), |known| *known == key);
        assert_eq!(
            slot.is_some(),
            self.model.position(key).is_some(),
            "key {key}"
        );
        slot
    }

    fn now(&self) -> Now {
        Now::exactly(self.model.at)
    }

    // Long because it is one arm for each operation.
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Set {
                key,
                ttl,
                own_ttl,
                weight,
                tags,
                words,
                bumped,
                write,
            } => {
                let known = Known {
                    key: *key,
                    value: self.value,
                    deadline: self.model.deadline(*ttl),
                    weight: if self.model.limits.max_bytes.is_some() {
                        *weight
                    } else {
                        0
                    },
                    tags: tags.clone(),
                    stamps: self.model.words.capture(words.iter().copied()),
                    born: own_ttl.then_some(self.model.at),
                };
                self.value += 1;
                if let Some(word) = bumped {
                    self.model.words.bump(*word);
                }
                self.set(known, *own_ttl, *weight, *write);
            }
            Op::Bump(word) => self.model.words.bump(*word),
            Op::Get(key) => self.get(*key),
            Op::Delete(key) => self.delete(*key),
            Op::Retime { key, ttl, own_ttl } => {
                let deadline = self.model.deadline(*ttl);
                if let Some(slot) = self.find(*key) {
                    self.real.retime(slot, deadline, *own_ttl);
                    let position = self.model.position(*key).expect("found above");
                    let known = &mut self.model.entries[position];
                    known.deadline = deadline;
                    known.born = known.born.filter(|_| *own_ttl);
                }
            }
            Op::RemoveTag(tag) => {
                let gone = self.real.remove_tag(TAGS[*tag]);
                self.removed(gone, Cause::Invalidated, |known, _| {
                    known.tags.contains(tag)
                });
            }
            Op::Advance(step) => self.model.at += unit(*step),
            Op::Sweep => {
                let (gone, grace) = (self.real.sweep(self.now()), self.model.limits.grace);
                self.removed(gone, Cause::Expired, |known, model| {
                    model.is_over(known.deadline, grace)
                });
            }
            Op::Clear => {
                let (cleared, cause) = (self.real.clear(), Cause::Cleared);
                let pairs = if self.value.is_multiple_of(2) {
                    cleared.into_iter().collect()
                } else {
                    taken_apart(cleared)
                };
                let gone = pairs
                    .into_iter()
                    .map(|(key, value)| Gone { key, value, cause })
                    .collect();
                self.removed(gone, Cause::Cleared, |_, _| true);
            }
            limit => self.change(limit),
        }
    }

    fn delete(&mut self, key: u8) {
        if let Some(slot) = self.find(key) {
            let gone = self.real.remove(slot, Cause::Deleted);
            let position = self.model.position(key).expect("found above");
            let known = self.model.remove(position, Cause::Deleted);
            assert_eq!((gone.key, gone.value), (known.key, known.value));
        }
    }

    fn set(&mut self, known: Known, own_ttl: bool, weight: u64, write: bool) {
        let tags: Vec<_> = known.tags.iter().map(|tag| TAGS[*tag]).collect();
        let put = Put {
            deadline: known.deadline,
            own_ttl,
            weight,
            tags: &tags,
            stamps: &known.stamps,
            write,
            ..Put::default()
        };
        let (key, now, limits) = (known.key, self.now(), self.model.limits.clone());
        let token = self.real.token(hash(key));
        let over = self.model.is_over(known.deadline, 0);
        let outdated = self.model.is_outdated(&known);
        let refused = over
            || outdated
            || limits.max_size == 0
            || limits.max_bytes.is_some_and(|most| weight > most);
        let displaced = match self.find(key) {
            Some(slot) => {
                let (old, displaced) = self.real.replace(slot, known.value, &put, now);
                let position = self.model.position(key).expect("found above");
                assert_eq!(self.model.entries.remove(position).value, old);
                displaced
            }
            None => self.real.insert(hash(key), key, known.value, &put, now),
        };
        assert_eq!(
            self.real.is_current(hash(key), token, &tags),
            !write,
            "a write, and only a write, outdates loads"
        );
        let displaced: Vec<_> = displaced.into_iter().collect();
        if refused {
            let cause = match (over, outdated) {
                (true, _) => Cause::Expired,
                (_, true) => Cause::Invalidated,
                _ => Cause::Evicted,
            };
            assert_eq!(
                displaced,
                [Gone {
                    key,
                    value: known.value,
                    cause
                }]
            );
            return;
        }
        self.model.sets += 1;
        self.model.entries.push(known);
        self.model.displace(&displaced, Some(key));
        assert!(self.model.entries.len() <= limits.max_size);
        assert!(
            limits
                .max_bytes
                .is_none_or(|most| self.model.weight() <= most)
        );
    }

    // Long because it holds every way of looking at one entry against the model.
    fn get(&mut self, key: u8) {
        let now = self.now();
        let Some(slot) = self.find(key) else {
            self.real.miss();
            self.model.misses += 1;
            return;
        };
        let position = self.model.position(key).expect("found above");
        let known = self.model.entries[position].clone();
        let (over, past_grace, outdated) = (
            self.model.is_over(known.deadline, 0),
            self.model.is_over(known.deadline, self.model.limits.grace),
            self.model.is_outdated(&known),
        );
        let live = !over && !outdated;
        assert_eq!(self.real.peek(slot, now), live.then_some(&known.value));
        assert_eq!(self.real.is_live(slot, now), live);
        assert_eq!(
            self.real.stale(slot, now),
            (!past_grace && !outdated).then_some(&known.value)
        );
        // The fast half: what it serves is live, and it leaves everything else untouched.
        if known.value.is_multiple_of(2)
            && let Some(value) = self.real.hit(slot, now)
        {
            assert!(live && *value == known.value);
            self.model.hits += 1;
            self.model.use_again(position);
            return;
        }
        let token = self.real.token(hash(key));
        match self.real.read(slot, now) {
            Read::Fresh(value) => {
                assert!(live && *value == known.value);
                self.model.hits += 1;
                self.model.use_again(position);
            }
            Read::Early(_) => panic!("elected, with early refresh off"),
            Read::Stale => {
                assert!(over && !past_grace && !outdated);
                self.model.misses += 1;
            }
            Read::Outdated(gone) => {
                let (value, cause) = (known.value, Cause::Invalidated);
                assert!(outdated);
                assert_eq!(gone, Gone { key, value, cause });
                assert!(
                    self.real.is_current(hash(key), token, &[]),
                    "a load in flight was disturbed"
                );
                self.model.misses += 1;
                self.model.remove(position, Cause::Invalidated);
            }
            Read::Expired(gone) => {
                assert!(past_grace && !outdated);
                assert_eq!(
                    gone,
                    Gone {
                        key,
                        value: known.value,
                        cause: Cause::Expired
                    }
                );
                self.model.misses += 1;
                self.model.remove(position, Cause::Expired);
            }
        }
    }

    /// Everything that `which` names has gone, and nothing else.
    fn removed(
        &mut self,
        gone: Vec<Gone<u8, u32>>,
        cause: Cause,
        which: impl Fn(&Known, &Model) -> bool,
    ) {
        let expected: BTreeSet<_> = {
            let going = self
                .model
                .entries
                .iter()
                .filter(|known| which(known, &self.model));
            going.map(|known| (known.key, known.value)).collect()
        };
        let count = gone.len();
        assert!(gone.iter().all(|gone| gone.cause == cause));
        assert_eq!(
            gone.into_iter()
                .map(|gone| (gone.key, gone.value))
                .collect::<BTreeSet<_>>(),
            expected
        );
        assert_eq!(count, expected.len());
        for (key, _) in expected {
            let position = self.model.position(key).expect("expected above");
            self.model.remove(position, cause);
        }
    }

    /// A walk meets what there is, once, and knows how long that has been there.
    fn compare_walk(&self) {
        let (mut cursor, mut met, now) = (Some(0), Vec::new(), self.now());
        while let Some(at) = cursor {
            let (slots, next) = self.real.walk(at, 3);
            assert!(next.is_none_or(|next| next > at));
            met.extend(slots);
            cursor = next;
        }
        assert_eq!(met.len(), self.model.entries.len());
        let weighs = self.model.limits.max_bytes.is_some();
        for slot in met {
            let position = self.model.position(*self.real.key(slot)).expect("held");
            let known = &self.model.entries[position];
            assert_eq!(self.real.weight(slot), weighs.then_some(known.weight));
            let second = |at: i64| at.div_euclid(crate::SECOND);
            let age = known.born.map(|born| second(now.at()) - second(born));
            assert_eq!(self.real.noted_age(slot, now).map(i64::from), age);
        }
    }

    fn change(&mut self, limit: &Op) {
        let now = self.now();
        let gone = match limit {
            Op::MaxSize(max_size) => {
                self.model.limits.max_size = *max_size;
                self.real.set_max_size(*max_size, now)
            }
            // A limit that was not there from the start would find entries without weight: told apart in table.rs.
            Op::MaxBytes(most) if self.model.limits.max_bytes.is_some() => {
                self.model.limits.max_bytes = Some(*most);
                self.real.set_max_bytes(Some(*most), now)
            }
            Op::Grace(grace) => {
                self.model.limits.grace = unit(*grace);
                return self.real.set_grace(unit(*grace));
            }
            _ => return,
        };
        let gone: Vec<_> = gone.into_iter().collect();
        self.model.displace(&gone, None);
    }

    fn compare(&mut self) {
        self.real.validate();
        let now = self.now();
        let mut held = Vec::new();
        for slot in self.real.slots() {
            let tags = self
                .real
                .tags(slot)
                .filter_map(|tag| TAGS.iter().position(|known| *known == tag))
                .collect();
            held.push((
                *self.real.key(slot),
                *self.real.value(slot),
                self.real.deadline(slot),
                tags,
            ));
        }
        let mut expected: Vec<(u8, u32, i64, BTreeSet<usize>)> = Vec::new();
        expected.extend(
            self.model
                .entries
                .iter()
                .map(|known| (known.key, known.value, known.deadline, known.tags.clone())),
        );
        if self.model.limits.policy == PolicyKind::S3Fifo {
            held.sort();
            expected.sort();
        }
        assert_eq!(held, expected);
        assert_eq!(self.real.weight_bytes(), self.model.weight());
        self.compare_walk();
        let expired = self
            .model
            .entries
            .iter()
            .filter(|known| self.model.is_over(known.deadline, 0))
            .count();
        assert_eq!(self.real.count_expired(now, usize::MAX), expired);
        let counters = self.real.counters();
        assert_eq!(
            (counters.hits, counters.misses, counters.sets),
            (self.model.hits, self.model.misses, self.model.sets)
        );
        let gone = |causes: &[Cause]| {
            causes
                .iter()
                .map(|cause| self.model.gone[*cause as usize])
                .sum::<u64>()
        };
        assert_eq!(counters.evictions, gone(&[Cause::Evicted]));
        assert_eq!(counters.expirations, gone(&[Cause::Expired]));
        assert_eq!(
            counters.invalidations,
            gone(&[Cause::Deleted, Cause::Cleared, Cause::Invalidated])
        );
    }
}

/// What comes out of a table that was cleared, step by step; each time it says what is left.
fn taken_apart(mut cleared: Cleared<u8, u32>) -> Vec<(u8, u32)> {
    let held: BTreeSet<_> = cleared.iter().map(|(key, value)| (*key, *value)).collect();
    assert_eq!(held.len(), cleared.len());
    let mut pairs = Vec::new();
    loop {
        match cleared.step() {
            Step::Pair(key, value) => pairs.push((key, value)),
            Step::Freed => {}
            Step::Over => break,
        }
        assert_eq!(cleared.iter().count() + pairs.len(), held.len());
    }
    assert!(matches!(cleared.step(), Step::Over));
    assert_eq!(held, pairs.iter().copied().collect());
    pairs
}

fn limits() -> impl Strategy<Value = Limits> {
    let policy = prop_oneof![2 => Just(PolicyKind::Lru), 1 => Just(PolicyKind::S3Fifo)];
    (
        policy,
        0..9_usize,
        prop_oneof![Just(None), (20..120_u64).prop_map(Some)],
        prop_oneof![Just(0), 1..10_i64],
    )
        .prop_map(|(policy, max_size, max_bytes, grace)| Limits {
            policy,
            max_bytes,
            grace: unit(grace),
            ..Limits::new(max_size)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to it, a table is the list that it should be.
    #[test]
    fn a_table_is_a_list(limits in limits(), ops in vec(op(), 1..150)) {
        let mut run = Run::new(limits);
        for op in &ops {
            run.apply(op);
            run.compare();
        }
    }
}
