//! The words that this process looks at: its own until it shares some; moved to another file when theirs is replaced.
//!
//! A name hashes to a word, to invalidate is to increment it, and an entry keeps what it saw. All state hangs on one
//! pointer that is replaced whole: no lock that a fork could leave held, nothing that a stopped process could keep. What a word
//! was moved for, where that is known, is told by `patterns`.

// Long because moving to another file concerns all that is known of words, and must be read with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::Serialize;
use twox_hash::XxHash3_64;

use super::file::{self, Identity, Look};
use super::journal::cells::Cells;
use super::place::{DEFAULT_WORDS, GROUPS, Place};
use super::segment::{Published, Segment};
use super::word;
use crate::engine::{Nanos, Stamp};

mod patterns;

pub use patterns::{Ground, outdate, untold_fault};

/// One part of the words is for what many entries depend on and is seldom bumped, a whole store or all rows of a model; one for
/// what many depend on and is bumped often, a model's changes or a store's tags. By chance a key's write would else share its
/// word with a store and empty it.
const PARTS: u32 = 32;
/// How often the file is looked for when nothing is bumped.
const LOOK_EVERY: Nanos = 1_000_000_000;
/// How often the file is looked for while words are advanced.
const GLANCE_EVERY: Nanos = 10_000_000;
/// How often a bump follows its file: once to the file that is there, the rest for threads that move at the same time.
const MOVES: u32 = 4;

static FIRST: Versions = Versions {
    segment: Segment::FIRST,
    seed: 0,
    home: None,
    reason: None,
    replaced: 0,
    journal: Published::new(&Cells::Own),
};
static CURRENT: Published<Versions> = Published::new(&FIRST);
static LOOKED: AtomicI64 = AtomicI64::new(Nanos::MIN);
static GLANCED: AtomicI64 = AtomicI64::new(Nanos::MIN);
static BUMPS: AtomicU64 = AtomicU64::new(0);

/// Version words, and where they are.
pub struct Versions {
    segment: Segment,
    seed: u64,
    home: Option<Home>,
    reason: Option<String>,
    replaced: u32,
    journal: Published<Cells>,
}

/// The file that words are shared through.
#[derive(Clone)]
struct Home {
    place: Place,
    path: PathBuf,
    identity: Identity,
    /// It is not at its path any more, and no other can be put there.
    lost: bool,
}

/// What can be told of the words.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Whether other processes see what is bumped here.
    pub shared: bool,
    /// The folder of the file.
    pub directory: Option<String>,
    /// The file.
    pub path: Option<String>,
    /// How many words there are.
    pub words: u32,
    /// Why they are not shared, or what was wrong with the file that was replaced last.
    pub reason: Option<String>,
    /// How often this process moved to another file, because its own was broken or gone.
    pub replaced: u32,
    /// How many words this process bumped, and its parents before they forked.
    pub bumps: u64,
}

/// The words in force.
#[inline]
#[must_use]
pub fn current() -> &'static Versions {
    CURRENT.get()
}

/// Looks at words of this process's own from now on. Entries that were captured before are not current any more.
pub fn keep_private(words: u32, reason: Option<String>) {
    let seen = current();
    // Tests ask for new words before each test, and no memory is ever given back.
    let segment = if words == FIRST.words() {
        Segment::FIRST.renewed()
    } else if seen.is_private() && seen.words() == words {
        seen.segment.renewed()
    } else {
        Segment::private(words)
    };
    let next = Versions {
        segment,
        seed: 0,
        home: None,
        reason,
        replaced: seen.replaced,
        journal: Published::new(&Cells::Own),
    };
    CURRENT.replace(seen, next);
}

/// Looks at the words of a place from now on, or says in `reason` why it cannot. `seconds` is now.
pub fn share(place: &Place, seconds: u32) -> &'static Versions {
    let seen = current();
    if seen.is_at(place) && matches!(seen.look(), Look::Same) {
        return seen;
    }
    match file::open(place, seconds) {
        Ok(opened) => CURRENT.replace(seen, seen.moved_to(place.clone(), opened)),
        Err(reason) if seen.is_private() && seen.words() == place.words() => {
            if seen.reason.as_ref() == Some(&reason) {
                return seen;
            }
            CURRENT.replace(seen, seen.because(reason))
        }
        Err(reason) => {
            keep_private(place.words(), Some(reason));
            current()
        }
    }
}

/// Looks for the file, at most once a second by `now`: whether it was replaced or lost, or found again.
pub fn refresh(now: Nanos, seconds: u32) -> bool {
    let seen = current();
    let looked = LOOKED.load(Ordering::Relaxed);
    // Time may go back where tests set it.
    let due = now.saturating_sub(looked) >= LOOK_EVERY || now < looked;
    if seen.home.is_none() || !due {
        return false;
    }
    LOOKED.store(now, Ordering::Relaxed);
    !std::ptr::eq(seen.followed(seen.look(), seconds), seen)
}

/// Makes stale whatever any process captured of the words of these names.
///
/// The change that they tell of must be readable already. A file that was replaced is noticed here, and both are bumped:
/// who has not noticed yet reads the old one. One that is replaced later needs no bump, as all that is captured of it is
/// captured after the change.
pub fn bump<N: AsRef<[u8]>>(names: &[N], mut seconds: impl FnMut() -> u32) {
    BUMPS.fetch_add(names.len() as u64, Ordering::Relaxed);
    for _ in 0..MOVES {
        let seen = current();
        let look = seen.look();
        if !matches!(look, Look::Shrunk(_)) {
            seen.bump_all(names, &mut seconds);
        }
        seen.followed(look, seconds());
        if std::ptr::eq(current(), seen) {
            return;
        }
    }
}

/// Makes stale what any process captured of these names' words, for values that are stored anew: `now_is` is told what each
/// word is from then on. Notes no time.
///
/// The file is looked for as by [`bump`], or in a hurry at most each 10 ms by `now`, as looking costs three times
/// what the rest does. That leaves one gap: whoever moved to another file since, and began to load there, is not told.
pub fn advance<N: AsRef<[u8]>>(
    names: &[N],
    now: Nanos,
    is_hurried: bool,
    mut now_is: impl FnMut(usize, Stamp),
) {
    BUMPS.fetch_add(names.len() as u64, Ordering::Relaxed);
    for _ in 0..MOVES {
        let seen = current();
        let look = if seen.home.is_some() && (!is_hurried || is_glance_due(now)) {
            seen.look()
        } else {
            Look::Same
        };
        let is_shrunk = matches!(look, Look::Shrunk(_));
        for (at, name) in names.iter().enumerate() {
            let word = seen.word(name.as_ref());
            let stamp = if is_shrunk {
                seen.capture(word)
            } else {
                seen.advance(word)
            };
            now_is(at, stamp);
        }
        if !matches!(look, Look::Same) {
            seen.followed(look, u32::try_from(now / LOOK_EVERY).unwrap_or(0));
        }
        if std::ptr::eq(current(), seen) {
            return;
        }
    }
}

fn is_glance_due(now: Nanos) -> bool {
    let glanced = GLANCED.load(Ordering::Relaxed);
    let is_due = now.saturating_sub(glanced) >= GLANCE_EVERY || now < glanced;
    if is_due {
        GLANCED.store(now, Ordering::Relaxed);
    }
    is_due
}

impl Versions {
    /// Words of this process alone; `words` is a power of two within the limits. Their memory is never given back.
    #[must_use]
    pub fn private(words: u32) -> Self {
        Self {
            segment: Segment::private(words),
            seed: 0,
            home: None,
            reason: None,
            replaced: 0,
            journal: Published::new(&Cells::Own),
        }
    }

    /// The words of a place, apart from those that this process looks at.
    ///
    /// # Errors
    /// Why they cannot be shared.
    pub fn shared(place: &Place, seconds: u32) -> Result<Self, String> {
        file::open(place, seconds).map(|opened| FIRST.moved_to(place.clone(), opened))
    }

    /// How many words there are.
    #[must_use]
    pub fn words(&self) -> u32 {
        u32::try_from(self.segment.words.len()).unwrap_or(DEFAULT_WORDS)
    }

    /// The word of a name: the same in every process and build.
    #[must_use]
    pub fn word(&self, name: &[u8]) -> u32 {
        let hash = XxHash3_64::oneshot_with_seed(self.seed, name);
        let part = u64::from(self.words() / PARTS);
        let (start, count) = match name {
            [b's', b't', b'o', b'r', b'e', b':', ..] | [b'r', b'o', b'w', b's', b':', ..] => {
                (0, part)
            }
            [b'm', b'o', b'd', b'e', b'l', b':', ..] | [b't', b'a', b'g', b's', b':', ..] => {
                (part, part)
            }
            _ => (2 * part, u64::from(self.words()) - 2 * part),
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "less than the count of words"
        )]
        let word = (start + (((hash >> 32) * count) >> 32)) as u32;
        word
    }

    /// What the word is now. To be asked before a load begins.
    #[inline]
    #[must_use]
    pub fn capture(&self, word: u32) -> Stamp {
        let index = word as usize & (self.segment.words.len() - 1);
        Stamp {
            word: word & (self.words() - 1),
            value: word::capture(&self.segment.words[index], self.segment.base),
        }
    }

    /// Whether none of the words was bumped since they were captured. Those of other words are not current.
    #[inline]
    #[must_use]
    pub fn are_current(&self, stamps: &[Stamp]) -> bool {
        let Segment { words, base, .. } = self.segment;
        stamps.iter().all(|stamp| {
            words
                .get(stamp.word as usize)
                .is_some_and(|word| word::is_current(word, base, stamp.value))
        })
    }

    /// Makes stale what was captured of one word. For the words in force there is [`bump`], which looks for their file.
    pub fn bump(&self, word: u32, seconds: u32) {
        let index = word as usize & (self.segment.words.len() - 1);
        word::note(&self.segment.groups[index % GROUPS], seconds);
        word::bump(&self.segment.words[index]);
    }

    /// Makes stale what was captured of one word; what it is from now on.
    #[inline]
    fn advance(&self, word: u32) -> Stamp {
        let index = word as usize & (self.segment.words.len() - 1);
        Stamp {
            word,
            value: word::advance(&self.segment.words[index], self.segment.base),
        }
    }

    /// The second of the last bump of this word or of another of its group; None for never.
    #[must_use]
    pub fn bumped_at(&self, word: u32) -> Option<u32> {
        let index = word as usize & (self.segment.words.len() - 1);
        word::noted(&self.segment.groups[index % GROUPS])
    }

    /// Whether any of the words may have been bumped in the `span` before `now`. Says yes too often, and never no wrongly:
    /// words share notes, a note is of a whole second, and what happened before a file was made is not in it.
    #[must_use]
    pub fn were_bumped_within(&self, stamps: &[Stamp], now: Nanos, span: Nanos) -> bool {
        let noted = stamps.iter().map(|stamp| self.bumped_at(stamp.word));
        noted
            .chain([self.segment.made.checked_sub(1)])
            .flatten()
            .any(|second| word::is_within(second, now, span))
    }

    /// Where the words are, and how they came there.
    #[must_use]
    pub fn state(&self) -> State {
        let home = self.home.as_ref();
        let path = home.map(|home| home.path.as_path());
        let text = |path: &Path| path.to_string_lossy().into_owned();
        State {
            shared: home.is_some_and(|home| !home.lost),
            directory: path.and_then(Path::parent).map(text),
            path: path.map(text),
            words: self.words(),
            reason: self.reason.clone(),
            replaced: self.replaced,
            bumps: BUMPS.load(Ordering::Relaxed),
        }
    }

    fn is_private(&self) -> bool {
        self.home.is_none()
    }

    fn is_at(&self, place: &Place) -> bool {
        self.home.as_ref().is_some_and(|home| home.place == *place)
    }

    fn look(&self) -> Look {
        self.home.as_ref().map_or(Look::Same, |home| {
            file::look(&home.path, home.identity, &home.place)
        })
    }

    /// Notes the second before and, should time have gone on meanwhile, after: a process may be stopped in between.
    fn bump_all<N: AsRef<[u8]>>(&self, names: &[N], seconds: &mut impl FnMut() -> u32) {
        let before = seconds();
        for name in names {
            self.bump(self.word(name.as_ref()), before);
        }
        let after = seconds();
        if after != before {
            for name in names {
                let group = self.word(name.as_ref()) as usize % GROUPS;
                word::note(&self.segment.groups[group], after);
            }
        }
    }

    /// Moves to the file that is at the path now, if it is not this one. Where there can be none these words stay in
    /// force: the processes that have them mapped still share them.
    fn followed(&'static self, look: Look, seconds: u32) -> &'static Self {
        let Some(home) = &self.home else {
            return self;
        };
        let reason = match look {
            Look::Same if home.lost => "the file is back".to_owned(),
            Look::Same => return self,
            Look::Other(reason) | Look::Shrunk(reason) => reason,
        };
        match file::open(&home.place, seconds) {
            Ok(opened) => {
                let mut next = self.moved_to(home.place.clone(), opened);
                next.reason = Some(next.reason.take().unwrap_or(reason));
                CURRENT.replace(self, next)
            }
            Err(_) if home.lost => self,
            Err(error) => {
                let mut next = self.because(format!("{reason}, and {error}"));
                next.home = Some(Home {
                    lost: true,
                    ..home.clone()
                });
                CURRENT.replace(self, next)
            }
        }
    }

    fn moved_to(&self, place: Place, opened: file::Opened) -> Self {
        let moved = opened.replaced.is_some() || self.is_at(&place);
        Self {
            segment: opened.segment,
            seed: place.seed(),
            home: Some(Home {
                place,
                path: opened.path,
                identity: opened.identity,
                lost: false,
            }),
            reason: opened.replaced,
            replaced: self.replaced + u32::from(moved),
            journal: Published::new(&Cells::Unopened),
        }
    }

    fn because(&self, reason: String) -> Self {
        Self {
            segment: self.segment,
            seed: self.seed,
            home: self.home.clone(),
            reason: Some(reason),
            replaced: self.replaced,
            journal: Published::new(self.journal.get()),
        }
    }
}
