//! Rebuilds a manifest from the segments: from their headers, and from their START frames, which name the store, the
//! boot epoch, and the previous segment with its end.
//!
//! An older manifest with a valid checksum (a stale one, or `manifest.previous`) is not trusted for its list of
//! segments. It is trusted for facts that stay true: the store, its origins, the durable mark, and the ends of its
//! sealed segments.

use std::collections::BTreeSet;
use std::sync::Arc;

use gesta_core::StoreId;

use super::report::write_report;
use super::{Current, Repair, RepairError, Repaired, recover_error};
use crate::env::{Mode, read_whole, write_whole};
use crate::error::{OpenError, io_error};
use crate::folder::{Folder, segment_name, segment_path};
use crate::format::{
    DurableMark, EndBody, Frame, FrameHeader, FrameKind, HeaderError, Manifest, SEGMENT_HEADER_BYTES, Sealed,
    SegmentEntry, SegmentHeader, SegmentKind, SegmentRole, SegmentState, StartBody, last_frame,
};
use crate::limits::{MARKS_RESERVE_BYTES, SEGMENT_SIZE_BYTES_MIN};
use crate::recover::{Recovery, is_blank, open_listed};
use crate::segment::{ChainPosition, SegmentFile, Stop, WalkError, Walker};

/// The step of boot epoch and generation above the highest value found. Opens that made no segment have left no
/// trace, and every command that appends may be one. The token of a lease has room for 4,096 such steps.
const UNSEEN_MAX: u64 = 1 << 20;

/// A rebuilt manifest that is not written yet.
pub(crate) struct Rebuilt {
    pub(crate) manifest: Manifest,
    pub(crate) found: Vec<String>,
    pub(crate) steps: Vec<String>,
    /// True if there is a manifest file to move to `quarantine/`.
    keep_current: bool,
}

/// A segment's file, and what was read from it.
struct Found {
    header: SegmentHeader,
    segment: Arc<SegmentFile>,
    len: u64,
    /// The first valid frame header; `None` if the segment is unused.
    first: Option<FrameHeader>,
    start: Option<StartBody>,
    /// The offset after the last byte that is not zero.
    nonzero: u64,
}

impl Rebuilt {
    /// Rebuilds the manifest of a log; `None` if the present one is right.
    pub(crate) fn of(folder: &Folder<'_>) -> Result<Option<Self>, RepairError> {
        let (current, what, keep_current) = match Current::of(folder)? {
            Current::Sound(manifest) => match stale(folder, &manifest)? {
                Some(what) => (Some(manifest), what, true),
                None => return Ok(None),
            },
            Current::Damaged => (None, "the manifest is damaged".to_owned(), true),
            Current::Missing => (None, "there is no manifest".to_owned(), false),
        };
        let previous = read_whole(folder.env, &folder.root.join("manifest.previous"));
        let previous = previous.ok().and_then(|bytes| Manifest::decode(&bytes).ok());
        let mut builder =
            Builder { folder, older: current.or(previous), found: vec![what], segments: Vec::new() };
        builder.scan()?;
        builder.check_older()?;
        builder.leave_out_copies()?;
        builder.build(keep_current).map(Some)
    }

    /// Replaces the manifest. The old file is kept in `quarantine/`.
    pub(crate) fn write(mut self, folder: &Folder<'_>) -> Result<Repaired, RepairError> {
        let boot_epoch = self.manifest.boot_epoch;
        let quarantine = folder.root.join("quarantine");
        let keep = || {
            let current = read_whole(folder.env, &folder.root.join("manifest"))?;
            write_whole(folder.env, &quarantine.join(format!("manifest-{boot_epoch}")), &current)?
                .sync_all()?;
            folder.env.sync_dir(&quarantine)
        };
        if self.keep_current {
            keep().map_err(io_error("moving the manifest to `quarantine`"))?;
        }
        self.manifest.write(folder.env, folder.root).map_err(io_error("writing the manifest"))?;
        write_report(folder, Repair::Manifest, boot_epoch, self.found, self.steps)
    }
}

/// What a valid manifest fails to list.
fn stale(folder: &Folder<'_>, manifest: &Manifest) -> Result<Option<String>, RepairError> {
    let listed = open_listed(folder.env, folder.root, manifest, Mode::Read, &mut Vec::new());
    let listed = listed.map_err(recover_error(folder))?;
    let mut recovery = Recovery::default();
    folder.find_stale(manifest, &listed, &mut recovery)?;
    Ok(recovery.read_only.map(|own| own.reason))
}

struct Builder<'a> {
    folder: &'a Folder<'a>,
    older: Option<Manifest>,
    found: Vec<String>,
    segments: Vec<Found>,
}

impl Builder<'_> {
    fn scan(&mut self) -> Result<(), RepairError> {
        let folder = self.folder.root.join("segments");
        let names = self.folder.env.list(&folder).map_err(io_error("listing the segments"))?;
        for name in names {
            let id = name.strip_suffix(".seg").and_then(|id| id.parse().ok());
            if let Some(id) = id.filter(|id| segment_name(*id) == name)
                && let Some(found) = self.look_at(id)?
            {
                self.segments.push(found);
            }
        }
        Ok(())
    }

    /// Reads the facts of a segment from its file; `None` if the file is blank.
    fn look_at(&mut self, id: u64) -> Result<Option<Found>, RepairError> {
        let what = || io_error(format!("reading segment {id}"));
        let file = self.folder.env.open(&segment_path(self.folder.root, id), Mode::Read).map_err(what())?;
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(&mut bytes, 0).map_err(what())?;
        let header = match SegmentHeader::decode(&bytes[..read]) {
            Ok(header) if header.id == id => header,
            Err(HeaderError::NewerVersion { .. } | HeaderError::Unknown) => {
                let (path, what) = (self.folder.root.to_owned(), format!("segment {id}"));
                return Err(OpenError::NewerFormat { path, what }.into());
            }
            Ok(_) | Err(HeaderError::Damaged) => match self.repeated_header(id) {
                Some(header) => header,
                None if is_blank(Arc::clone(&file)).map_err(recover_error(self.folder))? => return Ok(None),
                None => {
                    let reason = format!(
                        "the header of segment {id} is damaged, and no older manifest has a copy of it"
                    );
                    return Err(RepairError::NotEnough { reason });
                }
            },
        };
        let segment = Arc::new(SegmentFile { id, salt: header.salt, file });
        self.read_frames(header, segment).map(Some)
    }

    fn repeated_header(&mut self, id: u64) -> Option<SegmentHeader> {
        let entry = self.older.as_ref()?.segments.iter().find(|entry| entry.header.id == id)?;
        self.found.push(format!("the header of segment {id} is damaged; an older manifest has a copy of it"));
        Some(entry.header.clone())
    }

    fn read_frames(&self, header: SegmentHeader, segment: Arc<SegmentFile>) -> Result<Found, RepairError> {
        let first_offset = SegmentFile::first_frame_offset();
        let mut walker = Walker::new(&segment).map_err(self.walk_error())?;
        let len = walker.file_len();
        let first = walker.next_header(first_offset).map_err(self.walk_error())?.map(|(_, header)| header);
        let nonzero = walker.last_nonzero(first_offset).map_err(self.walk_error())?;
        let start = walker.frame_at(first_offset).map_err(self.walk_error())?;
        let start = start.filter(|(_, header)| header.kind == FrameKind::Start).and_then(|(bytes, _)| {
            let frame = Frame::read(&segment.salt, first_offset, &bytes).ok()?;
            StartBody::decode(frame.command)
        });
        drop(walker);
        Ok(Found { header, segment, len, first, start, nonzero })
    }

    /// Drops an older manifest of another log. Refuses segments of stores that a manifest of this log does not name.
    fn check_older(&mut self) -> Result<(), RepairError> {
        let Some(older) = &self.older else { return Ok(()) };
        let lists = |own: &Found| older.segments.iter().any(|entry| entry.header == own.header);
        if !self.segments.is_empty() && !self.segments.iter().any(lists) {
            self.older = None;
            self.found.push("the older manifest belongs to another log and was not used".to_owned());
            return Ok(());
        }
        let belongs = |origin: &[u8; 16]| older.store == *origin || older.origins.contains(origin);
        match self.segments.iter().find(|own| !belongs(&own.header.origin)) {
            Some(stray) => {
                let (id, origin) = (stray.header.id, StoreId::from_bytes(stray.header.origin));
                let reason = format!(
                    "segment {id} was written by store {origin}, which does not belong to this log: move it away"
                );
                Err(RepairError::NotEnough { reason })
            }
            None => Ok(()),
        }
    }

    /// Leaves out copies of a tail that were never listed: the source segment still holds their content. The next
    /// open removes them.
    fn leave_out_copies(&mut self) -> Result<(), RepairError> {
        let mut left_out = BTreeSet::new();
        for own in &self.segments {
            let Some(start) = own.start.filter(|_| own.header.role == SegmentRole::Recovery) else {
                continue;
            };
            let source = self.segments.iter().find(|source| source.header.id == start.previous_segment);
            let is_continued = self
                .segments
                .iter()
                .any(|next| next.start.is_some_and(|start| start.previous_segment == own.header.id));
            let Some(source) = source.filter(|_| !is_continued) else { continue };
            let mut walker = Walker::new(&source.segment).map_err(self.walk_error())?;
            let cut = walker.frame_at(start.previous_end).map_err(self.walk_error())?;
            if !cut.is_some_and(|(_, header)| header.kind == FrameKind::End) {
                left_out.insert(own.header.id);
            }
        }
        self.segments.retain(|own| !left_out.contains(&own.header.id));
        let what = |id| {
            format!(
                "segment {id} is an unfinished copy; the segment that it was copied from still holds its content"
            )
        };
        self.found.extend(left_out.into_iter().map(what));
        Ok(())
    }

    fn build(mut self, keep_current: bool) -> Result<Rebuilt, RepairError> {
        let (store, is_replica) = match &self.older {
            Some(older) => (older.store, older.is_replica),
            // This store made the newest segment, even if the other segments came from a restore.
            None => {
                let newest = self.segments.last().map(|own| &own.header).ok_or_else(|| {
                    RepairError::NotEnough { reason: "no segment has a valid header".to_owned() }
                })?;
                (newest.origin, newest.kind == SegmentKind::Copy)
            }
        };
        let entropy = || self.folder.env.entropy().map_err(io_error("drawing a secret"));
        let secret = self.older.as_ref().map_or_else(entropy, |older| Ok(older.key_secret))?;
        let (mut used, unused) =
            std::mem::take(&mut self.segments).into_iter().partition::<Vec<_>, _>(|own| own.first.is_some());
        // START carries the number of the last frame before it. Two segments have the same number only if the first
        // holds nothing but its START. The other is then a copy of its tail, with a higher id.
        used.sort_by_key(|own| (own.first.map(|first| first.number), own.header.id));
        let mut manifest = Manifest { is_replica, ..Manifest::new(store, secret) };
        let first = SegmentFile::first_frame_offset();
        if let Some(own) = unused.iter().find(|own| own.header.origin != store && own.nonzero > first) {
            let reason =
                format!("segment {} belongs to another store and holds no valid frame", own.header.id);
            return Err(RepairError::NotEnough { reason });
        }
        self.number(&mut manifest, &used);
        manifest.origins = self.origins(store, &used, &unused);
        for (at, own) in used.iter().enumerate() {
            let sealed = match (self.known_sealed(own), used.get(at + 1)) {
                (Some(sealed), _) => Some(sealed),
                (None, Some(next)) => self.sealed(own, next)?,
                // If it has an END, recovery finds it.
                (None, None) => None,
            };
            let state = sealed.map_or(SegmentState::Active, SegmentState::Sealed);
            manifest.segments.push(SegmentEntry {
                header: own.header.clone(),
                size_bytes: own.size_bytes(),
                state,
            });
        }
        self.add_missing(&mut manifest);
        self.check_links(&used);
        for own in unused.iter().filter(|own| own.header.origin == store) {
            // The next open makes it a spare.
            let (header, state) = (own.header.clone(), SegmentState::Active);
            manifest.segments.push(SegmentEntry { header, size_bytes: own.len, state });
        }
        let mut steps = vec![format!(
            "write a manifest that lists {} segments with frames and {} spares",
            used.len(),
            manifest.segments.len() - used.len()
        )];
        if keep_current {
            steps.insert(0, "move the manifest to `quarantine/`".to_owned());
        }
        Ok(Rebuilt { manifest, found: self.found, steps, keep_current })
    }

    /// Sets the generation, the boot epoch and the durable mark: the first two beyond all values ever used.
    fn number(&self, manifest: &mut Manifest, used: &[Found]) {
        let older = self.older.as_ref();
        let starts = || used.iter().filter_map(|own| own.start);
        let generation = starts().map(|start| start.manifest_generation).max();
        let boot_epoch = starts().map(|start| start.boot_epoch).max();
        manifest.generation = generation.max(older.map(|older| older.generation)).unwrap_or(0) + UNSEEN_MAX;
        manifest.boot_epoch = boot_epoch.max(older.map(|older| older.boot_epoch)).unwrap_or(0) + UNSEEN_MAX;
        let of_segments = || used.first().map_or(0, |own| own.header.partition);
        manifest.partition = older.map_or_else(of_segments, |older| older.partition);
        // The first write to a segment followed the last sync of the previous one.
        let begun = used.last().and_then(|own| own.first).map(|first| ChainPosition::before(&first));
        manifest.durable = older.map_or_else(DurableMark::default, Manifest::newest_named);
        if let Some(begun) = begun {
            manifest.durable.raise(DurableMark::of(&begun));
        }
    }

    fn origins(&self, store: [u8; 16], used: &[Found], unused: &[Found]) -> Vec<[u8; 16]> {
        let older = self.older.iter().flat_map(|older| older.origins.iter().copied());
        let own = used.iter().chain(unused).map(|own| own.header.origin);
        let starts = used.iter().filter_map(|own| own.start).map(|start| start.store);
        let all = older.chain(own).chain(starts).filter(|origin| *origin != store);
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The end of a segment that an older manifest lists as sealed.
    fn known_sealed(&self, own: &Found) -> Option<Sealed> {
        let mut known = self.older.iter().flat_map(|older| &older.segments);
        match known.find(|entry| entry.header == own.header)?.state {
            SegmentState::Sealed(sealed) => Some(sealed),
            SegmentState::Active | SegmentState::Spare => None,
        }
    }

    /// The end of a segment that has a successor: from the successor's START, or else from the segment's END.
    fn sealed(&self, own: &Found, next: &Found) -> Result<Option<Sealed>, RepairError> {
        let begun = |own: &Found| {
            own.first.map(|first| ChainPosition::before(&first)).expect("a used segment has a frame")
        };
        let (before, after) = (begun(own), begun(next));
        if let Some(start) = next.start.filter(|start| start.previous_segment == own.header.id) {
            return Ok(Some(Sealed {
                first_frame: before.number + 1,
                first_position: before.position + 1,
                frames: after.number.saturating_sub(before.number),
                events: after.position.saturating_sub(before.position),
                end: start.previous_end,
                checksum: start.previous_checksum,
            }));
        }
        let ended = own.ended().map_err(self.walk_error())?;
        Ok(ended.map(|(end, body)| Sealed {
            first_frame: before.number + 1,
            first_position: before.position + 1,
            frames: body.frames,
            events: body.events,
            end,
            checksum: body.checksum,
        }))
    }

    /// Lists missing segments that an older manifest lists as sealed, so that their loss is reported.
    fn add_missing(&mut self, manifest: &mut Manifest) {
        for entry in self.older.iter().flat_map(|older| &older.segments) {
            let is_there = manifest.segments.iter().any(|own| own.header.id == entry.header.id);
            let SegmentState::Sealed(sealed) = entry.state else { continue };
            if is_there {
                continue;
            }
            let comes_before = |own: &SegmentEntry| match own.state {
                SegmentState::Sealed(own) => last_frame(&own) < sealed.first_frame,
                SegmentState::Active | SegmentState::Spare => false,
            };
            let at = manifest.segments.iter().take_while(|own| comes_before(own)).count();
            manifest.segments.insert(at, entry.clone());
            self.found.push(format!("segment {} is missing: its events are lost", entry.header.id));
        }
    }

    /// Reports missing predecessors: the START of every segment names the previous segment.
    fn check_links(&mut self, used: &[Found]) {
        let mut before = 0;
        for own in used {
            let id = own.header.id;
            match own.start {
                None => self
                    .found
                    .push(format!("the START of segment {id} is damaged; its frames show its place")),
                Some(start) if start.previous_segment != before => self.found.push(format!(
                    "segment {id} continues segment {}, which is missing or damaged",
                    start.previous_segment
                )),
                Some(_) => {}
            }
            before = id;
        }
    }

    fn walk_error(&self) -> impl FnOnce(WalkError) -> RepairError + use<> {
        let to_repair = recover_error(self.folder);
        move |error| to_repair(error.into())
    }
}

impl Found {
    /// The size to list: at least the content and room for the marks after it.
    fn size_bytes(&self) -> u64 {
        self.len.max(self.nonzero + MARKS_RESERVE_BYTES as u64).max(SEGMENT_SIZE_BYTES_MIN)
    }

    /// The offset and body of its END.
    fn ended(&self) -> Result<Option<(u64, EndBody)>, WalkError> {
        let mut walker = Walker::new(&self.segment)?;
        let first = SegmentFile::first_frame_offset();
        let Some((_, header)) = walker.frame_at(first)? else { return Ok(None) };
        let (mut chain, mut body) = (ChainPosition::before(&header), None);
        let stop = walker.walk(first, u64::MAX, &mut chain, |frame, _, _| {
            if frame.header.kind == FrameKind::End {
                body = EndBody::decode(frame.command);
            }
        })?;
        match stop {
            Stop::End { offset } => Ok(body.map(|body| (offset, body))),
            Stop::NoFrame { .. } => Ok(None),
        }
    }
}
