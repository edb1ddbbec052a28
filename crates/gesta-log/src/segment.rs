//! One segment file: its bytes on the disk, and its place in the log.

mod file;
mod make;
mod point;
mod tail;
mod tally;
mod walk;

pub(crate) use file::{MissingFile, SegmentFile};
pub(crate) use make::{Spare, make_file, new_header, write_end};
pub(crate) use point::{LogPoint, Progress};
pub(crate) use tail::{ActiveSegment, Tail};
pub(crate) use tally::{SegmentEnd, Tally};
pub(crate) use walk::{ChainPosition, Stop, WalkError, Walker};
