//! Durations of calls.

use std::time::Duration;

/// The durations of all calls of a load.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Notes one call.
    pub fn note(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Times a call and notes it.
    pub fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = std::time::Instant::now();
        let answer = call();
        self.note(start.elapsed());
        answer
    }

    /// Merges several, sorted by duration.
    #[must_use]
    pub fn merge(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<_> = parts.into_iter().flat_map(|part| part.0).collect();
        all.sort_unstable();
        Self(all)
    }

    /// The number of calls.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The duration within which this share of the calls completed; zero without calls. Call it on the result of
    /// [`Self::merge`].
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        debug_assert!(self.0.is_sorted(), "quantiles need sorted durations");
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_over_all_parts_in_order() {
        let part = |times: &[u64]| Latencies(times.iter().map(|&time| Duration::from_micros(time)).collect());
        let all = Latencies::merge([part(&[5, 1, 3]), part(&[4, 2])]);
        let quantiles = [0.0, 0.5, 1.0].map(|share| all.quantile(share).as_micros());
        assert_eq!((all.count(), quantiles), (5, [1, 3, 5]));
        assert_eq!(Latencies::default().quantile(0.99), Duration::ZERO);
    }
}
