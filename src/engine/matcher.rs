//! What keys are matched by: a key pattern of Redis's kind, or a regular expression in linear time.
//!
//! A regular expression is one of the crate `regex`: neither look-around nor back references, and `$` is the very end. It
//! matches as Python's `re.match` does, from the start of the text on and no further than it needs.

use std::fmt;

use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Anchored, Input};

use super::error::Error;
use super::pattern::Pattern;
use super::text::{Text, each, points, with_slice};

/// A pattern has at most so many characters: whoever has more of them to say names keys, or a tag.
pub const MAX_PATTERN_CHARS: usize = 10_000;
/// A regular expression takes at most so many bytes when it is compiled, and its matching about as many steps a character.
pub const MAX_COMPILED_BYTES: usize = 10 << 20;

const SYNTAX: &str = "a regular expression as the Rust crate regex has them: what cannot be matched in linear time, \
                      look-around and back references, is left out";

/// Regular expressions that are matched together take at most so many bytes.
const MAX_TOGETHER_BYTES: usize = 2 * MAX_COMPILED_BYTES;

/// How a pattern is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternKind {
    /// As Redis does: see [`Pattern`]. It is what the whole key must be.
    Glob,
    /// As a regular expression. It is what the key must begin with.
    Regex,
}

impl PatternKind {
    /// The kind that goes by this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Glob, Self::Regex]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// "glob" or "regex".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Glob => "glob",
            Self::Regex => "regex",
        }
    }
}

/// A pattern of either kind, ready to be matched. Two are equal when they were made of the same.
#[derive(Clone)]
pub struct Matcher {
    source: Box<[u32]>,
    how: How,
}

#[derive(Clone)]
enum How {
    Glob(Pattern),
    Regex(Regex),
}

impl Matcher {
    /// Reads a pattern, given as code points.
    ///
    /// # Errors
    /// `BadPattern`, for one that is too long, and a regular expression that is none, or is too large.
    pub fn new(kind: PatternKind, source: &[u32]) -> Result<Self, Error> {
        if source.len() > MAX_PATTERN_CHARS {
            let length = source.len();
            return Err(bad(
                source,
                format!("it has {length} characters, and at most {MAX_PATTERN_CHARS} are allowed"),
                "keys, a prefix or a tag instead",
            ));
        }
        let how = match kind {
            PatternKind::Glob => How::Glob(Pattern::new(source.iter().copied())),
            PatternKind::Regex => How::Regex(compiled(source)?),
        };
        Ok(Self {
            source: source.into(),
            how,
        })
    }

    /// Reads patterns that are to be matched together.
    ///
    /// # Errors
    /// As [`Self::new`], and where regular expressions take more memory than they may together.
    pub fn all<S: AsRef<str>>(kind: PatternKind, sources: &[S]) -> Result<Vec<Self>, Error> {
        let mut taken = 0;
        let mut matchers = Vec::with_capacity(sources.len());
        for source in sources {
            let matcher = Self::new(kind, &points(source.as_ref()))?;
            taken += matcher.bytes();
            if taken > MAX_TOGETHER_BYTES {
                let reason =
                    format!("it and those before it take more than {MAX_TOGETHER_BYTES} bytes");
                return Err(bad(&matcher.source, reason, "fewer at a time"));
            }
            matchers.push(matcher);
        }
        Ok(matchers)
    }

    /// How it is read.
    #[must_use]
    pub fn kind(&self) -> PatternKind {
        match self.how {
            How::Glob(_) => PatternKind::Glob,
            How::Regex(_) => PatternKind::Regex,
        }
    }

    /// What it was made of.
    #[must_use]
    pub fn source(&self) -> &[u32] {
        &self.source
    }

    /// About how much memory it takes; of a regular expression, but for what matching needs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let read = match &self.how {
            How::Glob(pattern) => pattern.bytes(),
            How::Regex(regex) => regex.memory_usage(),
        };
        read + size_of_val(&*self.source)
    }

    /// Whether it is known to take every text.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        match &self.how {
            How::Glob(pattern) => pattern.takes_all(),
            How::Regex(_) => false,
        }
    }

    /// Whether the pattern takes this text. In a regular expression's eyes a lone surrogate is U+FFFD.
    #[must_use]
    pub fn matches(&self, text: Text<'_>) -> bool {
        match &self.how {
            How::Glob(pattern) => with_slice!(text, slice => pattern.matches(each(slice))),
            How::Regex(regex) => {
                let text = text.to_utf8();
                // The only question that is answered without capture states.
                regex.is_match(Input::new(&*text).anchored(Anchored::Yes))
            }
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.source == other.source
    }
}

impl Eq for Matcher {}

impl fmt::Debug for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}({:?})", self.kind().name(), shown(&self.source))
    }
}

fn bad(source: &[u32], reason: String, remedy: &'static str) -> Error {
    Error::BadPattern {
        pattern: shown(source),
        reason,
        remedy,
    }
}

fn compiled(source: &[u32]) -> Result<Regex, Error> {
    let text: Option<String> = source.iter().map(|&point| char::from_u32(point)).collect();
    let Some(text) = text else {
        let reason = "a regular expression can't hold half of a character, a lone surrogate";
        return Err(bad(source, reason.to_owned(), "whole characters"));
    };
    let limits = Config::new()
        .nfa_size_limit(Some(MAX_COMPILED_BYTES))
        .onepass_size_limit(Some(MAX_COMPILED_BYTES))
        .which_captures(WhichCaptures::None) // nobody asks for groups
        // A match of nothing is at the start of the text, between two characters anyway. To look whether it is, the crate
        // (regex-automata 0.4.18) reads where the match is, which without groups is noted nowhere: it panics.
        .utf8_empty(false);
    let compiled = Regex::builder().configure(limits).build(&text);
    compiled.map_err(|error| {
        if let Some(error) = error.syntax_error() {
            // Its message draws the pattern over several lines; the reason stands last.
            let drawn = error.to_string();
            let reason = drawn.rsplit("error: ").next().unwrap_or(&drawn);
            return bad(source, reason.trim_end().to_owned(), SYNTAX);
        }
        let reason = match error.size_limit() {
            Some(limit) => format!("it takes more than {limit} bytes when compiled"),
            None => error.to_string(),
        };
        bad(source, reason, "one with fewer or smaller repetitions")
    })
}

/// So much of a pattern as a message may quote.
fn shown(source: &[u32]) -> String {
    const MOST: usize = 60;
    let characters = source.iter().take(MOST);
    let mut text: String = characters
        .map(|&point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    if source.len() > MOST {
        text.push_str("...");
    }
    text
}
