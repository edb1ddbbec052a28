//! `gesta why`: prints what led to an event, and what it led to.

use std::io::{self, Write};

use gesta::causes::{Causes, CausesError, Effects, Origin, causes_of, effects_of};
use gesta::http::{causes_json, effects_json};
use gesta_core::{EventId, RecordedEvent, StreamName};

use crate::failure::{Failure, Outcome};
use crate::output::{Style, stdout};
use crate::target::{IfMissing, Target};

#[derive(clap::Args)]
pub(crate) struct ExplainEvent {
    /// The id of the event.
    event: EventId,
    /// The stream of the event. Needed only if events of several streams have the id.
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Print JSON: one line with the causes, one with the effects.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl ExplainEvent {
    pub(crate) fn run(self) -> Outcome {
        let opened = self.target.open(IfMissing::Refuse)?;
        let (store, stream) = (&**opened.store(), self.stream.as_ref());
        let causes = pollster::block_on(causes_of(store, self.event, stream)).map_err(failed)?;
        let effects = pollster::block_on(effects_of(store, self.event, stream)).map_err(failed)?;
        let mut out = stdout();
        if self.json {
            for line in [causes_json(&causes), effects_json(&effects)] {
                out.write_all(&line)?;
                writeln!(out)?;
            }
        } else {
            print(&causes, &effects, &mut out)?;
        }
        out.flush()?;
        opened.finish()
    }
}

fn failed(error: CausesError) -> Failure {
    match error {
        CausesError::Read(error) => Failure::from(error),
        CausesError::Ambiguous { streams, .. } => {
            let failure = Failure::new(format!("events of {} streams have this id", streams.len()));
            let failure = streams.iter().fold(failure, |failure, stream| failure.cause(stream.as_str()));
            failure.help("name one of them with `--stream`")
        }
        error => Failure::new(error.to_string()),
    }
}

/// Prints a tree: the first cause on top, each effect below its cause. The event itself has a `*`.
fn print(causes: &Causes, effects: &Effects, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", origin_line(&causes.origin))?;
    for (level, cause) in causes.causes.iter().rev().enumerate() {
        print_event(' ', level, cause, out)?;
    }
    let level = causes.causes.len();
    print_event('*', level, &causes.event, out)?;
    for effect in &effects.effects {
        print_event(' ', level + effect.level, &effect.event, out)?;
    }
    if effects.is_cut {
        writeln!(out, "there are more effects: ask for one of the last")?;
    }
    Ok(())
}

fn print_event(mark: char, level: usize, event: &RecordedEvent, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{mark} {:width$}", "", width = 2 * level)?;
    Style::Line.print(event, out)
}

fn origin_line(origin: &Origin) -> String {
    match origin {
        Origin::Unnamed => "no cause is named".to_owned(),
        Origin::Outside { causation } => format!("caused by `{causation}`, which is no event here"),
        Origin::Ambiguous { id, streams } => {
            let streams = streams.iter().map(|stream| format!("`{stream}`")).collect::<Vec<_>>();
            format!("caused by event {id} of one of these streams: {}", streams.join(", "))
        }
        Origin::Circle { id } => format!("the causes lead in a circle, back to event {id}"),
        Origin::Cut { id } => format!("there are more causes: ask for event {id}"),
        other => format!("{other:?}"),
    }
}
