//! One append over a network: which outcome of a sending is its answer, and when the same bytes are sent again.
//!
//! A pure state machine. It reads no clock: times are measured from any fixed moment before the call.
//!
//! *Invariants:*
//! - An error that says "not written" is returned only if no sending of the call was written or can still be written.
//! - After a doubt, the doubt ends with an answer that settles it, or it is reported as [`AppendError::InDoubt`].

#[cfg(test)]
mod simulation;

use std::time::Duration;

use gesta_core::{AppendError, Appended};

use crate::limits::{RESEND_PAUSE_MAX, RESEND_PAUSE_MIN};

/// The outcome of one sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No byte of the request was sent.
    Unsent {
        /// The cause.
        reason: String,
    },
    /// A byte may have been sent, and no answer came. The server may still read the request.
    Lost {
        /// The cause.
        reason: String,
    },
    /// The server answered.
    Answered(Result<Appended, AppendError>),
}

/// The next step of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// The call ends with this answer.
    Answer(Result<Appended, AppendError>),
    /// Send the same bytes again.
    Again {
        /// The time at which to send.
        at: Duration,
        /// The time at which to give up on that sending.
        until: Duration,
    },
}

/// The state of one call.
#[derive(Debug)]
pub(crate) struct Settling {
    settle_time: Duration,
    doubt: Option<Doubt>,
}

/// An earlier sending that may have been written, or may still be.
#[derive(Debug)]
struct Doubt {
    /// The cause of the newest doubt.
    reason: String,
    /// The end of the time for settling.
    ends: Duration,
    /// The next pause.
    pause: Duration,
}

impl Settling {
    /// A call before its first sending. A doubt is settled for at most `settle_time`.
    pub(crate) const fn new(settle_time: Duration) -> Self {
        Self { settle_time, doubt: None }
    }

    /// Decides on the outcome of a sending that ended at `now`.
    pub(crate) fn step(&mut self, outcome: Outcome, now: Duration) -> Next {
        match outcome {
            Outcome::Answered(Ok(appended)) => Next::Answer(Ok(appended)),
            Outcome::Answered(Err(AppendError::InDoubt { reason })) | Outcome::Lost { reason } => {
                self.doubts(reason, now)
            }
            Outcome::Answered(Err(error)) if self.is_final(&error) => Next::Answer(Err(error)),
            Outcome::Answered(Err(AppendError::Closed)) => self.give_up(),
            Outcome::Unsent { reason } if !self.is_in_doubt() => {
                Next::Answer(Err(AppendError::Unavailable { reason }))
            }
            Outcome::Answered(Err(_)) | Outcome::Unsent { .. } => self.again(now),
        }
    }

    /// True if the error is the answer to the call: nothing is in doubt, or the error settles it.
    fn is_final(&self, error: &AppendError) -> bool {
        !self.is_in_doubt() || error.settles_doubt()
    }

    fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    fn doubts(&mut self, reason: String, now: Duration) -> Next {
        let ends = now.saturating_add(self.settle_time);
        let doubt = Doubt { reason: String::new(), ends, pause: RESEND_PAUSE_MIN };
        self.doubt.get_or_insert(doubt).reason = reason;
        self.again(now)
    }

    fn again(&mut self, now: Duration) -> Next {
        let doubt = self.doubt.as_mut().expect("only a call in doubt is sent again");
        let at = now.saturating_add(doubt.pause);
        if at >= doubt.ends {
            return self.give_up();
        }
        doubt.pause = (doubt.pause * 2).min(RESEND_PAUSE_MAX);
        Next::Again { at, until: doubt.ends }
    }

    fn give_up(&mut self) -> Next {
        let doubt = self.doubt.take().expect("only a call in doubt is given up");
        Next::Answer(Err(AppendError::InDoubt { reason: doubt.reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Outcome {
        Outcome::Lost { reason: "lost".to_owned() }
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn in_doubt(reason: &str) -> Next {
        Next::Answer(Err(AppendError::InDoubt { reason: reason.to_owned() }))
    }

    #[test]
    fn the_pauses_double_from_50_ms_to_1_s_until_the_time_for_settling_ends() {
        let mut settling = Settling::new(millis(4_000));
        let (mut now, mut pauses) = (millis(700), Vec::new());
        loop {
            match settling.step(lost(), now) {
                Next::Again { at, until } => {
                    assert_eq!(until, millis(4_700));
                    pauses.push((at - now).as_millis());
                    now = at;
                }
                answer => break assert_eq!(answer, in_doubt("lost")),
            }
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn a_connection_that_cannot_be_made_is_unavailable_unless_an_earlier_sending_is_in_doubt() {
        let unsent = || Outcome::Unsent { reason: "refused".to_owned() };
        let mut settling = Settling::new(millis(1_000));
        let unavailable = AppendError::Unavailable { reason: "refused".to_owned() };
        assert_eq!(settling.step(unsent(), millis(0)), Next::Answer(Err(unavailable)));

        let mut settling = Settling::new(millis(1_000));
        assert!(matches!(settling.step(lost(), millis(0)), Next::Again { .. }));
        let again = Next::Again { at: millis(150), until: millis(1_000) };
        assert_eq!(settling.step(unsent(), millis(50)), again);
        assert_eq!(settling.step(unsent(), millis(999)), in_doubt("lost"));
    }

    #[test]
    fn only_an_answer_that_settles_it_ends_a_doubt() {
        let settling = || {
            let mut settling = Settling::new(millis(1_000));
            settling.step(lost(), millis(0));
            settling
        };
        for passing in [
            AppendError::Overloaded,
            AppendError::Unavailable { reason: String::new() },
            AppendError::ReadOnly { reason: String::new() },
            AppendError::Invalid { reason: String::new() },
        ] {
            let next = settling().step(Outcome::Answered(Err(passing.clone())), millis(50));
            assert!(matches!(next, Next::Again { .. }), "{passing}");
        }
        let next = settling().step(Outcome::Answered(Err(AppendError::KeyReused)), millis(50));
        assert_eq!(next, Next::Answer(Err(AppendError::KeyReused)));
    }

    #[test]
    fn a_closed_store_leaves_the_doubt_as_it_is() {
        let closed = || Outcome::Answered(Err(AppendError::Closed));
        let mut settling = Settling::new(millis(1_000));
        assert_eq!(settling.step(closed(), millis(0)), Next::Answer(Err(AppendError::Closed)));
        let mut settling = Settling::new(millis(1_000));
        settling.step(lost(), millis(0));
        assert_eq!(settling.step(closed(), millis(50)), in_doubt("lost"));
    }
}
