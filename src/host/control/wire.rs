//! What goes over the socket: lines of JSON, one request or one answer each.

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// The version of what is said here. Another one is refused, not guessed at.
pub const VERSION: u64 = 1;
/// The longest line that is read, its end included.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Why a request is refused, as its name goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The line is no JSON object with `v` and `verb`.
    Malformed,
    /// The line is longer than [`MAX_LINE_BYTES`].
    TooLong,
    /// The line was not complete in time.
    Slow,
    /// As many connections as there may be are open already.
    TooMany,
    /// Another user asks.
    Forbidden,
    /// There is no such verb.
    UnknownVerb,
    /// The verb has no such argument.
    UnknownArgument,
    /// An argument has the wrong type, or is out of bounds, or missing.
    WrongArgument,
    /// This process has no such cache.
    UnknownCache,
    /// Python was needed, and did not answer in time.
    Busy,
    /// It was tried and went wrong.
    Failed,
}

impl Code {
    /// As it goes over the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Slow => "slow",
            Self::TooMany => "too_many",
            Self::Forbidden => "forbidden",
            Self::UnknownVerb => "unknown_verb",
            Self::UnknownArgument => "unknown_argument",
            Self::WrongArgument => "wrong_argument",
            Self::UnknownCache => "unknown_cache",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }

    /// Whether the connection ends with it: whoever sent this is not understood, or not wanted.
    #[must_use]
    pub fn ends_connection(self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::TooLong | Self::Slow | Self::TooMany | Self::Forbidden
        )
    }

    /// Whether the client did wrong, rather than this process.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        !matches!(self, Self::Busy | Self::Failed)
    }
}

/// A refusal or a failure, with what an operator should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which one.
    pub code: Code,
    /// A sentence about it.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// The result of a verb as one line of JSON.
pub type Answer = Result<String, Failure>;

/// A result as JSON.
///
/// # Errors
/// When it cannot be written as JSON, which is a defect.
pub fn encode(result: &impl Serialize) -> Answer {
    serde_json::to_string(result)
        .map_err(|error| Failure::new(Code::Failed, format!("no JSON of the result: {error}")))
}

/// JSON that somebody else wrote, as one line.
///
/// # Errors
/// When it is none.
pub fn checked(json: String) -> Answer {
    match serde_json::from_str::<IgnoredAny>(&json) {
        // Within a string a line break is escaped, so all that are left stand between tokens.
        Ok(_) if json.contains(['\n', '\r']) => Ok(json.replace(['\n', '\r'], " ")),
        Ok(_) => Ok(json),
        Err(error) => Err(Failure::new(
            Code::Failed,
            format!("Python's answer is no JSON: {error}"),
        )),
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub struct Speaker {
    /// The number of the process.
    pub pid: u32,
    /// The second since 1970 in which it started.
    pub started: f64,
}

impl Speaker {
    /// A whole line: the answer in its envelope.
    #[must_use]
    pub fn line(&self, answer: &Answer) -> String {
        let Self { pid, started } = self;
        match answer {
            Ok(result) => format!(
                "{{\"v\":{VERSION},\"ok\":true,\"pid\":{pid},\"started\":{started:.2},\"result\":{result}}}\n"
            ),
            Err(Failure { code, message }) => {
                let message = Value::from(message.as_str());
                let code = code.name();
                format!(
                    "{{\"v\":{VERSION},\"ok\":false,\"pid\":{pid},\"error\":\"{code}\",\"message\":{message}}}\n"
                )
            }
        }
    }
}

/// One request: a verb, and what else stands in the line.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for.
    pub verb: String,
    /// The rest of the object.
    pub arguments: Map<String, Value>,
}

impl Request {
    /// A line as a request.
    ///
    /// # Errors
    /// `malformed`, when it is none.
    pub fn parse(line: &[u8]) -> Result<Self, Failure> {
        let malformed = |message: String| Failure::new(Code::Malformed, message);
        let value: Value = serde_json::from_slice(line)
            .map_err(|error| malformed(format!("the line is no JSON: {error}")))?;
        let Value::Object(mut arguments) = value else {
            return Err(malformed("the line is no JSON object".to_owned()));
        };
        match arguments.remove("v") {
            Some(Value::Number(version)) if version.as_u64() == Some(VERSION) => {}
            Some(other) => {
                return Err(malformed(format!(
                    "v is {}, but this process speaks {VERSION}",
                    shown(&other)
                )));
            }
            None => return Err(malformed(format!("v is missing: it is {VERSION}"))),
        }
        match arguments.remove("verb") {
            Some(Value::String(verb)) => Ok(Self { verb, arguments }),
            Some(_) => Err(malformed("verb is no string".to_owned())),
            None => Err(malformed("verb is missing".to_owned())),
        }
    }
}

/// A value as a message may quote it: not all of a long one.
#[must_use]
pub fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= MOST {
        return text;
    }
    let mut text: String = text.chars().take(MOST).collect();
    text.push_str("...");
    text
}

/// Bytes as they arrive, cut into lines.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the first line begins that was not taken.
    start: usize,
    /// How far has been searched for its end.
    searched: usize,
}

impl Lines {
    /// Takes in what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// How much may be read before a line is taken out.
    #[must_use]
    pub fn room(&self) -> usize {
        (MAX_LINE_BYTES + 1).saturating_sub(self.bytes.len() - self.start)
    }

    /// Whether no line has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Whether a whole line waits.
    #[must_use]
    pub fn has_line(&self) -> bool {
        self.bytes[self.searched..].contains(&b'\n')
    }

    /// The next line without its end; None while it is not complete.
    ///
    /// # Errors
    /// `too_long`, when it has more than [`MAX_LINE_BYTES`] with its end.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let found = self.bytes[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let end = found.map(|at| self.searched + at);
        self.searched = end.unwrap_or(self.bytes.len());
        if end.map_or(self.searched, |end| end + 1) - self.start > MAX_LINE_BYTES {
            return Err(Failure::new(
                Code::TooLong,
                format!("a line has at most {MAX_LINE_BYTES} bytes"),
            ));
        }
        let Some(end) = end else {
            return Ok(None);
        };
        let line = self.bytes[self.start..end].to_vec();
        self.start = end + 1;
        self.searched = self.start;
        Ok(Some(line))
    }
}
