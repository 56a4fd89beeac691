//! Matchers of both kinds, and selectors: which part of a key they look at.

use _native::engine::matcher::{MAX_COMPILED_BYTES, MAX_PATTERN_CHARS};
use _native::engine::text::points;
use _native::engine::{Error, Head, Matcher, PatternKind, Selector, Text, Within};
use proptest::prelude::*;

fn matcher(kind: PatternKind, source: &str) -> Result<Matcher, Error> {
    Matcher::new(kind, &points(source))
}

fn read(kind: PatternKind, source: &str) -> Matcher {
    matcher(kind, source).unwrap_or_else(|error| panic!("{error}"))
}

fn matches(kind: PatternKind, source: &str, text: &[u32]) -> bool {
    read(kind, source).matches(Text::Full(text))
}

/// The two kinds go by the names that go over the wire.
#[test]
fn kinds_have_names() {
    for kind in [PatternKind::Glob, PatternKind::Regex] {
        assert_eq!(PatternKind::named(kind.name()), Some(kind));
    }
    assert_eq!(PatternKind::named("Glob"), None);
}

/// A glob is what the whole text must be, a regular expression what it must begin with.
#[test]
fn kinds_differ_in_the_end_of_the_text() {
    let text = points("user:12");
    for (kind, source, wanted) in [
        (PatternKind::Glob, "user:1", false),
        (PatternKind::Regex, "user:1", true),
        (PatternKind::Glob, "user:*", true),
        (PatternKind::Regex, "ser", false),
        (PatternKind::Regex, "", true),
        (PatternKind::Regex, "(?x) user # a comment", true),
    ] {
        assert_eq!(matches(kind, source, &text), wanted, "{kind:?} {source:?}");
    }
}

/// What may match nothing, and asks for a boundary of words, takes text of any characters: the crate's one-pass search once
/// looked up where such a match ends, which nobody had asked it to note.
#[test]
fn a_boundary_behind_an_empty_branch_takes_any_text() {
    for text in ["\u{d7f0}", "w\u{e9}", "w", ""] {
        for (source, wanted) in [
            ("|w\\b", true),
            ("(?:|w\\b)$", text.is_empty() || text == "w"),
        ] {
            let found = matches(PatternKind::Regex, source, &points(text));
            assert_eq!(found, wanted, "{source:?} {text:?}");
        }
    }
}

/// The same text at any width is the same text.
#[test]
fn width_does_not_matter() {
    for (kind, source) in [(PatternKind::Glob, "k?y*"), (PatternKind::Regex, "k.y")] {
        let matcher = read(kind, source);
        for text in ["key:1", "k\u{e9}y", "kay", "ky"] {
            let wide: Vec<u16> = text.encode_utf16().collect();
            let full = points(text);
            let latin: Vec<u8> = full
                .iter()
                .map(|&point| u8::try_from(point).unwrap_or_default())
                .collect();
            let wanted = matcher.matches(Text::Full(&full));
            assert_eq!(matcher.matches(Text::Wide(&wide)), wanted, "{text}");
            assert_eq!(matcher.matches(Text::Latin(&latin)), wanted, "{text}");
        }
    }
}

/// Both limits are named where they are passed, and nothing is built that passes them.
#[test]
fn limits_are_named() {
    let long = "a".repeat(MAX_PATTERN_CHARS + 1);
    let large = "(?:[0-9a-f]{1000}){1000}";
    for (source, limit) in [(&*long, MAX_PATTERN_CHARS), (large, MAX_COMPILED_BYTES)] {
        let Err(error) = matcher(PatternKind::Regex, source) else {
            panic!("{} characters passed", source.len());
        };
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
    }
    assert!(matcher(PatternKind::Glob, &long).is_err());
    assert!(matcher(PatternKind::Glob, &long[1..]).is_ok());
}

/// What matches in no keys of the Django backend's, and in those of one prefix, one version or one handler.
#[test]
fn selectors_look_within() {
    let key = points("a:1");
    let prefix = points("site");
    let django = Head::Django {
        prefix: Text::Full(&prefix),
        version: 12,
    };
    let parts = |prefix: Option<&str>, version| Within::Parts {
        prefix: prefix.map(|prefix| points(prefix).into()),
        version,
    };
    let made = |before: &str, behind: &str| Within::Made {
        before: points(before).into(),
        behind: points(behind).into(),
    };
    for (within, pattern, wanted) in [
        (Within::Any, "a:1", [true, true, true]),
        (parts(None, None), "a:1", [false, true, false]),
        (parts(Some("site"), None), "a:1", [false, true, false]),
        (parts(Some("sit"), None), "a:1", [false, false, false]),
        (parts(Some("site"), Some(12)), "a:1", [false, true, false]),
        (parts(None, Some(1)), "a:1", [false, false, false]),
        (made("site:12:", ""), "a:1", [false, true, false]),
        (made("site:12:a:", ""), "1", [false, true, false]),
        (made("site:1", ""), "2:a:1", [false, true, false]),
        (made("si", ":1"), "te:12:a", [false, true, false]),
        (made("site:2:", ""), "*", [false, false, false]),
        (made("", ""), "a:1", [false, false, true]),
        (made("a", "1"), ":", [false, false, true]),
        (made("a:1", "1"), "*", [false, false, false]),
    ] {
        let glob = read(PatternKind::Glob, pattern);
        let selector = Selector::new(vec![glob], within);
        let found =
            [Head::Plain, django, Head::Whole].map(|head| selector.takes(head, Text::Full(&key)));
        assert_eq!(found, wanted, "{selector:?}");
    }
}

proptest! {
    /// However a regular expression is spelt, it is read or refused with a sentence, and no text makes its match panic.
    #[test]
    fn any_regex_is_read_or_refused(
        source in "[ab(|)*+?{}0-9\\[\\]^$.\\\\dwsbpPx<>:=!,-]{0,24}",
        text in prop::collection::vec(prop_oneof![0_u32..0x80, 0xD7F0_u32..0xE010, 0x1_F600_u32..0x1_F610], 0..12),
    ) {
        match matcher(PatternKind::Regex, &source) {
            Ok(matcher) => {
                let _ = matcher.matches(Text::Full(&text));
            }
            Err(error) => prop_assert!(error.to_string().contains("; give "), "{}", error),
        }
    }

    /// A selector of a handler's keys says what putting keys together says.
    #[test]
    fn handlers_keys_are_matched_as_if_put_together(
        prefix in "[a:1]{0,4}",
        version in -12_i64..12,
        key in "[a:1]{0,6}",
        before in "[a:1-]{0,8}",
        behind in "[a:1]{0,2}",
        begins in any::<bool>(),
    ) {
        let made = format!("{prefix}:{version}:{key}");
        let before = if begins { made[..before.len().min(made.len())].to_owned() } else { before };
        let inner = made.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&behind));
        for pattern in ["*", "*1", "?*", "*:*"] {
            let glob = read(PatternKind::Glob, pattern);
            let wanted = inner.is_some_and(|inner| glob.matches(Text::Full(&points(inner))));
            let within = Within::Made {
                before: points(&before).into(),
                behind: points(&behind).into(),
            };
            let own = points(&prefix);
            let head = Head::Django { prefix: Text::Full(&own), version };
            let found = Selector::new(vec![glob], within).takes(head, Text::Full(&points(&key)));
            prop_assert_eq!(found, wanted, "{:?} of {:?}", before, made);
        }
    }
}
