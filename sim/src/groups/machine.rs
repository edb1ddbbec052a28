//! A dealer, with everything that it has asked for and was not given yet.

use std::time::Duration;

use bytes::Bytes;
use gesta_consumer::sim::{Bounds, Config, Dealer, Ended, Input, Output, Row};
use gesta_core::{Checkpoint, Read};

use super::deals::Deals;

/// A dealer in its process.
pub(super) struct Machine {
    pub(super) number: u64,
    pub(super) dealer: Dealer,
    /// What is on its way.
    pub(super) pending: Vec<Pending>,
    pub(super) deals: Deals,
    pub(super) ended: Option<Ended>,
    /// What its host asks for once it deals: new items or not, and whether no other dealer was there.
    pub(super) hosts: Option<(bool, bool)>,
    /// The index of the log's head at its start.
    pub(super) first_head: usize,
    /// The epoch of the last row that it put and knows to be durable.
    pub(super) epoch: u64,
}

/// Something that a dealer asked for.
#[derive(Debug, Clone)]
pub(super) enum Pending {
    Get,
    Put {
        value: Bytes,
        expect: u64,
    },
    Delete {
        expect: u64,
    },
    Read(u64, Read),
    Refill(u64, Read),
    Wait(u64, Checkpoint),
    /// The answer is on its way back. The row is one that the dealer then knows to be durable.
    Answer(Box<Input>, Option<Box<Row>>),
}

impl Machine {
    pub(super) fn new(
        number: u64,
        boot_epoch: u64,
        bounds: Bounds,
        elapsed: Duration,
    ) -> (Self, Vec<Output>) {
        let name = "g".parse().expect("a name");
        let (dealer, out) = Dealer::new(Config { name, boot_epoch, bounds }, elapsed);
        let mut deals = Deals::default();
        deals.step(elapsed);
        (
            Self {
                number,
                dealer,
                pending: Vec::new(),
                deals,
                ended: None,
                hosts: None,
                first_head: 0,
                epoch: 0,
            },
            out,
        )
    }

    /// Steps the dealer.
    pub(super) fn step(&mut self, input: Input, elapsed: Duration) -> Vec<Output> {
        self.deals.step(elapsed);
        self.dealer.step(input, elapsed)
    }

    /// Notes what has to be done elsewhere. Returns the outputs that are for others.
    pub(super) fn keep(&mut self, out: Vec<Output>) -> Vec<Output> {
        let mut others = Vec::new();
        for output in out {
            match output {
                Output::Get => self.pending.push(Pending::Get),
                Output::Put { value, expect } => {
                    self.deals.put();
                    self.pending.push(Pending::Put { value, expect: expect.get() });
                }
                Output::Delete { expect } => self.pending.push(Pending::Delete { expect: expect.get() }),
                Output::Read(number, read) => self.pending.push(Pending::Read(number, read)),
                Output::Refill(number, read) => self.pending.push(Pending::Refill(number, read)),
                Output::Wait(number, after) => self.pending.push(Pending::Wait(number, after)),
                Output::Ended(ended) => self.ended = Some(ended),
                other => others.push(other),
            }
        }
        others
    }

    /// True if an operation on the row is on its way: at most one is.
    pub(super) fn row_operations(&self) -> usize {
        let is_row = |pending: &&Pending| match pending {
            Pending::Get | Pending::Put { .. } | Pending::Delete { .. } => true,
            Pending::Answer(input, _) => matches!(**input, Input::Got(_) | Input::Put(_) | Input::Deleted(_)),
            Pending::Read(..) | Pending::Refill(..) | Pending::Wait(..) => false,
        };
        self.pending.iter().filter(is_row).count()
    }
}
