//! What the answers to the sendings of one batch prove. Pure: no store, no futures.
//!
//! *Invariants*
//! - `NotWritten` is certain: no sending was accepted, and none can be.
//! - `InDoubt` is given only if a sending had no definite answer. Nobody is told that another one's batch is in doubt.
//! - `Written` means that the store answered with the ids of this batch.

use gesta_core::{AppendError, Appended, Retry};

use super::limits::RESENDS_MAX;
use super::planted::{Bug, planted};

/// The answer to one sending.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The batch is recorded.
    Ours(Appended),
    /// An earlier command with the same key is recorded, and this batch never will be.
    Earlier(Appended),
    /// Any error, also one that leaves the outcome in doubt.
    Refused(AppendError),
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It is recorded and durable.
    Written(Appended),
    /// An earlier command with the same key is recorded. For followers this is "not written".
    Answered(Appended),
    /// It is not recorded and never will be. `None`: because a batch that it rests on is not written.
    NotWritten(Option<AppendError>),
    /// A sending had no definite answer, and further ones did not settle it.
    InDoubt { reason: String },
}

/// The fates of the batches that a batch rests on, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// One is not settled.
    pub(super) open: bool,
    /// One is certainly not written.
    pub(super) failed: bool,
    /// One is settled as in doubt.
    pub(super) in_doubt: bool,
}

impl Needs {
    pub(super) fn of<'a>(fates: impl Iterator<Item = Option<&'a Fate>>) -> Self {
        fates.fold(Self::default(), |needs, fate| match fate {
            None => Self { open: true, ..needs },
            Some(Fate::Written(_)) => needs,
            Some(Fate::Answered(_) | Fate::NotWritten(_)) => Self { failed: true, ..needs },
            Some(Fate::InDoubt { .. }) => Self { in_doubt: true, ..needs },
        })
    }

    /// All are written.
    pub(super) fn are_written(self) -> bool {
        self == Self::default()
    }
}

/// The next step for a batch that is not settled and has no sending under way.
#[derive(Debug)]
pub(super) enum Next {
    /// Its needs must be settled first.
    Wait,
    /// It is sent in the next pass over its lines.
    Pass,
    /// It is sent at once.
    Send,
    Settle(Fate),
}

/// What is known about the sendings of one batch.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sendings: u32,
    /// Sendings that count towards [`RESENDS_MAX`].
    resends: u32,
    /// The newest sending went out when all its needs were written.
    sent_after_needs: bool,
    /// The reason of the newest doubt. Once set, only a sending that settles it ends the doubt.
    doubt: Option<String>,
    /// The newest refusal that settled nothing.
    refused: Option<AppendError>,
    /// A follower is written, so this batch is.
    is_proven: bool,
}

impl Ledger {
    /// Notes that a sending goes out.
    pub(super) fn sent(&mut self, needs: Needs) {
        let counts = self.doubt.is_some() || self.sent_after_needs;
        self.resends += u32::from(self.sendings > 0 && counts);
        self.sendings += 1;
        self.sent_after_needs = needs.are_written();
    }

    /// Notes the answer to the newest sending. Returns the fate if the answer settles the batch.
    pub(super) fn take(&mut self, answer: Answer) -> Option<Fate> {
        let error = match answer {
            Answer::Ours(appended) => return Some(Fate::Written(appended)),
            Answer::Earlier(appended) => return Some(Fate::Answered(appended)),
            Answer::Refused(error) => error,
        };
        match error {
            AppendError::InDoubt { reason } => self.doubt = Some(reason),
            error if error.settles_doubt() => return Some(Fate::NotWritten(Some(error))),
            error if planted(Bug::DoubtForgotten) => return Some(Fate::NotWritten(Some(error))),
            error if self.doubt.is_some() || is_early(&error) => self.refused = Some(error),
            error => return Some(Fate::NotWritten(Some(error))),
        }
        None
    }

    /// Notes that a follower is written.
    pub(super) fn prove(&mut self) {
        self.is_proven = true;
    }

    pub(super) const fn is_proven(&self) -> bool {
        self.is_proven
    }

    pub(super) const fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// The next step, with no sending under way.
    pub(super) fn next(&self, needs: Needs) -> Next {
        match &self.doubt {
            Some(reason) => self.next_in_doubt(reason, needs),
            // Every sending was refused, so the batch can wait, or be given up, without a doubt.
            None if needs.failed => Next::Settle(Fate::NotWritten(None)),
            None if needs.in_doubt && planted(Bug::DoubtInherited) => {
                Next::Settle(Fate::InDoubt { reason: "a batch that it rests on is in doubt".to_owned() })
            }
            None if needs.in_doubt => Next::Settle(Fate::NotWritten(None)),
            None if self.sent_after_needs && self.resends >= RESENDS_MAX => {
                Next::Settle(Fate::NotWritten(self.refused.clone()))
            }
            None if planted(Bug::NoPass) && needs.open => Next::Wait,
            None if planted(Bug::NoPass) => Next::Send,
            None => Next::Pass,
        }
    }

    fn next_in_doubt(&self, reason: &str, needs: Needs) -> Next {
        if !self.is_proven {
            if needs.failed {
                // Its anchor is an event that is not there and never will be.
                return Next::Settle(Fate::NotWritten(None));
            }
            if needs.open {
                return Next::Wait;
            }
        }
        match self.resends < RESENDS_MAX {
            true => Next::Send,
            false => Next::Settle(Fate::InDoubt { reason: reason.to_owned() }),
        }
    }
}

/// The stream lacks events that the batch expects: they may be on their way.
fn is_early(error: &AppendError) -> bool {
    matches!(error, AppendError::Conflict { .. }) && error.retry() == Retry::AfterPause
}

#[cfg(test)]
mod tests {
    use gesta_core::{Checkpoint, EventId, Expected, StoreId, Version};

    use super::*;

    const OPEN: Needs = Needs { open: true, failed: false, in_doubt: false };
    const FAILED: Needs = Needs { open: false, failed: true, in_doubt: false };
    const IN_DOUBT: Needs = Needs { open: false, failed: false, in_doubt: true };
    const WRITTEN: Needs = Needs { open: false, failed: false, in_doubt: false };

    fn conflict(actual: u64) -> Answer {
        let expected = Expected::Event { version: Version::new(5), id: EventId::from_u128(5) };
        let stream = "account-1".parse().unwrap();
        Answer::Refused(AppendError::Conflict { stream, expected, actual: Some(Version::new(actual)) })
    }

    fn doubt() -> Answer {
        Answer::Refused(AppendError::InDoubt { reason: "the answer was lost".to_owned() })
    }

    fn overloaded() -> Answer {
        Answer::Refused(AppendError::Overloaded)
    }

    fn ours() -> Answer {
        let checkpoint = Checkpoint::start(StoreId::from_bytes([7; 16]), 1);
        Answer::Ours(Appended { places: Vec::new(), checkpoint, repeated: false })
    }

    /// The fate or next step after these answers, given while the needs were as in `sent`, and are as in `now`.
    fn check(answers: &[Answer], sent: Needs, now: Needs) -> String {
        let mut ledger = Ledger::default();
        for answer in answers {
            ledger.sent(sent);
            if let Some(fate) = ledger.take(answer.clone()) {
                return name(&fate);
            }
        }
        match ledger.next(now) {
            Next::Settle(fate) => name(&fate),
            next => format!("{next:?}"),
        }
    }

    fn name(fate: &Fate) -> String {
        match fate {
            Fate::Written(_) => "written",
            Fate::Answered(_) => "answered",
            Fate::NotWritten(None) => "not written, by what it rests on",
            Fate::NotWritten(Some(_)) => "not written",
            Fate::InDoubt { .. } => "in doubt",
        }
        .to_owned()
    }

    #[test]
    fn a_definite_answer_settles_a_batch() {
        assert_eq!(check(&[ours()], OPEN, OPEN), "written");
        assert_eq!(check(&[conflict(6)], OPEN, OPEN), "not written");
        assert_eq!(check(&[conflict(5)], OPEN, OPEN), "not written");
        assert_eq!(check(&[overloaded()], OPEN, OPEN), "not written");
        assert_eq!(check(&[doubt(), ours()], WRITTEN, WRITTEN), "written");
        assert_eq!(check(&[doubt(), conflict(6)], WRITTEN, WRITTEN), "not written");
    }

    #[test]
    fn a_batch_that_came_too_early_is_sent_in_a_pass_as_long_as_its_needs_may_come() {
        let early = || conflict(4);
        assert_eq!(check(&[early()], OPEN, OPEN), "Pass");
        assert_eq!(check(&[early()], OPEN, WRITTEN), "Pass");
        assert_eq!(check(&vec![early(); 9], OPEN, OPEN), "Pass");
        assert_eq!(check(&[early()], OPEN, FAILED), "not written, by what it rests on");
        assert_eq!(check(&[early()], OPEN, IN_DOUBT), "not written, by what it rests on");
    }

    #[test]
    fn a_store_that_lacks_what_was_written_gets_the_batch_four_times() {
        let early = conflict(4);
        assert_eq!(check(&vec![early.clone(); 3], WRITTEN, WRITTEN), "Pass");
        assert_eq!(check(&vec![early; 4], WRITTEN, WRITTEN), "not written");
    }

    #[test]
    fn a_batch_in_doubt_is_sent_three_times_more_after_its_needs_are_settled() {
        assert_eq!(check(&[doubt()], OPEN, OPEN), "Wait");
        assert_eq!(check(&[doubt()], OPEN, WRITTEN), "Send");
        assert_eq!(check(&[doubt()], OPEN, IN_DOUBT), "Send");
        assert_eq!(check(&[doubt()], OPEN, FAILED), "not written, by what it rests on");
        assert_eq!(check(&[doubt(), overloaded(), conflict(4)], WRITTEN, WRITTEN), "Send");
        assert_eq!(check(&[doubt(), overloaded(), conflict(4), doubt()], WRITTEN, WRITTEN), "in doubt");
    }

    #[test]
    fn a_refusal_after_an_early_answer_settles_the_batch() {
        assert_eq!(check(&[conflict(4), overloaded()], OPEN, OPEN), "not written");
        assert_eq!(check(&[conflict(4), doubt()], OPEN, OPEN), "Wait");
    }

    #[test]
    fn a_written_follower_proves_a_batch_and_sends_it_again_to_learn_its_places() {
        let mut ledger = Ledger::default();
        ledger.sent(OPEN);
        assert!(ledger.take(doubt()).is_none());
        ledger.prove();
        assert!(matches!(ledger.next(OPEN), Next::Send));
    }
}
