//! The background scrub: a thread that reads each sealed segment when it is due.
//!
//! *Invariants*
//! - It takes no lock of the writer, a reader or the segment manager: it reads the list of sealed segments from the manifest's
//!   file.
//! - It changes no file except the record of scrubs.
//! - It reads in small steps with pauses, past the page cache, and ends within a step when the log is closed.

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use gesta_core::Timestamp;

use super::ScrubStatus;
use super::record::sealed_segments;
use crate::damage::Damage;
use crate::env::Env;
use crate::error::OpenError;
use crate::folder::Folder;
use crate::format::{Manifest, ScrubRecord, ScrubRecords, Sealed, SegmentEntry, sealed_len};
use crate::limits::{SCRUB_AGAIN_AFTER, SCRUB_BYTES_PER_SECOND_MIN, SCRUB_LOOK_EVERY};
use crate::locks;
use crate::operations::pace::{Cancel, Pace};
use crate::options::Scrub;

/// The scrub of one open log. [`Self::close`] ends its thread.
pub(crate) struct Background {
    scrubber: Arc<Scrubber>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Scrubber {
    env: Arc<dyn Env>,
    root: PathBuf,
    store: [u8; 16],
    scrub: Scrub,
    cancel: Cancel,
    state: Mutex<State>,
}

struct State {
    records: ScrubRecords,
    /// Segments that were damaged before the log was opened. They are read first, in case they were restored.
    suspects: Vec<u64>,
    /// Whether the results could be stored. A failure is logged once.
    is_kept: bool,
}

/// A segment that is due, and the rate to read it at.
struct Due {
    entry: SegmentEntry,
    sealed: Sealed,
    bytes_per_second: NonZeroU64,
}

impl Background {
    /// For a log without threads: reads nothing, and has no results.
    pub(crate) fn none(env: Arc<dyn Env>, root: PathBuf, store: [u8; 16]) -> Self {
        let scrubber = Scrubber::new(env, root, store, Scrub::Off, ScrubRecords::default());
        Self { scrubber: Arc::new(scrubber), thread: Mutex::new(None) }
    }

    /// Starts the thread, unless the scrub is off.
    pub(crate) fn start(
        env: Arc<dyn Env>,
        root: PathBuf,
        store: [u8; 16],
        scrub: Scrub,
    ) -> std::io::Result<Self> {
        let records = ScrubRecords::load(&*env, &root, store);
        let scrubber = Arc::new(Scrubber::new(env, root, store, scrub, records));
        let thread = match scrub {
            Scrub::Off => None,
            Scrub::Every(_) | Scrub::BytesPerSecond(_) => {
                let scrubber = Arc::clone(&scrubber);
                let builder = std::thread::Builder::new().name("gesta-scrub".to_owned());
                Some(builder.spawn(move || scrubber.run())?)
            }
        };
        Ok(Self { scrubber, thread: Mutex::new(thread) })
    }

    pub(crate) fn status(&self, manifest: &Manifest) -> ScrubStatus {
        ScrubStatus::of(manifest, &self.scrubber.lock().records)
    }

    /// Asks the thread to end, without waiting.
    pub(crate) fn cancel(&self) {
        self.scrubber.cancel.cancel();
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.cancel();
        let thread = locks::lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the scrub of the log panicked: sealed segments were not verified after that");
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.close();
    }
}

impl Scrubber {
    fn new(env: Arc<dyn Env>, root: PathBuf, store: [u8; 16], scrub: Scrub, records: ScrubRecords) -> Self {
        let state = State { suspects: records.damaged(), records, is_kept: true };
        Self { env, root, store, scrub, cancel: Cancel::default(), state: Mutex::new(state) }
    }

    /// Works until the log is closed.
    fn run(&self) {
        loop {
            let pause = match self.step() {
                Ok(true) => Duration::ZERO,
                Ok(false) => SCRUB_LOOK_EVERY,
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "a scrub could not go on; it is tried again");
                    SCRUB_LOOK_EVERY
                }
            };
            if self.cancel.pause(pause).is_break() {
                return;
            }
        }
    }

    /// Verifies the segment that is due. `false` if none is, or if it was cancelled.
    fn step(&self) -> Result<bool, OpenError> {
        let folder = Folder { env: &*self.env, root: &self.root };
        let manifest = folder.existing_manifest()?;
        let Some(Due { entry, sealed, bytes_per_second }) = self.due(&manifest, self.env.now()) else {
            return Ok(false);
        };
        let pace = Pace { bytes_per_second: Some(bytes_per_second), cancel: self.cancel.clone() };
        let proof = folder.prove_segment(&entry, &sealed, None, &pace).map_err(folder.recover_error())?;
        let Some(proof) = proof else { return Ok(false) };
        for damage in &proof.damage {
            let Damage { segment, offset, from, to, what, .. } = damage;
            tracing::error!(
                segment,
                offset,
                from,
                to,
                what,
                "a scrub found damage: restore it from a backup; appends go on"
            );
        }
        let mut state = self.lock();
        state.suspects.retain(|own| *own != entry.header.id);
        state.records.keep_listed(&manifest);
        state.records.note(ScrubRecord::new(&entry, &sealed, self.env.now(), proof.damage));
        let kept = state.records.replace(&*self.env, &self.root, self.store);
        if let Err(error) = &kept
            && state.is_kept
        {
            tracing::warn!(%error, "what a scrub has proven cannot be written down: after the next open it begins anew");
        }
        state.is_kept = kept.is_ok();
        Ok(true)
    }

    /// The segment with the oldest read, if it is due.
    fn due(&self, manifest: &Manifest, now: Timestamp) -> Option<Due> {
        let state = self.lock();
        let age = |at: Timestamp| now.as_nanos().checked_sub(at.as_nanos());
        let interval = match self.scrub {
            Scrub::Off => return None,
            Scrub::Every(interval) => interval,
            Scrub::BytesPerSecond(_) => SCRUB_AGAIN_AFTER,
        };
        let interval = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX);
        // A read far in the future, by a clock that was set back since, is due as well.
        let is_due = |at: Timestamp| age(at).and_then(i64::checked_abs).is_none_or(|age| age >= interval);
        let turn = |(entry, sealed): &(&SegmentEntry, &Sealed)| {
            let record = state.records.of(entry, sealed);
            let at = record.map(|own| own.verified_at);
            let is_suspect = state.suspects.contains(&entry.header.id);
            (is_suspect || at.is_none_or(is_due)).then_some((!is_suspect, at))
        };
        let due = sealed_segments(manifest).filter_map(|own| Some((turn(&own)?, own)));
        let (_, (entry, sealed)) = due.min_by_key(|(turn, _)| *turn)?;
        let bytes_per_second = self.bytes_per_second(manifest);
        Some(Due { entry: entry.clone(), sealed: *sealed, bytes_per_second })
    }

    /// The rate for one pass in its time, and a quarter more, since segments are added meanwhile.
    fn bytes_per_second(&self, manifest: &Manifest) -> NonZeroU64 {
        let interval = match self.scrub {
            Scrub::BytesPerSecond(rate) => return rate,
            Scrub::Every(interval) => interval.as_secs().max(1),
            Scrub::Off => u64::MAX,
        };
        let bytes = sealed_segments(manifest).map(|(_, sealed)| sealed_len(sealed)).sum::<u64>();
        let rate = NonZeroU64::new((bytes / interval).saturating_mul(5) / 4);
        rate.map_or(SCRUB_BYTES_PER_SECOND_MIN, |rate| rate.max(SCRUB_BYTES_PER_SECOND_MIN))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        locks::lock(&self.state)
    }
}
