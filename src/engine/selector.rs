//! Which entries are meant by patterns: matched against the caller's key, which is a part of what an entry is stored under.

use super::matcher::Matcher;
use super::text::Text;

/// The keys that a pattern is matched against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Within {
    /// All. Of a key of the Django backend prefix and version are no part.
    Any,
    /// Those of the Django backend that have this prefix, and those that have this version; None for any.
    Parts {
        /// `KEY_PREFIX`, as code points.
        prefix: Option<Box<[u32]>>,
        /// The version.
        version: Option<i64>,
    },
    /// Those of the Django backend that begin and end so as Django makes them: what a handler makes of the caller's key.
    Made {
        /// What stands before the caller's key.
        before: Box<[u32]>,
        /// What stands behind it.
        behind: Box<[u32]>,
    },
}

/// What stands before the key of an entry.
#[derive(Clone, Copy, Debug)]
pub enum Head<'a> {
    /// Nothing: it is a str in a cache that is not of the Django backend.
    Plain,
    /// It is the caller's key of a handler with this prefix and version.
    Django {
        /// `KEY_PREFIX`.
        prefix: Text<'a>,
        /// The version.
        version: i64,
    },
    /// A `KEY_FUNCTION` made it as a whole.
    Whole,
}

/// Some patterns, and within which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    matchers: Vec<Matcher>,
    within: Within,
}

const COLON: u32 = b':' as u32;

impl Selector {
    /// What one of these patterns takes.
    #[must_use]
    pub fn new(matchers: Vec<Matcher>, within: Within) -> Self {
        Self { matchers, within }
    }

    /// The patterns.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// About how much memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.matchers.iter().map(Matcher::bytes).sum()
    }

    /// Within which keys.
    #[must_use]
    pub fn within(&self) -> &Within {
        &self.within
    }

    /// Whether an entry is meant that is stored under this.
    #[must_use]
    pub fn takes(&self, head: Head<'_>, key: Text<'_>) -> bool {
        match (&self.within, head) {
            (Within::Any, _) => self.matches(key),
            (Within::Parts { prefix, version }, head) => {
                is_part(prefix.as_deref(), *version, head) && self.matches(key)
            }
            (Within::Made { .. }, Head::Plain) => false,
            (Within::Made { before, behind }, Head::Whole) => {
                self.matches_inner(key, before, behind)
            }
            (Within::Made { before, behind }, Head::Django { prefix, version }) => {
                match after_head(before, prefix, version) {
                    After::Left(rest) => self.matches_inner(key, rest, behind),
                    After::Differs => false,
                    After::Inside => {
                        let mut made = Vec::new();
                        prefix.add_to(&mut made);
                        made.push(COLON);
                        made.extend(digits(version));
                        made.push(COLON);
                        key.add_to(&mut made);
                        self.matches_inner(Text::Full(&made), before, behind)
                    }
                }
            }
        }
    }

    fn matches(&self, key: Text<'_>) -> bool {
        self.matchers.iter().any(|matcher| matcher.matches(key))
    }

    fn matches_inner(&self, made: Text<'_>, before: &[u32], behind: &[u32]) -> bool {
        // The two may not share characters.
        let inner = made.inner(before.len(), behind.len());
        made.starts_with(before)
            && made.ends_with(behind)
            && inner.is_some_and(|key| self.matches(key))
    }
}

fn is_part(prefix: Option<&[u32]>, version: Option<i64>, head: Head<'_>) -> bool {
    match head {
        Head::Plain | Head::Whole => false,
        Head::Django {
            prefix: own,
            version: number,
        } => {
            version.is_none_or(|version| version == number)
                && prefix.is_none_or(|prefix| own.len() == prefix.len() && own.starts_with(prefix))
        }
    }
}

/// How a text compares with `prefix:version:`.
enum After<'a> {
    /// It begins so, and this is left.
    Left(&'a [u32]),
    /// It is over before that is.
    Inside,
    Differs,
}

fn after_head<'a>(before: &'a [u32], prefix: Text<'_>, version: i64) -> After<'a> {
    let length = prefix.len();
    let shared = length.min(before.len());
    let begins_so = prefix
        .inner(0, length - shared)
        .is_some_and(|start| start.starts_with(&before[..shared]));
    if !begins_so {
        return After::Differs;
    }
    if shared < length {
        return After::Inside;
    }
    let mut left = before[shared..].iter();
    for own in std::iter::once(COLON)
        .chain(digits(version))
        .chain(std::iter::once(COLON))
    {
        match left.next() {
            Some(&asked) if asked == own => {}
            Some(_) => return After::Differs,
            None => return After::Inside,
        }
    }
    After::Left(left.as_slice())
}

/// The characters of a number.
fn digits(number: i64) -> impl Iterator<Item = u32> {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut left = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    digits.into_iter().skip(at).map(u32::from)
}
