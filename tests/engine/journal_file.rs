//! The file of the journal: beside that of the words, made by the first who has something to say, replaced when it is broken.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::thread;

use _native::engine::{PatternKind, Stamp, Within};
use _native::host::journal::record::Record;
use _native::host::journal::{CELLS, LAYOUT, RECORDS};
use _native::host::versions::Versions;

use crate::versions_file::{Directory, mode, names, open};

const STORE: &[u8] = b"store:default";

fn record(pattern: &str) -> Record {
    Record {
        store: 1,
        kind: PatternKind::Glob,
        within: Within::Any,
        patterns: vec![pattern.chars().map(u32::from).collect()],
    }
}

/// Says in one process that a pattern was invalidated; what the word was before.
fn outdate(versions: &Versions, pattern: &str) -> Stamp {
    let word = versions.word(STORE);
    let before = versions.capture(word);
    let texts = record(pattern).encode().expect("room");
    assert_eq!(
        versions.publish_all(word, &texts).value,
        before.value.wrapping_add(1)
    );
    before
}

/// What another process finds of all that was since.
fn found(versions: &Versions, before: Stamp) -> Option<Vec<Record>> {
    let now = versions.capture(before.word);
    versions.records_between(before.word, before.value, now.value)
}

fn journal(directory: &Directory) -> PathBuf {
    directory
        .folder()
        .join(format!("journal-{LAYOUT}-{RECORDS}"))
}

#[test]
fn what_one_process_says_every_other_finds() {
    let directory = Directory::new();
    let (one, two) = (open(&directory.place()), open(&directory.place()));
    assert_eq!(names(&directory.folder()), [directory.place().file()]);
    let first = outdate(&one, "a*");
    let second = outdate(&two, "b*");
    for versions in [&one, &two, &open(&directory.place())] {
        assert_eq!(
            found(versions, first),
            Some(vec![record("a*"), record("b*")])
        );
        assert_eq!(found(versions, second), Some(vec![record("b*")]));
    }
}

#[test]
fn the_file_is_its_owners_alone_and_as_long_as_it_should() {
    let directory = Directory::new();
    outdate(&open(&directory.place()), "a*");
    assert_eq!(mode(&journal(&directory)), 0o600);
    let file = fs::metadata(journal(&directory)).expect("the file");
    assert_eq!(file.len(), CELLS as u64 * 8);
    assert!(file.blocks() * 512 >= file.len(), "no hole");
}

#[test]
fn who_only_looks_makes_no_file() {
    let directory = Directory::new();
    let versions = open(&directory.place());
    let before = versions.capture(versions.word(STORE));
    versions.bump(before.word, 1);
    assert_eq!(found(&versions, before), None);
    assert_eq!(names(&directory.folder()), [directory.place().file()]);
}

#[test]
fn a_bump_of_another_kind_is_no_pattern() {
    let directory = Directory::new();
    let versions = open(&directory.place());
    let before = outdate(&versions, "a*");
    versions.bump(before.word, 1);
    outdate(&versions, "b*");
    assert_eq!(found(&versions, before), None);
}

#[test]
fn other_words_do_not_believe_it() {
    let directory = Directory::new();
    let old = open(&directory.place());
    let before = outdate(&old, "a*");
    fs::remove_file(directory.file()).expect("removed");
    let new = open(&directory.place());
    let until = before.value.wrapping_add(1);
    assert_eq!(new.records_between(before.word, before.value, until), None);
    assert!(
        old.records_between(before.word, before.value, until)
            .is_some()
    );
    let own = Versions::private(new.words());
    assert_eq!(own.records_between(before.word, before.value, until), None);
}

#[test]
fn words_of_a_process_alone_have_a_journal_too() {
    let versions = Versions::private(1 << 16);
    let before = outdate(&versions, "a*");
    assert_eq!(found(&versions, before), Some(vec![record("a*")]));
}

/// Breaks the file between two invalidations: what was said before may be lost, and what is said then is found by all.
fn mended(breaking: impl Fn(&PathBuf)) {
    let directory = Directory::new();
    let (one, two) = (open(&directory.place()), open(&directory.place()));
    let before = outdate(&one, "a*");
    assert!(found(&two, before).is_some());
    breaking(&journal(&directory));
    for versions in [&one, &two] {
        // The word tells that something was, whatever became of the record.
        assert!(!versions.are_current(&[before]));
        assert!(found(versions, before).is_none_or(|found| found == [record("a*")]));
    }
    let between = outdate(&two, "b*");
    for versions in [&one, &two, &open(&directory.place())] {
        assert_eq!(found(versions, between), Some(vec![record("b*")]));
    }
    let file = fs::metadata(journal(&directory)).expect("the file");
    assert_eq!((file.len(), file.mode() & 0o777), (CELLS as u64 * 8, 0o600));
}

#[test]
fn a_deleted_file_is_made_anew() {
    mended(|path| fs::remove_file(path).expect("removed"));
}

#[test]
fn a_truncated_file_gets_its_length_back() {
    mended(|path| File::create(path).map(drop).expect("truncated"));
    mended(|path| {
        let file = OpenOptions::new().write(true).open(path).expect("opened");
        file.set_len(5000).expect("truncated");
    });
}

#[test]
fn a_file_that_is_too_long_is_replaced() {
    mended(|path| {
        let mut file = OpenOptions::new().append(true).open(path).expect("opened");
        file.write_all(b"more").expect("written");
    });
}

#[test]
fn a_file_that_others_may_touch_is_replaced() {
    mended(|path| fs::set_permissions(path, Permissions::from_mode(0o644)).expect("changed"));
}

#[test]
fn a_file_of_rubbish_is_written_over() {
    mended(|path| {
        let mut file = OpenOptions::new().write(true).open(path).expect("opened");
        file.write_all(&vec![0xA5; CELLS * 8]).expect("written");
    });
}

#[test]
fn a_link_is_not_followed() {
    let directory = Directory::new();
    let versions = open(&directory.place());
    let target = directory.folder().join("target");
    fs::write(&target, b"").expect("written");
    symlink(&target, journal(&directory)).expect("linked");
    let before = outdate(&versions, "a*");
    assert_eq!(found(&versions, before), None);
    assert!(!versions.are_current(&[before]), "told all the same");
    assert_eq!(fs::metadata(&target).expect("the target").len(), 0);
}

#[test]
fn many_that_begin_at_once_have_one_file() {
    let directory = Directory::new();
    let opened: Vec<_> = (0..8).map(|_| open(&directory.place())).collect();
    let before = opened[0].capture(opened[0].word(STORE));
    thread::scope(|scope| {
        for versions in &opened {
            scope.spawn(|| {
                let texts = record("a*").encode().expect("room");
                for _ in 0..20 {
                    versions.publish_all(before.word, &texts);
                }
            });
        }
    });
    for versions in &opened {
        assert_eq!(found(versions, before).map(|all| all.len()), Some(160));
    }
}
