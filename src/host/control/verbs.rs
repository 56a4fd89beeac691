//! The closed list of verbs: what each takes, and who answers it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::arguments::{Arguments, known};
use super::ordered;
use super::process;
use super::wire::{Answer, Code, Failure, Request, checked, encode};
use crate::engine::{clock, metrics, orders};
use crate::host::versions;

/// How long Python may take to show that it answers.
const HEALTH_PATIENCE: Duration = Duration::from_millis(100);
/// How long Python may take for what only it can answer: less than the second that clients wait.
const PYTHON_PATIENCE: Duration = Duration::from_millis(800);
/// How many milliseconds Python may take to count what has expired, unless the client says otherwise.
const COUNT_PATIENCE_MS: u64 = 30;
/// The most that a client may say: a connection is not to be kept for ever.
const MOST_WAIT_MS: u64 = 5_000;
/// What counting to the end answers.
pub const COUNTED: &str = "true";
/// The most keys, patterns or events that one answer lists.
const MOST_LISTED: u64 = 10_000;

const VERBS: &[&str] = &[
    "stats",
    "health",
    "config",
    "clear",
    "cleanup",
    "invalidate",
    "reset",
    "disable",
    "enable",
    "keys",
    "top",
    "explain",
    "tracker",
    "trail",
    "warm",
    "schedule",
];

/// What is asked of a thread that holds the GIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// To carry out what was ordered; nothing, to show that Python answers.
    Attend,
    /// To count what has expired in these caches, or in all: [`COUNTED`] when nothing was left out.
    Count(Option<Vec<String>>),
    /// To have the callable of Python answer.
    Call {
        /// The verb.
        verb: &'static str,
        /// Its arguments, a JSON object.
        arguments: String,
    },
}

/// What became of a task.
#[derive(Debug)]
pub enum Outcome {
    /// It was done; the GIL came after so long.
    Done(Answer, Duration),
    /// It was not done in time; Python has been silent for so long, zero when it is only busy.
    Late(Duration),
}

/// What makes an answer of a task's outcome.
pub(super) type Finish = Box<dyn FnOnce(Outcome) -> Answer + Send>;

/// How long a client is kept waiting until its answer says that there is none yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until Python is at its task.
    pub(super) begun: Duration,
    /// Until the task is done.
    pub(super) done: Duration,
}

impl From<Duration> for Patience {
    /// The same for both.
    fn from(span: Duration) -> Self {
        Self {
            begun: span,
            done: span,
        }
    }
}

/// How a request goes on.
pub(super) enum Step {
    Ready(Answer),
    Ask {
        task: Task,
        patience: Patience,
        finish: Finish,
    },
}

/// Carries out a request, as far as that goes without Python.
pub(super) fn perform(request: Request) -> Step {
    let Some(verb) = VERBS.iter().find(|verb| **verb == request.verb) else {
        return Step::Ready(Err(unknown_verb(&request.verb)));
    };
    let arguments = Arguments::new(verb, request.arguments);
    let step = match *verb {
        "health" => health(arguments),
        "config" => config(arguments),
        "stats" => stats(arguments),
        "reset" => reset(arguments),
        "clear" => ordered::clear(arguments),
        "cleanup" => ordered::cleanup(arguments),
        "invalidate" => ordered::invalidate(arguments),
        "disable" => ordered::disable(arguments),
        "enable" => ordered::enable(arguments),
        verb => of_python(verb, arguments),
    };
    step.unwrap_or_else(|failure| Step::Ready(Err(failure)))
}

fn unknown_verb(verb: &str) -> Failure {
    let shown: String = verb.chars().take(40).collect();
    Failure::new(
        Code::UnknownVerb,
        format!("there is no verb {shown:?}, but {}", VERBS.join(", ")),
    )
}

fn health(arguments: Arguments) -> Result<Step, Failure> {
    arguments.end()?;
    Ok(Step::Ask {
        task: Task::Attend,
        patience: HEALTH_PATIENCE.into(),
        finish: Box::new(|outcome| {
            let python = match outcome {
                Outcome::Done(Ok(_), after) => {
                    json!({"answers": true, "after_ms": milliseconds(after)})
                }
                Outcome::Done(Err(failure), _) => {
                    json!({"answers": false, "reason": failure.message})
                }
                Outcome::Late(silent) if silent.is_zero() => json!({"answers": true}),
                Outcome::Late(silent) => {
                    json!({"answers": false, "silent_for_ms": milliseconds(silent)})
                }
            };
            let counted = process::counted();
            encode(&json!({
                "python": python,
                "uptime_seconds": process::uptime_seconds(),
                "rss_bytes": process::rss_bytes(),
                "enabled": !clock::is_disabled(),
                "refused": counted.refused,
                "answered": counted.answered,
                "orders": orders::waiting(),
            }))
        }),
    })
}

fn milliseconds(span: Duration) -> f64 {
    // Microseconds are as fine as anybody wants to read it.
    (span.as_secs_f64() * 1e6).round() / 1e3
}

fn stats(mut arguments: Arguments) -> Result<Step, Failure> {
    let caches = arguments.caches()?;
    let patterns = arguments.flag("patterns", false)?;
    let wait_ms = arguments.count("wait_ms", COUNT_PATIENCE_MS, MOST_WAIT_MS)?;
    arguments.end()?;
    Ok(Step::Ask {
        task: Task::Count(caches.clone()),
        patience: Duration::from_millis(wait_ms).into(),
        finish: Box::new(move |outcome| {
            encode(&metrics::process_stats(metrics::Asked {
                caches: caches.as_deref(),
                patterns,
                is_exact: matches!(outcome, Outcome::Done(Ok(counted), _) if counted == COUNTED),
                is_enabled: !clock::is_disabled(),
            }))
        }),
    })
}

fn reset(mut arguments: Arguments) -> Result<Step, Failure> {
    let caches = arguments.caches()?;
    arguments.end()?;
    let names = metrics::reset(caches.as_deref());
    Ok(Step::Ready(encode(&json!({"reset": names}))))
}

fn config(arguments: Arguments) -> Result<Step, Failure> {
    arguments.end()?;
    let known = process::described();
    Ok(Step::Ready(encode(&json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "methods": known.methods,
        "versions": versions::current().state(),
        "describe": known.description,
    }))))
}

/// What only Python can answer.
fn of_python(verb: &'static str, mut arguments: Arguments) -> Result<Step, Failure> {
    let handed = handed(verb, &mut arguments)?;
    arguments.end()?;
    Ok(Step::Ask {
        task: Task::Call {
            verb,
            arguments: Value::Object(handed).to_string(),
        },
        patience: PYTHON_PATIENCE.into(),
        finish: Box::new(|outcome| match outcome {
            Outcome::Done(answer, _) => answer.and_then(checked),
            Outcome::Late(silent) if silent.is_zero() => {
                let message = "Python is at it, but not done in time";
                Err(Failure::new(Code::Busy, message))
            }
            Outcome::Late(silent) => Err(Failure::new(
                Code::Busy,
                format!("Python has not answered for {:.0} ms", milliseconds(silent)),
            )),
        }),
    })
}

/// What Python is handed: the arguments as they came, once they are checked, and how many results are wanted.
fn handed(verb: &str, arguments: &mut Arguments) -> Result<Map<String, Value>, Failure> {
    let mut handed = Map::new();
    let mut hand = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            handed.insert(name.to_owned(), value);
        }
    };
    match verb {
        "keys" => {
            let cache = arguments.needed_text("cache")?;
            known(std::slice::from_ref(&cache))?;
            hand("cache", Some(cache.into()));
            hand("pattern", arguments.text("pattern")?.map(Value::from));
            hand("limit", Some(limit(arguments, 100)?));
        }
        "top" => {
            let by = ["hits", "misses", "bytes", "loads", "age"];
            hand("by", Some(arguments.choice("by", &by)?.into()));
            hand("limit", Some(limit(arguments, 10)?));
            hand("caches", arguments.caches()?.map(Value::from));
        }
        "explain" => {
            hand("key", Some(arguments.needed_text("key")?.into()));
            let cache = arguments.text("cache")?;
            known(cache.as_slice())?;
            hand("cache", cache.map(Value::from));
            hand("version", arguments.any("version"));
            hand("prefix", arguments.text("prefix")?.map(Value::from));
        }
        "tracker" => {
            let actions = ["stats", "dry", "cleanup"];
            hand("action", Some(arguments.choice("action", &actions)?.into()));
        }
        "trail" => {
            let words = arguments.numbers("words", u64::from(u32::MAX))?;
            hand("words", words.map(Value::from));
            hand("limit", Some(limit(arguments, 100)?));
        }
        _ => handed = arguments.take_all(),
    }
    Ok(handed)
}

fn limit(arguments: &mut Arguments, default: u64) -> Result<Value, Failure> {
    Ok(arguments.count("limit", default, MOST_LISTED)?.into())
}
