//! Pattern invalidations of a store: told to all processes of the host in a few microseconds, carried out by each of them at its
//! next use of the store.
//!
//! The word of the store moves with each, as with a clear, and the journal says what for (`host/journal.rs`). Where that is
//! known of each step, only what matches is removed, and a fill or a load that began before is stored unless its key
//! matches; else everything goes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::backend_key::Name;
use super::clock as python_clock;
use super::compiled::{read, regex_bytes};
use super::matching;
use super::native_store::NativeStore;
use super::shared::{PyGone, PyTable};
use super::tokens::{self, Seen};
use crate::engine::clock::{self, Now};
use crate::engine::{
    Cause, Error, Head, Matcher, PatternKind, Selector, Slot, Stamp, Text, Within,
};
use crate::host::journal::RECORDS;
use crate::host::journal::record::Record;
use crate::host::versions::{self, Versions};

/// So many keys are matched at one settling, each pattern for itself; where it would be more, everything goes. To match a
/// key takes 20 to 50 ns.
const MOST_MATCHED: usize = 1 << 20;
/// A regular expression may take so many times as long.
const REGEX_WEIGHT: usize = 4;
/// One invalidation takes so many records at most: the ring is for all.
const MOST_RECORDS: usize = RECORDS / 8;
/// So long a settling may match keys; where it takes longer, everything goes. A regular expression of a few characters may
/// take a quarter of a second for one key.
const LONGEST_SETTLING: Duration = Duration::from_millis(250);
/// So many keys are matched between two looks at the clock, and one where a regular expression is matched.
const BETWEEN_LOOKS: usize = 64;
/// What takes more memory is told to other processes as a clear: to compile it would take each of them 20 ms.
const MOST_TOLD_BYTES: usize = 1 << 20;
/// A fill is not stored rather than matched with more: one of this size may take 10 ms a key.
const MOST_FILL_BYTES: usize = 256 << 10;

/// What was invalidated by patterns.
#[derive(Default)]
struct Outdated(Vec<Selector>);

impl Outdated {
    /// What these records say of one store, each pattern once; None where one cannot be read.
    fn of(records: Vec<Record>, store: u64) -> Option<Self> {
        let mut within: Vec<(Within, Vec<Matcher>)> = Vec::new();
        let mut known = HashSet::new();
        for record in records {
            if record.store != store {
                continue; // another store has the same word
            }
            let place = within.iter().position(|(known, _)| *known == record.within);
            let place = place.unwrap_or_else(|| {
                within.push((record.within, Vec::new()));
                within.len() - 1
            });
            for pattern in record.patterns {
                // Another build may have read what this one cannot.
                let matcher = read(record.kind, &pattern).ok()?;
                if known.insert((place, record.kind.name(), pattern)) {
                    within[place].1.push(matcher);
                }
            }
        }
        let selectors = within.into_iter();
        let selectors = selectors.map(|(within, matchers)| Selector::new(matchers, within));
        Some(Self(selectors.collect()))
    }

    /// How long it takes to match a key, in glob patterns.
    fn weight(&self) -> usize {
        let matchers = self.0.iter().flat_map(Selector::matchers);
        matchers
            .map(|matcher| match matcher.kind() {
                PatternKind::Glob => 1,
                PatternKind::Regex => REGEX_WEIGHT,
            })
            .sum()
    }

    /// About how much memory the regular expressions take.
    fn regex_bytes(&self) -> usize {
        let matchers = self.0.iter().flat_map(Selector::matchers);
        matchers.map(regex_bytes).sum()
    }

    fn takes(&self, head: Head<'_>, key: Text<'_>) -> bool {
        self.0.iter().any(|selector| takes(selector, head, key))
    }
}

/// Whether a selector takes a key of a store. A key that was made as a whole may be of any version that can be read in it.
fn takes(selector: &Selector, head: Head<'_>, key: Text<'_>) -> bool {
    const COLON: u32 = b':' as u32;
    if selector.takes(head, key) {
        return true;
    }
    let (
        Head::Whole,
        Within::Parts {
            prefix: Some(prefix),
            version: None,
        },
    ) = (head, selector.within())
    else {
        return false;
    };
    let mut made = Vec::new();
    key.add_to(&mut made);
    let Some(rest) = made.strip_prefix(&**prefix) else {
        return false;
    };
    let Some((&COLON, rest)) = rest.split_first() else {
        return false;
    };
    let colons = rest
        .iter()
        .enumerate()
        .filter(|&(_, &character)| character == COLON);
    colons.map(|(at, _)| &rest[at + 1..]).any(|key| {
        let matchers = selector.matchers().iter();
        matchers
            .clone()
            .any(|matcher| matcher.matches(Text::Full(key)))
    })
}

impl NativeStore {
    /// Do what was invalidated since the store was looked at last: remove what matches the patterns, or everything where more
    /// than patterns was invalidated, or nobody knows any more what.
    #[cold]
    #[inline(never)]
    pub(super) fn catch_up(&self, py: Python<'_>) {
        loop {
            let seen = versions::current();
            let before = self.stamp();
            let now = seen.capture(seen.word(&self.store_word()));
            let known = self.outdated_between(seen, before, now);
            let Some(outdated) = known.filter(|outdated| self.is_affordable(outdated)) else {
                return self.start_anew(seen);
            };
            let mut gone = Vec::new();
            let mut table = self.shared.cache.lock();
            if self.stamp() != before {
                continue; // another thread has gone on
            }
            let end = Some(Instant::now() + LONGEST_SETTLING);
            let is_all =
                self.remove_from(&mut table, py, &outdated, end, &mut |_, _| {}, &mut gone);
            if is_all {
                self.set_value(now.value);
            }
            drop(table);
            self.shared.drop_later(gone);
            if !is_all {
                self.start_anew(seen);
            }
            return;
        }
    }

    /// Remove everything: what comes later is as new.
    fn start_anew(&self, seen: &Versions) {
        let words = self.words_of(seen);
        self.shared.clear_later();
        self.remember(words);
    }

    /// What patterns took between two values of the store's word; None unless that is all that was invalidated.
    fn outdated_between(&self, seen: &Versions, from: Stamp, to: Stamp) -> Option<Outdated> {
        if from.word != to.word || self.ground() != Some(seen.ground()) {
            return None;
        }
        let records = seen.records_between(to.word, from.value, to.value)?;
        Outdated::of(records, self.name_hash)
    }

    fn is_affordable(&self, outdated: &Outdated) -> bool {
        let entries = self.shared.cache.lock().len();
        entries.saturating_mul(outdated.weight()) <= MOST_MATCHED
    }

    /// Remove what patterns take; whether that was all by `end`.
    fn remove_from(
        &self,
        table: &mut PyTable,
        py: Python<'_>,
        outdated: &Outdated,
        end: Option<Instant>,
        with: &mut dyn FnMut(&PyTable, Slot),
        gone: &mut Vec<PyGone>,
    ) -> bool {
        if outdated.0.is_empty() {
            return true;
        }
        let mut matchers = outdated.0.iter().flat_map(Selector::matchers);
        let is_plain = matchers.all(|matcher| matcher.kind() == PatternKind::Glob);
        let between = if is_plain { BETWEEN_LOOKS } else { 1 };
        let (slots, _) = table.walk(0, usize::MAX);
        for (count, slot) in slots.into_iter().enumerate() {
            if count.is_multiple_of(between) && end.is_some_and(|end| Instant::now() >= end) {
                return false;
            }
            let key = table.key(slot).bind(py);
            let is_outdated =
                matching::with_key(key, true, |head, text| outdated.takes(head, text));
            if is_outdated == Some(true) {
                with(table, slot);
                gone.push(table.remove(slot, Cause::Invalidated));
            }
        }
        true
    }

    /// Whether nothing was invalidated that a key belongs to, between a value of the store's word and its present one.
    pub(super) fn has_spared(&self, name: &Name<'_, '_>, from: u32) -> bool {
        let now = self.stamp();
        if from == now.value {
            return true;
        }
        let from = Stamp { value: from, ..now };
        let outdated = self.outdated_between(versions::current(), from, now);
        outdated
            .filter(|outdated| outdated.regex_bytes() <= MOST_FILL_BYTES)
            .is_some_and(|outdated| !name.with_parts(|head, text| outdated.takes(head, text)))
    }

    /// The present value of the store's word, for what was seen of it is still good for a fill.
    pub(super) fn still_good(
        &self,
        name: &Name<'_, '_>,
        seen: Seen,
        is_untagged: bool,
    ) -> PyResult<Option<u32>> {
        let now = self.seen(name)?;
        let is_same = now.key == seen.key
            && self.has_spared_fill(name, seen.epoch)
            && (is_untagged || now.tags == seen.tags);
        Ok((is_same && self.has_spared(name, seen.store)).then_some(now.store))
    }

    /// Have every process remove what the patterns take at its next use of the store.
    pub(super) fn outdate(
        &self,
        py: Python<'_>,
        kind: PatternKind,
        within: Within,
        patterns: Vec<Vec<u32>>,
    ) -> PyResult<()> {
        if patterns.is_empty() {
            return Ok(());
        }
        if !self.is_host {
            let patterns = patterns.iter();
            let matchers: Result<Vec<_>, _> = patterns.map(|pattern| read(kind, pattern)).collect();
            let outdated = Outdated(vec![Selector::new(matchers?, within)]);
            self.renounce(&outdated);
            self.remove_now(py, &outdated, None);
            return Ok(());
        }
        let matchers = patterns.iter().map(|pattern| read(kind, pattern));
        let bytes: Result<usize, Error> = matchers.map(|one| Ok(regex_bytes(&one?))).sum();
        self.tell(py, kind, within, patterns, bytes?)?;
        Ok(())
    }

    /// As [`Self::outdate`] for one pattern, and remove what it takes in this process at once; how many live entries that were.
    pub(super) fn delete_matching(
        &self,
        py: Python<'_>,
        matcher: &Matcher,
        within: Within,
    ) -> PyResult<usize> {
        self.settle(py);
        let now = python_clock::now(py)?;
        let outdated = Outdated(vec![Selector::new(vec![matcher.clone()], within.clone())]);
        if !self.is_host {
            self.renounce(&outdated);
            return Ok(self.remove_now(py, &outdated, Some(now)));
        }
        let before = self.stamp();
        let after = self.tell(
            py,
            matcher.kind(),
            within,
            vec![matcher.source().to_vec()],
            regex_bytes(matcher),
        )?;
        let mut count = 0;
        let mut gone = Vec::new();
        let mut table = self.shared.cache.lock();
        self.remove_from(
            &mut table,
            py,
            &outdated,
            None,
            &mut |table, slot| count += usize::from(table.is_live(slot, now)),
            &mut gone,
        );
        let is_all = after.word == before.word && after.value == before.value.wrapping_add(1);
        if is_all && self.stamp() == before {
            self.set_value(after.value);
        }
        drop(table);
        self.shared.removed(py, gone);
        Ok(count)
    }

    fn renounce(&self, outdated: &Outdated) {
        for selector in &outdated.0 {
            self.shared.renounce_matching(&Arc::new(selector.clone()));
        }
    }

    fn remove_now(&self, py: Python<'_>, outdated: &Outdated, now: Option<Now>) -> usize {
        let mut count = 0;
        let mut gone = Vec::new();
        let mut table = self.shared.cache.lock();
        self.remove_from(
            &mut table,
            py,
            outdated,
            None,
            &mut |table, slot| {
                count += usize::from(now.is_some_and(|now| table.is_live(slot, now)));
            },
            &mut gone,
        );
        drop(table);
        self.shared.removed(py, gone);
        count
    }

    fn tell(
        &self,
        py: Python<'_>,
        kind: PatternKind,
        within: Within,
        patterns: Vec<Vec<u32>>,
        bytes: usize,
    ) -> PyResult<Stamp> {
        let record = Record {
            store: self.name_hash,
            kind,
            within,
            patterns,
        };
        let texts = record
            .encode()
            .filter(|texts| texts.len() <= MOST_RECORDS && bytes <= MOST_TOLD_BYTES);
        let now = python_clock::now(py).map_or_else(|_| clock::precise(), Now::at);
        let steps = texts.as_ref().map_or(1, Vec::len);
        let stamp = versions::outdate(&self.store_word(), texts.as_deref(), now);
        // What this thread stores next comes after that, and is not to be lost; unless others moved the word meanwhile.
        if let Ok(steps) = u32::try_from(steps) {
            let before = stamp.value.wrapping_sub(steps);
            tokens::stepped(py, self.id, |seen| &mut seen.store, before, stamp.value)?;
        }
        if let Some(reason) = versions::untold_fault() {
            log::warn!(
                target: "oxicache.host",
                "Each invalidation by patterns empties the whole cache in all processes, as they cannot be told what matched: {reason}"
            );
        }
        Ok(stamp)
    }
}
