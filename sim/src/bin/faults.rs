//! Faults on the real file system: `faults torture [--cycles N] [--seed N]`, `faults sample`, `faults all`, or one
//! part by name.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints its results")]

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use sim::process::{self, Driver, Strace, Table, Torture};

const CYCLES_DEFAULT: u64 = 20_000;
const POWER_CUTS: u64 = 100;
const DISK_STATES: u64 = 400;
const DISK_STATES_SEED: u64 = 1;
/// Set for a program that runs in a private mount namespace.
const OWN_MOUNTS: &str = "FAULTS_OWN_MOUNTS";
const USAGE: &str = "usage: faults torture [--cycles N] [--seed N] | sample | all | kills | recovery | failures | limits | full-disk | written-back | power | power-blocks [--states N] [--seed N] | power-blocks --recording FOLDER --state STATE";

type Part<'a> = &'a dyn Fn(&Driver, &Path) -> Result<Table, String>;

/// The parts, and whether they need root.
const PARTS: &[(&str, Part<'static>, bool)] = &[
    ("kills", &process::killed_calls, false),
    ("recovery", &process::killed_recoveries, false),
    ("failures", &process::failed_calls, false),
    ("limits", &process::limits, false),
    ("full-disk", &process::full_disk, true),
    ("written-back", &process::written_back_in_vain, true),
    ("power", &|driver, folder| process::power_cuts(driver, folder, POWER_CUTS), true),
    (
        "power-blocks",
        &|driver, folder| process::power_cuts_of_blocks(driver, folder, DISK_STATES, DISK_STATES_SEED),
        true,
    ),
];
const SAMPLE: &[(&str, Part<'static>, bool)] =
    &[("failures, a sample", &process::failed_calls_sample, false)];

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let outcome = match arguments[..] {
        ["torture", ref options @ ..] => {
            match numbers(options, [("--cycles", CYCLES_DEFAULT), ("--seed", 1)]) {
                Some([cycles, seed]) => torture(cycles, seed),
                None => return refuse(),
            }
        }
        ["sample"] => perform(SAMPLE),
        ["all"] => perform(PARTS),
        ["power-blocks", "--recording", recording, "--state", state] => perform(&[(
            "power-blocks",
            &|_, folder| process::power_cut_again(recording.as_ref(), state, folder),
            true,
        )]),
        ["power-blocks", ref options @ ..] => {
            match numbers(options, [("--states", DISK_STATES), ("--seed", DISK_STATES_SEED)]) {
                Some([states, seed]) => perform(&[(
                    "power-blocks",
                    &|driver, folder| process::power_cuts_of_blocks(driver, folder, states, seed),
                    true,
                )]),
                None => return refuse(),
            }
        }
        [name] => match PARTS.iter().position(|(own, ..)| *own == name) {
            Some(at) => perform(&PARTS[at..=at]),
            None => return refuse(),
        },
        _ => return refuse(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("error: {wrong}");
            ExitCode::FAILURE
        }
    }
}

fn refuse() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Numeric options, each with its default.
fn numbers(options: &[&str], defaults: [(&str, u64); 2]) -> Option<[u64; 2]> {
    let mut numbers = defaults.map(|(_, default)| default);
    for option in options.chunks(2) {
        let [name, number] = option else { return None };
        let at = defaults.iter().position(|(own, _)| own == name)?;
        numbers[at] = number.parse().ok()?;
    }
    Some(numbers)
}

/// Kills processes, one series per core at the same time. Each series has its logs and its seed.
fn torture(cycles: u64, seed: u64) -> Result<(), String> {
    let driver = Driver::beside_this_program()?;
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let sum = in_a_folder(|folder| {
        let (driver, mut sum) = (&driver, Torture::default());
        let outcomes = std::thread::scope(|scope| {
            let start = |own: u64| {
                let cycles = cycles / threads + u64::from(own < cycles % threads);
                scope.spawn(move || process::torture(driver, folder, seed + own, cycles))
            };
            let running = (0..threads).map(start).collect::<Vec<_>>();
            running.into_iter().map(|own| own.join().expect("a panic was printed")).collect::<Vec<_>>()
        });
        for outcome in outcomes {
            sum.add(&outcome?);
        }
        Ok(sum)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = sum.kills as f64 / seconds;
    println!("{sum}\n{seconds:.1} s, {rate:.1} kills/s, seed {seed}");
    Ok(())
}

fn perform(parts: &[(&str, Part<'_>, bool)]) -> Result<(), String> {
    Strace::ready()?;
    if parts.iter().any(|(.., needs_root)| *needs_root) {
        if !is_root() {
            return Err(
                "mounting file systems needs root: run it as root, or name the parts that need no root"
                    .to_owned(),
            );
        }
        have_own_mounts()?;
    }
    let driver = Driver::beside_this_program()?;
    let begun = Instant::now();
    let mut wrong = Vec::new();
    in_a_folder(|folder| {
        for (name, part, _) in parts {
            let begun = Instant::now();
            let table = part(&driver, folder)?;
            println!("{table}  {:.1} s\n", begun.elapsed().as_secs_f64());
            if !table.is_right() {
                wrong.push(*name);
            }
        }
        match &wrong[..] {
            [] => Ok(()),
            wrong => Err(format!("checks failed in: {}", wrong.join(", "))),
        }
    })?;
    println!("all is right, {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Restarts this program in a private mount namespace. The kernel removes its mounts when the last process in it has
/// ended, also after a kill.
fn have_own_mounts() -> Result<(), String> {
    use std::os::unix::process::CommandExt as _;
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return Ok(());
    }
    let own =
        std::env::current_exe().map_err(|error| format!("cannot find the path of this program: {error}"))?;
    let mut again = std::process::Command::new("unshare");
    again.args(["--mount", "--"]).arg(own).args(std::env::args_os().skip(1)).env(OWN_MOUNTS, "1");
    Err(format!("cannot start `unshare`: {}", again.exec()))
}

/// Works in a temporary folder. After a failure the folder is kept for inspection.
fn in_a_folder<T>(work: impl FnOnce(&Path) -> Result<T, String>) -> Result<T, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("making a folder: {error}"))?;
    let outcome = work(folder.path());
    if outcome.is_err() {
        eprintln!("the files are in {}", folder.keep().display());
    }
    outcome
}

/// True if the files of this process belong to root.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
