//! Simulations of consumer groups, by seed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints its results")]

use std::process::ExitCode;
use std::time::Instant;

use sim::{Groups, Seeds, run_seeds, show_groups, simulate_groups};

const SEEDS_DEFAULT: u64 = 20_000;
const USAGE: &str = "\
usage: simulate-groups [--seed N | --seeds N [--from N]]

  (nothing)   20,000 seeds
  --seed N    the simulation of one seed, with its steps
  --seeds N   this number of seeds, from --from on (0)";

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let begun = Instant::now();
    let done = match Seeds::parse(&arguments, SEEDS_DEFAULT) {
        Some(Seeds::One(seed)) => show_groups(seed),
        Some(Seeds::Many { from, count }) => {
            // A panic is a violation, which is printed once, at the end.
            std::panic::set_hook(Box::new(|_| ()));
            run_seeds(from, count, |seed| simulate_groups(seed, None), Groups::add)
        }
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(counts) => {
            println!("{:.1} s\n{counts}", begun.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(violation) => {
            eprintln!("error: {violation}");
            ExitCode::FAILURE
        }
    }
}
