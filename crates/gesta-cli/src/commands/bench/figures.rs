//! What clients measured: times and answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::Answer;
use crate::output::count;

/// Times and answers of one client, or of all.
#[derive(Default)]
pub(super) struct Figures {
    /// The time of each command that was done.
    times: Vec<Duration>,
    /// The number of other answers, by their text.
    refused: BTreeMap<String, u64>,
    unknown: BTreeMap<String, u64>,
}

impl Figures {
    pub(super) fn note(&mut self, answer: Answer, time: Duration) {
        match answer {
            Answer::Done => self.times.push(time),
            Answer::Refused(why) => *self.refused.entry(why).or_default() += 1,
            Answer::Unknown(why) => *self.unknown.entry(why).or_default() += 1,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        other.refused.into_iter().for_each(|(why, number)| *self.refused.entry(why).or_default() += number);
        other.unknown.into_iter().for_each(|(why, number)| *self.unknown.entry(why).or_default() += number);
    }

    /// Commands that were done.
    pub(super) fn done(&self) -> u64 {
        self.times.len() as u64
    }

    /// Commands that may have been done.
    pub(super) fn unknown(&self) -> u64 {
        self.unknown.values().sum()
    }

    /// The rate, the times, and the other answers.
    pub(super) fn describe(&self, took: Duration) -> String {
        let mut times = self.times.clone();
        times.sort_unstable();
        let rate = times.len() as f64 / took.as_secs_f64();
        let at = |per_mille| milliseconds(quantile(&times, per_mille));
        let mut text = format!(
            "{rate:.0} commands/s, p50 {}, p99 {}, max {}, {}",
            at(500),
            at(990),
            at(1_000),
            count(self.refused.values().sum::<u64>(), "refusal"),
        );
        for (why, number) in self.refused.iter().chain(&self.unknown) {
            write!(text, "\n{number} × {why}").expect("a string can be written to");
        }
        text
    }
}

/// The time that `per_mille` of 1,000 commands took at most.
fn quantile(sorted: &[Duration], per_mille: usize) -> Option<Duration> {
    let rank = (sorted.len() * per_mille).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn milliseconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_time_within_which_that_share_was_done() {
        let times = (1..=200).map(Duration::from_millis).collect::<Vec<_>>();
        for (per_mille, expected) in [(0, 1), (500, 100), (990, 198), (1_000, 200)] {
            assert_eq!(quantile(&times, per_mille), Some(Duration::from_millis(expected)), "{per_mille}");
        }
        assert_eq!(quantile(&[], 500), None);
    }

    #[test]
    fn figures_of_clients_add_up() {
        let mut all = Figures::default();
        for (answer, time) in [
            (Answer::Done, 2),
            (Answer::Done, 4),
            (Answer::Refused("409 contended".to_owned()), 1),
            (Answer::Unknown("the server cannot be reached".to_owned()), 1),
        ] {
            let mut one = Figures::default();
            one.note(answer, Duration::from_millis(time));
            all.add(one);
        }
        assert_eq!((all.done(), all.unknown()), (2, 1));
        assert_eq!(
            all.describe(Duration::from_secs(1)),
            "2 commands/s, p50 2.0 ms, p99 4.0 ms, max 4.0 ms, 1 refusal\n1 × 409 contended\n1 × the server cannot be reached"
        );
    }
}
