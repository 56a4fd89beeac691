//! What a pass over a value has met, where meeting it again matters.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use pyo3::ffi::PyObject;

/// Containers that more than one object refers to, and tuples, by address; true for what may not be met again.
#[derive(Default)]
pub(in crate::bindings) struct Seen(HashTable<(usize, bool)>);

impl Seen {
    fn hash(address: usize) -> u64 {
        // Addresses are multiples of 16: the product's upper half is what differs.
        (address as u64)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(32)
    }

    pub(in crate::bindings) fn get(&self, object: *mut PyObject) -> Option<bool> {
        let address = object.addr();
        let found = self
            .0
            .find(Self::hash(address), |(held, _)| *held == address);
        found.map(|(_, is_once)| *is_once)
    }

    /// False when it was there before.
    pub(in crate::bindings) fn insert(&mut self, object: *mut PyObject, is_once: bool) -> bool {
        let address = object.addr();
        let entry = self.0.entry(
            Self::hash(address),
            |(held, _)| *held == address,
            |(held, _)| Self::hash(*held),
        );
        match entry {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert((address, is_once));
                true
            }
        }
    }
}
