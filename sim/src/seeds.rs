//! Which seeds a program runs, and many of them at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The seeds that a program was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeds {
    /// One.
    One(u64),
    /// Some, one after the other.
    Many {
        /// The first.
        from: u64,
        /// How many.
        count: u64,
    },
}

impl Seeds {
    /// Reads the arguments of a program: nothing, `--seed N`, or `--seeds N` with or without `--from N`.
    #[must_use]
    pub fn parse(arguments: &[&str], default: u64) -> Option<Self> {
        let number = |text: &str| text.parse::<u64>().ok();
        match arguments {
            [] => Some(Self::Many { from: 0, count: default }),
            ["--seed", seed] => number(seed).map(Self::One),
            ["--seeds", count] => Some(Self::Many { from: 0, count: number(count)? }),
            ["--seeds", count, "--from", from] => {
                Some(Self::Many { from: number(from)?, count: number(count)? })
            }
            _ => None,
        }
    }
}

/// Runs seeds on as many threads as there are cores, and adds their counts up.
///
/// # Errors
/// The violation of the lowest seed that was reached, if there is one.
///
/// # Panics
/// If a simulation panics.
pub fn run_seeds<C: Default + Send, V: Send>(
    from: u64,
    count: u64,
    simulate: impl Fn(u64) -> Result<C, V> + Sync,
    add: impl Fn(&mut C, &C) + Sync,
) -> Result<C, V> {
    let (next, is_over) = (AtomicU64::new(from), AtomicBool::new(false));
    let work = || {
        let mut sum = C::default();
        while !is_over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                break;
            }
            match simulate(seed) {
                Ok(counts) => add(&mut sum, &counts),
                Err(violation) => {
                    is_over.store(true, Ordering::Relaxed);
                    return Err(violation);
                }
            }
        }
        Ok(sum)
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let done = std::thread::scope(|scope| {
        let threads = (0..threads).map(|_| scope.spawn(work)).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().expect("a violation is no panic")).collect::<Vec<_>>()
    });
    let mut sum = C::default();
    for counts in done {
        add(&mut sum, &counts?);
    }
    Ok(sum)
}
