//! Simulations, one seed after the other: `simulate [--seed N | --operations N]`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks by printing")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use sim::{Outcome, Violation, simulate, simulate_many};

const OPERATIONS_DEFAULT: u64 = 2_000_000;
const USAGE: &str = "usage: simulate [--seed N | --operations N]";

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let begun = Instant::now();
    if arguments == ["--scripts"] {
        for script in sim::SCRIPTS {
            let begun = Instant::now();
            println!("{script}: {:?} {:.1} s", script.visit().map(|v| v.to_string()), begun.elapsed().as_secs_f64());
        }
        for left in [sim::Left::Closed, sim::Left::Killed] {
            let begun = Instant::now();
            println!("{:?} {:.1} s", sim::flip_bits(sim::Bits::ZerosSampled, left, 0, 1).map(|f| f.to_string()), begun.elapsed().as_secs_f64());
        }
        return ExitCode::SUCCESS;
    }
    let outcome = match arguments[..] {
        [] => simulate_side_by_side(OPERATIONS_DEFAULT),
        ["--seed", seed] => match seed.parse() {
            Ok(seed) => simulate(seed),
            Err(_) => return refuse(),
        },
        ["--operations", operations] => match operations.parse() {
            Ok(operations) => simulate_side_by_side(operations),
            Err(_) => return refuse(),
        },
        _ => return refuse(),
    };
    match outcome {
        Ok(outcome) => {
            println!("{outcome}\n{:.1} s", begun.elapsed().as_secs_f64());
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

/// Simulates until so many operations were done, on as many threads as there are cores. Each takes seeds of its own.
fn simulate_side_by_side(operations: u64) -> Result<Outcome, Violation> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for first in 0..threads {
            let outcomes = &outcomes;
            let step = usize::try_from(threads).expect("a few threads");
            scope.spawn(move || {
                let outcome = simulate_many((first..).step_by(step), operations / threads);
                outcomes.lock().expect("nobody panics under it").push((first, outcome));
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("nobody panicked under it");
    outcomes.sort_by_key(|(first, _)| *first);
    let mut sum = Outcome::default();
    for (_, outcome) in outcomes {
        sum.add(&outcome?);
    }
    Ok(sum)
}
