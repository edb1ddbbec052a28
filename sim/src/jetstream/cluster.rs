//! A cluster with one stream: a leader that looks at the expected number before it proposes, elections that end proposals without an answer, and
//! losses. It is asked for the digest of a message apart from the publish, as the product does.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use gesta_core::Timestamp;
use gesta_jetstream::{MessageDigest, Publish, Refusal};

use super::plan::Plan;
use crate::random::Random;

/// How long the ids of messages are kept, unless they are forgotten at once.
const WINDOW: Duration = Duration::from_secs(120);

/// A message that the cluster keeps.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    pub(super) digest: MessageDigest,
    pub(super) stored_at: Timestamp,
    /// True if it does not fit in an answer, so the leader cannot tell its digest.
    is_large: bool,
}

/// A publish as it arrives: from whom, and which.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) process: usize,
    pub(super) boot: u64,
    pub(super) publish: Publish,
}

/// What the leader does with a publish.
pub(super) enum Taken {
    /// It is proposed, and answered when it is committed.
    Proposed,
    Answered(Result<u64, Refusal>),
    /// Nobody answers.
    Ignored,
}

/// The cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) log: Vec<Stored>,
    pending: Vec<Arrived>,
    ids: HashMap<MessageDigest, (u64, Duration)>,
    /// What a leader from before the loss still has, and until when it answers.
    deposed: (Vec<Stored>, Duration),
    /// Chance that a message is large.
    large: u64,
    pub(super) term: u64,
    /// Until then nobody takes a publish, and consumers deliver nothing.
    pub(super) leaderless_until: Duration,
    forgets_ids: bool,
    early_refusals: u64,
}

impl Cluster {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            log: Vec::new(),
            pending: Vec::new(),
            ids: HashMap::new(),
            deposed: (Vec::new(), Duration::ZERO),
            large: plan.large,
            term: 0,
            leaderless_until: Duration::ZERO,
            forgets_ids: plan.forgets_ids,
            early_refusals: plan.early_refusals,
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.log.len() as u64
    }

    /// A leader is asked if a message has a digest. It may be one from before a loss. Returns none if nobody answers.
    pub(super) fn has(
        &self,
        number: u64,
        digest: MessageDigest,
        now: Duration,
        random: &mut Random,
    ) -> Option<bool> {
        let is_deposed = now < self.deposed.1 && random.below(4) == 0;
        if now < self.leaderless_until && !is_deposed {
            return None;
        }
        let log = if is_deposed { &self.deposed.0 } else { &self.log };
        let stored = number.checked_sub(1).and_then(|at| log.get(usize::try_from(at).expect("a few")));
        Some(stored.is_some_and(|stored| !stored.is_large && stored.digest == digest))
    }

    /// A publish arrives at the leader.
    pub(super) fn arrive(&mut self, arrived: Arrived, now: Duration, random: &mut Random) -> Taken {
        if now < self.leaderless_until {
            return if random.below(2) == 0 {
                Taken::Ignored
            } else {
                Taken::Answered(Err(Refusal::Unreached))
            };
        }
        let publish = &arrived.publish;
        // JetStream looks for the id before the expectation.
        if let Some((number, at)) = self.ids.get(&publish.digest)
            && (!self.forgets_ids && now < *at + WINDOW)
        {
            return Taken::Answered(Ok(*number));
        }
        let is_busy = random.below(1_000) < self.early_refusals;
        if is_busy || self.pending.iter().any(|pending| pending.publish.digest == publish.digest) {
            return Taken::Answered(Err(Refusal::Busy));
        }
        if publish.after != self.last() + self.pending.len() as u64 {
            let is_early = !self.pending.is_empty() && random.below(2) == 0;
            return Taken::Answered(Err(if is_early { Refusal::Busy } else { Refusal::OtherNumber }));
        }
        self.pending.push(arrived);
        Taken::Proposed
    }

    /// The oldest proposal is committed. Returns whose it was, and its number.
    pub(super) fn commit(&mut self, now: Duration, random: &mut Random) -> Option<(Arrived, u64)> {
        let arrived = (!self.pending.is_empty()).then(|| self.pending.remove(0))?;
        let Publish { bytes, digest, .. } = arrived.publish.clone();
        let is_large = random.below(1_000) < self.large;
        self.log.push(Stored { bytes, digest, stored_at: server_time(now), is_large });
        self.ids.insert(digest, (self.last(), now));
        Some((arrived, self.last()))
    }

    /// A new leader is elected: some proposals were committed, the others are gone, and none of them is answered.
    pub(super) fn elect(&mut self, now: Duration, random: &mut Random) {
        let kept = random.below(self.pending.len() as u64 + 1);
        (0..kept).for_each(|_| drop(self.commit(now, random)));
        self.pending.clear();
        self.term += 1;
        let millis = if random.below(4) == 0 { 20_000 } else { 9_000 };
        self.leaderless_until = now + Duration::from_millis(50 + random.below(millis));
    }

    /// The last messages are lost, as after a disk was emptied while another server lagged, or at once, as if the stream was made anew. Returns
    /// how many.
    pub(super) fn lose(&mut self, most: u64, now: Duration, random: &mut Random) -> u64 {
        let lost = most.min(self.last());
        self.pending.clear();
        self.term += 1;
        self.deposed = (self.log.clone(), now + Duration::from_secs(10));
        self.log.truncate(self.log.len() - usize::try_from(lost).expect("a few"));
        if random.below(2) == 0 {
            self.leaderless_until = now + Duration::from_millis(50 + random.below(9_000));
        }
        if random.below(2) == 0 {
            self.ids.clear();
        }
        lost
    }
}

/// The clock of the servers.
pub(super) fn server_time(now: Duration) -> Timestamp {
    Timestamp::from_nanos(i64::try_from(now.as_nanos()).expect("a simulation takes minutes"))
}
