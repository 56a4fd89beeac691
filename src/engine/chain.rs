//! A doubly linked list over the slots of a slab: by index, without pointers, without branches at the ends.

use super::slab::{Links, Slab, Slot};

/// The links used for recency.
pub(super) const RECENCY: usize = 0;
/// The links used for expiry.
pub(super) const EXPIRY: usize = 1;

/// A chain through the links `L`. Its root is a slot that holds no entry: before the first, after the last. No other
/// chain through the same links has the same root; all that a chain remembers stands in the slab.
#[derive(Debug)]
pub(super) struct Chain<const L: usize, const ROOT: Slot>;

#[expect(
    clippy::unused_self,
    reason = "the caller says which chain it means by having it"
)]
impl<const L: usize, const ROOT: Slot> Chain<L, ROOT> {
    /// The oldest slot.
    #[inline]
    pub(super) fn front<K, V>(&self, slab: &Slab<K, V>) -> Option<Slot> {
        self.present(slab[ROOT].links[L].next)
    }

    /// The youngest slot.
    #[inline]
    pub(super) fn back<K, V>(&self, slab: &Slab<K, V>) -> Option<Slot> {
        self.present(slab[ROOT].links[L].prev)
    }

    /// The slot after `slot`, towards the young end.
    #[inline]
    pub(super) fn after<K, V>(&self, slab: &Slab<K, V>, slot: Slot) -> Option<Slot> {
        self.present(slab[slot].links[L].next)
    }

    /// Links a slot that is in no chain of `L` at the young end.
    #[inline]
    pub(super) fn push_back<K, V>(&self, slab: &mut Slab<K, V>, slot: Slot) {
        let root = &mut slab[ROOT].links[L];
        let last = root.prev;
        root.prev = slot;
        slab[last].links[L].next = slot;
        slab[slot].links[L] = Links {
            prev: last,
            next: ROOT,
        };
    }

    /// Takes a slot out of the chain. Its own links are left as they were.
    #[inline]
    pub(super) fn unlink<K, V>(&self, slab: &mut Slab<K, V>, slot: Slot) {
        let Links { prev, next } = slab[slot].links[L];
        slab[prev].links[L].next = next;
        slab[next].links[L].prev = prev;
    }

    /// Moves a slot to the young end.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    pub(super) fn renew<K, V>(&self, slab: &mut Slab<K, V>, slot: Slot) {
        if slab[slot].links[L].next == ROOT {
            return;
        }
        self.unlink(slab, slot);
        self.push_back(slab, slot);
    }

    /// All slots, oldest first.
    pub(super) fn iter<K, V>(&self, slab: &Slab<K, V>) -> impl Iterator<Item = Slot> {
        std::iter::successors(self.front(slab), |&slot| self.after(slab, slot))
    }

    #[inline]
    fn present(&self, slot: Slot) -> Option<Slot> {
        (slot != ROOT).then_some(slot)
    }

    /// The chain closes on itself in both directions. Returns its length.
    pub(super) fn validate<K, V>(&self, slab: &Slab<K, V>) -> usize {
        let mut length = 0;
        let mut last = ROOT;
        for slot in self.iter(slab) {
            assert_eq!(
                slab[slot].links[L].prev, last,
                "slot {slot} does not know who is before it"
            );
            assert!(slab[slot].pair.is_some(), "vacant slot {slot} is linked");
            last = slot;
            length += 1;
            assert!(
                length <= slab.slots(),
                "the chain of root {ROOT} is a circle without it"
            );
        }
        assert_eq!(
            slab[ROOT].links[L].prev, last,
            "the root does not know the last slot"
        );
        length
    }
}
