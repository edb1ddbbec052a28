//! Which parts of a boundary have a kept state, and which are read anew for each decision.

use std::any::TypeId;
use std::collections::HashSet;

use gesta_core::StreamName;

use crate::boundary::Boundary;
use crate::error::LoadError;

/// How the parts of a boundary get their states.
pub(super) struct Plan {
    /// The streams of the parts, in the order of their names, each once. Turns and gates are taken in this order.
    pub(super) streams: Vec<StreamName>,
    /// One for each part, in their order.
    pub(super) parts: Vec<PartPlan>,
}

/// How one part gets its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartPlan {
    /// It borrows the state that the line keeps for this type.
    Kept { line: usize, kind: TypeId },
    /// It is read at the gate, with its stream if it has one: a query, a process, or a stream that another part has.
    Read { line: Option<usize> },
}

impl Plan {
    pub(super) fn of<B: Boundary>(boundary: &mut B, keeps_states: bool) -> Result<Self, LoadError> {
        let mut parts = boundary.parts();
        if parts.is_empty() {
            return Err(LoadError::EmptyBoundary { tag: None });
        }
        for part in &parts {
            part.next()?;
        }
        let named = parts.iter().map(|part| part.expectation().map(|(stream, _)| stream)).collect::<Vec<_>>();
        let mut streams = named.iter().flatten().cloned().collect::<Vec<_>>();
        streams.sort_unstable();
        streams.dedup();
        let mut taken = HashSet::new();
        let plans = parts.iter_mut().zip(&named).map(|(part, stream)| {
            let Some(stream) = stream else { return PartPlan::Read { line: None } };
            let line = streams.binary_search(stream).expect("every stream is listed");
            let kind = part.borrower().map(|borrower| borrower.kind());
            match kind.filter(|kind| keeps_states && taken.insert((line, *kind))) {
                Some(kind) => PartPlan::Kept { line, kind },
                None => PartPlan::Read { line: Some(line) },
            }
        });
        let parts = plans.collect();
        Ok(Self { streams, parts })
    }

    /// True if every part has a kept state, so that no gate is needed.
    pub(super) fn is_kept(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, PartPlan::Kept { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::At;
    use crate::entity::simulation::domain::{Account, Holds};

    fn check(boundary: &mut impl Boundary, keeps_states: bool) -> String {
        let plan = Plan::of(boundary, keeps_states).unwrap();
        let parts = plan.parts.iter().map(|part| match part {
            PartPlan::Kept { line, .. } => format!("kept {line}"),
            PartPlan::Read { line: Some(line) } => format!("read {line}"),
            PartPlan::Read { line: None } => "read".to_owned(),
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_state_of_a_stream_is_kept_once() {
        let account = |name: &str| At::<Account>::stream(name.parse().unwrap());
        let holds = |name: &str| At::<Holds>::stream(name.parse().unwrap());
        assert_eq!(check(&mut (account("b-1"), account("a-1")), true), "kept 1, kept 0");
        assert_eq!(check(&mut (account("a-1"), holds("a-1")), true), "kept 0, kept 0");
        assert_eq!(check(&mut (account("a-1"), account("a-1")), true), "kept 0, read 0");
        assert_eq!(check(&mut (account("a-1"), At::<Account>::tagged("k", "v")), true), "kept 0, read");
        assert_eq!(check(&mut account("a-1"), false), "read 0");
    }

    #[test]
    fn a_boundary_names_something() {
        let mut empty = Vec::<At<Account>>::new();
        assert!(matches!(Plan::of(&mut empty, true), Err(LoadError::EmptyBoundary { .. })));
    }
}
