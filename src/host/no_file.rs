//! Where no memory is shared: every process keeps words of its own, and says so.

use super::place::Place;
use super::segment::Segment;

/// Which file a mapping is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity;

/// A file that was opened and mapped.
pub(super) struct Opened {
    pub(super) segment: Segment,
    pub(super) identity: Identity,
    pub(super) path: std::path::PathBuf,
    pub(super) replaced: Option<String>,
}

/// What became of a file that is mapped.
#[expect(dead_code, reason = "no file is ever mapped here")]
pub(super) enum Look {
    Same,
    Other(String),
    Shrunk(String),
}

pub(super) fn open(_place: &Place, _seconds: u32) -> Result<Opened, String> {
    Err("version words are shared by the processes of a Linux host only".to_owned())
}

pub(super) fn look(_path: &std::path::Path, _identity: Identity, _place: &Place) -> Look {
    Look::Same
}
