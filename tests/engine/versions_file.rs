//! The file of version words: shared by whoever opens it, replaced when it is broken, refused where it is not safe.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use _native::host::place::{HEADER_BYTES, Header, MIN_WORDS, Place};
use _native::host::versions::Versions;

const NOW: u32 = 100;

/// A directory that goes with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("oxicache-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn place(&self) -> Place {
        self.named("shop")
    }

    fn named(&self, namespace: &str) -> Place {
        Place::new(self.0.clone(), namespace.to_owned(), MIN_WORDS).expect("a place")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        let user = fs::metadata(&self.0).expect("it is there").uid();
        self.0.join(self.place().folder(user))
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder().join(self.place().file())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn open(place: &Place) -> Versions {
    Versions::shared(place, NOW).expect("shared words")
}

fn refusal(place: &Place) -> String {
    Versions::shared(place, NOW).err().expect("a refusal")
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn two_mappings_of_one_place_are_one() {
    let directory = Directory::new();
    let (one, two) = (open(&directory.place()), open(&directory.place()));
    let stamps = [one.capture(one.word(b"row:app.book:1"))];
    assert!(two.are_current(&stamps));
    two.bump(two.word(b"row:app.book:1"), NOW + 9);
    assert!(!one.are_current(&stamps));
    assert_eq!(one.bumped_at(stamps[0].word), Some(NOW + 9));
}

#[test]
fn folder_and_file_are_the_owners_alone_and_as_long_as_they_should() {
    let directory = Directory::new();
    open(&directory.place());
    assert_eq!(mode(&directory.folder()), 0o700);
    assert_eq!(mode(&directory.file()), 0o600);
    let file = fs::metadata(directory.file()).expect("the file");
    assert_eq!(file.len(), directory.place().bytes());
    // Every block is there already: what cannot be allocated later would be a SIGBUS.
    assert!(file.blocks() * 512 >= file.len());
    assert_eq!(names(&directory.folder()), [directory.place().file()]);
}

#[test]
fn namespaces_and_sizes_live_side_by_side() {
    let directory = Directory::new();
    let (shop, blog) = (
        open(&directory.named("shop")),
        open(&directory.named("blog")),
    );
    let stamp = shop.capture(shop.word(b"x"));
    blog.bump(stamp.word, NOW);
    assert!(shop.are_current(&[stamp]));
    assert_ne!(
        shop.word(b"x"),
        blog.word(b"x"),
        "names are seeded with the namespace"
    );
    let larger =
        Place::new(directory.0.clone(), "shop".to_owned(), MIN_WORDS * 2).expect("a place");
    let larger = open(&larger);
    larger.bump(stamp.word, NOW);
    assert!(shop.are_current(&[stamp]));
    assert_eq!(
        names(&directory.folder()),
        ["versions-1-131072", "versions-1-65536"]
    );
}

#[test]
fn a_new_file_has_a_base_of_its_own() {
    let directory = Directory::new();
    let old = open(&directory.place());
    fs::remove_file(directory.file()).expect("removed");
    let new = open(&directory.place());
    let stamps: Vec<_> = (0..8).map(|word| old.capture(word)).collect();
    assert!(!new.are_current(&stamps));
    // What happened before it was made cannot be known.
    assert!(new.were_bumped_within(&stamps, i64::from(NOW + 5) * 1_000_000_000, 5_000_000_000));
    assert!(!new.were_bumped_within(&stamps, i64::from(NOW + 6) * 1_000_000_000, 5_000_000_000));
}

/// Breaks the file, opens it anew, and gives what was said to be wrong.
fn replaced(breaking: impl Fn(&Path)) -> String {
    let directory = Directory::new();
    let before = open(&directory.place());
    let stamps: Vec<_> = (0..8).map(|word| before.capture(word)).collect();
    breaking(&directory.file());
    let after = open(&directory.place());
    let state = after.state();
    assert!(state.shared);
    assert_eq!(state.replaced, 1);
    assert!(!after.are_current(&stamps));
    assert_eq!(mode(&directory.file()), 0o600);
    assert_eq!(names(&directory.folder()), [directory.place().file()]);
    let again = open(&directory.place());
    assert_eq!((again.state().replaced, again.state().reason), (0, None));
    assert!(after.are_current(&[again.capture(1)]));
    state.reason.expect("a reason")
}

fn write_at(path: &Path, bytes: &[u8], at: u64) {
    let file = File::options().write(true).open(path).expect("the file");
    file.write_all_at(bytes, at).expect("written");
}

fn resize(path: &Path, bytes: u64) {
    let file = File::options().write(true).open(path).expect("the file");
    file.set_len(bytes).expect("another length");
}

#[test]
fn a_file_of_another_length_is_replaced() {
    assert_eq!(
        replaced(|file| resize(file, 0)),
        "it had 0 bytes, not 528384"
    );
    assert_eq!(
        replaced(|file| resize(file, 528_383)),
        "it had 528383 bytes, not 528384"
    );
    assert_eq!(
        replaced(|file| resize(file, 528_385)),
        "it had 528385 bytes, not 528384"
    );
}

#[test]
fn a_file_with_another_mode_is_replaced() {
    let chmod = |mode| {
        move |file: &Path| fs::set_permissions(file, Permissions::from_mode(mode)).expect("set")
    };
    assert_eq!(replaced(chmod(0o644)), "it had mode 0644, not 0600");
    assert_eq!(replaced(chmod(0o000)), "it had mode 0000, not 0600");
    assert_eq!(replaced(chmod(0o4600)), "it had mode 4600, not 0600");
}

#[test]
fn a_file_that_is_not_of_version_words_is_replaced() {
    let none = "it is no file of version words";
    assert_eq!(replaced(|file| write_at(file, b"OXICACHE", 0)), none);
    assert_eq!(replaced(|file| write_at(file, &[0; HEADER_BYTES], 0)), none);
}

#[test]
fn a_file_with_a_damaged_header_is_replaced() {
    let damaged = "its header is of another layout, or damaged";
    assert_eq!(replaced(|file| write_at(file, &[9], 8)), damaged);
    assert_eq!(replaced(|file| write_at(file, &[1; 4], 20)), damaged);
}

#[test]
fn a_file_of_another_place_is_replaced() {
    let foreign = Header {
        words: MIN_WORDS,
        base: 1,
        made: 1,
        seed: 1,
    };
    let reason = replaced(|file| write_at(file, &foreign.encode(), 0));
    assert_eq!(reason, "its header is of another size or namespace");
}

#[test]
fn what_is_no_file_is_replaced_unless_it_is_a_folder_or_a_link() {
    let reason = replaced(|file| {
        fs::remove_file(file).expect("removed");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            file,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("a pipe");
    });
    assert_eq!(reason, "it was no file, but a Fifo");

    let directory = Directory::new();
    fs::create_dir_all(directory.file()).expect("a folder in its place");
    fs::set_permissions(directory.folder(), Permissions::from_mode(0o700)).expect("set");
    assert!(refusal(&directory.place()).ends_with("versions-1-65536 is a folder"));
    fs::remove_dir(directory.file()).expect("removed");
    let elsewhere = directory.0.join("elsewhere");
    symlink(&elsewhere, directory.file()).expect("a link");
    assert!(refusal(&directory.place()).ends_with("is a symbolic link, which is not followed"));
    assert!(!elsewhere.exists());
}

#[test]
fn a_folder_that_others_may_write_or_read_is_refused() {
    for open_to in [0o770, 0o707, 0o750, 0o701] {
        let directory = Directory::new();
        fs::create_dir(directory.folder()).expect("a folder");
        fs::set_permissions(directory.folder(), Permissions::from_mode(open_to)).expect("set");
        let reason = refusal(&directory.place());
        assert!(
            reason.contains(&format!("has mode {open_to:04o}, but must have 0700")),
            "{reason}"
        );
        assert_eq!(names(&directory.folder()), Vec::<String>::new());
    }
}

#[test]
fn a_folder_that_is_a_link_is_refused() {
    let (directory, elsewhere) = (Directory::new(), Directory::new());
    fs::set_permissions(&elsewhere.0, Permissions::from_mode(0o700)).expect("set");
    symlink(&elsewhere.0, directory.folder()).expect("a link");
    assert!(refusal(&directory.place()).contains("is not a folder: links are not followed"));
    assert_eq!(names(&elsewhere.0), Vec::<String>::new());
}

#[test]
fn a_directory_that_is_missing_or_no_directory_is_said() {
    let directory = Directory::new();
    let at = |path: PathBuf| Place::new(path, "shop".to_owned(), MIN_WORDS).expect("a place");
    assert!(refusal(&at(directory.0.join("none"))).contains("No such file"));
    let file = directory.0.join("file");
    File::create(&file)
        .expect("a file")
        .write_all(b"x")
        .expect("written");
    assert!(refusal(&at(file)).contains("Not a directory"));
}

#[test]
fn what_killed_makers_left_is_removed_by_the_next_one() {
    let directory = Directory::new();
    open(&directory.place());
    fs::remove_file(directory.file()).expect("removed");
    fs::write(directory.folder().join(".making-00c0ffee"), b"half").expect("written");
    fs::write(directory.folder().join("kept"), b"by somebody").expect("written");
    open(&directory.place());
    assert_eq!(names(&directory.folder()), ["kept", "versions-1-65536"]);
}

#[test]
fn makers_and_menders_at_once_end_with_one_file() {
    const MANY: usize = 8;
    for broken in [false, true] {
        for _ in 0..20 {
            let directory = Directory::new();
            let place = directory.place();
            if broken {
                open(&place);
                resize(&directory.file(), 7);
            }
            let start = Barrier::new(MANY);
            let all: Vec<Versions> = thread::scope(|scope| {
                let makers: Vec<_> = (0..MANY)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            open(&place)
                        })
                    })
                    .collect();
                makers
                    .into_iter()
                    .map(|maker| maker.join().expect("a maker"))
                    .collect()
            });
            // On a busy machine one may have waited in vain for the lock, and replaced a file that was new. Those who opened
            // that one find the last at their next look.
            let stamp = [open(&place).capture(1)];
            let found = all.into_iter().map(|words| {
                if words.are_current(&stamp) {
                    words
                } else {
                    open(&place)
                }
            });
            let all: Vec<Versions> = found.collect();
            assert!(all.iter().all(|words| words.are_current(&stamp)));
            assert_eq!(names(&directory.folder()), [place.file()]);
        }
    }
}
