//! The gate of an entity: while it is shut, only its owner decides, so that it can read and decide on durable state.
//!
//! *Choice: a gate ages, not a lock.* Its owner waits for reads, and may be a future that nobody polls. So the next command
//! opens a gate whose owner has not got on for a second. That is safe: the append of the owner checks what it read.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use event_listener::{Event, EventListener};
use gesta_consumer::Clock;

use super::limits::GATE_AGE_MAX;
use super::line::LineCell;
use super::lock;
use super::planted::{Bug, planted};

/// A shut gate.
pub(super) struct Gate {
    ticket: u64,
    /// When it was shut, or its owner got on.
    renewed_at: Duration,
    opened: Arc<Event>,
}

/// How to wait until a gate is open or old.
pub(super) struct GateWait {
    opened: EventListener,
    until: Duration,
}

impl Gate {
    fn new(ticket: u64, now: Duration) -> Self {
        Self { ticket, renewed_at: now, opened: Arc::new(Event::new()) }
    }

    pub(super) const fn is_of(&self, ticket: u64) -> bool {
        self.ticket == ticket
    }

    /// True if the next command may open it.
    pub(super) fn is_old(&self, now: Duration) -> bool {
        now >= self.renewed_at + GATE_AGE_MAX && !planted(Bug::GateForEver)
    }

    pub(super) fn wait(&self) -> GateWait {
        let until = if planted(Bug::GateForEver) { Duration::MAX } else { self.renewed_at + GATE_AGE_MAX };
        GateWait { opened: self.opened.listen(), until }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.opened.notify(usize::MAX);
    }
}

impl GateWait {
    pub(super) async fn over(self, clock: &dyn Clock) {
        let (mut opened, mut old) = (pin!(self.opened), pin!(clock.wait(self.until)));
        poll_fn(|context| {
            let is_over = opened.as_mut().poll(context).is_ready() || old.as_mut().poll(context).is_ready();
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The gates that a command has shut. Dropping it opens those that are still its own.
pub(super) struct ShutGates {
    ticket: u64,
    lines: Vec<Arc<LineCell>>,
}

impl ShutGates {
    pub(super) const fn new(ticket: u64) -> Self {
        Self { ticket, lines: Vec::new() }
    }

    pub(super) const fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Shuts the gate of a line, or returns how to wait for the one that is there.
    pub(super) fn shut(&mut self, cell: &Arc<LineCell>, now: Duration) -> Result<(), GateWait> {
        let mut line = lock(&cell.line);
        if let Some(gate) = &line.gate
            && !gate.is_old(now)
        {
            return Err(gate.wait());
        }
        line.gate = Some(Gate::new(self.ticket, now));
        drop(line);
        self.lines.push(Arc::clone(cell));
        Ok(())
    }

    /// Makes those that are still its own as young as new ones: the command gets on.
    pub(super) fn renew(&self, now: Duration) {
        if planted(Bug::GateNotRenewed) {
            return;
        }
        for cell in &self.lines {
            let mut line = lock(&cell.line);
            if let Some(gate) = line.gate.as_mut().filter(|gate| gate.is_of(self.ticket)) {
                gate.renewed_at = now;
            }
        }
    }
}

impl Drop for ShutGates {
    fn drop(&mut self) {
        for cell in &self.lines {
            let mut line = lock(&cell.line);
            line.gate.take_if(|gate| gate.is_of(self.ticket));
        }
    }
}
