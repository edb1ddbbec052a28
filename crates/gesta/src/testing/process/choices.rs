//! Which stream is delivered next: all orders one after the other, or by a seed.

use crate::random::Random;

/// The choices of one run: those that are prescribed, then the first option each, or one by the seed.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    prescribed: Vec<usize>,
    random: Option<Random>,
    /// What was chosen, and of how many options.
    made: Vec<(usize, usize)>,
}

impl Choices {
    /// The first of all orders.
    pub(super) const fn first() -> Self {
        Self::prescribed(Vec::new())
    }

    pub(super) const fn by_seed(seed: u64) -> Self {
        Self { prescribed: Vec::new(), random: Some(Random::new(seed)), made: Vec::new() }
    }

    const fn prescribed(prescribed: Vec<usize>) -> Self {
        Self { prescribed, random: None, made: Vec::new() }
    }

    /// Chooses one of that number of options.
    pub(super) fn choose(&mut self, options: usize) -> usize {
        let chosen = match (self.prescribed.get(self.made.len()), &mut self.random) {
            (Some(chosen), _) => *chosen,
            (None, Some(random)) => random.below(options),
            (None, None) => 0,
        };
        let chosen = chosen.min(options - 1);
        self.made.push((chosen, options));
        chosen
    }

    /// The same choices once more.
    pub(super) fn again(&self) -> Self {
        Self::prescribed(self.made.iter().map(|(chosen, _)| *chosen).collect())
    }

    /// The next order after a run that made these choices: the last choice that has another option takes it.
    pub(super) fn next(&self) -> Option<Self> {
        let last = self.made.iter().rposition(|(chosen, options)| chosen + 1 < *options)?;
        let mut prescribed = self.made[..=last].iter().map(|(chosen, _)| *chosen).collect::<Vec<_>>();
        prescribed[last] += 1;
        Some(Self::prescribed(prescribed))
    }
}

/// Keeps `count` of the items, the same ones each time.
pub(super) fn sample<T>(items: &mut Vec<T>, count: usize) {
    let mut random = Random::new(1);
    while items.len() > count {
        items.swap_remove(random.below(items.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All orders of two queues of that length.
    fn orders(lengths: [usize; 2]) -> Vec<String> {
        let (mut orders, mut next) = (Vec::new(), Some(Choices::first()));
        while let Some(mut choices) = next {
            let (mut left, mut order) = (lengths, String::new());
            while left != [0, 0] {
                let options = (0..2).filter(|queue| left[*queue] > 0).collect::<Vec<_>>();
                let queue = options[choices.choose(options.len())];
                left[queue] -= 1;
                order.push(if queue == 0 { 'a' } else { 'b' });
            }
            orders.push(order);
            next = choices.next();
        }
        orders
    }

    #[test]
    fn every_order_comes_once() {
        let orders = orders([3, 3]);
        assert_eq!(orders.len(), 20);
        assert_eq!(orders.iter().collect::<BTreeSet<_>>().len(), 20);
    }

    #[test]
    fn a_sample_has_its_size_and_is_the_same_each_time() {
        let of = || {
            let mut items = (0..100).collect::<Vec<_>>();
            sample(&mut items, 10);
            items
        };
        assert_eq!((of().len(), of()), (10, of()));
    }
}
