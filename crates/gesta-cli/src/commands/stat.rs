//! `gesta stat`: shows the segments, sizes and times of a log.

use std::io::Write;
use std::path::Path;

use gesta_core::Timestamp;
use gesta_log::{
    Damage, FileStat, IndexFileStat, LogStat, ScrubStatus, ScrubbedAt, SegmentStat, SegmentStateStat,
};
use gesta_wire::format_time;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::output::{count, say, stdout};
use crate::target::{IfInUse, LogFolder, cannot_open};

#[derive(clap::Args)]
pub(crate) struct StatLog {
    #[command(flatten)]
    log: LogFolder,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl StatLog {
    pub(crate) fn run(self) -> Outcome {
        let folder = &self.log.existing()?;
        let stat = gesta_log::stat(folder).map_err(|error| cannot_open(folder, &error, IfInUse::Stop))?;
        if self.json {
            say(&json_of(&stat).to_string())?;
        } else {
            let mut out = stdout();
            print(&stat, &mut out)?;
            out.flush()?;
        }
        check_complete(folder, &stat)
    }
}

/// Fails if the log lacks events: it ends before the position that its manifest proves, a segment with events has no file, or
/// a scrub has found damage.
fn check_complete(folder: &Path, stat: &LogStat) -> Outcome {
    let name = folder.display();
    let (last, proven) = (stat.last_position(), stat.proven_position);
    let cut = (last < proven)
        .then(|| format!("the log ends at position {last}, and position {proven} was durable"));
    let is_missing =
        |segment: &&SegmentStat| segment.file_bytes.is_none() && segment.state != SegmentStateStat::Spare;
    let missing = stat.segments.iter().filter(is_missing);
    let missing = missing.map(|segment| format!("the file of segment {} is missing", segment.segment));
    let damage = stat.scrub.damage().map(ToString::to_string);
    let causes = cut.into_iter().chain(missing).chain(damage).collect::<Vec<_>>();
    if causes.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(format!("events are lost from the log in `{name}`"));
    let failure = causes.into_iter().fold(failure, Failure::cause);
    Err(failure.help(format!("`gesta verify --dir {name}` checks the whole log and explains what to do")))
}

fn print(stat: &LogStat, out: &mut impl Write) -> std::io::Result<()> {
    print_whole(stat, out)?;
    writeln!(out)?;
    print_segments(&stat.segments, out)?;
    writeln!(out)?;
    let Cost { sealed, sealed_bytes, active_bytes } = Cost::of(stat);
    writeln!(
        out,
        "backup: copies {} of {sealed_bytes} bytes once, and up to {active_bytes} bytes each time",
        count(sealed, "sealed segment")
    )?;
    print_scrub(&stat.scrub, out)?;
    print_other_files(stat, out)
}

/// The log as a whole: its origins, events and clock.
fn print_whole(stat: &LogStat, out: &mut impl Write) -> std::io::Result<()> {
    let (events, bytes) = (stat.events(), stat.used_bytes());
    writeln!(out, "store {}, boot epoch {}", stat.store, stat.boot_epoch)?;
    for origin in &stat.origins {
        writeln!(out, "restored from store {origin}")?;
    }
    let per_event = match events {
        0 => String::new(),
        _ => format!(", {} per event", per_event(bytes, events)),
    };
    writeln!(
        out,
        "{} up to position {}, {bytes} bytes{per_event}",
        count(events, "event"),
        stat.last_position()
    )?;
    let behind_seconds = stat.clock_behind_nanos() / 1_000_000_000;
    if behind_seconds > 0 {
        writeln!(
            out,
            "the clock of this machine is {behind_seconds} s behind the newest event: until it has caught up, new events are recorded at that event's time"
        )?;
    }
    Ok(())
}

/// A table of the segments.
fn print_segments(segments: &[SegmentStat], out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:>8}  {:<7}  {:>11}  {:>10}  {:>12}  {:>11}  recorded at",
        "segment", "state", "bytes", "events", "from", "bytes/event"
    )?;
    for segment in segments {
        let recorded = segment
            .recorded_at
            .map(|(first, last)| format!("{} to {}", format_time(first), format_time(last)));
        writeln!(
            out,
            "{:>8}  {:<7}  {:>11}  {:>10}  {:>12}  {:>11}  {}{}",
            segment.segment,
            state(segment),
            segment.used_bytes,
            segment.events,
            segment.first_position,
            per_event(segment.used_bytes, segment.events),
            recorded.unwrap_or_default(),
            remark(segment)
        )?;
    }
    Ok(())
}

/// The files of the index, and those that are not of the log any more.
fn print_other_files(stat: &LogStat, out: &mut impl Write) -> std::io::Result<()> {
    if let Some(last) = stat.index.last() {
        let (files, bytes, position) = (stat.index.len(), stat.index_bytes(), last.positions.1);
        writeln!(
            out,
            "index: {} of {bytes} bytes, up to position {position}; opening the log indexes the rest",
            count(files, "file")
        )?;
    }
    for file in &stat.quarantine {
        writeln!(out, "quarantine: {}, {} bytes", file.name, file.bytes)?;
    }
    for file in &stat.repairs {
        writeln!(out, "repaired: {}", file.name)?;
    }
    Ok(())
}

/// The progress and the findings of the background scrub.
fn print_scrub(scrub: &ScrubStatus, out: &mut impl Write) -> std::io::Result<()> {
    let (all, read) =
        (scrub.segments.len(), scrub.segments.iter().filter(|segment| segment.verified_at.is_some()));
    match scrub.last_pass() {
        Some(since) => writeln!(out, "scrub: all sealed segments checked since {}", format_time(since))?,
        None if all > 0 => writeln!(out, "scrub: {} of {all} sealed segments checked", read.count())?,
        None => {}
    }
    for damage in scrub.damage() {
        writeln!(out, "damage: {damage}")?;
    }
    if scrub.damage().next().is_some() {
        writeln!(out, "damaged events are not served; restore the log from a backup with `gesta restore`")?;
    }
    Ok(())
}

/// The bytes that a backup copies: sealed segments once, the active one each time.
struct Cost {
    sealed: usize,
    sealed_bytes: u64,
    active_bytes: u64,
}

impl Cost {
    fn of(stat: &LogStat) -> Self {
        let of = |state| stat.segments.iter().filter(move |segment| segment.state == state);
        let bytes = |state| of(state).map(|segment| segment.used_bytes).sum();
        Self {
            sealed: of(SegmentStateStat::Sealed).count(),
            sealed_bytes: bytes(SegmentStateStat::Sealed),
            active_bytes: bytes(SegmentStateStat::Active),
        }
    }
}

const fn state(segment: &SegmentStat) -> &'static str {
    match segment.state {
        SegmentStateStat::Spare => "spare",
        SegmentStateStat::Active => "active",
        SegmentStateStat::Sealed => "sealed",
    }
}

fn remark(segment: &SegmentStat) -> &'static str {
    match (segment.file_bytes, segment.is_restored, segment.is_recovered) {
        (None, _, _) => "  the file is missing",
        _ if segment.is_broken_off => "  ends in bytes that are no frame: see `gesta verify`",
        (Some(_), true, _) => "  restored",
        (Some(_), false, true) => "  a tail copied by recovery",
        (Some(_), false, false) => "",
    }
}

/// With one decimal; empty without events.
fn per_event(bytes: u64, events: u64) -> String {
    let Some(tenths) = bytes.saturating_mul(10).checked_div(events) else { return String::new() };
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn json_of(stat: &LogStat) -> Value {
    let file = |file: &FileStat| json!({"name": file.name, "bytes": file.bytes});
    let Cost { sealed_bytes, active_bytes, .. } = Cost::of(stat);
    json!({
        "store": stat.store.to_string(),
        "origins": stat.origins.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "bootEpoch": stat.boot_epoch,
        "manifestGeneration": stat.manifest_generation,
        "events": stat.events(),
        "position": stat.last_position(),
        "provenPosition": stat.proven_position,
        "bytes": stat.used_bytes(),
        "clockBehindSeconds": stat.clock_behind_nanos() / 1_000_000_000,
        "segments": stat.segments.iter().map(json_of_segment).collect::<Vec<_>>(),
        "index": stat.index.iter().map(json_of_index_file).collect::<Vec<_>>(),
        "backup": {"sealedBytes": sealed_bytes, "activeBytes": active_bytes},
        "scrub": json_of_scrub(&stat.scrub),
        "quarantine": stat.quarantine.iter().map(file).collect::<Vec<_>>(),
        "repairs": stat.repairs.iter().map(file).collect::<Vec<_>>(),
    })
}

fn json_of_scrub(scrub: &ScrubStatus) -> Value {
    let damage = |damage: &Damage| {
        let Damage { segment, offset, from, to, what, .. } = damage;
        json!({"segment": segment, "offset": offset, "from": from, "to": to, "what": what})
    };
    let segment = |scrubbed: &ScrubbedAt| {
        let verified_at = scrubbed.verified_at.map(format_time);
        json!({"segment": scrubbed.segment, "bytes": scrubbed.bytes, "verifiedAt": verified_at})
    };
    json!({
        "lastPass": scrub.last_pass().map(format_time),
        "verifiedBytes": scrub.verified_bytes(),
        "segments": scrub.segments.iter().map(segment).collect::<Vec<_>>(),
        "damage": scrub.damage().map(damage).collect::<Vec<_>>(),
    })
}

fn json_of_index_file(index: &IndexFileStat) -> Value {
    let (from, to) = index.positions;
    json!({"file": index.file, "from": from, "to": to, "bytes": index.bytes, "tier": index.tier})
}

fn json_of_segment(segment: &SegmentStat) -> Value {
    let time =
        |at: fn((Timestamp, Timestamp)) -> Timestamp| segment.recorded_at.map(|times| format_time(at(times)));
    json!({
        "segment": segment.segment,
        "state": state(segment),
        "restored": segment.is_restored,
        "brokenOff": segment.is_broken_off,
        "recovered": segment.is_recovered,
        "fileBytes": segment.file_bytes,
        "bytes": segment.used_bytes,
        "frames": segment.frames,
        "events": segment.events,
        "firstPosition": segment.first_position,
        "lastPosition": segment.last_position(),
        "firstRecordedAt": time(|(first, _)| first),
        "lastRecordedAt": time(|(_, last)| last),
    })
}
