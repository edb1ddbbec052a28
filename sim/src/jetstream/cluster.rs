//! A cluster with one stream: a leader that looks at expectations before it proposes, and elections that end proposals without an answer.

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
    /// The digest of the last message, as far as the leader remembers it.
    last_id: Option<MessageDigest>,
    forgets_last_id: bool,
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
            last_id: None,
            forgets_last_id: plan.forgets_last_id,
            term: 0,
            leaderless_until: Duration::ZERO,
            forgets_ids: plan.forgets_ids,
            early_refusals: plan.early_refusals,
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.log.len() as u64
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
        let names_other = publish.after_digest.is_some() && publish.after_digest != self.last_id;
        if names_other && self.pending.is_empty() {
            return Taken::Answered(Err(Refusal::OtherDigest));
        }
        self.pending.push(arrived);
        Taken::Proposed
    }

    /// The oldest proposal is committed. Returns whose it was, and its number.
    pub(super) fn commit(&mut self, now: Duration) -> Option<(Arrived, u64)> {
        let arrived = (!self.pending.is_empty()).then(|| self.pending.remove(0))?;
        let Publish { bytes, digest, .. } = arrived.publish.clone();
        self.log.push(Stored { bytes, digest, stored_at: server_time(now) });
        self.last_id = Some(digest);
        self.ids.insert(digest, (self.last(), now));
        Some((arrived, self.last()))
    }

    /// A new leader is elected: some proposals were committed, the others are gone, and none of them is answered.
    pub(super) fn elect(&mut self, now: Duration, random: &mut Random) {
        let kept = random.below(self.pending.len() as u64 + 1);
        (0..kept).for_each(|_| drop(self.commit(now)));
        self.pending.clear();
        self.term += 1;
        if self.forgets_last_id {
            // It has caught up by files, and knows an older id or none.
            let at = random.below(self.last() + 1);
            let older = self.log.get(usize::try_from(at).expect("a few"));
            self.last_id = older.map(|stored| stored.digest).filter(|_| random.below(2) == 0);
        }
        let millis = if random.below(4) == 0 { 20_000 } else { 9_000 };
        self.leaderless_until = now + Duration::from_millis(50 + random.below(millis));
    }

    /// The last messages are lost, as after a disk was emptied while another server lagged. Returns how many.
    pub(super) fn lose(&mut self, most: u64, random: &mut Random) -> u64 {
        let lost = most.min(self.last());
        self.pending.clear();
        self.term += 1;
        self.log.truncate(self.log.len() - usize::try_from(lost).expect("a few"));
        self.last_id = self.log.last().map(|stored| stored.digest).filter(|_| !self.forgets_last_id);
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
