//! Least recently used, exactly: one chain, and every use moves an entry to its young end.

use super::Eviction;
use crate::engine::chain::{Chain, RECENCY};
use crate::engine::slab::{Slab, Slot};

#[derive(Debug)]
pub(in crate::engine) struct Lru {
    chain: Chain<RECENCY, 0>,
}

impl Lru {
    pub(super) const fn new() -> Self {
        Self { chain: Chain }
    }
}

impl Eviction for Lru {
    #[inline]
    fn inserted<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        self.chain.push_back(slab, slot);
    }

    #[inline]
    fn touched<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        self.chain.renew(slab, slot);
    }

    #[inline]
    fn removed<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        self.chain.unlink(slab, slot);
    }

    fn restored<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        self.chain.push_back(slab, slot);
    }

    #[inline]
    fn victim<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        self.chain.front(slab)
    }

    fn order<K, V>(&self, slab: &Slab<K, V>) -> Vec<Slot> {
        self.chain.iter(slab).collect()
    }

    fn validate<K, V>(&self, slab: &Slab<K, V>, len: usize) {
        assert_eq!(
            self.chain.validate(slab),
            len,
            "the recency chain and the index disagree"
        );
    }
}
