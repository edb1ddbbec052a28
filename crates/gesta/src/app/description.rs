//! Hosted deciders and decisions as an API describes them.

use serde_json::Value;

use crate::refusal::RefusalInfo;

/// A hosted decider.
pub(crate) struct DeciderDescription {
    /// The category of its streams.
    pub(crate) category: &'static str,
    /// The name of each command, and the schema of its body.
    pub(crate) commands: Vec<(&'static str, Value)>,
    pub(crate) refusals: &'static [RefusalInfo],
    /// The schema of its state; any JSON if it is not known.
    pub(crate) state: Value,
    /// The types of its events, also those that are no longer written.
    pub(crate) events: Vec<&'static str>,
}

/// A hosted decision.
pub(crate) struct DecisionDescription<'a> {
    pub(crate) name: &'a str,
    /// The schema of its inputs.
    pub(crate) body: Value,
    pub(crate) refusals: &'static [RefusalInfo],
}
