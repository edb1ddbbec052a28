//! Damage: bytes that do not prove themselves where acknowledged events stood.

use std::fmt;

/// One damaged range of the log. Never served, never cut, always reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub segment: u64,
    /// The offset in that file at which the damage begins.
    pub offset: u64,
    /// The first position that is lost. After `to` where no event is: a damaged mark, say.
    pub from: u64,
    /// The last position that is lost.
    pub to: u64,
    /// What was found there; where the index knows it, also some of the streams whose events are lost.
    pub what: String,
}

impl Damage {
    /// Whether events are lost, or only bytes around them.
    #[must_use]
    pub const fn loses_events(&self) -> bool {
        self.from <= self.to
    }

    /// Where it is, as file and offset.
    #[must_use]
    pub fn location(&self) -> String {
        format!("segment {} at offset {}", self.segment, self.offset)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location(), self.what)?;
        match self.loses_events() {
            true => write!(f, "; positions {} to {} are lost", self.from, self.to),
            false => f.write_str("; no event is lost"),
        }
    }
}
