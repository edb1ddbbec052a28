//! Finds the place where the writer continues after recovery.

use std::io;

use super::Listed;
use super::tail::{TailState, TailSurvey};
use crate::bugs::{Bug, planted};
use crate::folder::Folder;
use crate::format::{Manifest, SegmentState, StartBody};
use crate::segment::{ActiveSegment, Spare, Tail};

/// The place where the writer continues.
pub(crate) struct Writable {
    pub(crate) active: ActiveSegment,
    /// The content of START for the active segment, or for the next one if there is none. `None` if the active
    /// segment has its START.
    pub(crate) start: Option<StartBody>,
    pub(crate) spare: Option<Spare>,
    /// Bytes of the segments before the active one, headers and frames.
    pub(crate) bytes_before: u64,
}

impl Folder<'_> {
    /// Finds the place where the writer continues: in a segment with room, else in the next one. The next one is a
    /// spare, or the first append makes it.
    pub(crate) fn writable(
        &self,
        manifest: &Manifest,
        listed: &[Listed],
        survey: &TailSurvey,
        tail: &Tail,
        active: Option<ActiveSegment>,
    ) -> Writable {
        let used = survey.at.map_or(0, |at| at + 1);
        let mut unused = listed[used..].iter().filter_map(|own| {
            let segment = own.segment.clone().filter(|_| own.entry.header.origin == manifest.store)?;
            let (size_bytes, generation) = (own.entry.size_bytes, manifest.generation);
            Some(Spare { segment, size_bytes, generation, is_active: false })
        });
        let spare = unused.next();
        let ended = |own: &Listed| match own.entry.state {
            SegmentState::Sealed(sealed) => Some((own.entry.header.id, sealed)),
            SegmentState::Active | SegmentState::Spare => None,
        };
        let bytes_before = listed[..used].iter().filter_map(ended).map(|(_, sealed)| sealed.end).sum();
        if let Some(active) = active {
            return Writable { active, start: None, spare, bytes_before };
        }
        let previous = survey.at.map(|at| &listed[at]);
        let sealed = previous.and_then(ended);
        assert!(previous.is_none() || sealed.is_some(), "a used segment that takes no more frames is sealed");
        let start = StartBody {
            previous_segment: sealed.map_or(0, |(id, _)| id),
            previous_end: sealed.map_or(0, |(_, sealed)| sealed.end),
            previous_checksum: sealed.map_or(0, |(_, sealed)| sealed.checksum),
            manifest_generation: manifest.generation,
            store: manifest.store,
            boot_epoch: manifest.boot_epoch,
        };
        Writable { active: ActiveSegment::none(tail), start: Some(start), spare, bytes_before }
    }
}

/// The unused segment that the log can continue in, and those to remove: their file is missing, torn, shorter than it
/// was made, or one too many. All of them were searched and hold no frame. Returns neither if the end of the log is
/// damaged or missing: then nothing is removed.
pub(crate) fn spare_among<'a>(
    listed: &'a [Listed],
    survey: &TailSurvey,
) -> io::Result<(Option<&'a Listed>, Vec<&'a Listed>)> {
    let used = survey.at.map_or(0, |at| at + 1);
    let (mut spare, mut unclean) = (None, Vec::new());
    let may_be_loss = |own: &Listed| own.segment.is_none() && own.entry.state != SegmentState::Spare;
    if survey.state == TailState::Corrupt || listed[used..].iter().any(may_be_loss) {
        return Ok((spare, unclean));
    }
    for (at, own) in listed.iter().enumerate().skip(used) {
        let is_torn = survey.torn_spares.iter().any(|(torn, _)| *torn == at);
        let is_whole = match &own.segment {
            Some(segment) => {
                !is_torn && (planted(Bug::ShortSpareUsed) || segment.file.len()? >= own.entry.size_bytes)
            }
            None => false,
        };
        match &spare {
            None if is_whole => spare = Some(own),
            _ => unclean.push(own),
        }
    }
    Ok((spare, unclean))
}
