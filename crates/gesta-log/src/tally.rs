//! What a segment holds, counted frame by frame: what its END says, and what the manifest is told of it.

use crate::format::{EndBody, FrameHeader, FrameKind, Salt, Seal, write_mark};
use crate::manifest::Sealed;
use crate::point::{HeadersChecksum, LogPoint, Progress};
use crate::walk::Follow;

/// The frames of one segment, as they come: START and the numbered ones.
pub(crate) struct Tally {
    salt: Salt,
    headers: HeadersChecksum,
    /// What came so far; `None` before the first frame.
    counted: Option<(Progress, Follow)>,
}

/// How a segment ends that holds what was counted.
pub(crate) struct Ended {
    pub(crate) body: EndBody,
    pub(crate) sealed: Sealed,
    /// What its END frame is sealed with.
    pub(crate) seal: Seal,
}

impl Tally {
    pub(crate) fn new(salt: &Salt) -> Self {
        Self { salt: *salt, headers: HeadersChecksum::new(salt), counted: None }
    }

    /// Goes on behind a place in the segment.
    pub(crate) fn resume(salt: &Salt, from: &LogPoint) -> Self {
        let headers = HeadersChecksum::resume(from.progress.end.checksum);
        Self { salt: *salt, headers, counted: Some((from.progress, from.follow)) }
    }

    /// Counts the next frame. END counts nothing.
    pub(crate) fn add(&mut self, header: &FrameHeader) {
        if header.kind == FrameKind::End {
            return;
        }
        let (progress, follow) = self.counted.get_or_insert_with(|| {
            let follow = Follow::before(header);
            (Progress::begin(&self.salt, &follow), follow)
        });
        self.headers.add(header.checksum);
        follow.pass(header);
        progress.end.count(header);
    }

    /// Counts since the beginning.
    pub(crate) fn body(&self) -> EndBody {
        let counted = self.counted.map_or(EndBody::EMPTY, |(progress, _)| progress.end);
        EndBody { checksum: self.headers.value(), ..counted }
    }

    /// How the segment ends, if its frames end at that offset; `None` if it has none.
    pub(crate) fn end_at(&self, offset: u64) -> Option<Ended> {
        let (Progress { first_frame, first_position, .. }, follow) = self.counted?;
        let body = self.body();
        let EndBody { frames, events, checksum, .. } = body;
        let sealed = Sealed { first_frame, first_position, frames, events, end: offset, checksum };
        let seal = Seal {
            salt: self.salt,
            offset,
            number: follow.number,
            position: follow.position + 1,
            durable: follow.number,
            recorded_at: follow.recorded_at,
            previous: follow.checksum,
        };
        Some(Ended { body, sealed, seal })
    }
}

impl Ended {
    /// The bytes of the END frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_mark(&mut bytes, FrameKind::End, &self.seal, &self.body.encode());
        bytes
    }
}
