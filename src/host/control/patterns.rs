//! What a request means by its patterns of keys: `patterns`, their `kind`, and the `prefix` and `version` of the keys.

use super::arguments::Arguments;
use super::wire::{Code, Failure};
use crate::engine::text::points;
use crate::engine::{Matcher, PatternKind, Selector, Within};

/// The most patterns of one request: they are read by the thread that answers all others.
const MOST_PATTERNS: usize = 1_000;

/// What is meant by the patterns of a request, if it has any.
///
/// # Errors
/// `wrong_argument`, where one of them can't be used, or they are too many.
pub(super) fn selector(
    arguments: &mut Arguments,
    patterns: &[String],
) -> Result<Option<Selector>, Failure> {
    let wrong =
        |message: String| Failure::new(Code::WrongArgument, format!("invalidate: {message}"));
    let kinds = [PatternKind::Glob.name(), PatternKind::Regex.name()];
    let kind = arguments.choice_if_any("kind", &kinds)?;
    let (prefix, version) = (arguments.text("prefix")?, arguments.integer("version")?);
    if patterns.is_empty() {
        if kind.is_some() || prefix.is_some() || version.is_some() {
            let message = "kind, prefix and version are about patterns, of which there are none";
            return Err(wrong(message.to_owned()));
        }
        return Ok(None);
    }
    if patterns.len() > MOST_PATTERNS {
        let given = patterns.len();
        return Err(wrong(format!(
            "{given} patterns are given, but at most {MOST_PATTERNS} are read"
        )));
    }
    let kind = kind
        .and_then(PatternKind::named)
        .unwrap_or(PatternKind::Glob);
    let matchers = Matcher::all(kind, patterns).map_err(|error| wrong(error.to_string()))?;
    let within = match (prefix, version) {
        (None, None) => Within::Any,
        (prefix, version) => Within::Parts {
            prefix: prefix.map(|prefix| points(&prefix).into()),
            version,
        },
    };
    Ok(Some(Selector::new(matchers, within)))
}
