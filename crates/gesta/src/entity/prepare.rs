//! Preparing a decision at the gate: newcomers wait, what is in flight is settled, and all parts are read at one place.

use std::any::TypeId;
use std::sync::Arc;

use gesta_core::Checkpoint;

use crate::boundary::Boundary;
use crate::error::LoadError;
use crate::load::load_part;

use super::command::Command;
use super::drive::settled;
use super::gate::ShutGates;
use super::line::LineCell;
use super::lock;
use super::outcome::event_at;
use super::plan::PartPlan;
use super::planted::{Bug, planted};
use super::step::{AtGate, expects_an_event};

impl Command {
    /// Shuts the gates, in the order of the names, and reads.
    pub(super) async fn prepare<B: Boundary>(&self, boundary: &mut B) -> Result<AtGate, LoadError> {
        let clock = &*self.entities.clock;
        let mut gates = ShutGates::new(self.entities.tick());
        for used in &self.lines {
            while let Err(wait) = gates.shut(&used.cell, clock.elapsed()) {
                wait.over(clock).await;
            }
        }
        for used in &self.lines {
            self.drain(&used.cell).await;
            gates.renew(clock.elapsed());
        }
        let until = self.entities.store.head_now().await?;
        for at in 0..self.plan.parts.len() {
            gates.renew(clock.elapsed());
            match self.plan.parts[at] {
                PartPlan::Kept { line, kind } => {
                    self.load_to(boundary, at, line, kind, (gates.ticket(), &until)).await?;
                }
                PartPlan::Read { .. } => {
                    let part = &mut *boundary.parts().swap_remove(at);
                    load_part(self.entities.source(), part, Some(&until)).await?;
                }
            }
        }
        let first_id = self.first_id(boundary).await?;
        Ok(AtGate { gates, first_id })
    }

    /// Waits until nothing is in flight, and no load is under way: it could read beyond the place to read to.
    async fn drain(&self, cell: &LineCell) {
        if planted(Bug::OpenGates) {
            return;
        }
        loop {
            let (unsettled, load) = {
                let mut line = lock(&cell.line);
                line.refresh(&cell.stream);
                (line.unsettled().next().map(Arc::clone), line.loading())
            };
            match (unsettled, load) {
                (Some(outcome), _) => drop(settled(&outcome).await),
                (None, Some(load)) => load.over().await,
                (None, None) => return,
            }
        }
    }

    /// Reads a kept state on to a place in the log.
    async fn load_to<B: Boundary>(
        &self,
        boundary: &mut B,
        part: usize,
        line: usize,
        kind: TypeId,
        at: (u64, &Checkpoint),
    ) -> Result<(), LoadError> {
        let cell = &self.lines[line].cell;
        let load = {
            let part = boundary.parts().swap_remove(part);
            let borrower = part.borrower().expect("a kept part borrows its state");
            let mut line = lock(&cell.line);
            if !line.gate.as_ref().is_some_and(|gate| gate.is_of(at.0)) {
                // Others have opened it: the step will see that.
                return Ok(());
            }
            line.refresh(&cell.stream);
            self.start_load(&mut line, &cell.stream, kind, borrower, Some(at))
        };
        load.over().await;
        load.check()
    }

    /// The id of the last event of the first part, if the caller expects one and no state is kept that knows it.
    async fn first_id<B: Boundary>(
        &self,
        boundary: &mut B,
    ) -> Result<Option<gesta_core::EventId>, LoadError> {
        if !expects_an_event(self.call.expected) {
            return Ok(None);
        }
        let first = boundary.parts().into_iter().find_map(|part| part.expectation());
        let Some((stream, Some(version))) = first else { return Ok(None) };
        let event = event_at(&*self.entities.store, &stream, version).await?;
        Ok(event.map(|event| event.id()))
    }
}
