//! Measures and prints a figure for one piece of work, as a rate and as a ratio to the bare work.

use std::time::{Duration, Instant};

use bench_core::ROUNDS;

/// The amount of work of one round, and its duration.
pub struct Round {
    pub count: u64,
    pub took: Duration,
}

impl Round {
    /// Times work that returns its amount.
    pub fn time(work: impl FnOnce() -> u64) -> Self {
        let start = Instant::now();
        let count = work();
        Self { count, took: start.elapsed() }
    }

    fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// Measures two pieces of work in turns, and prints the rate of the first and its ratio to the second.
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
