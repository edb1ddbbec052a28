//! The commands of this repository, run as `cargo xtask <command>`.
//!
//! *Choice: no dependencies.* A fresh machine builds this program first, and everything else waits for it. The cost is an error type that
//! is a plain sentence.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints")]

mod api;
mod broker;
mod faults;
mod fuzz;
mod install;
mod members;
mod miri;
mod mutants;
mod night;
mod nightly;
mod processor;
mod shell;
mod shop;
mod sim;
mod steps;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

/// The help. `TEST_STEPS` and `CI_STEPS` stand for the names of the steps.
const USAGE: &str = "\
usage: cargo xtask <command>

  test   every check that a change must pass:
         TEST_STEPS
  ci     the steps of `test`, and checks that take longer: CI_STEPS
  tidy   the rules of the house that no compiler checks
  api    the API by its description: checks the documents in docs/api against the official schemas, then
         starts the plain server and the bank, and sends what their documents allow and what they do not:
         `--seed N --examples N` sends other requests, `--write` writes the documents anew
  sim    the log on a simulated machine whose disk fails:
         `--seed N` runs one seed and prints its steps,
         `--operations N` runs seeds until N operations were done,
         `--exhaustive` fails every operation of a few scripts and flips every bit of a small log
  sim-long
         200 million operations and every bit of a small log, which takes hours
  sim-groups
         20,000 simulations of consumer groups: members that die, restarts, puts in doubt;
         `--seed N` runs one and prints its steps, `--seeds N --from N` others
  sim-jetstream
         20,000 simulations of a store on a JetStream cluster: elections, lost answers, lost messages;
         `--seed N` runs one, `--seeds N --from N` others
  torture
         kills processes that append, and checks that every acknowledged event is there:
         `--cycles N` kills, `--seed N` other moments
  torture-groups
         kills members of a consumer group and their server, and checks that each event has its effect once:
         `--kills N` (10,000), `--seed N` other moments
  faults fails every system call of a small run, or kills the process at it; sets limits, fills disks,
         loses writes, cuts the power. All parts need root on Linux. Parts can be named:
         kills recovery failures limits (these without root),
         full-disk written-back power power-blocks; `sample` takes seconds;
         `power-blocks --states N --seed N` tries N states of a disk after a power cut
  demo-broker
         publishes to NATS and RabbitMQ under load, kills them and the server, and counts what arrived
  demo-shop
         starts the shop (examples/shop), kills stock, and shows that nothing is lost;
         `--kills N` kills all of its programs, N times, while customers order,
         `--clocks N` kills one N times under clocks that are wrong (needs the package faketime),
         `--servers N` runs it on two servers of a PostgreSQL database, and kills one N times
  demo-cluster
         starts the shop on three nodes of NATS JetStream, and kills them, one after the other, while customers order:
         `--kills N` times (3)
  night  the checks that seeds or kills drive, in the sizes of a night, each with its count:
         groups jetstream cluster outages cuts processes proxy state members shop clocks servers loans nodes; names
         choose some, `--percent N` before them takes a part of the sizes
  fuzz   gives arbitrary bytes to every decoder and arbitrary histories to the log, by libFuzzer:
         `--seconds N` for each target (60), then the names of targets (all)
  miri   runs unit tests in the interpreter of the compiler, which checks the rules of memory
  mutants
         changes the log line by line, and lists the changes that no test notices:
         files under crates/gesta-log/src, or the parts that decide
  help   this text
";

/// The help with the names of the steps.
fn usage() -> String {
    let names = |steps| steps::names(steps).join(", ");
    USAGE.replace("TEST_STEPS", &names(steps::TEST)).replace("CI_STEPS", &names(steps::CI_ONLY))
}

/// Why a command failed, as a sentence for the person who typed it.
type Failure = String;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let outcome = enter_repository().and_then(|()| match arguments[..] {
        ["test"] => steps::run(&[steps::TEST]),
        ["ci"] => steps::run(&[steps::TEST, steps::CI_ONLY]),
        ["tidy"] => tidy::run(),
        ["api", ..] => api::run(&arguments[1..]),
        ["sim", ..] => sim::run(&arguments[1..]),
        ["sim-long"] => sim::run(&["--long"]),
        ["sim-groups", ..] => sim::groups(&arguments[1..]),
        ["sim-jetstream", ..] => sim::jetstream(&arguments[1..]),
        ["torture", ..] => faults::torture(&arguments[1..]),
        ["torture-groups", ..] => members::run(&arguments[1..]),
        ["faults", ..] => faults::faults(&arguments[1..]),
        ["demo-broker"] => broker::run(),
        ["demo-shop"] => shop::run(&[]),
        ["demo-shop", "--kills", kills] => shop::run(&[kills]),
        ["demo-shop", "--clocks", kills] => shop::run(&[kills, "clocks"]),
        ["demo-shop", "--servers", kills] => shop::run_on_two_servers(kills),
        ["demo-cluster"] => shop::run_on_a_cluster("3"),
        ["demo-cluster", "--kills", kills] => shop::run_on_a_cluster(kills),
        ["night", ..] => night::run(&arguments[1..]),
        ["fuzz", ..] => fuzz::run(&arguments[1..]),
        ["miri"] => miri::run(),
        ["mutants", ..] => mutants::run(&arguments[1..]),
        ["help" | "--help" | "-h"] => {
            print!("{}", usage());
            Ok(())
        }
        [] => Err(format!("a command is missing\n\n{}", usage())),
        _ => Err(format!("`{}` is not a command\n\n{}", arguments.join(" "), usage())),
    });

    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Enters the root of the repository. Every path in this program is relative to it.
///
/// The root is read at run time, because checkouts that share a target folder also share this binary.
fn enter_repository() -> Result<(), Failure> {
    let folder = std::env::var("CARGO_MANIFEST_DIR").map_err(|_| "start it as `cargo xtask`".to_owned())?;
    let root = Path::new(&folder).parent().expect("xtask lies in the root");
    std::env::set_current_dir(root).map_err(|error| format!("cannot enter `{}`: {error}", root.display()))
}
