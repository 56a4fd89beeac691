//! Key patterns: a table of cases, random ones against a plain recursive matcher, and the time that bad ones take.

use std::time::{Duration, Instant};

use _native::engine::Pattern;
use proptest::prelude::*;

fn points(text: &str) -> impl Iterator<Item = u32> + Clone {
    text.chars().map(u32::from)
}

fn matches(pattern: &str, text: &str) -> bool {
    Pattern::new(points(pattern)).matches(points(text))
}

#[test]
fn each_special_character_takes_what_redis_says() {
    let cases = [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "anything at all", true),
        ("***", "x", true),
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("abcd", "abc", false),
        ("user:*", "user:1", true),
        ("user:*", "user:", true),
        ("user:*", "users:1", false),
        ("*:1", "user:1", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-b-b-d", false),
        ("*ab*ab", "abab", true),
        ("*aab", "aaab", true),
        ("?", "", false),
        ("?", "é", true),
        ("h?llo", "hallo", true),
        ("h?llo", "hllo", false),
        ("h[ae]llo", "hello", true),
        ("h[ae]llo", "hillo", false),
        ("h[^e]llo", "hallo", true),
        ("h[^e]llo", "hello", false),
        ("h[a-c]llo", "hbllo", true),
        ("h[c-a]llo", "hbllo", true),
        ("h[a-c]llo", "hdllo", false),
        ("[a-]", "-", false),
        ("[a-]", "`", true),
        ("[a-", "a", true),
        ("[a-", "-", true),
        ("[a-", "b", false),
        ("[abc", "b", true),
        ("[abc", "bc", false),
        ("[]", "a", false),
        ("[]a]", "a]", false),
        ("[^]", "a", true),
        ("[a\\]]", "]", true),
        ("[\\a-c]", "b", false),
        ("[\\a-c]", "-", true),
        ("[\\", "\\", true),
        ("\\*", "*", true),
        ("\\*", "x", false),
        ("\\", "\\", true),
        ("a\\\\b", "a\\b", true),
        ("]", "]", true),
        ("(a|b)", "(a|b)", true),
        ("A", "a", false),
    ];
    for (pattern, text, wanted) in cases {
        assert_eq!(matches(pattern, text), wanted, "{pattern:?} on {text:?}");
    }
}

#[test]
fn lone_surrogates_are_characters_like_others() {
    let pattern = Pattern::new([u32::from('a'), 0xD800, u32::from('*')]);
    assert!(pattern.matches([u32::from('a'), 0xD800, 0xDC00].into_iter()));
    assert!(!pattern.matches([u32::from('a'), 0xD801].into_iter()));
}

#[test]
fn only_stars_take_everything() {
    assert!(Pattern::new(points("*")).takes_all());
    assert!(Pattern::new(points("**")).takes_all());
    assert!(!Pattern::new(points("")).takes_all());
    assert!(!Pattern::new(points("*a")).takes_all());
    assert!(!Pattern::new(points("\\*")).takes_all());
}

#[test]
fn many_stars_that_nearly_match_are_quick() {
    let pattern = "*a".repeat(200) + "b";
    let text = "a".repeat(20_000);
    let begun = Instant::now();
    assert!(!matches(&pattern, &text));
    // Tried one by one, as a plain recursion does, this takes longer than the universe has lasted.
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// The same by the plainest means: each `*` takes nothing, or one character and then again.
fn plain(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => plain(rest, text) || (!text.is_empty() && plain(pattern, &text[1..])),
        ['?', rest @ ..] => !text.is_empty() && plain(rest, &text[1..]),
        ['[', rest @ ..] => {
            let Some(&first) = text.first() else {
                return false;
            };
            let (takes, behind) = plain_class(rest, first);
            takes && plain(behind, &text[1..])
        }
        ['\\', one, rest @ ..] | [one, rest @ ..] => {
            text.first() == Some(one) && plain(rest, &text[1..])
        }
    }
}

fn plain_class(class: &[char], character: char) -> (bool, &[char]) {
    let (negated, mut class) = match class {
        ['^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    let behind = loop {
        class = match class {
            [] => break class,
            [']', rest @ ..] => break rest,
            ['\\', one, rest @ ..] => {
                found |= *one == character;
                rest
            }
            [low, '-', high, rest @ ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&character);
                rest
            }
            [one, rest @ ..] => {
                found |= *one == character;
                rest
            }
        };
    };
    (found != negated, behind)
}

proptest! {
    #[test]
    fn random_patterns_agree_with_a_plain_recursion(
        pattern in "[ab*?\\[\\]^\\\\-]{0,10}",
        text in "[ab\\-\\]^]{0,8}",
    ) {
        let source: Vec<char> = pattern.chars().collect();
        let characters: Vec<char> = text.chars().collect();
        prop_assert_eq!(matches(&pattern, &text), plain(&source, &characters));
    }
}
