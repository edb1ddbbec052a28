//! Who deals the groups of a store that several processes have open: the decisions, without a store, a clock or a thread.
//!
//! One row of the key-value store names the holder. The holder puts it again with every beat, with another number. A process that has
//! seen one revision of the row for a whole lease takes over, by a put that expects this revision.
//!
//! *Invariants:*
//! - A process deals for a time after the *beginning* of its last put that was surely accepted, and not longer. Another one has seen
//!   that put at the earliest when it began, and waits longer. So two deal at once only if a clock runs wrong or a process stands still
//!   between two steps. Then the epochs of the groups' rows keep their progress apart.
//! - A process follows the holder of the newest row that it has seen, and none while a put of its own may be the newest. A holder follows
//!   another one only by a later row. So forwarded calls never go in a circle.

use std::time::Duration;

use gesta_core::Revision;

/// The times of the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// How often a holder puts its row, and the others look at it.
    beat: Duration,
    /// How long a holder deals after the beginning of its last accepted put. It may miss one beat.
    give_up: Duration,
    /// How long others see one revision before they take over. Clocks may run apart by a third meanwhile.
    lease: Duration,
}

impl Times {
    pub(crate) const USUAL: Self = Self {
        beat: Duration::from_secs(2),
        give_up: Duration::from_secs(6),
        lease: Duration::from_secs(10),
    };
}

const _: () = assert!(
    Times::USUAL.give_up.as_secs() * 3 < Times::USUAL.lease.as_secs() * 2,
    "a holder ends well before others begin"
);

/// The row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The id of the process that deals.
    pub(crate) holder: String,
    /// Its address for other processes, if it has one.
    pub(crate) address: Option<String>,
    /// The login of calls that other processes pass on to it.
    pub(crate) secret: String,
    /// A number that each attempt to put changes.
    pub(crate) beat: u64,
}

/// What a process is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing before this time.
    Wait(Duration),
    /// Read the row.
    Get,
    /// Put the row, in place of this revision.
    Put(Row, Option<Revision>),
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It was accepted.
    Accepted(Revision),
    /// The row has another revision.
    Refused,
    /// It may have been accepted, or may still be.
    InDoubt,
}

/// What a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// It deals.
    Holder,
    /// Another one deals.
    Follower(Row),
    /// Another one deals, and says that it is reached at the address of this one.
    Contested(Row),
    /// Nobody is known to deal.
    Nobody,
}

/// The decisions of one process.
#[derive(Debug)]
pub(crate) struct Holder {
    times: Times,
    me: String,
    address: Option<String>,
    secret: String,
    beat: u64,
    /// The beginning of the last put that was surely accepted.
    held_since: Option<Duration>,
    /// A put of this process was accepted once.
    has_held: bool,
    /// The revision to put over, of the process's row.
    revision: Option<Revision>,
    /// The row of another process, and since when this revision is known.
    seen: Option<(Row, Revision, Duration)>,
    /// A put of this process may still be accepted.
    is_in_doubt: bool,
    /// The put under way takes the row from a process at the address of this one, which may still deal.
    takes_from_predecessor: bool,
    /// The time from which no other process deals, once this one does.
    alone_from: Duration,
    /// What to do next.
    next: Step,
    /// The beginning of the put under way.
    put_at: Duration,
}

impl Holder {
    pub(crate) const fn new(me: String, secret: String, times: Times) -> Self {
        Self {
            times,
            me,
            address: None,
            secret,
            beat: 0,
            held_since: None,
            has_held: false,
            revision: None,
            seen: None,
            is_in_doubt: false,
            takes_from_predecessor: false,
            alone_from: Duration::ZERO,
            next: Step::Get,
            put_at: Duration::ZERO,
        }
    }

    /// Says where others reach this process. The next put of the row has it.
    pub(crate) fn announce(&mut self, address: String) {
        self.address = Some(address);
    }

    /// What this process is at a time.
    pub(crate) fn role(&self, now: Duration) -> Role {
        match (&self.held_since, &self.seen) {
            (Some(since), _) if now < *since + self.times.give_up => Role::Holder,
            (_, Some((row, ..))) if !self.may_be_newest() => match (self.is_here(row), self.has_held) {
                (false, _) => Role::Follower(row.clone()),
                (true, true) => Role::Contested(row.clone()),
                (true, false) => Role::Nobody,
            },
            _ => Role::Nobody,
        }
    }

    /// The next step. A put begins at `now`.
    pub(crate) fn step(&mut self, now: Duration) -> Step {
        match &self.next {
            Step::Wait(until) if now < *until => return self.next.clone(),
            Step::Wait(_) => {
                self.next = match self.revision {
                    Some(revision) => self.put_over(Some(revision)),
                    None => Step::Get,
                }
            }
            Step::Get | Step::Put(..) => {}
        }
        if matches!(self.next, Step::Put(..)) {
            self.put_at = now;
        }
        self.next.clone()
    }

    /// The answer to a read of the row.
    pub(crate) fn got(&mut self, now: Duration, row: Option<(Row, Revision)>) {
        let Some((row, revision)) = row else {
            (self.seen, self.revision) = (None, None);
            self.takes_from_predecessor = false;
            self.next = self.put_over(None);
            return;
        };
        if row.holder == self.me {
            // A put in doubt was accepted. When is not known, so only another one makes it count.
            self.seen = None;
            self.next = self.put_over(Some(revision));
            return;
        }
        self.held_since = None;
        // A store that went back to an earlier state gives a revision twice.
        let known = self.seen.take().filter(|(known_row, known, _)| *known == revision && *known_row == row);
        // A put that expects a revision can only be accepted while the row has it.
        self.is_in_doubt &= known.is_some();
        let since = known.map_or(now, |(.., since)| since);
        // A new process has the address of one that is gone. After that, an equal address is a mistake of the operator: two processes
        // that took over from each other at once would never end.
        let is_gone = self.is_here(&row) && !self.has_held;
        let is_silent = now >= since + self.times.lease;
        self.seen = Some((row, revision, since));
        self.takes_from_predecessor = is_gone && !is_silent;
        self.next = match is_gone || is_silent {
            true => self.put_over(Some(revision)),
            false => Step::Wait(now + self.times.beat),
        };
    }

    /// The row could not be read.
    pub(crate) fn get_failed(&mut self, now: Duration) {
        self.next = Step::Wait(now + self.times.beat);
    }

    /// What became of the put.
    pub(crate) fn put(&mut self, now: Duration, put: Put) {
        match put {
            Put::Accepted(revision) => {
                self.held_since = Some(self.put_at);
                self.has_held = true;
                if std::mem::take(&mut self.takes_from_predecessor) {
                    // It deals at most for the time of a holder from now on, by a clock that may be slower.
                    self.alone_from = now + self.times.lease;
                }
                (self.revision, self.seen, self.is_in_doubt) = (Some(revision), None, false);
                self.next = Step::Wait((self.put_at + self.times.beat).max(now));
            }
            // Another process was faster, or an own put that was in doubt.
            Put::Refused => {
                (self.revision, self.seen, self.is_in_doubt) = (None, None, false);
                self.next = Step::Get;
            }
            Put::InDoubt => {
                (self.revision, self.is_in_doubt) = (None, true);
                self.next = Step::Wait((self.put_at + self.times.beat).max(now));
            }
        }
    }

    /// The time from which no other process deals, if this one does.
    ///
    /// A process at the address of this one has lost its row at once. It may end slowly, and not know that yet.
    pub(crate) const fn alone_from(&self) -> Duration {
        self.alone_from
    }

    /// Gives the role away: this process cannot deal. It competes again after the time in which another one takes over. The row has been
    /// taken away, or is in doubt.
    pub(crate) fn resign(&mut self, now: Duration) {
        (self.held_since, self.revision) = (None, None);
        self.next = Step::Wait(now + self.times.lease);
    }

    /// The time until which this process deals, unless another put is accepted.
    pub(crate) fn deals_until(&self) -> Option<Duration> {
        self.held_since.map(|since| since + self.times.give_up)
    }

    /// True if a call shows the secret of this process.
    pub(crate) fn trusts(&self, secret: &str) -> bool {
        // Every byte is compared, so that the time tells nothing.
        let differences = self.secret.bytes().zip(secret.bytes()).map(|(own, given)| own ^ given);
        let is_equal = differences.fold(0, |all, difference| all | difference) == 0;
        is_equal && !secret.is_empty() && secret.len() == self.secret.len()
    }

    /// The address of this process for others.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The revision of the row, if it is surely of this process: the row to take away at the end.
    pub(crate) const fn release(&self) -> Option<Revision> {
        self.revision
    }

    /// True if a put of this process may be newer than the row that it has seen.
    const fn may_be_newest(&self) -> bool {
        self.is_in_doubt || matches!(self.next, Step::Put(..))
    }

    /// True if a row of another process has the address of this one.
    fn is_here(&self, row: &Row) -> bool {
        row.address.is_some() && row.address == self.address
    }

    fn put_over(&mut self, expect: Option<Revision>) -> Step {
        self.beat += 1;
        let row = Row {
            holder: self.me.clone(),
            address: self.address.clone(),
            secret: self.secret.clone(),
            beat: self.beat,
        };
        Step::Put(row, expect)
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
