//! What a miss leaves behind: when somebody stores a key that he just missed, he fills the cache with what he read elsewhere,
//! and no other copy of it is outdated by that. Whoever stores without having missed has changed something.
//!
//! Each thread keeps its last misses. Under a running event loop a miss is its task's: another task's `set` is none of its.
//! A token is used up by its owner's next change of the key, and is worth nothing after [`LIFE`].

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyWeakrefMethods, PyWeakrefReference};

use super::clock as python_clock;
use super::outside;
use super::typed::fold;
use crate::engine::Stamp;
use crate::engine::clock::Nanos;

/// As many as the keys that are commonly asked for at once: what `get_many` missed, `set_many` fills.
const SIZE: usize = 256;
const LIFE: Nanos = 10_000_000_000;

/// What the words were when a key was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The key's own.
    pub(super) key: Stamp,
    /// Of the store, which a clear moves.
    pub(super) store: u32,
    /// Of all tags of the store, which moves with each of them.
    pub(super) tags: u32,
    /// Of the store's memory, which orders move (`attend.rs`).
    pub(super) epoch: u32,
}

struct Token {
    store: u64,
    hash: u64,
    seen: Seen,
    at: Nanos,
    task: Option<Py<PyWeakrefReference>>,
}

/// The last misses of a thread. The newest takes the place of the oldest.
struct Misses {
    /// Of store and key; 0 for no token. They are beside the tokens because all of them are looked at for each change.
    marks: [u64; SIZE],
    tokens: [Option<Token>; SIZE],
    next: usize,
    /// No place from here on was ever used.
    used: usize,
}

thread_local! {
    static MISSES: RefCell<Misses> = const {
        RefCell::new(Misses {
            marks: [0; SIZE],
            tokens: [const { None }; SIZE],
            next: 0,
            used: 0,
        })
    };
}

impl Misses {
    /// Put a token in its place; what was there is to be dropped when nothing is borrowed.
    #[inline]
    fn push(&mut self, token: Token) -> Option<Token> {
        let mark = mark(token.store, token.hash);
        let before = self.next.wrapping_sub(1) % SIZE;
        // Who asks again and again for what is not there has one token, not all of them.
        let place = if self.marks[before] == mark {
            before
        } else {
            let place = self.next;
            self.next = (place + 1) % SIZE;
            self.used = self.used.max(place + 1);
            place
        };
        self.marks[place] = mark;
        self.tokens[place].replace(token)
    }

    /// Take out what satisfies `which`, newest or oldest first is not said.
    fn take(&mut self, mut which: impl FnMut(&Token) -> bool) -> Vec<Token> {
        let mut taken = Vec::new();
        for place in 0..self.used {
            if self.tokens[place].as_ref().is_some_and(&mut which) {
                self.marks[place] = 0;
                taken.extend(self.tokens[place].take());
            }
        }
        taken
    }
}

/// Never 0.
#[inline]
fn mark(store: u64, hash: u64) -> u64 {
    fold(store, hash) | 1
}

/// What tells the tasks of one thread apart, instead of asyncio: a callable that returns an object, or None.
static TASKS: Mutex<Option<Py<PyAny>>> = Mutex::new(None);
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Whose misses and changes these are; None for a thread's own.
type Task<'py> = Option<Bound<'py, PyAny>>;

/// Note that a key was missed.
pub(super) fn note(py: Python<'_>, store: u64, hash: u64, seen: Seen) -> PyResult<()> {
    let task = current_task(py)?;
    let at = python_clock::now(py)?.at();
    let held = match &task {
        None => None,
        // Without a reference to its task a token could be taken for that of another at the same address.
        Some(task) => match PyWeakrefReference::new(task) {
            Ok(held) => Some(held.unbind()),
            Err(_) => return Ok(()),
        },
    };
    let token = Token {
        store,
        hash,
        seen,
        at,
        task: held,
    };
    let dropped = with(|misses| misses.push(token));
    drop(dropped);
    Ok(())
}

/// As [`note`], where no event loop can be running and no Python code is to be run: false where only `note` can do it.
#[inline]
pub(super) fn note_of_thread(store: u64, hash: u64, seen: Seen, at: Nanos) -> bool {
    let token = Token {
        store,
        hash,
        seen,
        at,
        task: None,
    };
    with(|misses| {
        let is_free = |place: usize| {
            let held = misses.tokens[place % SIZE].as_ref();
            held.is_none_or(|held| held.task.is_none())
        };
        let may_push = is_free(misses.next) && is_free(misses.next.wrapping_sub(1));
        if may_push {
            misses.push(token);
        }
        may_push
    })
    .unwrap_or(false)
}

/// Does something else than asyncio tell whose misses are whose?
#[inline]
pub(super) fn is_told() -> bool {
    IS_TOLD.load(Ordering::Relaxed)
}

/// Use up the token of a key, if this thread or task has one.
pub(super) fn take(py: Python<'_>, store: u64, hash: u64) -> PyResult<Option<Seen>> {
    // Most changes were preceded by no miss: ask for the task only then.
    let mark = mark(store, hash);
    if with(|misses| misses.marks[..misses.used].contains(&mark)) != Some(true) {
        return Ok(None);
    }
    let task = current_task(py)?;
    let now = python_clock::now(py)?.at();
    let taken = with(|misses| {
        misses.take(|token| {
            token.hash == hash && token.store == store && is_of(token, task.as_ref(), py)
        })
    });
    let newest = taken
        .iter()
        .flatten()
        .filter(|token| (0..LIFE).contains(&now.saturating_sub(token.at)))
        .max_by_key(|token| token.at)
        .map(|token| token.seen);
    Ok(newest)
}

/// Tell the tokens that this thread or task has of a store that it was its own change that moved a word of the store: what it
/// stores next comes after that. A token that has seen another value stays as it is, as somebody else has moved the word.
pub(super) fn stepped(
    py: Python<'_>,
    store: u64,
    word: fn(&mut Seen) -> &mut u32,
    before: u32,
    after: u32,
) -> PyResult<()> {
    if with(|misses| misses.used == 0) != Some(false) {
        return Ok(());
    }
    let task = current_task(py)?;
    with(|misses| {
        for token in misses.tokens[..misses.used].iter_mut().flatten() {
            if token.store == store
                && *word(&mut token.seen) == before
                && is_of(token, task.as_ref(), py)
            {
                *word(&mut token.seen) = after;
            }
        }
    });
    Ok(())
}

/// Tell this thread's tokens of other keys that share a key's word that it was this key's change that moved it.
pub(super) fn moved(store: u64, hash: u64, before: Stamp, after: Stamp) {
    with(|misses| {
        for token in misses.tokens[..misses.used].iter_mut().flatten() {
            if token.seen.key == before && token.store == store && token.hash != hash {
                token.seen.key = after;
            }
        }
    });
}

/// Forget what this thread, or its current task, has missed: a request begins or ends.
#[pyfunction]
pub(super) fn tokens_forget(py: Python<'_>) -> PyResult<()> {
    forget(py, |_| true)
}

/// Have `tell` say whose misses are whose within a thread, where that is no asyncio task: it returns an object that can be
/// referenced weakly, a greenlet say, or None. None restores asyncio's tasks.
#[pyfunction]
#[pyo3(signature = (tell, /))]
pub(super) fn set_task_of(tell: Option<Py<PyAny>>) {
    IS_TOLD.store(tell.is_some(), Ordering::Relaxed);
    let before = std::mem::replace(&mut *TASKS.lock(), tell);
    drop(before);
}

fn forget(py: Python<'_>, mut which: impl FnMut(&Token) -> bool) -> PyResult<()> {
    if with(|misses| misses.used == 0) != Some(false) {
        return Ok(());
    }
    let task = current_task(py)?;
    let taken = with(|misses| {
        let taken = misses.take(|token| which(token) && is_of(token, task.as_ref(), py));
        if misses.tokens[..misses.used].iter().all(Option::is_none) {
            (misses.next, misses.used) = (0, 0);
        }
        taken
    });
    drop(taken);
    Ok(())
}

/// None late at a thread's end, and where a finaliser came in between.
#[inline]
fn with<R>(body: impl FnOnce(&mut Misses) -> R) -> Option<R> {
    MISSES
        .try_with(|misses| {
            misses
                .try_borrow_mut()
                .ok()
                .map(|mut misses| body(&mut misses))
        })
        .ok()
        .flatten()
}

fn is_of(token: &Token, task: Option<&Bound<'_, PyAny>>, py: Python<'_>) -> bool {
    match (&token.task, task) {
        (None, None) => true,
        (Some(held), Some(task)) => held.bind(py).upgrade().is_some_and(|held| held.is(task)),
        _ => false,
    }
}

/// The task that runs in this thread, or its loop between tasks.
fn current_task(py: Python<'_>) -> PyResult<Task<'_>> {
    static ASYNCIO: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();
    let tell = TASKS.lock().as_ref().map(|tell| tell.clone_ref(py));
    let empty = PyTuple::empty(py);
    if let Some(tell) = tell {
        let task = outside::call(tell.bind(py), &empty, None)?;
        return Ok((!task.is_none()).then_some(task));
    }
    let (running, current) = match ASYNCIO.get(py) {
        Some(known) => known,
        None => {
            let modules: Bound<'_, PyDict> = py.import("sys")?.getattr("modules")?.cast_into()?;
            // Without asyncio no loop runs.
            if !modules.contains(intern!(py, "asyncio.tasks"))? {
                return Ok(None);
            }
            ASYNCIO.get_or_try_init(py, || {
                let events = outside::import(intern!(py, "asyncio"))?;
                let running = outside::attribute(&events, intern!(py, "_get_running_loop"))?;
                let current = outside::attribute(&events, intern!(py, "current_task"))?;
                Ok::<_, PyErr>((running.unbind(), current.unbind()))
            })?
        }
    };
    let event_loop = outside::call(running.bind(py), &empty, None)?;
    if event_loop.is_none() {
        return Ok(None);
    }
    let task = outside::call_with(current.bind(py), (&event_loop,))?;
    Ok(Some(if task.is_none() { event_loop } else { task }))
}
