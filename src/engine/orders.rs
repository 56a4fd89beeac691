//! What is to be done to caches by whoever may touch them, left by threads that may not.
//!
//! A native thread without the GIL can't change a table. It leaves an order and asks for attention
//! ([`clock::is_attention_asked`]): whoever uses any cache next carries out all orders first, so nothing that was ordered
//! away is seen by an operation that begins after [`post`] returned. The poster may wait for the outcome.
//!
//! What takes long is carried out a little at a time: of what patterns take, and of a tag with many entries, something may be
//! seen until the poster is answered. Once a poster has given up waiting, nothing of a tag is seen any more either.
//!
//! The queue is behind a mutex that is held for a few instructions and by nobody who waits. A process that forks must have
//! no other thread inside [`post`]: the control thread is gone before a fork.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::clock;
use super::selector::Selector;

/// What is to be done to a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Remove everything.
    Clear,
    /// Remove what has expired.
    Sweep,
    /// Remove what is held under this text.
    Key(String),
    /// Remove what carries this tag.
    Tag(String),
    /// Remove what patterns take.
    Pattern(Arc<Selector>),
    /// Count what such orders would remove together.
    Count(Arc<Wanted>),
    /// Count what has expired and is still held.
    CountExpired,
}

/// What entries are counted by: each of them once, though it may have several of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What is held under one of these texts.
    pub keys: Vec<String>,
    /// What carries one of these tags.
    pub tags: HashSet<String>,
    /// What these patterns take.
    pub selector: Option<Selector>,
}

impl Order {
    /// About how much memory it takes beyond the names that it was given.
    fn bytes(&self) -> usize {
        match self {
            Self::Pattern(selector) => selector.bytes(),
            Self::Count(wanted) => wanted.selector.as_ref().map_or(0, Selector::bytes),
            _ => 0,
        }
    }
}

/// Which caches are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Each cache of this process, registered or not.
    Everything,
    /// Those that are registered.
    Registered,
    /// Those of them that are no stores of the Django backend, which hear of what processes share by themselves.
    Plain,
    /// Those that are registered under these names. Of a name that is not, nothing is told.
    Named(Vec<String>),
}

/// What became of the orders of one post.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// By the cache's name ("" for caches that have none), and in the order of the orders: how many entries were removed or
    /// counted, None where it failed.
    pub counts: Vec<(String, Vec<Option<u64>>)>,
}

impl Done {
    /// How many entries that were, over all caches and orders.
    #[must_use]
    pub fn total(&self) -> u64 {
        let counts = self.counts.iter().flat_map(|(_, counts)| counts);
        counts.flatten().sum()
    }
}

/// Orders that were taken from the queue, to be carried out and answered.
#[derive(Debug)]
pub struct Posted {
    /// The caches.
    pub target: Target,
    /// What is to be done to each of them, one after the other.
    pub orders: Vec<Order>,
    reply: Arc<Reply>,
    bytes: usize,
}

/// Written once by whoever carries out, read by whoever waits. No lock: a child process may have a copy of it.
#[derive(Debug)]
struct Reply {
    done: OnceLock<Done>,
    waiter: Thread,
}

/// What a poster holds to learn what became of its orders.
#[derive(Debug)]
pub struct Receipt(Arc<Reply>);

/// How many posts there are that nobody has answered.
static UNANSWERED: AtomicUsize = AtomicUsize::new(0);
/// How much memory their patterns take.
static UNANSWERED_BYTES: AtomicUsize = AtomicUsize::new(0);

static QUEUE: Mutex<VecDeque<Posted>> = Mutex::new(VecDeque::new());

/// Leaves orders. From now on nobody begins to use a cache before they are carried out.
#[must_use = "says what became of the orders"]
pub fn post(target: Target, orders: Vec<Order>) -> Receipt {
    let reply = Arc::new(Reply {
        done: OnceLock::new(),
        waiter: thread::current(),
    });
    let posted = Posted {
        target,
        bytes: orders.iter().map(Order::bytes).sum(),
        orders,
        reply: Arc::clone(&reply),
    };
    UNANSWERED.fetch_add(1, Ordering::Relaxed);
    UNANSWERED_BYTES.fetch_add(posted.bytes, Ordering::Relaxed);
    let mut queue = QUEUE.lock();
    queue.push_back(posted);
    clock::ask_attention(true);
    drop(queue);
    Receipt(reply)
}

/// Disables caches: from now on nothing is stored, and whoever uses one empties all of them first. None where they are
/// disabled already.
#[must_use = "says what became of the entries"]
pub fn disable() -> Option<Receipt> {
    clock::disable(true).then(|| post(Target::Everything, vec![Order::Clear]))
}

/// Enables caches, which are empty then.
pub fn enable() {
    clock::disable(false);
}

/// The orders that were left first. Whoever takes them carries them out before anything else is read from a cache.
#[must_use]
pub fn take() -> Option<Posted> {
    QUEUE.lock().pop_front()
}

/// How many posts are waiting to be carried out to the end.
#[must_use]
pub fn waiting() -> usize {
    UNANSWERED.load(Ordering::Relaxed)
}

/// About how much memory the patterns take of the posts that are waiting.
#[must_use]
pub fn waiting_bytes() -> usize {
    UNANSWERED_BYTES.load(Ordering::Relaxed)
}

/// Asks for attention though nothing is ordered: something else is left to be done.
pub fn ask() {
    clock::ask_attention(true);
}

/// Says that all was done that attention was asked for; whether that is so. An order that was left meanwhile is still to do.
pub fn rest() -> bool {
    let queue = QUEUE.lock();
    if queue.is_empty() {
        clock::ask_attention(false);
    }
    queue.is_empty()
}

impl Drop for Posted {
    fn drop(&mut self) {
        UNANSWERED.fetch_sub(1, Ordering::Relaxed);
        UNANSWERED_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Posted {
    /// Whether the poster may still ask what became of its orders.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.reply) > 1
    }

    /// Tells the poster what became of its orders.
    pub fn answer(self, done: Done) {
        // Nobody else can have answered: `self` is the only one.
        let _ = self.reply.done.set(done);
        self.reply.waiter.unpark();
    }
}

impl Receipt {
    /// What became of the orders, if they are carried out within `timeout`. They are carried out anyway.
    ///
    /// To be called by the thread that posted, and not while it keeps others from using caches.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Option<Done> {
        let start = Instant::now();
        loop {
            if let Some(done) = self.0.done.get() {
                return Some(done.clone());
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left); // may end early, for any reason
        }
    }
}
