//! What keys have in common: the same key with its ids left out.

/// More segments than these are one.
const MAX_SEGMENTS: usize = 6;
/// A longer segment is no name.
const MAX_CHARACTERS: usize = 40;
/// So many hexadecimal digits are a digest.
const DIGEST: usize = 16;

const REST: &str = "*";

/// The pattern of a key without prefix, version and scope: ids are `*`, and so is what follows the fifth of more than
/// six segments. O(length of the key).
///
/// An id is a segment between colons that is all digits, a UUID, 16 or more hexadecimal digits, or longer than 40 characters.
#[must_use]
pub fn key_pattern(key: &str) -> String {
    let mut pattern = String::with_capacity(key.len().min(MAX_SEGMENTS * (MAX_CHARACTERS + 1)));
    let mut segments = key.split(':');
    for position in 0..MAX_SEGMENTS {
        let Some(segment) = segments.next() else {
            return pattern;
        };
        if position > 0 {
            pattern.push(':');
        }
        let is_cut = position == MAX_SEGMENTS - 1 && segments.next().is_some();
        pattern.push_str(if is_cut || is_id(segment) {
            REST
        } else {
            segment
        });
    }
    pattern
}

fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    // Most names begin with a letter that is no hexadecimal digit.
    if !bytes.first().is_some_and(u8::is_ascii_hexdigit) {
        return is_long(segment);
    }
    bytes.iter().all(u8::is_ascii_digit)
        || bytes.len() >= DIGEST && bytes.iter().all(u8::is_ascii_hexdigit)
        || is_uuid(bytes)
        || is_long(segment)
}

fn is_long(segment: &str) -> bool {
    segment.len() > MAX_CHARACTERS && segment.chars().nth(MAX_CHARACTERS).is_some()
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
