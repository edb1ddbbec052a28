//! The pauses between tries: each twice as long as the one before, up to a limit, with jitter.

use std::time::Duration;

use crate::limits::{RETRY_JITTER_PER_MILLE, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};

/// Counts the tries since the last success.
pub(crate) struct BackOff {
    salt: u64,
    attempt: u32,
}

impl BackOff {
    /// `salt` sets the jitter apart from that of other consumers.
    pub(crate) const fn new(salt: u64) -> Self {
        Self { salt, attempt: 0 }
    }

    /// The number of tries that failed since the last success.
    pub(crate) const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Counts a failed try. Returns the pause before the next one.
    pub(crate) fn next(&mut self) -> Duration {
        self.attempt = self.attempt.saturating_add(1);
        pause(self.attempt, self.salt)
    }

    /// A try has succeeded.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// The pause after a number of failures, from 1: each is twice as long as the one before.
pub(crate) fn pause_after(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
    RETRY_PAUSE_MIN.saturating_mul(factor).min(RETRY_PAUSE_MAX)
}

/// The pause after the failed try number `attempt`, from 1, a little shorter or longer, so that not all try at the same time.
fn pause(attempt: u32, salt: u64) -> Duration {
    let doubled = pause_after(attempt);
    let spread = u64::from(2 * RETRY_JITTER_PER_MILLE + 1);
    let jitter = u32::try_from(mixed(salt ^ u64::from(attempt)) % spread).expect("less than 2,001");
    doubled * (1_000 - RETRY_JITTER_PER_MILLE + jitter) / 1_000
}

/// The finalizer of SplitMix64: near inputs give outputs that look unrelated.
const fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ_by_at_most_a_fifth() {
        for salt in 0..200 {
            let mut back_off = BackOff::new(salt);
            for attempt in 1..=40 {
                let plain = Duration::from_millis((10 << (attempt - 1).min(12)).min(5_000));
                let pause = back_off.next();
                assert!(pause >= plain * 4 / 5 && pause <= plain * 6 / 5, "{attempt}: {pause:?}");
            }
            back_off.reset();
            assert!(back_off.next() <= Duration::from_millis(12));
        }
    }

    #[test]
    fn two_consumers_do_not_pause_in_step() {
        let pauses = |salt| {
            let mut back_off = BackOff::new(salt);
            [(); 20].map(|()| back_off.next())
        };
        assert_ne!(pauses(1), pauses(2));
        assert_eq!(pauses(1), pauses(1));
    }
}
