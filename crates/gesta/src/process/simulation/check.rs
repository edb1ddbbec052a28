//! What must be true of a log in the end. It reads JSON and shares no code with the library.

use std::collections::{BTreeMap, BTreeSet};

use gesta_core::{RecordedEvent, Timestamp};
use serde_json::Value;

/// A rule that was broken.
#[derive(Debug)]
pub(super) struct Violation(pub(super) String);

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the stream of one process says.
#[derive(Default)]
struct Process {
    taken: BTreeSet<String>,
    open: BTreeSet<String>,
    performed: BTreeSet<String>,
    notes: u64,
    labels: BTreeSet<String>,
    /// The version of the `timer-set`, and when the timer is due.
    timers: BTreeMap<String, (u64, i64)>,
}

/// Checks a log that ended at that time.
pub(super) fn check_log(log: &[RecordedEvent], now: Timestamp) -> Result<(), Violation> {
    let mut processes = BTreeMap::<&str, Process>::new();
    let mut done = BTreeSet::new();
    let mut needs = BTreeMap::new();
    for event in log {
        let data: Value = serde_json::from_slice(event.data_slice()).expect("it is JSON");
        match event.event_type() {
            "sim.target.did" => {
                // Names of effects are unique for one input, and inputs of different streams have different names.
                once(
                    &mut done,
                    "effect done",
                    &serde_json::json!([event.tag("$causation"), data["effect"]]),
                )?;
            }
            "sim.input.came" => {
                needs.insert(input_of(event).to_string(), data["needs"].clone());
            }
            event_type => {
                let process = processes.entry(event.stream()).or_default();
                let needed = needs.get(&data["input"].to_string()).filter(|needs| !needs.is_null());
                if needed.is_some_and(|needs| !process.labels.contains(&needs.to_string())) {
                    return Err(Violation(format!("{data} was taken before what it needs")));
                }
                process.apply(event, event_type, &data)?;
            }
        }
    }
    let has_open = |(stream, process): (&&str, &Process)| {
        process.open.first().map(|open| Violation(format!("{stream}: effect {open} is still open")))
    };
    if let Some(violation) = processes.iter().find_map(has_open) {
        return Err(violation);
    }
    let due = |(_, (_, due)): &(&String, &(u64, i64))| *due <= now.as_nanos();
    if let Some((timer, (version, _))) = processes.values().flat_map(|process| &process.timers).find(due) {
        return Err(Violation(format!("timer {timer} of version {version} never fired")));
    }
    for event in log {
        let data: Value = serde_json::from_slice(event.data_slice()).expect("it is JSON");
        let taken = match event.event_type() {
            "sim.input.came" => processes.get(&*format!("sim-{}", data["process"])),
            "gesta.process.timer-fired" => processes.get(event.stream()),
            _ => continue,
        };
        let input = input_of(event);
        if taken.is_none_or(|process| !process.taken.contains(&input.to_string())) {
            return Err(Violation(format!("input {input} was lost")));
        }
    }
    Ok(())
}

fn input_of(event: &RecordedEvent) -> Value {
    serde_json::json!({"stream": event.stream(), "id": event.id().to_string()})
}

impl Process {
    fn apply(&mut self, event: &RecordedEvent, event_type: &str, data: &Value) -> Result<(), Violation> {
        match event_type {
            "gesta.process.reacted" => {
                once(&mut self.taken, "input taken", &data["input"])?;
                self.effects(&data["input"], &[], data);
            }
            "gesta.process.performed" => {
                let effect = &data["effect"];
                once(&mut self.performed, "outcome recorded", effect)?;
                if !self.open.remove(&effect.to_string()) {
                    return Err(Violation(format!("{effect} has an outcome and was not open")));
                }
                let path = effect["path"].as_array().expect("a path is an array");
                self.effects(&effect["input"], path, data);
            }
            "sim.process.noted" => {
                if data["number"] != self.notes {
                    return Err(Violation(format!("{data} was decided on a memory that was no longer true")));
                }
                self.notes += 1;
                self.labels.insert(data["label"].to_string());
            }
            "gesta.process.timer-set" => {
                let due = data["due"].as_i64().expect("it is a time");
                self.timers.insert(data["timer"].to_string(), (event.version().get(), due));
            }
            "gesta.process.timer-cancelled" => {
                self.timers.remove(&data["timer"].to_string());
            }
            "gesta.process.timer-fired" => match self.timers.remove(&data["timer"].to_string()) {
                Some((version, _)) if data["set"] != version => {
                    return Err(Violation(format!("fired {data}, but version {version} was pending")));
                }
                Some((_, due)) if event.time().as_nanos() < due => {
                    return Err(Violation(format!("fired {data} early")));
                }
                Some(_) => {}
                None => return Err(Violation(format!("fired {data}, which was not pending"))),
            },
            other => return Err(Violation(format!("unexpected event {other}"))),
        }
        Ok(())
    }

    fn effects(&mut self, input: &Value, path: &[Value], data: &Value) {
        let effects = data["effects"].as_array().map_or(0, Vec::len);
        for index in 0..effects {
            let path = path.iter().cloned().chain([index.into()]).collect::<Vec<_>>();
            self.open.insert(serde_json::json!({"input": input, "path": path}).to_string());
        }
    }
}

fn once(set: &mut BTreeSet<String>, what: &str, value: &Value) -> Result<(), Violation> {
    match set.insert(value.to_string()) {
        true => Ok(()),
        false => Err(Violation(format!("{what} twice: {value}"))),
    }
}
