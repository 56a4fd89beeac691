//! Hostile bytes for the control socket: through the real splitter of lines and the real list of verbs, and now and then
//! through a real socket. Fails on a panic, on an answer that is not one line of JSON, and on what takes too long.
//!
//! `OXICACHE_FUZZ_SECONDS` (1) says for how long, `OXICACHE_FUZZ_SEED` where to begin: a failure prints its seed and input.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use _native::engine::orders::{self, Done};
use _native::host::control::wire::{Answer, Lines, MAX_LINE_BYTES};
use _native::host::control::{self, COUNTED, Task};
use _native::host::place::{DEFAULT_WORDS, Place};

/// No input takes a thousandth of this; a busy machine may stop a thread for a while.
const BOUND: Duration = Duration::from_secs(2);
/// One input in so many goes through a socket.
const SOCKET_EVERY: usize = 64;

static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

/// Requests that are right, to begin with.
const CORPUS: &[&str] = &[
    r#"{"v":1,"verb":"stats"}"#,
    r#"{"v":1,"verb":"stats","caches":[],"patterns":true,"wait_ms":0}"#,
    r#"{"v":1,"verb":"health"}"#,
    r#"{"v":1,"verb":"config"}"#,
    r#"{"v":1,"verb":"clear"}"#,
    r#"{"v":1,"verb":"cleanup","caches":[]}"#,
    r#"{"v":1,"verb":"invalidate","keys":["a"],"tags":["b"],"words":["model:app.book"]}"#,
    r#"{"v":1,"verb":"invalidate","patterns":["a*","[a-c]?\\\\*"],"kind":"glob","prefix":"p","version":-1,"count":false}"#,
    r#"{"v":1,"verb":"invalidate","patterns":["(?i)a{1,9}|\\w+?[^\\d]$"],"kind":"regex","count":true}"#,
    r#"{"v":1,"verb":"reset"}"#,
    r#"{"v":1,"verb":"disable"}"#,
    r#"{"v":1,"verb":"enable"}"#,
    r#"{"v":1,"verb":"keys","cache":"books","pattern":"*","limit":100}"#,
    r#"{"v":1,"verb":"top","by":"hits","limit":10,"caches":[]}"#,
    r#"{"v":1,"verb":"explain","key":"a","version":1,"prefix":"p"}"#,
    r#"{"v":1,"verb":"tracker","action":"dry"}"#,
    r#"{"v":1,"verb":"trail","words":[1,2],"limit":1}"#,
    r#"{"v":1,"verb":"warm","anything":{"at":["all"]}}"#,
    r#"{"v":1,"verb":"schedule"}"#,
];

/// Pieces that parsers have stumbled over before.
const PIECES: &[&str] = &[
    "1e999",
    "-1e-999",
    "18446744073709551616",
    "-9223372036854775809",
    "0.1e1",
    "-0",
    "NaN",
    "Infinity",
    "1E+2",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"\\udc00\\ud800\"",
    "\"\\",
    "\u{feff}",
    "\u{2028}",
    "null",
    "true",
    "[[[[",
    "{\"\":",
    "{\"v\":1,\"v\":2}",
    "]",
    "}",
    ",",
    ":",
    "\"",
    "\r\n",
    "\n",
    "\n\n",
    "\0",
    "/*",
    "//",
    "\t",
    "4294967296",
    "\"caches\":[\"books\"]",
    "\"limit\":10001",
    "\"verb\":\"clear\"",
];

/// Numbers from a seed: splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Less than `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// A right request, damaged.
fn input(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = chance.one_of(CORPUS).as_bytes().to_vec();
    for _ in 0..chance.below(6) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => insert(&mut bytes, at, chance.one_of(PIECES).as_bytes()),
            4 => replace_value(&mut bytes, chance),
            5 => {
                let other = chance.one_of(CORPUS).as_bytes();
                let from = chance.below(other.len());
                insert(&mut bytes, at, &other[from..]);
            }
            6 => {
                let byte = u8::try_from(chance.below(256)).unwrap_or(0);
                let count = 1 << chance.below(17);
                insert(&mut bytes, at, &vec![byte; count]);
            }
            7 => {
                let piece = chance.one_of(PIECES).repeat(1 << chance.below(10));
                insert(&mut bytes, at, piece.as_bytes());
            }
            _ => bytes.push(b'\n'),
        }
        bytes.truncate(3 * MAX_LINE_BYTES);
    }
    if chance.below(8) > 0 {
        bytes.push(b'\n');
    }
    bytes
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

/// Puts another value after one of the colons: what is right in form and wrong in meaning gets furthest.
fn replace_value(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let colons = bytes.iter().enumerate().filter(|(_, byte)| **byte == b':');
    let colons: Vec<usize> = colons.map(|(at, _)| at + 1).collect();
    if colons.is_empty() {
        return;
    }
    let at = colons[chance.below(colons.len())];
    let end = bytes[at..].iter().position(|byte| b",}]".contains(byte));
    let end = end.map_or(bytes.len(), |end| at + end);
    let value = match chance.below(4) {
        0 => format!(
            "{}1{}",
            "[".repeat(chance.below(300)),
            "]".repeat(chance.below(300))
        ),
        1 => format!("\"{}\"", "x".repeat(chance.below(2_000))),
        2 => format!("[{}]", vec!["\"y\""; chance.below(12_000)].join(",")),
        _ => chance.one_of(PIECES).to_owned(),
    };
    bytes.splice(at..end, value.into_bytes());
}

fn carry_out(task: &Task) -> String {
    match task {
        Task::Attend => {
            while let Some(posted) = orders::take() {
                posted.answer(Done::default());
            }
            orders::rest();
            String::new()
        }
        Task::Count(_) => COUNTED.to_owned(),
        Task::Call { arguments, .. } => arguments.clone(),
    }
}

struct StandIn;

impl control::Python for StandIn {
    fn carry_out(&self, task: &Task, attached: &dyn Fn()) -> Option<Answer> {
        attached();
        Some(Ok(carry_out(task)))
    }

    fn tidy(&self) -> bool {
        false
    }
}

/// One line of JSON with what every answer has.
fn check(answer: &[u8]) {
    let Some((b'\n', line)) = answer.split_last() else {
        panic!("an answer without an end: {}", answer.escape_ascii());
    };
    assert!(
        !line.contains(&b'\n'),
        "an answer of two lines: {}",
        line.escape_ascii()
    );
    let value: serde_json::Value = serde_json::from_slice(line).expect("an answer is JSON");
    assert_eq!(value["v"], 1);
    assert_eq!(value["pid"], std::process::id());
    match value["ok"].as_bool() {
        Some(true) => assert!(value.get("result").is_some() && value["started"].is_number()),
        Some(false) => {
            assert!(value["error"].is_string() && value["message"].is_string());
            assert_ne!(value["message"], "a panic: a defect");
        }
        None => panic!("neither good nor bad: {value}"),
    }
}

/// Through the splitter, in portions, and the list of verbs.
fn through_lines(bytes: &[u8], chance: &mut Chance) {
    let mut lines = Lines::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let portion = (1 + chance.below(9_000)).min(lines.room()).min(rest.len());
        assert!(portion > 0, "no room for a line, and none is taken");
        lines.push(&rest[..portion]);
        rest = &rest[portion..];
        loop {
            match lines.take() {
                Ok(Some(line)) => {
                    assert!(line.len() < MAX_LINE_BYTES && !line.contains(&b'\n'));
                    let answer = control::ask(&line, |task| Ok(carry_out(task)));
                    check(answer.as_bytes());
                    // As for a client: who is not understood is not listened to any longer.
                    if answer.contains("\"error\":\"malformed\"") {
                        return;
                    }
                }
                Ok(None) => break,
                Err(failure) => {
                    assert_eq!(failure.code.name(), "too_long");
                    return;
                }
            }
        }
    }
}

/// Through a socket that is really served. A server that breaks off may do so at any point.
fn through_socket(path: &str, bytes: &[u8], chance: &mut Chance) {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(BOUND)).expect("a timeout");
    stream.set_write_timeout(Some(BOUND)).expect("a timeout");
    let mut rest = bytes;
    while !rest.is_empty() {
        let portion = (1 + chance.below(9_000)).min(rest.len());
        if stream.write_all(&rest[..portion]).is_err() {
            break;
        }
        rest = &rest[portion..];
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answers = Vec::new();
    // Who was refused finds the connection reset after the answer.
    let _ = stream.read_to_end(&mut answers);
    for answer in answers.split_inclusive(|byte| *byte == b'\n') {
        check(answer);
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        let number = text.parse();
        number.unwrap_or_else(|_| panic!("{name} is {text:?}, but must be a whole number"))
    })
}

#[test]
fn hostile_bytes_are_answered() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seed = setting("OXICACHE_FUZZ_SEED").unwrap_or(now.as_secs());
    let end = Instant::now() + Duration::from_secs(setting("OXICACHE_FUZZ_SECONDS").unwrap_or(1));
    let directory = std::env::temp_dir().join(format!("oxf-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("a fresh directory");
    let place = Place::new(directory.clone(), "fuzz".to_owned(), DEFAULT_WORDS);
    let state = control::start(&place.expect("a possible place"), &StandIn);
    let path = state.path.expect("a socket");
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        HAS_PANICKED.store(true, Ordering::Relaxed);
        told(info);
    }));

    let (mut count, mut slowest) = (0_u64, Duration::ZERO);
    while Instant::now() < end || count < 256 {
        let start = seed.wrapping_add(count);
        let mut chance = Chance(start);
        let bytes = input(&mut chance);
        let begun = Instant::now();
        let tried = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            if chance.below(SOCKET_EVERY) == 0 {
                through_socket(&path, &bytes, &mut chance);
            } else {
                through_lines(&bytes, &mut chance);
            }
        }));
        let taken = begun.elapsed();
        slowest = slowest.max(taken);
        // The input is the first of the seed that is printed.
        assert!(
            tried.is_ok() && !HAS_PANICKED.load(Ordering::Relaxed) && taken < BOUND,
            "OXICACHE_FUZZ_SEED={start} after {taken:?}: {}",
            bytes.escape_ascii()
        );
        count += 1;
    }
    control::stop();
    std::fs::remove_dir_all(&directory).expect("removed");
    println!("{count} inputs from seed {seed}, the slowest in {slowest:?}");
}
