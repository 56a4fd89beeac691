//! Which entries carry a tag, and which tags an entry carries.
//!
//! A membership is a record in two lists: of its entry (singly linked) and of its tag (doubly linked). Nothing is
//! allocated before the first tag.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::slab::{Slab, Slot, mix};

/// What a group of entries has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagRef<'a> {
    /// A name that the user gave.
    Name(&'a str),
    /// All entries of one object, by a number that stands for it.
    Owner(u64),
}

#[derive(Debug)]
enum Label {
    Name(Box<str>),
    Owner(u64),
}

impl Label {
    fn as_ref(&self) -> TagRef<'_> {
        match self {
            Self::Name(name) => TagRef::Name(name),
            Self::Owner(owner) => TagRef::Owner(*owner),
        }
    }
}

impl From<TagRef<'_>> for Label {
    fn from(tag: TagRef<'_>) -> Self {
        match tag {
            TagRef::Name(name) => Self::Name(name.into()),
            TagRef::Owner(owner) => Self::Owner(owner),
        }
    }
}

/// No record: numbers start at 1, so that an entry without tags says 0.
const NONE: u32 = 0;

#[derive(Debug)]
struct Tag {
    label: Label,
    hash: u64,
    /// The first of its memberships.
    head: u32,
}

#[derive(Clone, Copy, Debug)]
struct Membership {
    slot: Slot,
    tag: u32,
    /// The next one of the same entry; of the free ones when this is free.
    of_entry: u32,
    prev: u32,
    next: u32,
}

#[derive(Debug, Default)]
pub(super) struct Tags {
    used: Option<Box<Used>>,
}

#[derive(Debug, Default)]
struct Used {
    index: HashTable<u32>,
    /// Record 0 of both is never used.
    tags: Vec<Option<Tag>>,
    free_tags: Vec<u32>,
    memberships: Vec<Membership>,
    free_memberships: u32,
    hasher: RandomState,
}

impl Tags {
    /// Adds an entry to its tags. One that is named twice counts once.
    pub(super) fn attach<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot, tags: &[TagRef<'_>]) {
        if tags.is_empty() {
            return;
        }
        let used = self.used.get_or_insert_default();
        for &tag in tags {
            let tag = used.tag(tag);
            if used.of_entry(slab[slot].tags).all(|known| known.tag != tag) {
                slab[slot].tags = used.join(slot, tag, slab[slot].tags);
            }
        }
    }

    /// Takes an entry out of all its tags. A tag without entries is forgotten.
    #[inline]
    pub(super) fn detach<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let first = std::mem::replace(&mut slab[slot].tags, NONE);
        if let Some(used) = &mut self.used {
            used.leave_all(first);
        }
    }

    /// The tags of an entry, given its first membership.
    pub(super) fn of(&self, first: u32) -> impl Iterator<Item = TagRef<'_>> {
        let used = self.used.as_deref();
        used.into_iter().flat_map(move |used| {
            used.of_entry(first).filter_map(|known| {
                used.tags[known.tag as usize]
                    .as_ref()
                    .map(|tag| tag.label.as_ref())
            })
        })
    }

    /// An entry that carries the tag, if any does.
    pub(super) fn any(&self, tag: TagRef<'_>) -> Option<Slot> {
        let used = self.used.as_deref()?;
        let tag = used.find(tag, used.hash(tag))?;
        let head = used.tags[tag as usize].as_ref()?.head;
        (head != NONE).then(|| used.memberships[head as usize].slot)
    }

    /// Forgets the last tag, or frees some of what was held for all; whether there was any. For tags that nobody uses any
    /// more: memory goes back by and by, as giving back much at once takes milliseconds.
    pub(super) fn pop(&mut self) -> bool {
        const AT_ONCE: usize = 1 << 13;
        let Some(used) = &mut self.used else {
            return false;
        };
        if used.tags.pop().is_some() {
            if used.tags.capacity() - used.tags.len() >= AT_ONCE {
                used.tags.shrink_to_fit();
            }
            return true;
        }
        let left = used.memberships.len();
        used.memberships.truncate(left.saturating_sub(AT_ONCE));
        used.memberships.shrink_to_fit();
        left > 0
    }

    /// Panics unless memberships agree with their tags and their entries.
    pub(super) fn validate<K, V>(&self, slab: &Slab<K, V>) {
        let carried: usize = slab
            .iter()
            .map(|(slot, _)| self.of(slab[slot].tags).count())
            .sum();
        let Some(used) = &self.used else { return };
        let mut listed = 0;
        for &tag in &used.index {
            let Some(record) = &used.tags[tag as usize] else {
                panic!("a forgotten tag is still found")
            };
            assert_ne!(record.head, NONE, "a tag without entries is still known");
            let (mut at, mut prev) = (record.head, NONE);
            while at != NONE {
                let known = used.memberships[at as usize];
                assert_eq!(
                    (known.tag, known.prev),
                    (tag, prev),
                    "membership {at} is linked wrongly"
                );
                let mut of_entry = used.of_entry(slab[known.slot].tags);
                assert!(
                    of_entry.any(|other| other.tag == tag),
                    "slot {} does not know its tag",
                    known.slot
                );
                (prev, at) = (at, known.next);
                listed += 1;
            }
        }
        assert_eq!(
            listed, carried,
            "tags and entries count different memberships"
        );
    }
}

impl Used {
    fn hash(&self, tag: TagRef<'_>) -> u64 {
        match tag {
            TagRef::Name(name) => self.hasher.hash_one(name),
            TagRef::Owner(owner) => mix(owner),
        }
    }

    fn find(&self, tag: TagRef<'_>, hash: u64) -> Option<u32> {
        let same = |at: &u32| {
            self.tags[*at as usize]
                .as_ref()
                .is_some_and(|known| known.label.as_ref() == tag)
        };
        self.index.find(hash, same).copied()
    }

    /// The number of a tag, which is made when it is not known.
    fn tag(&mut self, tag: TagRef<'_>) -> u32 {
        let hash = self.hash(tag);
        if let Some(known) = self.find(tag, hash) {
            return known;
        }
        let record = Some(Tag {
            label: tag.into(),
            hash,
            head: NONE,
        });
        let number = if let Some(free) = self.free_tags.pop() {
            self.tags[free as usize] = record;
            free
        } else {
            if self.tags.is_empty() {
                self.tags.push(None);
            }
            self.tags.push(record);
            number_of(self.tags.len() - 1)
        };
        let tags = &self.tags;
        self.index.insert_unique(hash, number, |&at| {
            tags[at as usize].as_ref().map_or(0, |tag| tag.hash)
        });
        number
    }

    /// Records a membership before `first` of its entry and returns its number.
    fn join(&mut self, slot: Slot, tag: u32, first: u32) -> u32 {
        let next = self.tags[tag as usize]
            .as_ref()
            .map_or(NONE, |tag| tag.head);
        let record = Membership {
            slot,
            tag,
            of_entry: first,
            prev: NONE,
            next,
        };
        let number = if self.free_memberships == NONE {
            if self.memberships.is_empty() {
                self.memberships.push(record); // number 0, never used
            }
            self.memberships.push(record);
            number_of(self.memberships.len() - 1)
        } else {
            let free = self.free_memberships;
            self.free_memberships = self.memberships[free as usize].of_entry;
            self.memberships[free as usize] = record;
            free
        };
        if next != NONE {
            self.memberships[next as usize].prev = number;
        }
        if let Some(tag) = &mut self.tags[tag as usize] {
            tag.head = number;
        }
        number
    }

    fn leave_all(&mut self, first: u32) {
        let mut at = first;
        while at != NONE {
            let known = self.memberships[at as usize];
            if known.next != NONE {
                self.memberships[known.next as usize].prev = known.prev;
            }
            if known.prev != NONE {
                self.memberships[known.prev as usize].next = known.next;
            } else if known.next == NONE {
                self.forget(known.tag);
            } else if let Some(tag) = &mut self.tags[known.tag as usize] {
                tag.head = known.next;
            }
            self.memberships[at as usize].of_entry = self.free_memberships;
            self.free_memberships = at;
            at = known.of_entry;
        }
    }

    fn forget(&mut self, tag: u32) {
        let Some(record) = self.tags[tag as usize].take() else {
            return;
        };
        if let Ok(entry) = self.index.find_entry(record.hash, |&at| at == tag) {
            entry.remove();
        }
        self.free_tags.push(tag);
    }

    /// The memberships of an entry, given its first one.
    fn of_entry(&self, first: u32) -> impl Iterator<Item = &Membership> {
        let get = |at: u32| (at != NONE).then(|| &self.memberships[at as usize]);
        std::iter::successors(get(first), move |known| get(known.of_entry))
    }
}

/// Records are numbered like slots. Beyond 4 billion memberships memory is long gone.
fn number_of(at: usize) -> u32 {
    u32::try_from(at)
        .unwrap_or_else(|_| panic!("more than {} tag memberships in one table", u32::MAX))
}
