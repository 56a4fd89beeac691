//! What keys have in common: the same key with its ids left out.

/// More segments than these are one.
const MAX_SEGMENTS: usize = 6;
/// A longer segment is no name.
const MAX_CHARACTERS: usize = 40;
/// So many hexadecimal digits are a digest.
const DIGEST: usize = 16;

const REST: &str = "*";

/// How the prefix of a scope names its parts, in their order. Source: document 004, "Cache Key Patterns".
const SCOPE: [&str; 5] = ["tenant", "client", "bu", "user", "lang"];
/// Begins a segment that stands for a value: a type, a text like a number, a version.
const MARK: char = '~';

/// The pattern of a key without prefix and version, and without the scope that begins with a tenant: ids are `*`, and so
/// is what follows the fifth of more than six segments. O(length of the key).
///
/// An id is a segment between colons that is all digits, a UUID, 16 or more hexadecimal digits, longer than 40 characters,
/// or marked as a value; of a parameter `name=value` it is the value.
#[must_use]
pub fn key_pattern(key: &str) -> String {
    let key = within_scope(key);
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
        if is_cut || is_id(segment) {
            pattern.push_str(REST);
        } else if let Some((name, _)) = segment.split_once('=') {
            pattern.push_str(name);
            pattern.push('=');
            pattern.push_str(REST);
        } else {
            pattern.push_str(segment);
        }
    }
    pattern
}

/// What follows a tenant's scope in a key; the key itself where there is none, or nothing follows.
fn within_scope(key: &str) -> &str {
    let mut rest = key;
    while let Some(mut inside) = behind(rest, SCOPE[0]) {
        for label in &SCOPE[1..] {
            inside = behind(inside, label).unwrap_or(inside);
        }
        rest = inside;
    }
    rest
}

/// What follows `label` and its value.
fn behind<'a>(key: &'a str, label: &str) -> Option<&'a str> {
    let value = key.strip_prefix(label)?.strip_prefix(':')?;
    value.split_once(':').map(|(_, rest)| rest)
}

fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    // Most names begin with a letter that is no hexadecimal digit.
    if !bytes.first().is_some_and(u8::is_ascii_hexdigit) {
        return segment.starts_with(MARK) || is_long(segment);
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
