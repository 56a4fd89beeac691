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
    let is_deep = key.split(':').nth(MAX_SEGMENTS).is_some();
    let named = if is_deep {
        MAX_SEGMENTS - 1
    } else {
        MAX_SEGMENTS
    };
    for (position, segment) in key.split(':').take(named).enumerate() {
        if position > 0 {
            pattern.push(':');
        }
        pattern.push_str(if is_id(segment) { REST } else { segment });
    }
    if is_deep {
        pattern.push(':');
        pattern.push_str(REST);
    }
    pattern
}

fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let all = |is: fn(&u8) -> bool| !bytes.is_empty() && bytes.iter().all(is);
    all(u8::is_ascii_digit)
        || bytes.len() >= DIGEST && all(u8::is_ascii_hexdigit)
        || is_uuid(bytes)
        || bytes.len() > MAX_CHARACTERS && segment.chars().nth(MAX_CHARACTERS).is_some()
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
