//! Flips every bit of a small log, one at a time. The log must report the flip with its place and positions, or the
//! flip has no effect.

mod index;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_log::sim;
use gesta_log::{LogStore, OpenError};

use crate::check::check_harmed;
use crate::frames::{FramePlace, frames};
use crate::harm::{End, HEADER_BYTES, Harm, is_manifest, is_segment, snapshot};
use crate::model::{State, Wrong};
use crate::outcome::guarded;
use crate::scripts::{Do, Run};
use crate::simulation::options;

/// In a bounded run, one bit in `n` bytes of zeros is flipped.
const ZEROS_PER_FLIP: usize = 127;

pub use index::flip_index_bits;

/// Which bits are flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// Every bit.
    All,
    /// Every bit of nonzero bytes, and a sample of the zeros that fill a segment.
    ZerosSampled,
}

/// How the log was closed before the flips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// A clean close: everything is known to be durable.
    Closed,
    /// A killed process: the last group lacks a durable watermark.
    Killed,
}

/// Counts of bits and flips.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flips {
    /// Bits of the log's files.
    pub bits: u64,
    /// Bits that were flipped, one at a time.
    pub flips: u64,
    /// Flips that the log detected, and reported or quarantined.
    pub detected: u64,
    /// Flips that changed no event and no answer.
    pub harmless: u64,
}

impl Flips {
    /// Adds the counts of other flips of the same files.
    pub const fn add(&mut self, other: &Self) {
        self.flips += other.flips;
        self.detected += other.detected;
        self.harmless += other.harmless;
    }
}

impl fmt::Display for Flips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bits, flips, detected, harmless } = self;
        write!(
            f,
            "{flips} of {bits} bits flipped: {detected} detected, {harmless} harmless, 0 wrong data, 0 mislocated, 0 panics"
        )
    }
}

/// A bit of a file.
#[derive(Debug, Clone, Copy)]
struct Bit {
    at: usize,
    bit: usize,
}

/// Flips bits of a small log and checks the effect of each flip. Does one share of `shares`; all shares together
/// cover every bit.
///
/// # Errors
/// The first flip that led to wrong data, a panic or a wrong report.
pub fn flip_bits(bits: Bits, left: Left, share: usize, shares: usize) -> Result<Flips, String> {
    // Two sealed segments and an active one. The second sealed segment is a copy of frames that a crash left in
    // doubt.
    let mut script = vec![Do::Open, Do::Append(1, 40), Do::Append(1, 900), Do::Append(3, 40), Do::Tear];
    script.extend([Do::Open, Do::Append(1, 40), Do::Append(2, 40), Do::Append(1, 600)]);
    if left == Left::Closed {
        script.push(Do::Close);
    }
    let run = Run::prepared(&script, options().index_run_bytes)?;
    let mut flips = Flips::default();
    for (path, bytes) in snapshot(&run.machine) {
        flips.bits += 8 * bytes.len() as u64;
        let chosen = chosen_bits(&bytes, bits).enumerate().filter(|(at, _)| at % shares == share);
        for (_, Bit { at, bit }) in chosen {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let flip = Flip { path: &path, at, pristine: &bytes, left };
            let detected = guarded(|| flip.meet(&run, flipped));
            let detected = detected.map_err(|wrong| {
                format!("{wrong}; bit {bit} of byte {at} of {}, left {left:?}", path.display())
            })?;
            flips.flips += 1;
            *(if detected { &mut flips.detected } else { &mut flips.harmless }) += 1;
        }
    }
    Ok(flips)
}

fn chosen_bits(bytes: &[u8], bits: Bits) -> impl Iterator<Item = Bit> {
    bytes.iter().enumerate().flat_map(move |(at, byte)| {
        let chosen = match bits {
            Bits::ZerosSampled if *byte == 0 => match at % ZEROS_PER_FLIP {
                0 => at % 8..at % 8 + 1,
                _ => 0..0,
            },
            _ => 0..8,
        };
        chosen.map(move |bit| Bit { at, bit })
    })
}

/// One flipped bit and what it affects.
struct Flip<'a> {
    path: &'a PathBuf,
    at: usize,
    pristine: &'a [u8],
    left: Left,
}

impl Flip<'_> {
    /// Opens the log with the flipped bit. Returns `true` if the log reported it.
    fn meet(&self, run: &Run, flipped: Vec<u8>) -> Result<bool, Wrong> {
        let run = run.fork();
        run.machine.put(self.path, flipped);
        let log = match sim::open(&run.machine, &options()) {
            Ok(_) if is_manifest(self.path) => return Err("a flipped manifest is believed".to_owned()),
            Ok(log) => Arc::new(log),
            Err(OpenError::ManifestDamaged { .. }) if is_manifest(self.path) => return Ok(true),
            Err(error) => return Err(format!("the log does not open: {error:?}")),
        };
        let frame = frames(self.pristine).into_iter().find(|frame| frame.holds(self.at));
        let lost = frame.filter(|frame| is_segment(self.path) && frame.events > 0 && frame.proves(self.at));
        let is_uncovered = |frame: &FramePlace| frame.position + frame.events > run.model.log.len() as u64;
        let end = match lost.filter(is_uncovered) {
            Some(frame) if self.left == Left::Killed => End::Unknown { from: frame.position - 1 },
            _ => End::Known,
        };
        let is_doubted = end != End::Known;
        let all_shown =
            check_harmed(&log, &run.model, &Harm { files: vec![self.path.clone()], end, ..Harm::default() })?
                .is_all;
        if all_shown == lost.is_some() {
            return Err(format!("flipped in {frame:?}, everything is shown: {all_shown}"));
        }
        let hits_mark = frame.is_some_and(|frame| frame.events == 0);
        self.check_report(&log, lost.filter(|_| !is_doubted), hits_mark)?;
        check_repeats(&log, &run, lost)?;
        let recovery = log.recovery();
        Ok(log.read_only().is_some() || !recovery.flaws.is_empty() || recovery.quarantined_bytes > 0)
    }

    /// Checks that the log reports exactly the frame that was hit. It must report a damaged header as a flaw, and may do
    /// so for a damaged mark (a frame without events).
    fn check_report(&self, log: &LogStore, lost: Option<FramePlace>, hits_mark: bool) -> Result<(), Wrong> {
        let recovery = log.recovery();
        let id = segment_id(self.path);
        let losses = recovery.damage.iter().filter(|damage| damage.loses_events()).collect::<Vec<_>>();
        let is_right = match (&losses[..], lost) {
            ([], None) => true,
            ([loss], Some(frame)) => {
                loss.segment == id
                    && loss.offset == frame.offset as u64
                    && (loss.from, loss.to) == (frame.position, frame.position + frame.events - 1)
            }
            _ => false,
        };
        let others = recovery.damage.iter().chain(&recovery.flaws);
        let is_here = |damage: &&gesta_log::Damage| damage.segment == id;
        let has_flaws = !recovery.flaws.is_empty();
        let is_flaw_right = match self.at < HEADER_BYTES {
            true => has_flaws,
            false => !has_flaws || hits_mark,
        };
        if is_right && is_flaw_right && others.clone().all(|damage| is_here(&damage)) {
            return Ok(());
        }
        Err(format!("a report that is wrong: {recovery:?}"))
    }
}

/// Checks that a repeat of a batch that is shown gets its first answer after every flip.
fn check_repeats(log: &LogStore, run: &Run, lost: Option<FramePlace>) -> Result<(), Wrong> {
    for (number, sent) in run.model.sent.iter().enumerate() {
        let State::Logged(places) = &sent.state else { continue };
        let first = places[0].position.sequence;
        if lost.is_some_and(|frame| (frame.position..frame.position + frame.events).contains(&first)) {
            continue;
        }
        match log.append_blocking(run.model.repeat_of(number)) {
            Ok(appended) if appended.repeated && appended.places == *places => {}
            other => return Err(format!("the repeat of batch {number} got {other:?}")),
        }
    }
    Ok(())
}

fn segment_id(path: &Path) -> u64 {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name.parse().unwrap_or_default()
}
