//! What a caller can get wrong, each as a sentence that names the value, the limit and the remedy.

use std::fmt;

/// Wrong use of the engine. The bindings turn each variant into a Python exception.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// More entries than slots can be numbered.
    TooLarge {
        /// The size that was asked for.
        value: usize,
        /// The largest possible one.
        limit: usize,
    },
    /// A span of time that is negative or not a number.
    BadSeconds {
        /// What was given, in seconds.
        value: f64,
    },
    /// An early-refresh factor that is negative, infinite or not a number.
    BadEarlyRefresh {
        /// The factor that was given.
        value: f64,
    },
    /// A cache name that the statistics use for themselves.
    ReservedName {
        /// The name.
        name: String,
    },
    /// A pattern that keys can't be matched by.
    BadPattern {
        /// It, or its beginning.
        pattern: String,
        /// Why not.
        reason: String,
        /// What to give instead.
        remedy: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { value, limit } => {
                write!(
                    out,
                    "max_size is {value}, but a cache holds at most {limit} entries: give a smaller one."
                )
            }
            Self::BadSeconds { value } => {
                write!(
                    out,
                    "{value} is not a span of time: give 0 or more seconds, or None for ever."
                )
            }
            Self::BadEarlyRefresh { value } => {
                write!(
                    out,
                    "early_refresh is {value}, but must be a finite number of at least 0: give 0 for off, 1 for usual."
                )
            }
            Self::ReservedName { name } => {
                write!(
                    out,
                    "The cache name {name:?} is reserved for the totals in the statistics: give another name."
                )
            }
            Self::BadPattern {
                pattern,
                reason,
                remedy,
            } => {
                write!(
                    out,
                    "The pattern {pattern:?} can't be used: {reason}; give {remedy}."
                )
            }
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// One example of each variant, for tests that walk them all.
    #[doc(hidden)]
    #[must_use]
    pub fn all_examples() -> Vec<Self> {
        vec![
            Self::TooLarge {
                value: 5_000_000_000,
                limit: 4_294_967_292,
            },
            Self::BadSeconds { value: -1.5 },
            Self::BadEarlyRefresh {
                value: f64::NEG_INFINITY,
            },
            Self::ReservedName {
                name: "_global".to_owned(),
            },
            Self::BadPattern {
                pattern: "a(?=b)".to_owned(),
                reason: "look-around is not supported".to_owned(),
                remedy: "one without",
            },
        ]
    }
}
