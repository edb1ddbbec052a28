//! The dealer of a group: a state machine without threads, I/O or a clock.
//!
//! It is told what happened ([`Input`]) and returns what to do ([`Output`]). One seed decides a whole test of it.
//!
//! *Invariants*
//! - It deals only after a row with its epoch was put, and ends when another epoch is there.
//! - An event is dealt only when every earlier selected event of its stream was acknowledged or skipped.
//! - A stream has at most one delivery in flight.
//! - At most one operation on its row is on its way.
//!
//! *Layout*, one idea a file: `start` takes a group over; `scan` and `pages` read the log; `window`, `stream`, `streams` and `refill` keep what is
//! unfinished; `calls`, `members`, `deal` and `deliveries` hand out; `settle` and `setbacks` take back; `apart` and `places` make a row of it, which
//! `row` encodes and `progress` puts; `change` is for operators; `deadlines` is the time.
#![cfg_attr(
    not(feature = "sim"),
    expect(unreachable_pub, unused_imports, reason = "the simulation drives a dealer by itself")
)]

mod apart;
mod bounds;
mod calls;
mod change;
mod deadlines;
mod deal;
mod deliveries;
mod live;
mod members;
mod message;
mod pages;
mod places;
mod progress;
mod refill;
mod row;
mod scan;
mod selection;
mod setbacks;
mod settle;
mod start;
mod status;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

use gesta_core::Revision;

pub use bounds::Bounds;
pub(crate) use change::check_query_len;
pub use message::{CallId, Change, Changed, Ended, Input, MoveTo, Output, Words};
pub use row::{Entry, Paused, Row, RowError};
pub(crate) use settle::cut;
pub use status::DealerStatus;
pub(crate) use status::held_read;

use self::deadlines::Deadlines;
use self::live::Live;
use self::progress::{Progress, in_doubt};
use self::start::{Next, Resetting, Start, StartState};
use super::error::{ChangeError, PutError, TakeError};
use super::name::GroupName;

/// What a dealer is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// The group.
    pub name: GroupName,
    /// A number that each opening of the store raises, below 2^23; 0 if there is none. It keeps ids of deliveries unique if the key-value
    /// store is lost.
    pub boot_epoch: u64,
    /// The bounds.
    pub bounds: Bounds,
}

/// The dealer of one group.
#[derive(Debug)]
pub struct Dealer {
    config: Config,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Starting(Box<Start>),
    Live(Box<Live>),
    Ended(Ended),
}

impl Dealer {
    /// Creates a dealer. It asks for the row first.
    #[must_use]
    pub fn new(config: Config, elapsed: Duration) -> (Self, Vec<Output>) {
        let mut deadlines = Deadlines::default();
        deadlines.step(elapsed);
        let start = Start::new(deadlines, StartState::Reading);
        (Self { config, phase: Phase::Starting(Box::new(start)) }, vec![Output::Get])
    }

    /// Takes what happened, and returns what to do. `elapsed` never goes back.
    ///
    /// What waits in a queue is given before [`Input::Tick`]: a settlement that has arrived comes before an expiry.
    pub fn step(&mut self, input: Input, elapsed: Duration) -> Vec<Output> {
        match &mut self.phase {
            Phase::Starting(_) => self.step_start(input, elapsed),
            Phase::Live(live) => {
                live.now = live.deadlines.step(elapsed);
                self.step_live(input)
            }
            Phase::Ended(ended) => {
                let mut out = Vec::new();
                refuse(input, *ended, &self.config.name, &mut out);
                out
            }
        }
    }

    /// Returns the time at which the dealer must be stepped with [`Input::Tick`], if nothing else happens before.
    #[must_use]
    pub fn next_step(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Starting(start) => start.deadlines.next_step(),
            Phase::Live(live) => live.deadlines.next_step(),
            Phase::Ended(_) => None,
        }
    }

    /// Returns true once it will do nothing more.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Returns true while it deals, between its start and its end.
    #[cfg(feature = "sim")]
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// Returns the state of the group; `None` before it is taken over and after the end.
    #[must_use]
    pub fn status(&self) -> Option<DealerStatus> {
        match &self.phase {
            Phase::Live(live) => Some(live.status()),
            Phase::Starting(_) | Phase::Ended(_) => None,
        }
    }

    fn step_start(&mut self, input: Input, elapsed: Duration) -> Vec<Output> {
        let Phase::Starting(start) = &mut self.phase else { unreachable!("the caller looked at the phase") };
        let now = start.deadlines.step(elapsed);
        let mut out = Vec::new();
        let next = match input {
            Input::Got(result) => start.got(result, &self.config, now, &mut out),
            Input::Put(result) => start.put_done(result, now, &mut out),
            Input::Stop => Next::End(Ended::Stopped),
            Input::Tick => start.tick(now, &mut out),
            later @ (Input::Take(..) | Input::Cancel(_) | Input::Change(..) | Input::Window(_)) => {
                start.keep(later, now, &mut out)
            }
            Input::Deleted(_)
            | Input::Page(..)
            | Input::Refilled(..)
            | Input::Grown(..)
            | Input::Unwritten(_) => Next::Wait,
        };
        match next {
            Next::Wait => {}
            Next::Live(row, revision) => out.extend(self.begin(*row, revision, elapsed, now)),
            Next::End(ended) => self.end(ended, &mut out),
        }
        out
    }

    /// Begins to deal: the row is this dealer's. What came before is taken now.
    fn begin(&mut self, row: Row, revision: Revision, elapsed: Duration, now: Duration) -> Vec<Output> {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended(Ended::Stopped));
        let Phase::Starting(start) = phase else { unreachable!("a start comes before") };
        let Start { reset, kept, mut deadlines, .. } = *start;
        deadlines.clear();
        let progress = Progress::new(&row, revision, now);
        let mut live = Live::new(self.config.name.clone(), self.config.bounds, row, progress, deadlines, now);
        live.pump();
        let mut out = std::mem::take(&mut live.out);
        out.extend(reset.map(|reset| reset.answer()));
        self.phase = Phase::Live(Box::new(live));
        for mut input in kept.into_iter() {
            if let Input::Take(_, take) = &mut input {
                take.wait = take.wait.saturating_sub(now);
            }
            out.extend(self.step(input, elapsed));
        }
        out
    }

    fn step_live(&mut self, input: Input) -> Vec<Output> {
        let Phase::Live(live) = &mut self.phase else { unreachable!("the caller looked at the phase") };
        let ended = live.take_input(input);
        let mut out = std::mem::take(&mut live.out);
        if let Some(ended) = ended {
            self.end(ended, &mut out);
        } else if live.is_reset_due() {
            self.reset(&mut out);
        } else {
            live.pump();
            out.append(&mut live.out);
        }
        out
    }

    /// Puts the row of a reset, then starts anew from whatever row is there.
    fn reset(&mut self, out: &mut Vec<Output>) {
        let Phase::Live(live) = &mut self.phase else { unreachable!("a live group is reset") };
        let Some((call, reset)) = live.reset.take() else { return };
        let row = match live.reset_row(&reset) {
            Ok(row) => row,
            Err(error) => {
                out.push(Output::Changed(call, Err(error)));
                live.pump();
                return out.append(&mut live.out);
            }
        };
        live.refuse_calls();
        out.append(&mut live.out);
        out.extend(live.progress.take_answers().into_iter().map(in_doubt));
        out.push(Output::Put { value: row.encode(), expect: live.progress.revision });
        let were_parked = u32::try_from(live.apart_counts().parked).unwrap_or(u32::MAX);
        let (epoch, put) = (live.progress.epoch, row.put);
        let mut deadlines = std::mem::take(&mut live.deadlines);
        deadlines.clear();
        let mut start = Start::new(deadlines, StartState::Resetting);
        self.config.bounds.window_bytes_max = live.streams.window.bytes_max;
        start.reset = Some(Resetting { call, epoch, put, at: reset.to, were_parked, is_done: false });
        self.phase = Phase::Starting(Box::new(start));
    }

    /// Ends the dealer. Everyone who waits is answered.
    fn end(&mut self, ended: Ended, out: &mut Vec<Output>) {
        let name = &self.config.name;
        match std::mem::replace(&mut self.phase, Phase::Ended(ended)) {
            Phase::Ended(_) => return,
            Phase::Starting(start) => {
                if let Some(reset) = start.reset {
                    out.push(Output::Changed(reset.call, Err(change_error(ended, name))));
                }
                start.kept.into_iter().for_each(|input| refuse(input, ended, name, out));
            }
            Phase::Live(mut live) => {
                let calls = live.members.calls().keys();
                out.extend(calls.map(|call| Output::Taken(*call, Err(take_error(ended, name)))));
                for answer in live.progress.take_answers() {
                    out.push(match answer {
                        Output::Changed(call, _) => Output::Changed(call, Err(change_error(ended, name))),
                        Output::SettingsPut(call, _) => {
                            Output::SettingsPut(call, Err(put_error(ended, name)))
                        }
                        other => other,
                    });
                }
                if let Some((call, _)) = live.reset {
                    out.push(Output::Changed(call, Err(change_error(ended, name))));
                }
                for call in live.removing {
                    let removed = if ended == Ended::Removed {
                        Ok(Changed::Done)
                    } else {
                        Err(change_error(ended, name))
                    };
                    out.push(Output::Changed(call, removed));
                }
            }
        }
        out.push(Output::Ended(ended));
    }
}

/// Answers what comes after the end.
fn refuse(input: Input, ended: Ended, name: &GroupName, out: &mut Vec<Output>) {
    match input {
        Input::Take(call, _) => out.push(Output::Taken(call, Err(take_error(ended, name)))),
        Input::Change(call, Change::Settings { .. } | Change::Host { .. }) => {
            out.push(Output::SettingsPut(call, Err(put_error(ended, name))));
        }
        Input::Change(call, _) => out.push(Output::Changed(call, Err(change_error(ended, name)))),
        _ => {}
    }
}

/// The words for a group that another dealer has now.
fn taken_over(name: &GroupName) -> String {
    format!("another server has taken over group `{name}`")
}

fn take_error(ended: Ended, name: &GroupName) -> TakeError {
    match ended {
        Ended::Removed => TakeError::NoGroup { group: name.clone() },
        Ended::TakenOver => TakeError::Unavailable { reason: taken_over(name) },
        Ended::Stopped => TakeError::Closed,
    }
}

fn change_error(ended: Ended, name: &GroupName) -> ChangeError {
    match ended {
        Ended::Removed => ChangeError::NoGroup { group: name.clone() },
        Ended::TakenOver => ChangeError::InDoubt { reason: taken_over(name) },
        Ended::Stopped => ChangeError::InDoubt { reason: "groups are closing".to_owned() },
    }
}

fn put_error(ended: Ended, name: &GroupName) -> PutError {
    match ended {
        Ended::Removed => PutError::NoGroup { group: name.clone() },
        Ended::TakenOver => PutError::InDoubt { reason: taken_over(name) },
        Ended::Stopped => PutError::InDoubt { reason: "groups are closing".to_owned() },
    }
}
