//! A text as Python keeps it: code points of one width each. Lone surrogates are characters like others.

use std::borrow::Cow;

/// A text that somebody else holds.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// Code points up to 255.
    Latin(&'a [u8]),
    /// Code points up to 65,535, surrogates among them.
    Wide(&'a [u16]),
    /// Any code points.
    Full(&'a [u32]),
}

/// Does `$body` with the slice of a text, whatever its width.
macro_rules! with_slice {
    ($text:expr, $slice:ident => $body:expr) => {
        match $text {
            Text::Latin($slice) => $body,
            Text::Wide($slice) => $body,
            Text::Full($slice) => $body,
        }
    };
}
pub(super) use with_slice;

impl<'a> Text<'a> {
    /// How many characters there are.
    #[must_use]
    pub fn len(self) -> usize {
        with_slice!(self, slice => slice.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its end, without the first so many characters, and without the last so many; None where it has not as many.
    #[must_use]
    pub fn inner(self, skipped: usize, dropped: usize) -> Option<Self> {
        let range = skipped..self.len().checked_sub(dropped)?;
        Some(match self {
            Self::Latin(slice) => Self::Latin(slice.get(range)?),
            Self::Wide(slice) => Self::Wide(slice.get(range)?),
            Self::Full(slice) => Self::Full(slice.get(range)?),
        })
    }

    /// Whether it begins so.
    #[must_use]
    pub fn starts_with(self, start: &[u32]) -> bool {
        with_slice!(self, slice => slice.get(..start.len()).is_some_and(|own| same(own, start)))
    }

    /// Whether it ends so.
    #[must_use]
    pub fn ends_with(self, end: &[u32]) -> bool {
        with_slice!(self, slice => {
            let from = slice.len().checked_sub(end.len());
            from.is_some_and(|from| same(&slice[from..], end))
        })
    }

    /// Its code points, added to others.
    pub fn add_to(self, points: &mut Vec<u32>) {
        match self {
            Self::Latin(slice) => points.extend(each(slice)),
            Self::Wide(slice) => points.extend(each(slice)),
            Self::Full(slice) => points.extend_from_slice(slice),
        }
    }

    /// As UTF-8, in which a lone surrogate is U+FFFD.
    #[must_use]
    pub fn to_utf8(self) -> Cow<'a, [u8]> {
        match self {
            Self::Latin(slice) if slice.is_ascii() => Cow::Borrowed(slice),
            other => {
                let whole = |point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
                let text: String = with_slice!(other, slice => each(slice).map(whole).collect());
                Cow::Owned(text.into_bytes())
            }
        }
    }
}

/// The characters of a text, as code points.
pub(super) fn each<T: Copy + Into<u32>>(text: &[T]) -> impl Iterator<Item = u32> + Clone {
    text.iter().map(|&point| point.into())
}

fn same<T: Copy + Into<u32>>(own: &[T], other: &[u32]) -> bool {
    each(own).eq(other.iter().copied())
}

/// The code points of a Rust string.
#[must_use]
pub fn points(text: &str) -> Vec<u32> {
    text.chars().map(u32::from).collect()
}
