//! Version words: what a capture is worth after bumps, what is noted of them, and what a file says of itself.

use std::path::PathBuf;

use _native::engine::Stamp;
use _native::host::place::{
    DEFAULT_WORDS, HEADER_BYTES, Header, MAX_WORDS, MIN_WORDS, Place, WrongPlace, checked_words,
};
use _native::host::versions::{Versions, advance, current};
use _native::host::word;

const SECOND: i64 = 1_000_000_000;

fn words() -> Versions {
    Versions::private(MIN_WORDS)
}

fn place(namespace: &str) -> Place {
    Place::new(PathBuf::from("/somewhere"), namespace.to_owned(), MIN_WORDS).expect("a place")
}

#[test]
fn what_was_captured_is_current_until_one_of_its_words_is_bumped() {
    let words = words();
    let stamps = [1, 2, 3].map(|word| words.capture(word));
    words.bump(4, 0);
    assert!(words.are_current(&stamps));
    words.bump(2, 0);
    assert!(!words.are_current(&stamps));
    assert!(words.are_current(&[stamps[0], words.capture(2), stamps[2]]));
}

#[test]
fn no_stamps_are_current_and_a_word_out_of_range_is_not() {
    let words = words();
    assert!(words.are_current(&[]));
    let beyond = Stamp {
        word: MIN_WORDS,
        value: 0,
    };
    assert!(!words.are_current(&[beyond]));
}

#[test]
fn a_word_beyond_the_last_is_one_of_them() {
    let words = words();
    let stamp = words.capture(MIN_WORDS + 5);
    assert_eq!(stamp.word, 5);
    words.bump(u32::MAX, 0);
    assert!(!words.are_current(&[
        words.capture(5),
        Stamp {
            word: MIN_WORDS - 1,
            ..stamp
        }
    ]));
}

#[test]
fn other_words_have_another_base() {
    let (one, two) = (words(), words());
    let stamps: Vec<Stamp> = (0..8).map(|word| one.capture(word)).collect();
    assert!(!two.are_current(&stamps));
}

#[test]
fn a_name_has_one_word_in_every_build() {
    let words = Versions::private(DEFAULT_WORDS);
    // XXH3_64bits of nothing with seed 0 is 2D06800538D394C2 in the reference implementation.
    // Its upper half picks one of the words that are not set apart.
    let apart = DEFAULT_WORDS / 16;
    let rest = u64::from(DEFAULT_WORDS - apart);
    let picked = u32::try_from((0x2D06_8005 * rest) >> 32).expect("less than the words");
    assert_eq!(words.word(b""), apart + picked);
    assert_eq!(words.word(b"row:app.book:1"), words.word(b"row:app.book:1"));
    assert_ne!(words.word(b"row:app.book:1"), words.word(b"row:app.book:2"));
}

#[test]
fn what_many_entries_depend_on_shares_no_word_with_what_few_do() {
    let words = Versions::private(1 << 16);
    let part = (1 << 16) / 32;
    for number in 0..20_000 {
        for (kind, apart) in [("store:", 0), ("rows:", 0), ("model:", 1), ("tags:", 1)] {
            let word = words.word(format!("{kind}{number}").as_bytes());
            assert_eq!(word / part, apart, "{kind}{number}");
        }
        for kind in ["key:", "made:", "tag:", "row:", "member:", "stores:"] {
            let word = words.word(format!("{kind}{number}").as_bytes());
            assert!((2 * part..1 << 16).contains(&word), "{kind}{number}");
        }
    }
}

#[test]
fn bumps_are_noted_by_the_second_they_began_in() {
    let words = words();
    assert_eq!(words.bumped_at(7), None);
    words.bump(7, 0);
    assert_eq!(words.bumped_at(7), Some(0));
    words.bump(7, 100);
    words.bump(7, 99);
    assert_eq!(words.bumped_at(7), Some(100));
}

#[test]
fn a_note_of_a_time_to_come_is_of_another_boot() {
    let words = words();
    words.bump(7, 1_000_000);
    words.bump(7, 50);
    assert_eq!(words.bumped_at(7), Some(50));
    assert!(!word::is_within(1_000_000, 50 * SECOND, 5 * SECOND));
    // Another core's clock may be a little ahead.
    assert!(word::is_within(51, 50 * SECOND, 5 * SECOND));
}

#[test]
fn within_says_yes_up_to_a_second_too_long_and_never_too_short() {
    let words = words();
    let stamps = [words.capture(7), words.capture(8)];
    assert!(!words.were_bumped_within(&stamps, 0, 5 * SECOND));
    words.bump(8, 100);
    let within = |now| words.were_bumped_within(&stamps, now, 5 * SECOND);
    assert!(within(100 * SECOND));
    assert!(within(106 * SECOND - 1)); // the bump may have been at 100.999
    assert!(!within(106 * SECOND));
    assert!(!words.were_bumped_within(&stamps[..1], 100 * SECOND, 5 * SECOND));
}

#[test]
fn a_span_of_any_length_can_be_asked_for() {
    let words = words();
    let stamps = [words.capture(7)];
    words.bump(7, 100);
    assert!(words.were_bumped_within(&stamps, 200 * SECOND, i64::MAX));
    assert!(words.were_bumped_within(&stamps, 100 * SECOND, 0));
    assert!(!words.were_bumped_within(&stamps, 101 * SECOND, 0));
}

#[test]
fn a_process_begins_with_words_of_its_own() {
    let state = current().state();
    assert!(!state.shared);
    assert_eq!(state.words, DEFAULT_WORDS);
    assert_eq!((state.path, state.reason, state.replaced), (None, None, 0));
}

#[test]
fn a_place_is_checked_before_anything_is_opened() {
    let namespace = |given: &str| Place::new(PathBuf::from("/d"), given.to_owned(), MIN_WORDS);
    for wrong in ["", "a/b", "a b", "\u{e4}", "a\0", &"a".repeat(129)] {
        assert_eq!(
            namespace(wrong),
            Err(WrongPlace::Namespace(wrong.to_owned()))
        );
    }
    for right in ["a", "A-b_c.9", "..", &"a".repeat(128)] {
        assert_eq!(
            namespace(right).map(|place| place.folder(7)),
            Ok(format!("oxicache-7-{right}"))
        );
    }
    for wrong in ["", "relative", "./here", "/nul\0"] {
        let directory = PathBuf::from(wrong);
        assert_eq!(
            Place::new(directory.clone(), "n".to_owned(), MIN_WORDS),
            Err(WrongPlace::Directory(directory))
        );
    }
    for wrong in [
        0,
        1,
        MIN_WORDS - 1,
        MIN_WORDS / 2,
        MIN_WORDS * 3,
        MAX_WORDS * 2,
        u32::MAX,
    ] {
        assert_eq!(checked_words(wrong), Err(WrongPlace::Words(wrong)));
    }
    for power in 16..=24 {
        assert_eq!(checked_words(1 << power), Ok(1 << power));
    }
}

#[test]
fn what_is_wrong_with_a_place_is_said_with_value_and_limit() {
    let said = |wrong: WrongPlace| wrong.to_string();
    assert!(
        said(WrongPlace::Words(7))
            .contains("words is 7, but must be a power of two from 65536 to 16777216")
    );
    assert!(said(WrongPlace::Namespace("a b".to_owned())).contains("\"a b\""));
    assert!(said(WrongPlace::Directory("x".into())).contains("'x', but must be an absolute path"));
}

#[test]
fn a_header_says_what_was_written_and_nothing_else_is_taken_for_one() {
    let place = place("shop");
    let header = Header {
        words: MIN_WORDS,
        base: 0xDEAD_BEEF,
        made: 12,
        seed: place.seed(),
    };
    let page = header.encode();
    assert_eq!(Header::decode(&page, &place), Ok(header));
    assert!(Header::decode(&[0; HEADER_BYTES], &place).is_err());
    for byte in 0..44 {
        let mut damaged = page;
        damaged[byte] ^= 1;
        assert!(Header::decode(&damaged, &place).is_err(), "byte {byte}");
    }
}

#[test]
fn what_later_builds_append_to_a_header_is_not_looked_at() {
    let place = place("shop");
    let header = Header {
        words: MIN_WORDS,
        base: 1,
        made: 2,
        seed: place.seed(),
    };
    let mut page = header.encode();
    page[44] = 1;
    assert_eq!(Header::decode(&page, &place), Ok(header));
}

#[test]
fn a_header_of_another_place_is_refused() {
    let (shop, blog) = (place("shop"), place("blog"));
    let header = Header {
        words: MIN_WORDS,
        base: 1,
        made: 2,
        seed: shop.seed(),
    };
    assert!(Header::decode(&header.encode(), &blog).is_err());
    let other = Header {
        words: MIN_WORDS * 2,
        ..header
    };
    assert!(Header::decode(&other.encode(), &shop).is_err());
}

/// Whoever stores anew outdates what was captured before, and holds what is current until the next change.
#[test]
fn what_is_advanced_outdates_all_but_its_own_stamp() {
    let before = current().capture(current().word(b"advanced"));
    let mut after = before;
    advance(&[b"advanced"], SECOND, true, |at, stamp| {
        assert_eq!(at, 0);
        after = stamp;
    });
    assert!(!current().are_current(&[before]));
    assert!(current().are_current(&[after]));
    advance(&[b"advanced"], SECOND, false, |_, _| {});
    assert!(!current().are_current(&[after]));
}
