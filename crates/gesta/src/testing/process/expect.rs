//! What a run must come to, and the message if it does not.

use gesta_core::{RecordedEvent, StreamName};
use serde_json::Value;

use super::super::text_of;
use super::run::Crash;
use crate::error::EncodeError;
use crate::fact::Fact;
use crate::process::{Process, is_process_event};
use crate::state::State;

/// The expected effects and events of a process.
pub(super) struct Expected {
    name: &'static str,
    /// Sorted by their text.
    effects: Vec<String>,
    /// Type, schema version, JSON and tags.
    events: Vec<String>,
}

/// A run that did not end as expected.
pub(super) struct Failed {
    pub(super) error: String,
    pub(super) deliveries: Vec<String>,
    pub(super) crash: Crash,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.error)?;
        match self.crash {
            Crash::Never => writeln!(f, "delivered in this order, each input twice:")?,
            Crash::After(step) => writeln!(f, "delivered in this order, with a crash after step {step}:")?,
        }
        self.deliveries.iter().try_for_each(|delivery| writeln!(f, "    {delivery}"))
    }
}

impl Expected {
    pub(super) fn new<P: Process>(
        effects: &[Value],
        events: &[<P as State>::Event],
    ) -> Result<Self, EncodeError> {
        let stream = StreamName::new(P::NAME)?;
        let events = events.iter().map(|event| Fact::new(stream.clone(), event).map(|fact| text_of(&fact)));
        Ok(Self { name: P::NAME, effects: sorted(effects), events: events.collect::<Result<_, _>>()? })
    }

    /// Compares with what the log holds.
    pub(super) fn check(&self, log: &[RecordedEvent]) -> Result<(), String> {
        let is_ours = |event: &&RecordedEvent| StreamName::category_of(event.stream()) == self.name;
        let ours = log.iter().filter(is_ours).collect::<Vec<_>>();
        if let Some(other) = ours.iter().find(|event| event.stream() != ours[0].stream()) {
            return Err(format!(
                "the inputs belong to `{}` and to `{}`: test one process at a time",
                ours[0].stream(),
                other.stream()
            ));
        }
        let (steps, events): (Vec<&RecordedEvent>, Vec<&RecordedEvent>) =
            ours.into_iter().partition(|event| is_process_event(event.event_type()));
        let effects = sorted(&steps.into_iter().flat_map(effects_of).collect::<Vec<_>>());
        if effects != self.effects {
            return Err(differs("effects", &self.effects, &effects));
        }
        let events = events.into_iter().map(event_text).collect::<Vec<_>>();
        if events != self.events {
            return Err(differs("events of the process", &self.events, &events));
        }
        Ok(())
    }

    /// The events of all other streams, sorted.
    pub(super) fn others(&self, log: &[RecordedEvent]) -> Vec<String> {
        let is_other = |event: &&RecordedEvent| StreamName::category_of(event.stream()) != self.name;
        let text = |event: &RecordedEvent| format!("{}: {}", event.stream(), event_text(event));
        let mut others = log.iter().filter(is_other).map(text).collect::<Vec<_>>();
        others.sort_unstable();
        others
    }
}

/// Compares what was recorded in other streams with and without a crash.
pub(super) fn compare_others(without: &[String], with: &[String]) -> Result<(), String> {
    if without == with {
        return Ok(());
    }
    Err(differs("events of other streams (a target must do an effect once under its key)", without, with))
}

fn event_text(event: &RecordedEvent) -> String {
    text_of(&Fact::of_recorded(event).expect("a recorded event has valid names"))
}

/// The effects that were decided upon in an event of the library.
fn effects_of(event: &RecordedEvent) -> Vec<Value> {
    let data: Value = serde_json::from_slice(event.data_slice()).expect("the library writes JSON");
    data["effects"].as_array().cloned().unwrap_or_default()
}

fn sorted(effects: &[Value]) -> Vec<String> {
    let mut effects = effects.iter().map(Value::to_string).collect::<Vec<_>>();
    effects.sort_unstable();
    effects
}

fn differs(what: &str, expected: &[String], actual: &[String]) -> String {
    let list = |items: &[String]| match items {
        [] => "    nothing".to_owned(),
        items => items.iter().map(|item| format!("    {item}")).collect::<Vec<_>>().join("\n"),
    };
    format!("the {what} differ\nexpected\n{}\nbut got\n{}", list(expected), list(actual))
}
