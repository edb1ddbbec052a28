//! The named steps behind `test` and `ci`, and the loop that runs them.
//!
//! A step is a command line that a person could type. It is printed before it runs, and again after a failure.

use std::fmt::Write;
use std::time::Instant;

use crate::{Failure, install, processor, shell};

/// One check, and the command that makes it.
#[derive(Debug)]
pub(crate) struct Step {
    name: &'static str,
    command: &'static str,
    needs: &'static [Tool],
}

/// Tools that a step needs besides cargo.
#[derive(Debug)]
enum Tool {
    /// A component that rustup can add. Where it cannot, the step is skipped, and the last lines say so.
    Component(&'static str),
    /// A package that apt can install, and a command that succeeds once it is installed and may be used. Where it cannot, the step is
    /// skipped, and the last lines say so.
    Package { name: &'static str, probe: &'static str },
    /// Tools that a command installs in `target`, and a command that succeeds once they are there. Where it cannot, the step is skipped, and
    /// the last lines say so.
    Installed { install: &'static str, probe: &'static str },
    /// A tool that takes minutes to install, and a command that does not need it.
    Optional { otherwise: &'static str },
}

/// The checks that a change must pass. Cheap steps come first.
pub(crate) const TEST: &[Step] = &[
    Step { name: "format", command: "cargo fmt --all --check", needs: &[Tool::Component("rustfmt")] },
    Step {
        name: "lint",
        command: "cargo clippy --workspace --all-targets -- -D warnings",
        needs: &[Tool::Component("clippy")],
    },
    Step { name: "tidy", command: "cargo xtask tidy", needs: &[] },
    Step {
        // The step installs what the tests need to run the example; without it, they leave it out.
        name: "example in Python",
        command: "PYTHONPYCACHEPREFIX=target/python python3 -m py_compile examples/consumer.py",
        needs: &[Tool::Package { name: "python3", probe: "python3 -m sqlite3.dbapi2" }],
    },
    Step {
        name: "tests",
        // Nextest runs each test in its own process, `cargo test` in a thread. Tests must pass under both.
        // The tests with servers are a step of their own. One that is missing there fails here.
        command: "GESTA_SERVERS=elsewhere cargo nextest run --workspace --profile servers --ignore-default-filter -E not(default()|package(sim))",
        // `--tests` leaves out doctests, which are a step of their own.
        needs: &[Tool::Optional {
            otherwise: "GESTA_SERVERS=none cargo test --workspace --tests --no-fail-fast",
        }],
    },
    Step {
        name: "API by its description",
        command: "cargo xtask api",
        needs: &[Tool::Installed {
            install: "cargo xtask api --install",
            probe: "target/api-tools/bin/schemathesis --version",
        }],
    },
    Step {
        name: "simulated faults and planted bugs",
        // `tests` leaves these out: a debug build takes minutes. Built like every program of `sim`: see `sim::BUILD`.
        command: "cargo test --profile simulation --package sim --features planted-bugs --test it",
        needs: &[],
    },
    Step { name: "simulation", command: "cargo xtask sim", needs: &[] },
    Step { name: "simulation of groups", command: "cargo xtask sim-groups --seeds 10000", needs: &[] },
    Step {
        name: "system faults",
        command: "cargo xtask faults sample",
        needs: &[Tool::Package { name: "strace", probe: "strace -qqq -o /dev/null true" }],
    },
    Step {
        name: "tests with servers",
        // They share the servers that this command starts.
        command: "GESTA_SERVERS=required cargo run --quiet --package test-servers -- with postgres nats nats-cluster rabbitmq -- cargo nextest run --workspace --profile servers",
        needs: &[
            Tool::Optional {
                otherwise: "GESTA_SERVERS=required cargo run --quiet --package test-servers -- with postgres nats nats-cluster rabbitmq -- cargo test --workspace --tests --no-fail-fast",
            },
            Tool::Package {
                name: "postgresql pgbouncer rabbitmq-server redis-server python3-pip",
                probe: "cargo run --quiet --package test-servers -- installed postgres pgbouncer nats rabbitmq redis",
            },
        ],
    },
    Step {
        // No other step builds the client of Kafka, which is C. Its tests have mock brokers within their process.
        name: "lint of Kafka",
        command: "cargo clippy --package gesta-publish --package gesta-cli --features gesta-publish/kafka,gesta-cli/publish-kafka --lib --test kafka --test it -- -D warnings",
        needs: &[Tool::Package { name: "gcc make", probe: "cc --version" }],
    },
    Step {
        name: "Kafka",
        command: "cargo test --package gesta-publish --features kafka --lib --test kafka",
        needs: &[Tool::Package { name: "gcc make", probe: "cc --version" }],
    },
    Step {
        name: "Kafka under the server",
        command: "cargo test --package gesta-cli --features publish-kafka --test it kafka::",
        needs: &[Tool::Package { name: "gcc make", probe: "cc --version" }],
    },
    Step { name: "doctests", command: "cargo test --workspace --doc", needs: &[] },
    Step { name: "docs", command: "RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps", needs: &[] },
];

/// What CI runs after [`TEST`]: checks that take too long for every day.
pub(crate) const CI_ONLY: &[Step] = &[
    Step {
        name: "packages",
        command: "cargo package --workspace --quiet --no-verify --allow-dirty --exclude gesta-conformance --exclude gesta-embedded --exclude gesta-shop --exclude sim --exclude test-servers --exclude xtask",
        needs: &[],
    },
    Step {
        name: "clocks",
        command: "cargo test --workspace --test it clocks -- --ignored",
        needs: &[Tool::Package { name: "faketime", probe: "faketime -f +2h true" }],
    },
    Step {
        name: "API of both servers",
        command: "cargo xtask api --seed 2 --examples 20",
        needs: &[Tool::Installed {
            install: "cargo xtask api --install",
            probe: "target/api-tools/bin/schemathesis --version",
        }],
    },
    Step {
        name: "errors of the compiler",
        command: "cargo test --workspace --test compile_fail -- --ignored",
        needs: &[],
    },
    Step {
        name: "processes and entities",
        // `tests` runs the few seeds of a debug build. This build takes minutes.
        command: "cargo test --profile simulation --package gesta --lib simulation",
        needs: &[],
    },
    Step { name: "torture", command: "cargo xtask torture --cycles 5000", needs: &[] },
    Step { name: "torture of groups", command: "cargo xtask torture-groups --kills 2000", needs: &[] },
    Step { name: "shop", command: "cargo xtask demo-shop --kills 60", needs: &[] },
];

/// The names of the steps, in order.
pub(crate) fn names(steps: &[Step]) -> Vec<&'static str> {
    steps.iter().map(|step| step.name).collect()
}

/// A step as this machine can run it.
#[derive(Debug, PartialEq, Eq)]
struct Planned {
    name: &'static str,
    command: &'static str,
    /// The command line that installs what is missing.
    install: Option<String>,
    /// A command that succeeds once that is installed and may be used.
    probe: Option<&'static str>,
    /// A note that is printed beforehand.
    note: Option<String>,
}

/// Prints the steps and what they install, then runs them in order. Stops at the first failure.
pub(crate) fn run(lists: &[&[Step]]) -> Result<(), Failure> {
    let begun = Instant::now();
    let steps = lists.iter().copied().flatten().map(plan).collect::<Vec<_>>();
    print!("{}", announcement(&steps));
    let mut skipped = Vec::new();
    for step in &steps {
        match prepare(step) {
            Ok(()) => run_step(step.name, step.command)?,
            Err(reason) => {
                println!("\n=== {}: skipped, because {reason}", step.name);
                skipped.push(step.name);
            }
        }
    }

    println!("\n=== all steps passed in {:.1} s{}", begun.elapsed().as_secs_f64(), processor_time(0.0));
    if !skipped.is_empty() {
        println!("=== except these, which were skipped: {}", skipped.join(", "));
    }
    Ok(())
}

/// The lines that are printed before anything runs.
fn announcement(steps: &[Planned]) -> String {
    let names = steps.iter().map(|step| step.name).collect::<Vec<_>>();
    let mut text = format!("=== steps ({}): {}\n", steps.len(), names.join(", "));
    let installs = steps.iter().filter_map(|step| Some((step.name, step.install.as_ref()?)));
    for (name, command) in installs {
        writeln!(text, "=== `{name}` needs a tool that is missing; it will be installed with `{command}`")
            .expect("a string takes text");
    }
    for note in steps.iter().filter_map(|step| step.note.as_ref()) {
        writeln!(text, "=== note: {note}").expect("a string takes text");
    }
    text
}

fn run_step(name: &str, command: &str) -> Result<(), Failure> {
    println!("\n=== {name}: {command}");
    let begun = Instant::now();
    let used_before = processor::seconds_of_children().unwrap_or_default();
    let status = shell::command(command).status();
    let seconds = begun.elapsed().as_secs_f64();

    let failure = match status {
        Ok(status) if status.success() => {
            println!("=== {name}: passed in {seconds:.1} s{}", processor_time(used_before));
            return Ok(());
        }
        Ok(status) => status.to_string(),
        Err(error) => format!("cannot start: {error}"),
    };
    Err(format!("step `{name}` failed after {seconds:.1} s ({failure}); repeat it with:\n\n    {command}"))
}

/// The processor time since `used_before`, as the end of a sentence.
fn processor_time(used_before: f64) -> String {
    let used = processor::seconds_of_children().map(|now| now - used_before);
    used.map_or_else(String::new, |seconds| format!(", {seconds:.0} s of processor time"))
}

/// Decides how this machine runs the step. Installs nothing.
fn plan(step: &Step) -> Planned {
    let planned = Planned { name: step.name, command: step.command, install: None, probe: None, note: None };
    step.needs.iter().fold(planned, with)
}

/// The step, with what it takes to have the tool or to go without it.
fn with(step: Planned, tool: &Tool) -> Planned {
    match *tool {
        Tool::Optional { otherwise } if !is_installed(step.command) => {
            let missing = subcommand(step.command);
            let note = format!("`cargo {missing}` is not installed; `{otherwise}` runs instead");
            Planned { command: otherwise, note: Some(note), ..step }
        }
        Tool::Package { name, probe } if !shell::succeeds(probe) => {
            Planned { install: Some(install::package(name)), probe: Some(probe), ..step }
        }
        Tool::Installed { install, probe } if !shell::succeeds(probe) => {
            Planned { install: Some(install.to_owned()), probe: Some(probe), ..step }
        }
        Tool::Component(component) if !is_installed(step.command) => {
            Planned { install: Some(install::component(component)), ..step }
        }
        Tool::Optional { .. } | Tool::Package { .. } | Tool::Installed { .. } | Tool::Component(_) => step,
    }
}

/// Installs the missing tool of a step, or returns why the step cannot run.
fn prepare(step: &Planned) -> Result<(), Failure> {
    step.install.as_deref().map_or(Ok(()), install::run)?;
    match step.probe {
        Some(probe) if !shell::succeeds(probe) => Err(format!("`{probe}` fails though it is installed")),
        _ => Ok(()),
    }
}

/// Whether cargo knows the subcommand that the command line names.
fn is_installed(command: &str) -> bool {
    shell::succeeds(&format!("cargo {} --version", subcommand(command)))
}

/// The subcommand of the last cargo in the line: one line may start servers for another one.
fn subcommand(command: &str) -> &str {
    let last = command.rsplit("cargo ").next().unwrap_or_default();
    last.split_whitespace().next().expect("a step is `cargo <subcommand> …`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_names_itself_and_the_command_to_repeat() {
        let failure = run_step("sums", "false --really").unwrap_err();
        assert!(failure.starts_with("step `sums` failed after "), "{failure}");
        assert!(failure.ends_with("repeat it with:\n\n    false --really"), "{failure}");
    }

    #[test]
    fn a_missing_optional_tool_is_replaced_and_named_beforehand() {
        let step = Step {
            name: "sums",
            command: "SERVERS=none cargo run -- cargo no-such-subcommand run",
            needs: &[Tool::Optional { otherwise: "cargo test" }],
        };
        let planned = plan(&step);
        assert_eq!((planned.command, &planned.install), ("cargo test", &None));
        let note = "=== note: `cargo no-such-subcommand` is not installed; `cargo test` runs instead\n";
        assert_eq!(announcement(&[planned]), format!("=== steps (1): sums\n{note}"));
    }

    #[test]
    fn a_missing_package_is_named_before_it_is_installed() {
        let needs = &[Tool::Package { name: "abacus", probe: "no-such-program" }];
        let planned = plan(&Step { name: "sums", command: "cargo test", needs });
        assert_eq!(planned.probe, Some("no-such-program"));
        let said = announcement(&[planned]);
        let install = "apt-get install --yes --no-install-recommends abacus`";
        assert!(said.contains("`sums` needs a tool that is missing") && said.contains(install), "{said}");
    }

    #[test]
    fn programs_of_the_simulation_are_built_one_way() {
        let planted = TEST.iter().find(|step| step.name == "simulated faults and planted bugs").unwrap();
        assert_eq!(planted.command, format!("cargo test {} --test it", crate::sim::BUILD));
    }
}
