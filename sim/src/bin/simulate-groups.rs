//! Simulations of consumer groups, by seed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints its results")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use sim::{GroupViolation, Groups, show_groups, simulate_groups};

const SEEDS_DEFAULT: u64 = 20_000;
const USAGE: &str = "\
usage: simulate-groups [--seed N | --seeds N [--from N]]

  (nothing)   20,000 seeds
  --seed N    the simulation of one seed, with its steps
  --seeds N   this number of seeds, from --from on (0)";

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let number = |text: &str| text.parse::<u64>().ok();
    let done = match arguments[..] {
        [] => by_chance(0, SEEDS_DEFAULT),
        ["--seed", seed] => match number(seed) {
            Some(seed) => show_groups(seed),
            None => return refuse(),
        },
        ["--seeds", seeds] => match number(seeds) {
            Some(seeds) => by_chance(0, seeds),
            None => return refuse(),
        },
        ["--seeds", seeds, "--from", from] => match (number(seeds), number(from)) {
            (Some(seeds), Some(from)) => by_chance(from, seeds),
            _ => return refuse(),
        },
        _ => return refuse(),
    };
    match done {
        Ok(counts) => {
            println!("{counts}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            eprintln!("error: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn refuse() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Runs seeds on as many threads as there are cores. Returns the violation of the lowest seed that was reached, if there is one.
fn by_chance(from: u64, seeds: u64) -> Result<Groups, GroupViolation> {
    let begun = Instant::now();
    // A panic of a dealer is a violation, which is printed once, at the end.
    std::panic::set_hook(Box::new(|_| ()));
    let (next, is_over) = (AtomicU64::new(from), AtomicBool::new(false));
    let work = || {
        let mut sum = Groups::default();
        while !is_over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                break;
            }
            match simulate_groups(seed, None) {
                Ok(counts) => sum.add(&counts),
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
    drop(std::panic::take_hook());
    let mut sum = Groups::default();
    for counts in done {
        sum.add(&counts?);
    }
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    Ok(sum)
}
