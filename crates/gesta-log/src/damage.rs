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
    /// The last position that is lost; if the end of the loss is not known, the last one that is known to be lost.
    pub to: u64,
    /// Whether the loss ends at `to`. Where the end of the log is lost, more may be.
    pub end_is_known: bool,
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

    /// The same for a reader, who is told as well if the end of the loss is not known.
    pub(crate) fn location_for_reader(&self) -> String {
        match self.end_is_known {
            true => self.location(),
            false => format!("{}; the end of the loss is not known", self.location()),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location(), self.what)?;
        match (self.loses_events(), self.end_is_known) {
            (true, true) => write!(f, "; positions {} to {} are lost", self.from, self.to),
            (true, false) if self.from == self.to => {
                write!(f, "; positions from {} on are lost, the end is not known", self.from)
            }
            (true, false) => {
                write!(f, "; positions from {} on are lost, up to {} at least", self.from, self.to)
            }
            (false, _) => f.write_str("; no event is lost"),
        }
    }
}
