//! The closed list of verbs: what each takes, and who answers it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::arguments::Arguments;
use super::process;
use super::wire::{Answer, Code, Failure, Request, encode};
use crate::host::versions;

/// How long Python may take to show that it answers.
const HEALTH_PATIENCE: Duration = Duration::from_millis(100);
/// How long Python may take for what only it can answer: less than the second that clients wait.
const PYTHON_PATIENCE: Duration = Duration::from_millis(800);
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

/// How a request goes on.
pub(super) enum Step {
    Ready(Answer),
    Ask {
        task: Task,
        patience: Duration,
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
        patience: HEALTH_PATIENCE,
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
                "enabled": true,
                "refused": counted.refused,
                "answered": counted.answered,
                "orders": 0,
            }))
        }),
    })
}

fn milliseconds(span: Duration) -> f64 {
    // Microseconds are as fine as anybody wants to read it.
    (span.as_secs_f64() * 1e6).round() / 1e3
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

/// What only Python can answer: its arguments are checked here, and handed on as they came.
fn of_python(verb: &'static str, mut arguments: Arguments) -> Result<Step, Failure> {
    let mut handed = Map::new();
    let mut hand = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            handed.insert(name.to_owned(), value);
        }
    };
    match verb {
        "keys" => {
            hand("cache", Some(arguments.needed_text("cache")?.into()));
            hand("pattern", arguments.text("pattern")?.map(Value::from));
            hand(
                "limit",
                Some(arguments.count("limit", 100, MOST_LISTED)?.into()),
            );
        }
        "top" => {
            let by = ["hits", "misses", "bytes", "loads", "age"];
            hand("by", Some(arguments.choice("by", &by)?.into()));
            hand(
                "limit",
                Some(arguments.count("limit", 10, MOST_LISTED)?.into()),
            );
            hand("caches", arguments.names("caches")?.map(Value::from));
        }
        "explain" => {
            hand("key", Some(arguments.needed_text("key")?.into()));
            hand("cache", arguments.text("cache")?.map(Value::from));
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
            hand(
                "limit",
                Some(arguments.count("limit", 100, MOST_LISTED)?.into()),
            );
        }
        _ => handed = arguments.take_all(),
    }
    arguments.end()?;
    Ok(Step::Ask {
        task: Task::Call {
            verb,
            arguments: Value::Object(handed).to_string(),
        },
        patience: PYTHON_PATIENCE,
        finish: Box::new(|outcome| match outcome {
            Outcome::Done(answer, _) => answer,
            Outcome::Late(silent) if silent.is_zero() => Err(Failure::new(
                Code::Busy,
                "Python is at it, but not done in time",
            )),
            Outcome::Late(silent) => Err(Failure::new(
                Code::Busy,
                format!("Python has not answered for {:.0} ms", milliseconds(silent)),
            )),
        }),
    })
}
