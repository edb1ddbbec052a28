//! The manifest: the list of segments, in order.
//!
//! *Invariant*: it is replaced as a whole, by rename, so a wrong checksum means rot and not a torn write. The
//! previous manifest never replaces it automatically: that could hide an acknowledged segment.

use std::io;
use std::path::Path;

use crate::bugs::{Bug, planted};
use crate::env::{Env, read_whole, write_whole};
use crate::format::{
    DurableMark, FrameName, Manifest, ManifestError, Sealed, SegmentState, last_frame, last_position,
};

impl Manifest {
    /// The manifest of an empty log.
    pub(crate) fn new(store: [u8; 16], key_secret: [u8; 16]) -> Self {
        Self {
            generation: 0,
            boot_epoch: 0,
            store,
            key_secret,
            partition: 0,
            is_replica: false,
            durable: DurableMark::default(),
            origins: Vec::new(),
            segments: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Reads the manifest of a log; `None` if there is none.
    pub(crate) fn load(env: &dyn Env, root: &Path) -> Result<Option<Self>, ManifestError> {
        match read_whole(env, &root.join("manifest")) {
            Ok(bytes) => match Self::decode(&bytes) {
                Err(ManifestError::Damaged) if planted(Bug::OlderManifestTrusted) => {
                    Self::decode(&read_whole(env, &root.join("manifest.previous"))?).map(Some)
                }
                manifest => manifest.map(Some),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the manifest durably, with the next generation. The current one is kept as `manifest.previous`. Refuses one of
    /// another log, and one that another process has written since.
    pub(crate) fn replace(&mut self, env: &dyn Env, root: &Path) -> io::Result<()> {
        let current = read_whole(env, &root.join("manifest")).ok();
        if let Some(current) = &current {
            self.check_continues(current)?;
        }
        self.write_temporary(env, root)?;
        if let Some(current) = current {
            write_synced(env, &root.join("manifest.previous.tmp"), &current)?;
            env.rename(&root.join("manifest.previous.tmp"), &root.join("manifest.previous"))?;
        }
        name_temporary(env, root)
    }

    /// Writes the manifest durably, with the next generation, over an existing one. `manifest.previous` stays as it
    /// is.
    pub(crate) fn write(&mut self, env: &dyn Env, root: &Path) -> io::Result<()> {
        self.write_temporary(env, root)?;
        name_temporary(env, root)
    }

    /// Fails unless this manifest was made from the one in those bytes.
    fn check_continues(&self, current: &[u8]) -> io::Result<()> {
        let continues = match Self::decode(current) {
            Ok(current) => {
                let is_own = current.store == self.store || self.origins.contains(&current.store);
                is_own && current.generation <= self.generation && current.boot_epoch <= self.boot_epoch
            }
            // Rot: this one holds all that it held.
            Err(ManifestError::Damaged) => true,
            Err(_) => false,
        };
        let refused = || {
            io::Error::other(
                "it is the manifest of another log, or another process has written it since: it is left as it is",
            )
        };
        if continues { Ok(()) } else { Err(refused()) }
    }

    fn write_temporary(&mut self, env: &dyn Env, root: &Path) -> io::Result<()> {
        self.generation += 1;
        write_synced(env, &root.join("manifest.tmp"), &self.encode())
    }

    /// The last frame that the manifest proves to be synced: by its mark, by a segment that it lists as sealed, or by
    /// a run that it lists. The entry of a run is enough, even if its file is lost.
    pub(crate) fn proven_frame(&self) -> u64 {
        let sealed = self.sealed().map(last_frame);
        let runs = self.runs.iter().map(|entry| entry.last_frame.number);
        sealed.chain(runs).fold(self.durable.number, u64::max)
    }

    /// The last position that the manifest proves to be synced, by the same evidence.
    pub(crate) fn proven_position(&self) -> u64 {
        let sealed = self.sealed().map(last_position);
        let runs = self.runs.iter().map(|entry| entry.last);
        sealed.chain(runs).fold(self.durable.position, u64::max)
    }

    /// The newest frame that the manifest names, by its mark or as the end of a run.
    pub(crate) fn newest_named(&self) -> DurableMark {
        self.runs.iter().fold(self.durable, |mut newest, entry| {
            let FrameName { number, checksum } = entry.last_frame;
            newest.raise(DurableMark { number, checksum, position: entry.last });
            newest
        })
    }

    fn sealed(&self) -> impl Iterator<Item = &Sealed> {
        self.segments.iter().filter_map(|entry| match &entry.state {
            SegmentState::Sealed(sealed) => Some(sealed),
            SegmentState::Spare | SegmentState::Active => None,
        })
    }

    /// Whether the manifest names another frame with that number: then the frame belongs to another history of the
    /// log.
    pub(crate) fn contradicts(&self, frame: FrameName) -> bool {
        let durable = FrameName { number: self.durable.number, checksum: self.durable.checksum };
        let mark = (durable.checksum != 0).then_some(durable);
        let ends = self.runs.iter().flat_map(|entry| [entry.first_frame, entry.last_frame]);
        let mut named = mark.into_iter().chain(ends).filter(|own| own.number == frame.number);
        named.any(|own| own.checksum != frame.checksum && !planted(Bug::NamedFrameNotCompared))
    }

    /// Whether the index files cover adjacent ranges from the first position on. A manifest from the disk need not: then an
    /// open lists those up to the first gap, and builds the others again.
    pub(crate) fn has_adjacent_runs(&self) -> bool {
        let mut next = 1;
        self.runs.iter().all(|entry| {
            let follows = entry.first == next && entry.first <= entry.last;
            next = entry.last + 1;
            follows
        })
    }

    /// An id that no listed run has.
    pub(crate) fn next_run_id(&self) -> u64 {
        self.runs.iter().map(|entry| entry.id).max().unwrap_or(0) + 1
    }

    /// An id that no listed segment has.
    pub(crate) fn next_segment_id(&self) -> u64 {
        self.segments.iter().map(|entry| entry.header.id).max().unwrap_or(0) + 1
    }
}

fn name_temporary(env: &dyn Env, root: &Path) -> io::Result<()> {
    env.rename(&root.join("manifest.tmp"), &root.join("manifest"))?;
    if planted(Bug::ManifestNotRenamedDurably) {
        return Ok(());
    }
    env.sync_dir(root)
}

/// Writes a file and syncs it. Its name is not durable yet.
pub(crate) fn write_synced(env: &dyn Env, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = write_whole(env, path, bytes)?;
    if planted(Bug::ManifestNotSynced) {
        return Ok(());
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::RunEntry;
    use crate::format::sample_manifest as sample;

    #[test]
    fn the_newest_evidence_of_a_manifest_counts_and_names_its_frames() {
        let mut manifest = sample();
        assert_eq!((manifest.proven_frame(), manifest.proven_position()), (9, 10));
        manifest.runs[0].last_frame.number = 20;
        manifest.runs[0].last = 30;
        assert_eq!((manifest.proven_frame(), manifest.proven_position()), (20, 30));
        manifest.segments[0].state = SegmentState::Sealed(Sealed {
            first_frame: 1,
            first_position: 1,
            frames: 40,
            events: 50,
            end: 5,
            checksum: 6,
        });
        assert_eq!((manifest.proven_frame(), manifest.proven_position()), (40, 50));
        let name = |number, checksum| FrameName { number, checksum };
        let contradicted = [name(9, 12), name(9, 13), name(20, 12), name(20, 13), name(1, 10), name(5, 1)];
        let contradicted = contradicted.map(|frame| manifest.contradicts(frame));
        assert_eq!(contradicted, [false, true, false, true, true, false]);
        manifest.durable.checksum = 0;
        assert!(!manifest.contradicts(name(9, 13)), "an unknown checksum contradicts nothing");
    }

    #[test]
    fn a_gap_between_index_files_is_noticed() {
        let sample = sample();
        let with_run = |first, last| {
            let run = RunEntry { first, last, ..sample.runs[0] };
            Manifest { runs: vec![sample.runs[0], run], ..sample.clone() }.has_adjacent_runs()
        };
        assert!(sample.has_adjacent_runs());
        assert_eq!(
            [with_run(5, 5), with_run(5, 4), with_run(6, 7), with_run(4, 7)],
            [true, false, false, false]
        );
    }

    #[test]
    fn the_previous_manifest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = sample();
        manifest.replace(&crate::env::OsEnv, folder.path()).unwrap();
        manifest.replace(&crate::env::OsEnv, folder.path()).unwrap();
        let loaded = Manifest::load(&crate::env::OsEnv, folder.path()).unwrap().unwrap();
        assert_eq!((loaded.generation, &loaded), (9, &manifest));
        let before = read_whole(&crate::env::OsEnv, &folder.path().join("manifest.previous")).unwrap();
        assert_eq!(Manifest::decode(&before).unwrap().generation, 8);
    }
}
