//! A million captures, bumps and checks against counters by name: nothing stale is current, nothing is stale by itself.

use std::sync::LazyLock;

use _native::engine::Stamp;
use _native::host::place::MIN_WORDS;
use _native::host::versions::Versions;
use proptest::collection::vec;
use proptest::prelude::*;

const NAMES: u16 = 300;
const OPERATIONS: usize = 8_000;
const CASES: u32 = 128; // times OPERATIONS: a million

/// One set of words for all cases, as one file serves all requests.
static WORDS: LazyLock<Versions> = LazyLock::new(|| Versions::private(MIN_WORDS));

enum Op {
    Capture(Vec<usize>),
    Bump(usize),
    Check(usize),
}

impl Op {
    /// An operation out of 64 random bits, as making a million of them by strategies takes longer than running them.
    #[expect(clippy::cast_possible_truncation, reason = "some of the bits")]
    fn of(bits: u64) -> Self {
        let name = |shift: u32| usize::from((bits >> shift) as u16 % NAMES);
        match bits % 6 {
            0 => Self::Bump(name(8)),
            1 | 2 => {
                Self::Capture([8, 20, 32, 44].map(name)[..=(bits >> 60) as usize % 4].to_vec())
            }
            _ => Self::Check((bits >> 8) as usize),
        }
    }
}

struct Captured {
    names: Vec<usize>,
    stamps: Vec<Stamp>,
    /// What the model knew of the names, and of all that share their words.
    named: Vec<u64>,
    worded: Vec<u64>,
}

struct Model {
    words: Vec<u32>,
    by_name: Vec<u64>,
    by_word: Vec<u64>,
    captured: Vec<Captured>,
}

impl Model {
    fn new() -> Self {
        let word = |name| WORDS.word(format!("row:app.model:{name}").as_bytes());
        Self {
            words: (0..NAMES).map(word).collect(),
            by_name: vec![0; usize::from(NAMES)],
            by_word: vec![0; MIN_WORDS as usize],
            captured: Vec::new(),
        }
    }

    fn known(&self, names: &[usize]) -> (Vec<u64>, Vec<u64>) {
        let named = names.iter().map(|&name| self.by_name[name]).collect();
        let worded = names
            .iter()
            .map(|&name| self.by_word[self.words[name] as usize])
            .collect();
        (named, worded)
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Capture(names) => {
                let stamps = names
                    .iter()
                    .map(|&name| WORDS.capture(self.words[name]))
                    .collect();
                let (named, worded) = self.known(&names);
                self.captured.push(Captured {
                    names,
                    stamps,
                    named,
                    worded,
                });
            }
            Op::Bump(name) => {
                WORDS.bump(self.words[name], 0);
                self.by_name[name] += 1;
                self.by_word[self.words[name] as usize] += 1;
            }
            // The latest ones, as most of the others are stale for ever.
            Op::Check(back) if !self.captured.is_empty() => {
                let captured =
                    &self.captured[self.captured.len() - 1 - back % self.captured.len().min(64)];
                let current = WORDS.are_current(&captured.stamps);
                let (named, worded) = self.known(&captured.names);
                if current {
                    assert_eq!(named, captured.named, "a stale read");
                } else {
                    assert_ne!(worded, captured.worded, "invalidated by nothing");
                }
            }
            Op::Check(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_are_as_good_as_a_counter_for_each_name(bits in vec(any::<u64>(), OPERATIONS)) {
        let mut model = Model::new();
        for bits in bits {
            model.apply(Op::of(bits));
        }
    }
}
