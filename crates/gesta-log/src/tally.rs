//! What a segment holds, counted frame by frame: what its END says, and what the manifest is told of it.

use crate::commit::HeadersChecksum;
use crate::format::{EndBody, FrameHeader, FrameKind, Salt, Seal, write_mark};
use crate::manifest::Sealed;

/// The frames of one segment, as they come: START and the numbered ones.
pub(crate) struct Tally {
    salt: Salt,
    headers: HeadersChecksum,
    body: EndBody,
    last: Option<FrameHeader>,
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
        Self { salt: *salt, headers: HeadersChecksum::new(salt), body: EndBody::default(), last: None }
    }

    /// Counts the next frame. END counts nothing.
    pub(crate) fn add(&mut self, header: &FrameHeader) {
        if header.kind == FrameKind::End {
            return;
        }
        self.headers.add(header.checksum);
        self.body.frames += u64::from(header.kind.is_numbered());
        if header.events > 0 {
            if self.body.events == 0 {
                self.body.first_recorded_at = header.recorded_at;
            }
            self.body.events += u64::from(header.events);
            self.body.last_recorded_at = header.recorded_at;
        }
        self.last = Some(*header);
    }

    /// Counts since the beginning.
    pub(crate) fn body(&self) -> EndBody {
        EndBody { checksum: self.headers.value(), ..self.body }
    }

    /// How the segment ends, if its frames end at that offset; `None` if it has none.
    pub(crate) fn end_at(&self, offset: u64) -> Option<Ended> {
        let last = self.last?;
        let body = self.body();
        let sealed = Sealed {
            first_frame: last.number + 1 - body.frames,
            first_position: last.next_position() - body.events,
            frames: body.frames,
            events: body.events,
            end: offset,
            checksum: body.checksum,
        };
        let seal = Seal {
            salt: self.salt,
            offset,
            number: last.number,
            position: last.next_position(),
            durable: last.number,
            recorded_at: last.recorded_at,
            previous: if last.kind.is_numbered() { last.checksum } else { last.previous },
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
