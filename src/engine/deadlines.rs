//! Who expires next: a queue for entries that share one TTL, a hierarchical timer wheel for the others.
//!
//! Both are chains through the same links. An entry whose deadline is not before the queue's last one joins the queue,
//! which is then sorted by itself; any other joins the wheel. What never expires is linked nowhere.
//!
//! Source of the wheel: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7.

use super::chain::{Chain, EXPIRY};
use super::clock::{FOREVER, Nanos, Now};
use super::slab::{Links, NIL, Slab, Slot};

/// A tick of 2^24 ns, some 17 ms: when room is needed, entries of the wheel count as expired up to a tick late.
const TICK_SHIFT: u32 = 24;
const DIGIT_BITS: usize = 6;
const BUCKETS: usize = 1 << DIGIT_BITS;
/// 7 digits of 6 bits and the 24 bits of a tick are more than the 63 bits of an instant: nothing lies outside.
const LEVELS: usize = 7;

/// Where an entry is linked, as its `Meta` remembers it: nowhere, in the queue, among the due, or in a bucket.
const NOWHERE: u32 = 0;
const QUEUE: u32 = 1;
const DUE: u32 = 2;
const WHEEL: u32 = 3;

#[derive(Debug)]
pub(super) struct Deadlines {
    queue: Chain<EXPIRY, 0>,
    /// Those that the wheel has turned past.
    due: Chain<EXPIRY, 1>,
    /// Made by the first entry that needs it.
    wheel: Option<Box<Wheel>>,
}

#[derive(Debug)]
struct Wheel {
    /// Entries of earlier ticks are due; those in the wheel are of this or later ones.
    tick: u64,
    /// An entry stands on the level of the highest digit in which its tick differs from the wheel's.
    heads: [[Slot; BUCKETS]; LEVELS],
    /// One bit for each bucket that is not empty.
    occupied: [u64; LEVELS],
}

impl Deadlines {
    pub(super) const fn new() -> Self {
        Self {
            queue: Chain,
            due: Chain,
            wheel: None,
        }
    }

    /// Links a slot that is linked nowhere, by its deadline. `own_ttl` says that others have another TTL.
    #[inline]
    pub(super) fn link<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot, own_ttl: bool) {
        let deadline = slab[slot].deadline;
        if deadline == FOREVER {
            return;
        }
        if own_ttl || self.queue.last_deadline(slab) > deadline {
            self.link_in_wheel(slab, slot);
            return;
        }
        slab[slot].meta.set_home(QUEUE);
        self.queue.push_back(slab, slot);
    }

    /// Gives a slot another deadline. Moving on in the queue, as a renewed entry does, is the fast case.
    #[inline]
    pub(super) fn relink<K, V>(
        &mut self,
        slab: &mut Slab<K, V>,
        slot: Slot,
        deadline: Nanos,
        own_ttl: bool,
    ) {
        let home = slab[slot].meta.home();
        if home == QUEUE
            && !own_ttl
            && deadline != FOREVER
            && self.queue.last_deadline(slab) <= deadline
        {
            slab[slot].deadline = deadline;
            self.queue.renew(slab, slot);
        } else if home != NOWHERE || deadline != FOREVER {
            self.relink_elsewhere(slab, slot, deadline, own_ttl);
        } else {
            slab[slot].meta.set_born(false); // as there
        }
    }

    #[inline(never)]
    fn relink_elsewhere<K, V>(
        &mut self,
        slab: &mut Slab<K, V>,
        slot: Slot,
        deadline: Nanos,
        own_ttl: bool,
    ) {
        self.unlink(slab, slot);
        slab[slot].deadline = deadline;
        slab[slot].meta.set_born(false); // it is stored anew, and whoever knows better says so afterwards
        self.link(slab, slot, own_ttl);
    }

    /// Whether a slot stands in the queue.
    pub(super) fn is_queued<K, V>(slab: &Slab<K, V>, slot: Slot) -> bool {
        slab[slot].meta.home() == QUEUE
    }

    /// Takes a slot out of whatever it is linked in.
    #[inline]
    pub(super) fn unlink<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        match slab[slot].meta.home() {
            NOWHERE => {}
            QUEUE => {
                self.queue.unlink(slab, slot);
                slab[slot].meta.set_home(NOWHERE);
            }
            home => self.unlink_from_wheel(slab, slot, home),
        }
    }

    #[inline(never)]
    fn unlink_from_wheel<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot, home: u32) {
        if home == DUE {
            self.due.unlink(slab, slot);
        } else if let Some(wheel) = &mut self.wheel {
            wheel.unlink(slab, slot, (home - WHEEL) as usize);
        }
        slab[slot].meta.set_home(NOWHERE);
    }

    /// An entry whose deadline is reached, if there is one: of the queue the earliest, else one of the due.
    #[inline]
    pub(super) fn expired<K, V>(&mut self, slab: &mut Slab<K, V>, now: Now) -> Option<Slot> {
        let reached = |slab: &Slab<K, V>, slot: &Slot| now.reached(slab[*slot].deadline);
        if let Some(first) = self.queue.front(slab).filter(|slot| reached(slab, slot)) {
            return Some(first);
        }
        if self.wheel.is_some() {
            self.turn(slab, now);
            return self.due.front(slab).filter(|slot| reached(slab, slot));
        }
        None
    }

    /// The slots whose deadline and grace are over, to the nanosecond, in no particular order. O(those), plus one bucket and
    /// those in their grace.
    pub(super) fn all_expired<'a, K, V>(
        &'a mut self,
        slab: &'a mut Slab<K, V>,
        now: Now,
        grace: Nanos,
    ) -> impl Iterator<Item = Slot> + 'a {
        self.turn(slab, now);
        let slab = &*slab;
        let over = move |slot: &Slot| now.reached(slab[*slot].deadline.saturating_add(grace));
        let queued = self.queue.iter(slab).take_while(over);
        let due = self.due.iter(slab).filter(over);
        let ticking = self.wheel.iter().flat_map(move |wheel| {
            let bucket = wheel.bucket(slab, 0, digit(wheel.tick, 0));
            bucket.filter(over)
        });
        queued.chain(due).chain(ticking)
    }

    /// Turns the wheel to `now`, so that what is due is found and what is linked next is placed well.
    pub(super) fn turn<K, V>(&mut self, slab: &mut Slab<K, V>, now: Now) {
        let target = tick(now.at());
        while let Some(wheel) = &mut self.wheel {
            let Some((level, bucket, start)) = wheel.next() else {
                wheel.tick = wheel.tick.max(target);
                return;
            };
            // The bucket of the present tick stays: some of its entries are still ahead.
            if start > target || (level == 0 && start == target) {
                wheel.tick = wheel.tick.max(target);
                return;
            }
            wheel.tick = start;
            let mut slot = wheel.empty(level, bucket);
            while slot != NIL {
                let next = slab[slot].links[EXPIRY].next;
                if level == 0 {
                    slab[slot].meta.set_home(DUE);
                    self.due.push_back(slab, slot);
                } else {
                    wheel.link(slab, slot);
                }
                slot = next;
            }
        }
    }

    #[inline(never)]
    fn link_in_wheel<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let wheel = self.wheel.get_or_insert_with(Wheel::new);
        if tick(slab[slot].deadline) < wheel.tick {
            slab[slot].meta.set_home(DUE);
            self.due.push_back(slab, slot);
        } else {
            wheel.link(slab, slot);
        }
    }

    /// Panics unless the queue is sorted and every entry that expires is linked exactly where it says.
    pub(super) fn validate<K, V>(&self, slab: &Slab<K, V>) {
        let mut linked = self.queue.validate(slab) + self.due.validate(slab);
        let deadlines: Vec<Nanos> = self
            .queue
            .iter(slab)
            .map(|slot| slab[slot].deadline)
            .collect();
        assert!(deadlines.is_sorted(), "the expiry queue is out of order");
        assert!(
            self.queue
                .iter(slab)
                .all(|slot| slab[slot].meta.home() == QUEUE),
            "a queued entry says otherwise"
        );
        assert!(
            self.due
                .iter(slab)
                .all(|slot| slab[slot].meta.home() == DUE),
            "a due entry says otherwise"
        );
        if let Some(wheel) = &self.wheel {
            linked += wheel.validate(slab);
        }
        let expiring = slab
            .iter()
            .filter(|(slot, _)| slab[*slot].deadline != FOREVER)
            .count();
        assert_eq!(
            linked, expiring,
            "entries that expire and entries that are linked differ"
        );
    }
}

impl Chain<EXPIRY, 0> {
    /// The last deadline of the queue. That of the root, when it is empty, is before all others.
    #[inline]
    fn last_deadline<K, V>(&self, slab: &Slab<K, V>) -> Nanos {
        slab[self.back(slab).unwrap_or(0)].deadline
    }
}

impl Wheel {
    fn new() -> Box<Self> {
        Box::new(Self {
            tick: 0,
            heads: [[NIL; BUCKETS]; LEVELS],
            occupied: [0; LEVELS],
        })
    }

    /// The next bucket that is not empty: its level, its place there and its first tick.
    ///
    /// All of a lower level comes before all of a higher one, as it shares more digits with the present.
    fn next(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let bucket = self.occupied[level].trailing_zeros() as usize;
        let shift = level * DIGIT_BITS;
        let above = self.tick >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        Some((level, bucket, above | (bucket as u64) << shift))
    }

    fn link<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let (level, bucket) = self.place(tick(slab[slot].deadline));
        let head = std::mem::replace(&mut self.heads[level][bucket], slot);
        self.occupied[level] |= 1 << bucket;
        if head != NIL {
            slab[head].links[EXPIRY].prev = slot;
        }
        let entry = &mut slab[slot];
        entry.links[EXPIRY] = Links {
            prev: NIL,
            next: head,
        };
        entry.meta.set_home(home(level, bucket));
    }

    fn unlink<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot, at: usize) {
        let Links { prev, next } = slab[slot].links[EXPIRY];
        if next != NIL {
            slab[next].links[EXPIRY].prev = prev;
        }
        if prev != NIL {
            slab[prev].links[EXPIRY].next = next;
            return;
        }
        let (level, bucket) = (at / BUCKETS, at % BUCKETS);
        self.heads[level][bucket] = next;
        if next == NIL {
            self.occupied[level] &= !(1 << bucket);
        }
    }

    /// Forgets a bucket and returns its first slot.
    fn empty(&mut self, level: usize, bucket: usize) -> Slot {
        self.occupied[level] &= !(1 << bucket);
        std::mem::replace(&mut self.heads[level][bucket], NIL)
    }

    /// The level and bucket of a tick that is not in the past.
    fn place(&self, tick: u64) -> (usize, usize) {
        let highest = u64::BITS - 1 - ((tick ^ self.tick) | 1).leading_zeros();
        let level = highest as usize / DIGIT_BITS;
        (level, digit(tick, level))
    }

    fn bucket<K, V>(
        &self,
        slab: &Slab<K, V>,
        level: usize,
        bucket: usize,
    ) -> impl Iterator<Item = Slot> {
        let present = |slot: Slot| (slot != NIL).then_some(slot);
        std::iter::successors(present(self.heads[level][bucket]), move |&slot| {
            present(slab[slot].links[EXPIRY].next)
        })
    }

    fn validate<K, V>(&self, slab: &Slab<K, V>) -> usize {
        let mut linked = 0;
        for level in 0..LEVELS {
            for bucket in 0..BUCKETS {
                let occupied = self.occupied[level] >> bucket & 1 == 1;
                assert_eq!(
                    occupied,
                    self.heads[level][bucket] != NIL,
                    "bucket {level}/{bucket} is marked wrongly"
                );
                let mut prev = NIL;
                for slot in self.bucket(slab, level, bucket) {
                    let due = tick(slab[slot].deadline);
                    assert!(due >= self.tick, "the wheel turned past slot {slot}");
                    assert_eq!(
                        self.place(due),
                        (level, bucket),
                        "slot {slot} stands in the wrong bucket"
                    );
                    assert_eq!(slab[slot].meta.home(), home(level, bucket));
                    assert_eq!(
                        slab[slot].links[EXPIRY].prev, prev,
                        "slot {slot} does not know who is before it"
                    );
                    prev = slot;
                    linked += 1;
                }
            }
        }
        linked
    }
}

#[expect(clippy::cast_possible_truncation, reason = "7 levels of 64 buckets")]
fn home(level: usize, bucket: usize) -> u32 {
    WHEEL + (level * BUCKETS + bucket) as u32
}

/// The tick of an instant. Instants may lie before zero (a test may freeze the clock in the past), ticks do not.
#[expect(
    clippy::cast_sign_loss,
    reason = "the sign bit is turned into an offset"
)]
fn tick(at: Nanos) -> u64 {
    (at ^ Nanos::MIN) as u64 >> TICK_SHIFT
}

#[expect(clippy::cast_possible_truncation, reason = "one digit of six bits")]
fn digit(tick: u64, level: usize) -> usize {
    (tick >> (level * DIGIT_BITS)) as usize % BUCKETS
}
