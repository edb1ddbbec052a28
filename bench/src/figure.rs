//! How a figure is measured and printed.

use std::time::{Duration, Instant};

/// How often each figure is measured.
const ROUNDS: usize = 5;

/// What one round did, and how long it took.
pub struct Round {
    pub count: u64,
    pub took: Duration,
}

impl Round {
    /// Times something that says how many it did.
    pub fn time(work: impl FnOnce() -> u64) -> Self {
        let start = Instant::now();
        let count = work();
        Self { count, took: start.elapsed() }
    }

    fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// Measures two things by turns, and prints the rate of the first and its ratio to the second.
pub fn compare(name: &str, unit: &str, mut ours: impl FnMut() -> Round, mut bare: impl FnMut() -> Round) {
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (ours, bare) = (ours().rate(), bare().rate());
        rates.push(ours);
        ratios.push(ours / bare);
    }
    rates.sort_by(f64::total_cmp);
    ratios.sort_by(f64::total_cmp);
    let [low, median, high] = [0, ROUNDS / 2, ROUNDS - 1].map(|at| rates[at]);
    println!(
        "{name:<44} {median:>12.0} {unit} ({low:.0} to {high:.0}), {:.2} of the bare work ({:.2} to {:.2})",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
}

/// Measures ours and a rival's by turns, and prints both rates and how many times ours is.
pub fn versus(name: &str, mut ours: impl FnMut() -> Round, mut rival: impl FnMut() -> Round) {
    let mut rounds = (0..ROUNDS).map(|_| (ours().rate(), rival().rate())).collect::<Vec<_>>();
    rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    let (ours, rival) = rounds[ROUNDS / 2];
    let [low, high] = [rounds[0], rounds[ROUNDS - 1]].map(|(ours, rival)| ours / rival);
    println!(
        "{name:<44} {rival:>12.0} events/s, Gesta {ours:.0}: {:.1} times ({low:.1} to {high:.1})",
        ours / rival
    );
}
