//! Groups as text for people.

use std::io::Write;
use std::time::Duration;

use gesta_consumer::group::{GroupState, GroupStatus, Held, OnPoison, Order, Parked};
use gesta_wire::{QueryJson, format_time, group_json, group_state_name, parked_json, write_held};

use crate::failure::Outcome;
use crate::output::{Style, count, one_line, stdout};

/// One line for each group.
pub(super) fn list(groups: &[GroupStatus], json: bool) -> Outcome {
    let mut out = stdout();
    for status in groups {
        match json {
            true => writeln!(out, "{}", group_json(status))?,
            false => writeln!(out, "{}  {}  {}", status.name, state(&status.state), work(status))?,
        }
    }
    Ok(out.flush()?)
}

/// Everything about a group.
pub(super) fn group(status: &GroupStatus) -> Outcome {
    let mut out = stdout();
    let settings = &status.settings;
    writeln!(out, "group     {}{}", status.name, if status.is_hosted { ", of a host" } else { "" })?;
    writeln!(out, "state     {}", state(&status.state))?;
    writeln!(out, "work      {}", work(status))?;
    writeln!(out, "scanned   {}", status.scanned)?;
    writeln!(out, "head      {}", status.head)?;
    let full = if status.is_window_full { ", full: the scan waits" } else { "" };
    let window = count(u64::from(status.window_events), "event");
    writeln!(out, "window    {window}, {} bytes{full}", status.window_bytes)?;
    writeln!(out, "query     {}", QueryJson::of(&settings.query))?;
    let attempts = settings.attempts_max.map_or_else(
        || "tried for ever".to_owned(),
        |attempts| format!("at most {}", count(u64::from(attempts.get()), "attempt")),
    );
    let poison = match settings.on_poison {
        OnPoison::Park => "poison is parked",
        OnPoison::Stop => "poison stops the group",
    };
    let order = match settings.order {
        Order::Stream => "in the order of each stream",
        Order::Log => "in the order of the log",
    };
    writeln!(
        out,
        "settings  version {}: {} to acknowledge, {attempts}, {poison}, {order}",
        status.settings_version,
        short(settings.ack_time)
    )?;
    for member in &status.members {
        let held = count(u64::from(member.in_flight_events), "event");
        writeln!(out, "member    {}  {held} in flight, seen {} ago", member.name, short(member.seen))?;
    }
    Ok(out.flush()?)
}

/// One line for each parked stream.
pub(super) fn parked(page: &[Parked], json: bool) -> Outcome {
    let mut out = stdout();
    for parked in page {
        match json {
            true => writeln!(out, "{}", parked_json(parked))?,
            false => writeln!(out, "{}", parked_line(parked))?,
        }
    }
    Ok(out.flush()?)
}

/// A parked stream, and the events that it holds back.
pub(super) fn held(held: &Held, json: bool) -> Outcome {
    let mut out = stdout();
    if json {
        let mut json = Vec::new();
        write_held(held, &mut json);
        json.push(b'\n');
        out.write_all(&json)?;
        return Ok(out.flush()?);
    }
    writeln!(out, "{}", parked_line(&held.parked))?;
    for event in &held.events {
        Style::Line.print(event, &mut out)?;
    }
    Ok(out.flush()?)
}

fn parked_line(parked: &Parked) -> String {
    let mut line = format!(
        "{}  version {}, {}",
        parked.stream,
        parked.version,
        count(u64::from(parked.attempts), "attempt")
    );
    if let Some(since) = parked.since {
        line += &format!(", since {}", format_time(since));
    }
    if let Some(by) = &parked.by {
        line += &format!(", by {}", one_line(by));
    }
    if let Some(error) = &parked.error {
        line += &format!(": {}", one_line(error));
    }
    line
}

fn state(state: &GroupState) -> String {
    let name = group_state_name(state);
    match state {
        GroupState::Paused { by, since } => {
            format!("{name} by {} since {}", one_line(by), format_time(*since))
        }
        GroupState::Stopped { reason } | GroupState::Unreadable { reason } => {
            format!("{name}: {}", one_line(reason))
        }
        _ => name.to_owned(),
    }
}

/// The lag of a group, its members, and its events in flight, waiting and parked.
fn work(status: &GroupStatus) -> String {
    let lag = match (status.lag_events, status.lag) {
        (Some(0), _) => "no lag".to_owned(),
        (Some(events), Some(lag)) => format!("{} and {} behind", count(events, "event"), short(lag)),
        (Some(events), None) => format!("{} behind", count(events, "event")),
        (None, Some(lag)) => format!("{} behind", short(lag)),
        (None, None) => "lag unknown".to_owned(),
    };
    let mut work = format!("{lag}, {}", count(status.members.len(), "member"));
    let counts =
        [(status.in_flight_events, "in flight"), (status.waiting, "waiting"), (status.parked, "parked")];
    for (number, what) in counts.into_iter().filter(|(number, _)| *number > 0) {
        work += &format!(", {number} {what}");
    }
    work
}

/// A duration as people read it.
fn short(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_texts_of_others_stay_on_their_line() {
        let cases = [(0, "0 ms"), (999, "999 ms"), (59_999, "59 s"), (60_000, "1 min"), (7_200_000, "2 h")];
        for (millis, expected) in cases {
            assert_eq!(short(Duration::from_millis(millis)), expected);
        }
        assert_eq!(one_line("a\nb\u{1b}[31mc"), "a b [31mc");
    }
}
