//! Changing a table's limits while it is in use.

use super::{Displaced, MAX_ENTRIES, Nanos, Now, Table, Words};

impl<K, V, W: Words> Table<K, V, W> {
    /// Changes the number of entries allowed. Entries beyond it go, the expired ones first.
    ///
    /// More than slots can be numbered is as many as can be: callers that care ask [`Limits::validated`](crate::engine::Limits::validated) first.
    pub fn set_max_size(&mut self, max_size: usize, now: Now) -> Displaced<K, V> {
        self.limits.max_size = max_size.min(MAX_ENTRIES);
        self.metrics.limits_changed(&self.limits);
        let mut displaced = Displaced::none();
        while self.len() > self.limits.max_size && self.displace(now, &mut displaced) {}
        displaced
    }

    /// Changes the weight allowed. Entries that were stored while there was no limit weigh nothing.
    pub fn set_max_bytes(&mut self, max_bytes: Option<u64>, now: Now) -> Displaced<K, V> {
        self.limits.max_bytes = max_bytes;
        self.metrics.limits_changed(&self.limits);
        let mut displaced = Displaced::none();
        self.contents.columns.follow(&self.limits);
        self.shed(0, now, &mut displaced);
        self.resized();
        displaced
    }

    /// Changes how long expired entries are kept; also of those that expired already.
    pub fn set_grace(&mut self, grace: Nanos) {
        self.limits.grace = grace;
        self.metrics.limits_changed(&self.limits);
    }

    /// Changes `XFetch`'s beta. Entries that were stored while it was 0 are not elected.
    pub fn set_early_refresh(&mut self, beta: f64) {
        self.limits.early_refresh = beta;
        self.contents.columns.follow(&self.limits);
    }
}
