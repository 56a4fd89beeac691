//! The control socket as its clients see it, with a stand-in for Python.
#![cfg(target_os = "linux")]

mod answers;
mod limits;
mod places;
mod python;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use _native::engine::orders::{self, Done};
use _native::host::control::wire::{Answer, Code, Failure};
use _native::host::control::{self, COUNTED, State, Task};
use _native::host::place::{DEFAULT_WORDS, Place};
use parking_lot::{Condvar, Mutex, MutexGuard};
use serde_json::{Value, json};

/// Far beyond what anything here takes: only a hang reaches it.
const LIMIT: Duration = Duration::from_secs(30);

/// A process has one control socket, so one test has it at a time.
static ONE: Mutex<()> = Mutex::new(());
static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// An interpreter whose GIL a test can hold.
struct StandIn {
    is_held: Mutex<bool>,
    changed: Condvar,
}

static PYTHON: StandIn = StandIn {
    is_held: Mutex::new(false),
    changed: Condvar::new(),
};

impl control::Python for StandIn {
    fn carry_out(&self, task: &Task, attached: &dyn Fn()) -> Option<Answer> {
        let mut held = self.is_held.lock();
        while *held {
            self.changed.wait(&mut held);
        }
        drop(held);
        attached();
        Some(carry_out(task))
    }

    fn tidy(&self) -> bool {
        false
    }
}

fn carry_out(task: &Task) -> Answer {
    match task {
        Task::Attend => {
            while let Some(posted) = orders::take() {
                posted.answer(Done::default());
            }
            orders::rest();
            Ok(String::new())
        }
        Task::Count(_) => Ok(COUNTED.to_owned()),
        Task::Call { verb: "warm", .. } => panic!("asked to"),
        Task::Call {
            verb: "schedule", ..
        } => Err(Failure::new(Code::Failed, "no schedule")),
        Task::Call { verb, arguments } => {
            Ok(format!("{{\"verb\": \"{verb}\",\n\"asked\": {arguments}}}"))
        }
    }
}

/// Keeps Python from answering until it is dropped.
struct Held;

impl Held {
    fn new() -> Self {
        *PYTHON.is_held.lock() = true;
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *PYTHON.is_held.lock() = false;
        PYTHON.changed.notify_all();
    }
}

/// The control socket of this process, in a directory of its own.
struct Site {
    directory: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Site {
    fn empty() -> Self {
        let turn = ONE.lock();
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("oxc-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).expect("a fresh directory");
        Self {
            directory,
            _turn: turn,
        }
    }

    /// One that is served.
    fn new() -> Self {
        let site = Self::empty();
        let state = site.start();
        assert!(state.serving, "{state:?}");
        site
    }

    fn place(&self) -> Place {
        let directory = self.directory.clone();
        Place::new(directory, "shop".to_owned(), DEFAULT_WORDS).expect("a possible place")
    }

    fn start(&self) -> State {
        control::start(&self.place(), &PYTHON)
    }

    fn folder(&self) -> PathBuf {
        let user = rustix::process::geteuid().as_raw();
        self.directory.join(self.place().folder(user))
    }

    /// The names of the sockets.
    fn sockets(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.into_string().expect("ASCII"));
        let names = names.filter(|name| name.rsplit('.').next() == Some("sock"));
        names.collect()
    }

    fn connect(&self) -> Client {
        let path = control::state().path.expect("a socket");
        Client::new(Path::new(&path))
    }

    /// What one request on a connection of its own is answered.
    fn ask(&self, request: &Value) -> Value {
        self.connect().ask(request)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        control::stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// One connection.
struct Client {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Client {
    fn new(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("somebody listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        stream.set_write_timeout(Some(LIMIT)).expect("a timeout");
        let reader = BufReader::new(stream.try_clone().expect("a copy"));
        Self { stream, reader }
    }

    /// Sends bytes; a server that has closed the connection may break it off.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next answer; null at the end.
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Value::Null,
            Ok(_) => {
                assert!(line.ends_with('\n'), "{line}");
                serde_json::from_str(&line).expect("an answer is a line of JSON")
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Value::Null,
            Err(error) => panic!("{error}"),
        }
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.send(format!("{request}\n").as_bytes());
        self.answer()
    }
}

/// A request without arguments.
fn verb(verb: &str) -> Value {
    json!({"v": 1, "verb": verb})
}

/// Which error an answer is.
fn error(answer: &Value) -> &str {
    assert_eq!(answer["ok"], false, "{answer}");
    assert_eq!(answer["v"], 1);
    assert_eq!(answer["pid"], std::process::id());
    assert!(!answer["message"].as_str().unwrap_or("").is_empty());
    answer["error"].as_str().expect("an error has a name")
}

/// The result of an answer.
fn result(answer: &Value) -> &Value {
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(answer["v"], 1);
    assert_eq!(answer["pid"], std::process::id());
    assert!(
        answer["started"]
            .as_f64()
            .is_some_and(|started| started > 1.7e9)
    );
    &answer["result"]
}

/// Waits for something that another thread does.
fn until(mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + LIMIT;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "never");
        std::thread::sleep(Duration::from_millis(1));
    }
}
