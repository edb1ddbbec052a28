//! Simulations: random ones by seed, and exhaustive ones over every operation and every bit.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints its results")]

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use sim::{
    Bits, Flips, Focus, Left, Outcome, SCRIPTS, fill_small_disks, flip_bits, flip_index_bits, simulate,
    simulate_focused, simulate_many,
};

const OPERATIONS_DEFAULT: u64 = 500_000;
const OPERATIONS_LONG: u64 = 200_000_000;
const USAGE: &str = "\
usage: simulate [--seed N | --operations N | --exhaustive | --small-disks | --long] [--focus NAME]

  (nothing)       half a million random operations, then `--exhaustive`
  --seed N        the simulation of one seed
  --operations N  seeds in order until N operations were done
  --exhaustive    a fault at every operation of some scripts; a flip of every bit of a small log, with a sample of the zeros
  --small-disks   logs on disks of 16 to 64 MB
  --long          200 million operations, the scripts, and every bit including all zeros
  --focus NAME    with --seed or --operations: every simulation does this; `--focus list` prints the names";

/// The reason why a run failed, as a sentence.
type Failure = String;

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let done = match arguments[..] {
        [] => by_chance(OPERATIONS_DEFAULT, None).and_then(|()| exhaust(Bits::ZerosSampled)),
        ["--exhaustive"] => exhaust(Bits::ZerosSampled),
        ["--long"] => exhaust(Bits::All).and_then(|()| by_chance(OPERATIONS_LONG, None)),
        ["--small-disks"] => small_disks(),
        ["--focus", "list"] => {
            Focus::all().iter().for_each(|(name, _)| println!("{name}"));
            Ok(())
        }
        [number @ ("--seed" | "--operations"), count, "--focus", focus] => {
            match (Focus::named(focus), count.parse()) {
                (Some(focus), Ok(seed)) if number == "--seed" => {
                    timed("", || simulate_focused(seed, focus).map_err(|violation| violation.to_string()))
                }
                (Some(focus), Ok(operations)) => by_chance(operations, Some(focus)),
                _ => return refuse(),
            }
        }
        ["--seed", seed] => match seed.parse() {
            Ok(seed) => timed("", || simulate(seed).map_err(|violation| violation.to_string())),
            Err(_) => return refuse(),
        },
        ["--operations", operations] => match operations.parse() {
            Ok(operations) => by_chance(operations, None),
            Err(_) => return refuse(),
        },
        _ => return refuse(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn refuse() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Runs `work` and prints its result and its duration.
fn timed<T: Display>(name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<(), Failure> {
    let begun = Instant::now();
    let done = work()?;
    println!("{name}{done}\n{:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Simulates until `operations` operations were done. Each thread takes different seeds.
fn by_chance(operations: u64, focus: Option<Focus>) -> Result<(), Failure> {
    timed("", || {
        let outcomes = side_by_side(|share, shares| {
            simulate_many((share as u64..).step_by(shares), operations / shares as u64, focus)
                .map_err(|violation| violation.to_string())
        })?;
        let mut sum = Outcome::default();
        outcomes.iter().for_each(|outcome| sum.add(outcome));
        Ok(sum)
    })
}

/// Fills small disks with logs whose segments have the usual sizes.
fn small_disks() -> Result<(), Failure> {
    timed("small disks: ", || fill_small_disks().map(|events| format!("{events} events")))
}

/// Visits every fault point of the scripts, and flips bits.
fn exhaust(bits: Bits) -> Result<(), Failure> {
    for script in SCRIPTS {
        timed(&format!("{script}: "), || script.visit())?;
    }
    for left in [Left::Closed, Left::Killed] {
        timed(&format!("a small log, {left:?}: "), || {
            let shares = side_by_side(|share, shares| flip_bits(bits, left, share, shares))?;
            let mut sum = Flips { bits: shares[0].bits, ..Flips::default() };
            shares.iter().for_each(|share| sum.add(share));
            Ok(sum)
        })?;
    }
    small_disks()?;
    timed("a small index: ", || {
        let shares = side_by_side(flip_index_bits)?;
        let mut sum = Flips { bits: shares[0].bits, ..Flips::default() };
        shares.iter().for_each(|share| sum.add(share));
        Ok(sum)
    })
}

/// Runs the shares of a job on as many threads as there are cores. Returns the results in the order of the shares.
fn side_by_side<T: Send>(
    work: impl Fn(usize, usize) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let shares = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for share in 0..shares {
            let (done, work) = (&done, &work);
            scope.spawn(move || {
                let own = work(share, shares);
                done.lock().expect("no panic under the lock").push((share, own));
            });
        }
    });
    let mut done = done.into_inner().expect("no panic under the lock");
    done.sort_by_key(|(share, _)| *share);
    done.into_iter().map(|(_, own)| own).collect()
}
