//! `gesta stat`: says what a log consists of.

use std::io::Write;

use gesta_core::Timestamp;
use gesta_log::{
    Damage, FileStat, IndexFileStat, LogStat, ScrubStatus, ScrubbedAt, SegmentStat, SegmentStateStat,
};
use gesta_server::format_time;
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::output::{say, stdout};
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
            return Ok(());
        }
        let mut out = stdout();
        print(&stat, &mut out)?;
        out.flush()?;
        Ok(())
    }
}

fn print(stat: &LogStat, out: &mut impl Write) -> std::io::Result<()> {
    let (events, bytes) = (stat.events(), stat.used_bytes());
    writeln!(out, "store {}, boot epoch {}", stat.store, stat.boot_epoch)?;
    for origin in &stat.origins {
        writeln!(out, "restored from store {origin}")?;
    }
    let per_event = match events {
        0 => String::new(),
        _ => format!(", {} an event", per_event(bytes, events)),
    };
    writeln!(out, "{events} events up to position {}, {bytes} bytes{per_event}", stat.last_position())?;
    writeln!(out)?;
    writeln!(
        out,
        "{:>8}  {:<7}  {:>11}  {:>10}  {:>12}  {:>11}  recorded at",
        "segment", "state", "bytes", "events", "from", "bytes/event"
    )?;
    for own in &stat.segments {
        let recorded =
            own.recorded_at.map(|(first, last)| format!("{} to {}", format_time(first), format_time(last)));
        writeln!(
            out,
            "{:>8}  {:<7}  {:>11}  {:>10}  {:>12}  {:>11}  {}{}",
            own.segment,
            state(own),
            own.used_bytes,
            own.events,
            own.first_position,
            self::per_event(own.used_bytes, own.events),
            recorded.unwrap_or_default(),
            remark(own)
        )?;
    }
    writeln!(out)?;
    let Cost { sealed, sealed_bytes, active_bytes } = Cost::of(stat);
    writeln!(
        out,
        "a backup copies {sealed} sealed segments of {sealed_bytes} bytes once, and up to {active_bytes} bytes each time"
    )?;
    print_scrub(&stat.scrub, out)?;
    if let Some(last) = stat.index.last() {
        let (files, bytes, position) = (stat.index.len(), stat.index_bytes(), last.positions.1);
        writeln!(
            out,
            "index: {files} files of {bytes} bytes, up to position {position}; the rest is loaded by an open"
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

/// What the scrub in the background has read, and what it found.
fn print_scrub(scrub: &ScrubStatus, out: &mut impl Write) -> std::io::Result<()> {
    let (all, read) = (scrub.segments.len(), scrub.segments.iter().filter(|own| own.verified_at.is_some()));
    match scrub.last_pass() {
        Some(since) => writeln!(out, "scrub: all sealed segments were read since {}", format_time(since))?,
        None if all > 0 => writeln!(out, "scrub: {} of {all} sealed segments were read", read.count())?,
        None => {}
    }
    for damage in scrub.damage() {
        writeln!(out, "damage: {damage}")?;
    }
    if scrub.damage().next().is_some() {
        writeln!(
            out,
            "what is damaged is not served; `gesta restore` makes a log from a backup that has it whole"
        )?;
    }
    Ok(())
}

/// What a backup has to copy: what is sealed, once; what is not, each time.
struct Cost {
    sealed: usize,
    sealed_bytes: u64,
    active_bytes: u64,
}

impl Cost {
    fn of(stat: &LogStat) -> Self {
        let of = |state| stat.segments.iter().filter(move |own| own.state == state);
        let bytes = |state| of(state).map(|own| own.used_bytes).sum();
        Self {
            sealed: of(SegmentStateStat::Sealed).count(),
            sealed_bytes: bytes(SegmentStateStat::Sealed),
            active_bytes: bytes(SegmentStateStat::Active),
        }
    }
}

const fn state(own: &SegmentStat) -> &'static str {
    match own.state {
        SegmentStateStat::Spare => "spare",
        SegmentStateStat::Active => "active",
        SegmentStateStat::Sealed => "sealed",
    }
}

fn remark(own: &SegmentStat) -> &'static str {
    match (own.file_bytes, own.is_restored, own.is_recovered) {
        (None, _, _) => "  the file is missing",
        _ if own.is_broken_off => "  what stands behind is no frame: `gesta verify` says more",
        (Some(_), true, _) => "  restored",
        (Some(_), false, true) => "  a tail that recovery copied",
        (Some(_), false, false) => "",
    }
}

/// With one digit behind the point; nothing where there is no event.
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
        "bytes": stat.used_bytes(),
        "segments": stat.segments.iter().map(json_of_segment).collect::<Vec<_>>(),
        "index": stat.index.iter().map(json_of_index_file).collect::<Vec<_>>(),
        "backup": {"sealedBytes": sealed_bytes, "activeBytes": active_bytes},
        "scrub": json_of_scrub(&stat.scrub),
        "quarantine": stat.quarantine.iter().map(file).collect::<Vec<_>>(),
        "repairs": stat.repairs.iter().map(file).collect::<Vec<_>>(),
    })
}

fn json_of_scrub(scrub: &ScrubStatus) -> Value {
    let damage = |own: &Damage| {
        let Damage { segment, offset, from, to, what } = own;
        json!({"segment": segment, "offset": offset, "from": from, "to": to, "what": what})
    };
    let segment = |own: &ScrubbedAt| {
        let verified_at = own.verified_at.map(format_time);
        json!({"segment": own.segment, "bytes": own.bytes, "verifiedAt": verified_at})
    };
    json!({
        "lastPass": scrub.last_pass().map(format_time),
        "verifiedBytes": scrub.verified_bytes(),
        "segments": scrub.segments.iter().map(segment).collect::<Vec<_>>(),
        "damage": scrub.damage().map(damage).collect::<Vec<_>>(),
    })
}

fn json_of_index_file(own: &IndexFileStat) -> Value {
    let (from, to) = own.positions;
    json!({"file": own.file, "from": from, "to": to, "bytes": own.bytes, "tier": own.tier})
}

fn json_of_segment(own: &SegmentStat) -> Value {
    let time =
        |at: fn((Timestamp, Timestamp)) -> Timestamp| own.recorded_at.map(|times| format_time(at(times)));
    json!({
        "segment": own.segment,
        "state": state(own),
        "restored": own.is_restored,
        "brokenOff": own.is_broken_off,
        "recovered": own.is_recovered,
        "fileBytes": own.file_bytes,
        "bytes": own.used_bytes,
        "frames": own.frames,
        "events": own.events,
        "firstPosition": own.first_position,
        "lastPosition": own.last_position(),
        "firstRecordedAt": time(|(first, _)| first),
        "lastRecordedAt": time(|(_, last)| last),
    })
}
