//! Key patterns as Redis has them: `*`, `?`, `[abc]`, `[a-z]`, `[^abc]`, and `\` before a character that means itself.
//!
//! A match takes time proportional to the text times the pattern at worst, whatever the pattern: of several `*` only the
//! last one is ever tried again. Characters are code points as `u32`, because Python's strings may hold lone surrogates.

/// What one place of a text must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// This character.
    One(u32),
    /// Any one character.
    Any,
    /// One character within these ranges, or outside all of them.
    Class {
        negated: bool,
        ranges: Box<[(u32, u32)]>,
    },
    /// Any number of characters, none included.
    Run,
}

impl Piece {
    fn takes(&self, character: u32) -> bool {
        match self {
            Self::One(wanted) => *wanted == character,
            Self::Any => true,
            Self::Class { negated, ranges } => {
                let within = ranges
                    .iter()
                    .any(|&(low, high)| (low..=high).contains(&character));
                within != *negated
            }
            Self::Run => false,
        }
    }
}

/// A pattern, ready to be matched against whole texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Box<[Piece]>,
}

impl Pattern {
    /// Read a pattern. There is no wrong one: a `[` without its `]` ends with the pattern, a last `\` means itself.
    pub fn new(source: impl IntoIterator<Item = u32>) -> Self {
        let mut pieces = Vec::new();
        let mut rest = source.into_iter().peekable();
        while let Some(character) = rest.next() {
            let piece = match char::from_u32(character) {
                Some('*') if pieces.last() == Some(&Piece::Run) => continue,
                Some('*') => Piece::Run,
                Some('?') => Piece::Any,
                Some('[') => class(&mut rest),
                Some('\\') => Piece::One(rest.next().unwrap_or(character)),
                _ => Piece::One(character),
            };
            pieces.push(piece);
        }
        Self {
            pieces: pieces.into(),
        }
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.pieces)
    }

    /// Whether the pattern takes every text.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        *self.pieces == [Piece::Run]
    }

    /// Whether the whole text is what the pattern says.
    pub fn matches(&self, text: impl Iterator<Item = u32> + Clone) -> bool {
        let mut text = text;
        let mut next = 0;
        // The piece after the last `*`, and the text that this `*` has not taken yet.
        let mut again = None;
        loop {
            let piece = self.pieces.get(next);
            if piece == Some(&Piece::Run) {
                next += 1;
                if next == self.pieces.len() {
                    return true;
                }
                again = Some((next, text.clone()));
                continue;
            }
            let taken = match (text.next(), piece) {
                (None, None) => return true,
                (None, Some(_)) => return false, // a `*` that took more would leave even less
                (Some(character), Some(piece)) => piece.takes(character),
                (Some(_), None) => false,
            };
            if taken {
                next += 1;
                continue;
            }
            let Some((after, left)) = &mut again else {
                return false;
            };
            left.next();
            next = *after;
            text = left.clone();
        }
    }
}

/// Read a class from behind its `[` to behind its `]`.
fn class(rest: &mut std::iter::Peekable<impl Iterator<Item = u32>>) -> Piece {
    const CLOSE: u32 = ']' as u32;
    const ESCAPE: u32 = '\\' as u32;
    const TO: u32 = '-' as u32;
    let negated = rest.next_if_eq(&u32::from('^')).is_some();
    let mut ranges = Vec::new();
    while let Some(first) = rest.next() {
        let low = match first {
            CLOSE => break,
            ESCAPE => rest.next().unwrap_or(first),
            _ => first,
        };
        // An escaped character begins no range, and what stands behind a `-` is its end even if it is a `]`: as Redis.
        let mut high = low;
        if first != ESCAPE && rest.next_if_eq(&TO).is_some() {
            match rest.next() {
                Some(last) => high = last,
                None => ranges.push((TO, TO)),
            }
        }
        ranges.push((low.min(high), low.max(high)));
    }
    Piece::Class {
        negated,
        ranges: ranges.into(),
    }
}
