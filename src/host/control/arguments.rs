//! What a request may say beside its verb, taken out one by one; what is left over is refused.

use serde_json::{Map, Value};

use super::wire::{Code, Failure, shown};
use crate::engine::metrics;

/// The most keys, tags, words or caches that one request names.
const MOST_NAMES: usize = 10_000;

/// The arguments of one request.
pub(super) struct Arguments {
    verb: &'static str,
    left: Map<String, Value>,
}

impl Arguments {
    pub(super) fn new(verb: &'static str, all: Map<String, Value>) -> Self {
        Self { verb, left: all }
    }

    /// Strings; None where the argument is missing or null.
    pub(super) fn names(&mut self, name: &str) -> Result<Option<Vec<String>>, Failure> {
        let wrong = |value: &Value| {
            wrong_value(
                self.verb,
                name,
                value,
                &format!("a list of at most {MOST_NAMES} strings"),
            )
        };
        match self.left.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(values)) if values.len() <= MOST_NAMES => values
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text),
                    other => Err(wrong(&other)),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(wrong(&other)),
        }
    }

    /// The names of caches that there are; None, for all, where the argument is missing or null.
    pub(super) fn caches(&mut self) -> Result<Option<Vec<String>>, Failure> {
        let names = self.names("caches")?;
        known(names.as_deref().unwrap_or_default())?;
        Ok(names)
    }

    /// A string; None where the argument is missing or null.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        match self.left.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_value(self.verb, name, &other, "a string")),
        }
    }

    /// A string that must be there.
    pub(super) fn needed_text(&mut self, name: &str) -> Result<String, Failure> {
        self.text(name)?.ok_or_else(|| {
            Failure::new(
                Code::WrongArgument,
                format!("{}: {name} is missing: a string", self.verb),
            )
        })
    }

    /// One of several strings.
    pub(super) fn choice(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<&'static str, Failure> {
        let given = self.needed_text(name)?;
        self.chosen(name, given, choices)
    }

    /// One of several strings; None where the argument is missing or null.
    pub(super) fn choice_if_any(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<Option<&'static str>, Failure> {
        let given = self.text(name)?;
        given
            .map(|given| self.chosen(name, given, choices))
            .transpose()
    }

    fn chosen(
        &self,
        name: &str,
        given: String,
        choices: &[&'static str],
    ) -> Result<&'static str, Failure> {
        let found = choices.iter().find(|choice| **choice == given);
        found.copied().ok_or_else(|| {
            let wanted = format!("one of {}", choices.join(", "));
            wrong_value(self.verb, name, &Value::from(given), &wanted)
        })
    }

    /// A whole number from 0 to `most`.
    pub(super) fn count(&mut self, name: &str, default: u64, most: u64) -> Result<u64, Failure> {
        match self.left.remove(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => match value.as_u64() {
                Some(count) if count <= most => Ok(count),
                _ => {
                    let wanted = format!("a whole number from 0 to {most}");
                    Err(wrong_value(self.verb, name, &value, &wanted))
                }
            },
        }
    }

    /// A whole number; None where the argument is missing or null.
    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, Failure> {
        match self.left.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(wrong_value(self.verb, name, &value, "a whole number")),
            },
        }
    }

    /// Whole numbers; None where the argument is missing or null.
    pub(super) fn numbers(&mut self, name: &str, most: u64) -> Result<Option<Vec<u64>>, Failure> {
        let wrong = |value: &Value| {
            let wanted = format!("a list of at most {MOST_NAMES} whole numbers from 0 to {most}");
            wrong_value(self.verb, name, value, &wanted)
        };
        match self.left.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(values)) if values.len() <= MOST_NAMES => values
                .iter()
                .map(|value| {
                    let number = value.as_u64().filter(|number| *number <= most);
                    number.ok_or_else(|| wrong(value))
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(wrong(&other)),
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, Failure> {
        match self.left.remove(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong_value(self.verb, name, &other, "true or false")),
        }
    }

    /// A value that only Python can judge; None where it is missing or null.
    pub(super) fn any(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// All of them, for Python to judge.
    pub(super) fn take_all(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.left)
    }

    /// To be called when all is taken out.
    pub(super) fn end(self) -> Result<(), Failure> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(Failure::new(
                Code::UnknownArgument,
                format!(
                    "{} has no argument {}",
                    self.verb,
                    shown(&Value::from(name.as_str()))
                ),
            )),
        }
    }
}

/// Whether this process has caches of these names.
///
/// # Errors
/// `unknown_cache`, with what there is.
pub(super) fn known(names: &[String]) -> Result<(), Failure> {
    const MOST_SHOWN: usize = 20;
    if names.is_empty() {
        return Ok(());
    }
    let known: Vec<String> = metrics::registered()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let Some(unknown) = names.iter().find(|name| !known.contains(name)) else {
        return Ok(());
    };
    let mut list = known
        .iter()
        .take(MOST_SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if known.len() > MOST_SHOWN {
        let more = known.len() - MOST_SHOWN;
        list = format!("{list} and {more} more");
    }
    let list = if known.is_empty() {
        "has none".to_owned()
    } else {
        format!("has {list}")
    };
    Err(Failure::new(
        Code::UnknownCache,
        format!(
            "no cache is named {}; this process {list}",
            shown(&Value::from(unknown.as_str()))
        ),
    ))
}

fn wrong_value(verb: &str, name: &str, value: &Value, wanted: &str) -> Failure {
    Failure::new(
        Code::WrongArgument,
        format!("{verb}: {name} is {}, but must be {wanted}", shown(value)),
    )
}
