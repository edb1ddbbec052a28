//! Verifying an answer that appends nothing: no store checks it.
//!
//! The answer stands if some place in the log, reached after the command arrived, was as it was decided upon.

use gesta_core::{Appended, Checkpoint, Position, Version};

use crate::boundary::Boundary;
use crate::error::{LoadError, SendError};

use super::command::Command;
use super::drive::settled;
use super::outcome::event_at;
use super::planted::{Bug, planted};
use super::seen::{Seen, SeenStream, join};
use super::settle::Fate;

/// Whether an answer without events stands.
pub(super) enum Verdict {
    /// It does, at this place.
    Stands(Checkpoint),
    /// The command had an effect before: its first answer.
    Repeat(Appended),
    /// It must be decided again.
    Wrong,
    /// It must be decided again, on states from one place in the log.
    AtGate,
}

impl Command {
    pub(super) async fn verify<B: Boundary, E>(
        &self,
        boundary: &mut B,
        seen: &Seen,
    ) -> Result<Verdict, SendError<E>> {
        let mut read_to = seen.read_to.clone();
        if !seen.is_at_gate {
            // First, before it waits for anything: later, the head of a hot entity has always moved on.
            match self.nothing_newer(seen).await? {
                NothingNewer::Yes(head) => read_to = head.map(|head| join(read_to.take(), &head)).or(read_to),
                NothingNewer::No => return Ok(Verdict::Wrong),
            }
            for outcome in seen.needs() {
                if planted(Bug::RefusedUnsettled) {
                    continue;
                }
                match settled(&outcome).await {
                    Fate::Written(appended) => read_to = Some(join(read_to, &appended.checkpoint)),
                    _ => return Ok(Verdict::Wrong),
                }
            }
        }
        // After the wait: a repeat of the command may have made the very state that refuses it.
        if !planted(Bug::RefusedRepeat)
            && let Some(first) = self.repeat_of(boundary).await?
        {
            return Ok(Verdict::Repeat(first));
        }
        if !seen.is_at_gate && !self.have_common_place(seen).await? {
            return Ok(Verdict::AtGate);
        }
        Ok(Verdict::Stands(read_to.expect("every part was read")))
    }

    /// Checks that nobody else wrote to a stream beyond the version that was decided upon. A load that began after the
    /// command arrived has looked already. What this process decided afterwards is no news.
    async fn nothing_newer(&self, seen: &Seen) -> Result<NothingNewer, LoadError> {
        let has_looked = |stream: &SeenStream| stream.loaded_at > self.arrived;
        if planted(Bug::RefusedUnread) || seen.streams.iter().all(has_looked) {
            return Ok(NothingNewer::Yes(None));
        }
        let store = &*self.entities.store;
        let head = store.head_now().await?;
        let mut is_newest = true;
        for stream in &seen.streams {
            let last = store.stream(stream.stream.clone()).await?.map(|info| info.version);
            let Some(last) = last.filter(|last| Some(*last) > stream.version) else { continue };
            if !follows(stream).await {
                self.lines[stream.line].cell.reported(last);
                is_newest = false;
            }
        }
        Ok(if is_newest { NothingNewer::Yes(Some(head)) } else { NothingNewer::No })
    }

    /// Checks that there is a place in the log where all streams were as they were decided upon: the next event of each
    /// lies beyond the last event of any.
    async fn have_common_place(&self, seen: &Seen) -> Result<bool, LoadError> {
        if seen.streams.len() < 2 || planted(Bug::NoCommonPlace) {
            return Ok(true);
        }
        // All streams without events were so at once when the first of them was looked at.
        let with_events = seen.streams.iter().filter(|stream| stream.version.is_some());
        let positions = with_events.map(SeenStream::durable_position).collect::<Option<Vec<_>>>();
        let Some(positions) = positions else { return Ok(false) };
        let Some(last) = positions.iter().copied().reduce(later) else { return Ok(true) };
        if positions.iter().any(|position| position.partition != last.partition) {
            // Places in different partitions have no order.
            return Ok(false);
        }
        for stream in &seen.streams {
            let next = stream.version.map_or(Version::FIRST, Version::next);
            let event = event_at(&*self.entities.store, &stream.stream, next).await?;
            if event.is_some_and(|event| event.position() <= last) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

enum NothingNewer {
    /// True up to this place, if it was looked for.
    Yes(Option<Checkpoint>),
    No,
}

/// True if the event after the one that was decided upon is of a batch that this process decided next.
async fn follows(stream: &SeenStream) -> bool {
    let Some(outcome) = stream.next.get() else { return false };
    let first = stream.version.map_or(Version::FIRST, Version::next);
    settled(outcome).await;
    outcome.first_place(&stream.stream).is_some_and(|place| place.version == first)
}

fn later(a: Position, b: Position) -> Position {
    if b > a { b } else { a }
}
