//! The file `through`: how far the source has got, in its own words.
//!
//! *Invariant*: a place is written after the sync of the events that it covers. So the file is never newer than the events;
//! after a crash it may be older.
//!
//! *Layout*: two slots, written in turn, so that a torn write leaves the place before.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::env::{Env, File, Mode};
use crate::error::{OpenError, io_error};
use crate::format::{NewerSlot, SOURCE_PLACE_BYTES_MAX, THROUGH_SLOT_BYTES, THROUGH_SLOT_STEP, ThroughSlot};
use crate::shared::Head;

/// The name of the file in the folder of a replica.
const THROUGH: &str = "through";

/// A place in the source's own words: the number of a message, for example. At most 64 bytes, which mean nothing to the replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourcePlace(Box<[u8]>);

/// A place of a source has more than 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a place of a source has {bytes} bytes: {SOURCE_PLACE_BYTES_MAX} are allowed")]
pub struct SourcePlaceTooLong {
    /// The length of the refused place.
    pub bytes: usize,
}

impl SourcePlace {
    /// Creates a place from its bytes.
    ///
    /// # Errors
    /// [`SourcePlaceTooLong`] for more than 64 bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, SourcePlaceTooLong> {
        let bytes = bytes.into();
        match bytes.len() {
            ..=SOURCE_PLACE_BYTES_MAX => Ok(Self(bytes)),
            bytes => Err(SourcePlaceTooLong { bytes }),
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The open file, and the newest place in it.
pub(super) struct ThroughFile {
    file: Arc<dyn File>,
    store: [u8; 16],
    /// The number of the newest write.
    number: u64,
    newest: Option<SourcePlace>,
}

impl ThroughFile {
    /// Opens the file, and makes it if it is missing. `is_here` tells whether the log has the event that a slot names as the last one
    /// covered: a slot without it is newer than the events, or of another history, and is left out.
    pub(super) fn open(
        env: &dyn Env,
        root: &Path,
        store: [u8; 16],
        is_here: impl Fn(Head) -> Result<bool, OpenError>,
    ) -> Result<Self, OpenError> {
        let path = root.join(THROUGH);
        let what = || io_error(format!("opening `{}`", path.display()));
        let file = match env.open(&path, Mode::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(env, root, &path).map_err(what())?
            }
            opened => opened.map_err(what())?,
        };
        let mut through = Self { file, store, number: 0, newest: None };
        let mut slots = Vec::new();
        for turn in 0..2 {
            slots.extend(through.slot(turn).map_err(what())?.map_err(|NewerSlot| {
                OpenError::NewerFormat { path: root.to_owned(), what: format!("`{THROUGH}`") }
            })?);
        }
        slots.retain(|slot| slot.store == store);
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.number));
        through.number = slots.first().map_or(0, |slot| slot.number);
        for slot in slots {
            if is_here(Head { position: slot.position, mark: Some(slot.mark) })? {
                through.newest = Some(SourcePlace(slot.place));
                break;
            }
        }
        Ok(through)
    }

    fn slot(&self, turn: u64) -> io::Result<Result<Option<ThroughSlot>, NewerSlot>> {
        let mut bytes = [0; THROUGH_SLOT_BYTES];
        let read = self.file.read_at(&mut bytes, turn * THROUGH_SLOT_STEP)?;
        Ok(ThroughSlot::decode(&bytes[..read]))
    }

    pub(super) const fn newest(&self) -> Option<&SourcePlace> {
        self.newest.as_ref()
    }

    /// Writes and syncs a place that covers everything up to a synced event.
    pub(super) fn write(&mut self, place: &SourcePlace, head: Head) -> io::Result<()> {
        let (number, mark) = (self.number + 1, head.mark.unwrap_or_default());
        let slot =
            ThroughSlot { store: self.store, number, position: head.position, mark, place: place.0.clone() };
        self.file.write_at(&[&slot.encode()], number % 2 * THROUGH_SLOT_STEP)?;
        self.file.sync_data()?;
        self.number = number;
        self.newest = Some(place.clone());
        Ok(())
    }
}

/// Makes the file with its full length, durably, so that writes change no length.
fn create(env: &dyn Env, root: &Path, path: &Path) -> io::Result<Arc<dyn File>> {
    let file = env.open(path, Mode::CreateNew)?;
    file.set_len(2 * THROUGH_SLOT_STEP)?;
    file.sync_all()?;
    env.sync_dir(root)?;
    Ok(file)
}
