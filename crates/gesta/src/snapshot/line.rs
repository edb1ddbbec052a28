//! The streams that wait for a snapshot. Pure.

use std::any::TypeId;
use std::collections::{HashSet, VecDeque};

use gesta_core::StreamName;

use super::declared::Declared;
use super::limits::LINE_MAX;

/// A snapshot to take, if it is still due.
#[derive(Clone)]
pub(super) struct Due {
    pub(super) declared: Declared,
    pub(super) stream: StreamName,
}

/// First in, first out, bounded. A stream that waits already is not added again.
#[derive(Default)]
pub(super) struct Line {
    due: VecDeque<Due>,
    waiting: HashSet<(TypeId, StreamName)>,
}

impl Line {
    /// Adds a stream. Returns false if there is no room.
    pub(super) fn push(&mut self, due: Due) -> bool {
        let key = (due.declared.type_id, due.stream.clone());
        if self.waiting.contains(&key) {
            return true;
        }
        if self.due.len() >= LINE_MAX {
            return false;
        }
        self.waiting.insert(key);
        self.due.push_back(due);
        true
    }

    pub(super) fn pop(&mut self) -> Option<Due> {
        let due = self.due.pop_front()?;
        self.waiting.remove(&(due.declared.type_id, due.stream.clone()));
        Some(due)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::declared::tests::{Counter, Other};
    use super::*;

    fn due(stream: usize, is_other: bool) -> Due {
        let declared = if is_other { Declared::of::<Other>() } else { Declared::of::<Counter>() };
        Due { declared: declared.unwrap(), stream: format!("counter-{stream}").parse().unwrap() }
    }

    fn names(line: &mut Line) -> Vec<String> {
        std::iter::from_fn(|| line.pop()).map(|due| due.stream.to_string()).collect()
    }

    #[test]
    fn a_stream_that_waits_is_merged_for_each_kind() {
        let mut line = Line::default();
        for (stream, is_other) in [(1, false), (2, false), (1, false), (1, true), (2, false)] {
            assert!(line.push(due(stream, is_other)));
        }
        assert_eq!(names(&mut line), ["counter-1", "counter-2", "counter-1"]);
        assert!(line.is_empty() && line.waiting.is_empty());
        line.push(due(1, false));
        assert_eq!(names(&mut line), ["counter-1"], "taken out, it may wait again");
    }

    #[test]
    fn the_line_is_bounded() {
        let mut line = Line::default();
        assert!((0..LINE_MAX).all(|stream| line.push(due(stream, false))));
        assert!(!line.push(due(LINE_MAX, false)));
        assert!(line.push(due(0, false)), "it waits already");
        line.pop();
        assert!(line.push(due(LINE_MAX, false)));
    }
}
