//! What a seed chooses.

use crate::random::Random;

/// What a seed chooses. Chances are in 1,000.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) processes: usize,
    pub(super) clients: usize,
    /// Appends and looks of each client.
    pub(super) calls: u64,
    pub(super) lost_answers: u64,
    pub(super) early_refusals: u64,
    /// Elections in all.
    pub(super) elections: u64,
    /// Kills of processes in all.
    pub(super) kills: u64,
    /// Lost connections in all.
    pub(super) cuts: u64,
    /// Times at which a process hears nothing for long, though it is heard.
    pub(super) silences: u64,
    /// Chance that a new consumer delivers nothing.
    pub(super) dead_consumers: u64,
    /// Chance that a consumer leaves out a message.
    pub(super) gaps: u64,
    /// Messages at the end of the stream that the cluster loses, once.
    pub(super) loses: u64,
    /// True if the cluster forgets the ids of messages at once, false if it keeps them for two minutes.
    pub(super) forgets_ids: bool,
    /// Chance that a message is so large that the leader cannot tell its digest.
    pub(super) large: u64,
    /// How late the answers of the leader to questions for its last message are at most, in milliseconds.
    pub(super) late_status: u64,
    /// Chance that a bug of a writer decides a group that no copy would take.
    pub(super) malformed: u64,
    /// Messages that copies cannot write to their disks, in all.
    pub(super) full_copies: u64,
    /// True if the first process has a clock that is an hour ahead.
    pub(super) has_fast_clock: bool,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::of(&[seed, 0x6a65_7473]);
        let mut chance = |most: u64| if random.below(2) == 0 { 0 } else { random.below(most) + 1 };
        let lost_answers = chance(250);
        let early_refusals = chance(100);
        let elections = chance(4);
        let kills = chance(4);
        let cuts = chance(4);
        let silences = chance(3);
        let dead_consumers = chance(300);
        let gaps = chance(50);
        let loses = chance(3);
        let forgets_ids = chance(1) == 0;
        let has_fast_clock = chance(4) == 1;
        let large = chance(300);
        // A killed process may have to notice that events of its copy are lost, while others write. Answers that are older than each newest
        // message do not show it.
        let is_late = kills == 0 || loses == 0;
        let late_status = chance(25_000) * u64::from(is_late);
        let malformed = chance(30);
        let full_copies = chance(2);
        Self {
            processes: 1 + usize::try_from(random.below(3)).expect("at most 2"),
            clients: 2 + usize::try_from(random.below(4)).expect("at most 3"),
            calls: 4 + random.below(12),
            lost_answers,
            early_refusals,
            elections,
            kills,
            cuts,
            silences,
            dead_consumers,
            gaps,
            loses,
            forgets_ids,
            large,
            late_status,
            malformed,
            full_copies,
            has_fast_clock,
        }
    }
}
