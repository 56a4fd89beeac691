//! What a record of the journal says, as bytes: which store, which kind of patterns, within which keys, and the patterns.
//!
//! Characters are numbers in groups of seven bits, so that ASCII takes a byte each and lone surrogates are characters like
//! others. What cannot be read is no record.

use super::RECORD_BYTES;
use crate::engine::{PatternKind, Within};

/// A pattern invalidation of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The hash of the store's name: two stores may share a word.
    pub store: u64,
    /// How the patterns are to be read.
    pub kind: PatternKind,
    /// The keys that they are matched against.
    pub within: Within,
    /// The patterns.
    pub patterns: Vec<Vec<u32>>,
}

const GLOB: u8 = 0;
const REGEX: u8 = 1;
const ANY: u8 = 0;
const PARTS: u8 = 1;
const MADE: u8 = 2;
const HAS_PREFIX: u8 = 1;
const HAS_VERSION: u8 = 2;

impl Record {
    /// As few texts as hold these patterns; None where one of them is too long for any.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<Vec<u8>>> {
        let head = self.head();
        let mut texts = Vec::new();
        let mut text = head.clone();
        for pattern in &self.patterns {
            let length = text.len();
            add_characters(&mut text, pattern);
            if text.len() <= RECORD_BYTES {
                continue;
            }
            let own = text.split_off(length);
            if head.len() + own.len() > RECORD_BYTES {
                return None;
            }
            texts.push(std::mem::replace(&mut text, head.clone()));
            text.extend(own);
        }
        texts.push(text);
        Some(texts)
    }

    fn head(&self) -> Vec<u8> {
        let mut head = self.store.to_le_bytes().to_vec();
        head.push(match self.kind {
            PatternKind::Glob => GLOB,
            PatternKind::Regex => REGEX,
        });
        match &self.within {
            Within::Any => head.push(ANY),
            Within::Parts { prefix, version } => {
                let has_prefix = if prefix.is_some() { HAS_PREFIX } else { 0 };
                let has_version = if version.is_some() { HAS_VERSION } else { 0 };
                head.extend([PARTS, has_prefix | has_version]);
                if let Some(prefix) = prefix {
                    add_characters(&mut head, prefix);
                }
                if let Some(version) = version {
                    head.extend(version.to_le_bytes());
                }
            }
            Within::Made { before, behind } => {
                head.push(MADE);
                add_characters(&mut head, before);
                add_characters(&mut head, behind);
            }
        }
        head
    }

    /// What a text says; None where it was not written by `encode`.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let mut rest = Rest(text);
        let store = u64::from_le_bytes(rest.array()?);
        let kind = match rest.byte()? {
            GLOB => PatternKind::Glob,
            REGEX => PatternKind::Regex,
            _ => return None,
        };
        let within = match rest.byte()? {
            ANY => Within::Any,
            PARTS => {
                let has = rest.byte()?;
                let prefix = if has & HAS_PREFIX == 0 {
                    None
                } else {
                    Some(rest.characters()?.into())
                };
                let version = if has & HAS_VERSION == 0 {
                    None
                } else {
                    Some(i64::from_le_bytes(rest.array()?))
                };
                Within::Parts { prefix, version }
            }
            MADE => Within::Made {
                before: rest.characters()?.into(),
                behind: rest.characters()?.into(),
            },
            _ => return None,
        };
        let mut patterns = Vec::new();
        while !rest.0.is_empty() {
            patterns.push(rest.characters()?);
        }
        Some(Self {
            store,
            kind,
            within,
            patterns,
        })
    }
}

/// A number of characters, and the characters.
fn add_characters(text: &mut Vec<u8>, characters: &[u32]) {
    let length = u32::try_from(characters.len()).unwrap_or(u32::MAX);
    for number in std::iter::once(length).chain(characters.iter().copied()) {
        let mut left = number;
        while left >= 0x80 {
            text.push(u8::try_from(left & 0x7F).unwrap_or(0) | 0x80);
            left >>= 7;
        }
        text.push(u8::try_from(left).unwrap_or(0));
    }
}

/// What is still to be read of a text.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (&first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = u32::from(self.byte()?);
            number |= (byte & 0x7F).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn characters(&mut self) -> Option<Vec<u32>> {
        let length = self.number()? as usize;
        // Each takes a byte at least: nothing is reserved for what cannot be there.
        if length > self.0.len() {
            return None;
        }
        (0..length).map(|_| self.number()).collect()
    }
}
