//! Where the writer goes on after recovery.

use std::io;

use super::Listed;
use super::tail::{TailState, TailSurvey};
use crate::bugs::{Bug, planted};
use crate::folder::{Folder, Manifest, SegmentState};
use crate::format::StartBody;
use crate::segment::{ActiveSegment, Spare, Tail};

/// Where the writer goes on.
pub(crate) struct Writable {
    pub(crate) active: ActiveSegment,
    /// What the START of the active segment, or of the next one where there is none, will say. `None` if it has its START.
    pub(crate) start: Option<StartBody>,
    pub(crate) spare: Option<Spare>,
    /// Bytes of the segments before the active one, headers and frames.
    pub(crate) bytes_before: u64,
}

impl Folder<'_> {
    /// Finds where the writer goes on: in a segment with room, or else in the next one. That is a spare, or the first append makes it.
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

/// The unused segment that the log can go on in, and those that are to be removed: the file is missing, torn, shorter than it was made, or
/// one too many. All of them were looked through, and hold no frame. None of either, where the end of the log is damaged or missing: nothing is tidied up there.
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
