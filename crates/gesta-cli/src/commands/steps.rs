//! `gesta state --step`: a walk through the history of an entity, event by event.

mod remote;

use std::io::{BufRead, Write};

use gesta::past::{DiffError, EventStep, Steps};
use gesta::{LoadError, Version};
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::output::Style;

pub(super) use remote::RemoteSteps;

/// A walk, in this process or at a server.
pub(super) trait Walk {
    /// Steps to the next event; `None` at the end.
    fn next(&mut self) -> Outcome<Option<Shown>>;
    /// Steps back; `None` before the first event.
    fn back(&mut self) -> Outcome<Option<Shown>>;
    /// Goes to the event with a version; the reason if there is none.
    fn goto(&mut self, version: u64) -> Outcome<Result<Shown, String>>;
    /// True before the first event.
    fn is_at_start(&self) -> bool;
}

/// An event as it is printed.
pub(super) struct Shown {
    event: String,
    who: Option<String>,
    cause: Option<String>,
    reason: Option<String>,
    /// Pointer, value before and value after.
    changes: Vec<(String, Option<Value>, Option<Value>)>,
}

/// A command that a line of the input gives.
enum Asked {
    Next,
    Back,
    Goto(u64),
    Quit,
    Unknown,
}

impl Asked {
    fn of(line: &str) -> Self {
        match line.trim() {
            "" | "n" => Self::Next,
            "b" => Self::Back,
            "q" => Self::Quit,
            version => version.parse().map_or(Self::Unknown, Self::Goto),
        }
    }
}

/// Reads steps from `input`, a line each, and prints them, until it ends. A prompt is for people at a terminal.
pub(super) fn walk(
    steps: &mut dyn Walk,
    input: impl BufRead,
    out: &mut impl Write,
    prompt: Option<&str>,
) -> Outcome {
    let mut lines = input.lines();
    loop {
        if let Some(prompt) = prompt {
            write!(out, "{prompt}")?;
        }
        out.flush()?;
        let Some(line) = lines.next().transpose()? else { return Ok(()) };
        let step = match Asked::of(&line) {
            Asked::Quit => return Ok(()),
            Asked::Next => steps.next()?,
            Asked::Back => steps.back()?,
            Asked::Goto(version) => match steps.goto(version)? {
                Ok(step) => Some(step),
                Err(reason) => {
                    writeln!(out, "{reason}")?;
                    continue;
                }
            },
            Asked::Unknown => {
                let line = line.trim();
                writeln!(out, "`{line}` is no step: n for the next one, b for back, a version, or q to end")?;
                continue;
            }
        };
        match step {
            Some(step) => step.print(out)?,
            None if steps.is_at_start() => writeln!(out, "before the first event")?,
            None => writeln!(out, "no more events")?,
        }
    }
}

impl Shown {
    fn print(&self, out: &mut impl Write) -> Outcome {
        writeln!(out, "{}", self.event)?;
        let said = [("by", &self.who), ("caused by", &self.cause), ("reason:", &self.reason)];
        for (what, value) in said {
            if let Some(value) = value {
                writeln!(out, "    {what} {value}")?;
            }
        }
        let shown = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        for (pointer, before, after) in &self.changes {
            let pointer = if pointer.is_empty() { "the state" } else { pointer };
            writeln!(out, "    {pointer}: {} -> {}", shown(before), shown(after))?;
        }
        Ok(())
    }
}

impl Walk for Steps {
    fn next(&mut self) -> Outcome<Option<Shown>> {
        pollster::block_on(Self::next(self)).map_err(failed)?.map(shown).transpose()
    }

    fn back(&mut self) -> Outcome<Option<Shown>> {
        pollster::block_on(Self::back(self)).map_err(failed)?.map(shown).transpose()
    }

    fn goto(&mut self, version: u64) -> Outcome<Result<Shown, String>> {
        match pollster::block_on(Self::goto(self, Version::new(version))) {
            Ok(step) => Ok(Ok(shown(step)?)),
            Err(DiffError::Load(error @ LoadError::NoSuchVersion { .. })) => Ok(Err(error.to_string())),
            Err(error) => Err(failed(error)),
        }
    }

    fn is_at_start(&self) -> bool {
        self.version().is_none()
    }
}

fn failed(error: DiffError) -> Failure {
    Failure::new("cannot fold the state").because(&error)
}

fn shown(step: EventStep) -> Outcome<Shown> {
    let mut line = Vec::new();
    Style::Line.print(&step.event, &mut line)?;
    Ok(Shown {
        event: String::from_utf8_lossy(&line).trim_end().to_owned(),
        who: step.who().map(str::to_owned),
        cause: step.cause().map(str::to_owned),
        reason: step.reason(),
        changes: step
            .changes
            .into_iter()
            .map(|change| (change.pointer, change.before, change.after))
            .collect(),
    })
}
