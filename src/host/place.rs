//! Where the file of version words is, what its name says, and how it is laid out.
//!
//! The layout is append-only: what is added goes where older builds wrote zeros. Any other change takes another `LAYOUT`,
//! which is part of the name, so that old and new workers do not read each other's words.

use std::fmt;
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

/// The fewest words: with fewer, unrelated names would share words too often.
pub const MIN_WORDS: u32 = 1 << 16;
/// The most words: 64 MiB.
pub const MAX_WORDS: u32 = 1 << 24;
/// As many words as there are when nobody says otherwise: 4 MiB.
pub const DEFAULT_WORDS: u32 = 1 << 20;
/// How many instants of "last bumped" there are; word `w` has number `w % GROUPS`.
pub const GROUPS: usize = 1 << 16;
/// Changes whenever builds of before and after could misread each other, and with the hash of names.
pub const LAYOUT: u32 = 1;
/// The words begin on a page of their own.
pub const HEADER_BYTES: usize = 4096;

const MAGIC: &[u8; 8] = b"oxicache";
/// A folder's name has at most 255 bytes, and the namespace is not all of it.
const MAX_NAMESPACE: usize = 128;

/// What was wrong with a place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WrongPlace {
    /// A relative directory, which would be another one after `chdir`.
    Directory(PathBuf),
    /// A namespace that cannot be part of a folder's name.
    Namespace(String),
    /// A number of words that is no power of two within the limits.
    Words(u32),
}

impl fmt::Display for WrongPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(
                out,
                "directory is '{}', but must be an absolute path without NUL, which means one folder in every process.",
                directory.display()
            ),
            Self::Namespace(namespace) => write!(
                out,
                "namespace is {namespace:?}, but must be 1 to {MAX_NAMESPACE} ASCII letters, digits, '-', '_' or '.'."
            ),
            Self::Words(words) => write!(
                out,
                "words is {words}, but must be a power of two from {MIN_WORDS} to {MAX_WORDS}."
            ),
        }
    }
}

impl std::error::Error for WrongPlace {}

/// How many words there may be.
///
/// # Errors
/// When `words` is no power of two within the limits.
pub fn checked_words(words: u32) -> Result<u32, WrongPlace> {
    if words.is_power_of_two() && (MIN_WORDS..=MAX_WORDS).contains(&words) {
        Ok(words)
    } else {
        Err(WrongPlace::Words(words))
    }
}

/// A directory of the host, a namespace in it and a number of words: processes that agree on them share a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    namespace: String,
    words: u32,
}

impl Place {
    /// A place; whether anything can be there is seen when it is opened.
    ///
    /// # Errors
    /// When the directory is relative, the namespace cannot be part of a name, or `words` is no possible number.
    pub fn new(directory: PathBuf, namespace: String, words: u32) -> Result<Self, WrongPlace> {
        let nul = directory.as_os_str().as_encoded_bytes().contains(&0);
        if !directory.is_absolute() || nul {
            return Err(WrongPlace::Directory(directory));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=MAX_NAMESPACE).contains(&namespace.len()) || !namespace.bytes().all(plain) {
            return Err(WrongPlace::Namespace(namespace));
        }
        Ok(Self {
            directory,
            namespace,
            words: checked_words(words)?,
        })
    }

    /// The directory that was given.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How many words the file has.
    #[must_use]
    pub fn words(&self) -> u32 {
        self.words
    }

    /// The name of the folder that a user's processes share.
    #[must_use]
    pub fn folder(&self, user: u32) -> String {
        format!("oxicache-{user}-{}", self.namespace)
    }

    /// The name of the file in the folder. Other layouts and sizes have other names, and live beside it.
    #[must_use]
    pub fn file(&self) -> String {
        format!("versions-{LAYOUT}-{}", self.words)
    }

    /// How long the file is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (HEADER_BYTES + (self.words as usize + GROUPS) * size_of::<u32>()) as u64
    }

    /// What the hashes of names are seeded with, so that two projects meet in different words.
    #[must_use]
    pub fn seed(&self) -> u64 {
        XxHash3_64::oneshot(self.namespace.as_bytes())
    }
}

/// The first page of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many words follow.
    pub words: u32,
    /// Added to every word that is captured.
    pub base: u32,
    /// The second in which the file was made, plus one.
    pub made: u32,
    /// The hash of the namespace.
    pub seed: u64,
}

impl Header {
    /// As it is written: magic, layout, words, groups, base, made, seed, the hash of all these, and zeros.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut page = [0; HEADER_BYTES];
        page[..8].copy_from_slice(MAGIC);
        #[expect(clippy::cast_possible_truncation, reason = "GROUPS is 2^16")]
        let fields = [LAYOUT, self.words, GROUPS as u32, self.base, self.made];
        for (place, field) in page[8..28].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_ne_bytes());
        }
        page[28..36].copy_from_slice(&self.seed.to_ne_bytes());
        let sum = XxHash3_64::oneshot(&page[..36]).to_ne_bytes();
        page[36..44].copy_from_slice(&sum);
        page
    }

    /// What a page says of its file, or what is wrong with it.
    ///
    /// # Errors
    /// When the page was not written by `encode`, or is of a file for another place.
    pub fn decode(page: &[u8; HEADER_BYTES], place: &Place) -> Result<Self, &'static str> {
        if &page[..8] != MAGIC {
            return Err("it is no file of version words");
        }
        let field = |at: usize| page[at..].first_chunk().copied().unwrap_or_default();
        let header = Self {
            words: u32::from_ne_bytes(field(12)),
            base: u32::from_ne_bytes(field(20)),
            made: u32::from_ne_bytes(field(24)),
            seed: u64::from_ne_bytes(page[28..].first_chunk().copied().unwrap_or_default()),
        };
        // Encoding what was read compares the rest as well: layout, groups and sum.
        if page[..44] != header.encode()[..44] {
            return Err("its header is of another layout, or damaged");
        }
        if header.words != place.words || header.seed != place.seed() {
            return Err("its header is of another size or namespace");
        }
        Ok(header)
    }
}
