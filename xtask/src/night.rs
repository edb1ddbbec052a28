//! The checks that seeds or kills drive, in the sizes of a night.

use std::time::Instant;

use crate::{Failure, shell, sim};

/// A check and its size. In the command, `SIZE` stands for the size and `BUILD` for how programs of `sim` are built. A command with
/// `SEED` is run once for each number from 1 to the size.
#[derive(Debug)]
struct Check {
    name: &'static str,
    size: u64,
    unit: &'static str,
    command: &'static str,
}

const CHECKS: &[Check] = &[
    Check {
        name: "groups",
        size: 5_000_000,
        unit: "seeds",
        command: "cargo run --quiet BUILD --bin simulate-groups -- --seeds SIZE",
    },
    Check {
        name: "jetstream",
        size: 1_000_000,
        unit: "seeds of a store on a JetStream cluster",
        command: "cargo run --quiet BUILD --bin simulate-jetstream -- --seeds SIZE",
    },
    Check {
        name: "cluster",
        size: 20,
        unit: "runs of a JetStream cluster whose servers are killed",
        command: "GESTA_SERVERS=required GESTA_SEED=SEED cargo test --quiet --package gesta-jetstream --test it -- --ignored --nocapture",
    },
    Check {
        name: "outages",
        size: 20,
        unit: "times each, servers of a JetStream cluster were paused, cut off and emptied",
        command: "GESTA_SERVERS=required GESTA_ROUNDS=SIZE cargo test --quiet --package gesta-jetstream --test it faults:: -- --test-threads 1 --nocapture",
    },
    Check {
        name: "cuts",
        size: 1_000,
        unit: "connections to JetStream cut between a publish and its answer",
        command: "GESTA_SERVERS=required GESTA_CUTS=SIZE cargo run --quiet --package test-servers -- with nats-cluster -- cargo test --quiet --package gesta-jetstream --test it cuts:: -- --nocapture",
    },
    Check {
        name: "processes",
        size: 1_000_000,
        unit: "seeds of processes and their timers",
        command: "GESTA_SEEDS=SIZE cargo test --quiet --profile simulation --package gesta --lib every_input_is_taken_once -- --nocapture",
    },
    Check {
        name: "proxy",
        size: 20,
        unit: "seeds of the proxy, each with all laws",
        command: "GESTA_PROXY_SEED=SEED cargo test --quiet --package gesta-client --test it through_a_cutting_proxy",
    },
    Check {
        name: "state",
        size: 2_000,
        unit: "kills of a process that writes values",
        command: "GESTA_KILLS=SIZE cargo test --quiet --package gesta-state --test it everything_acknowledged_is_there_after_kills",
    },
    Check {
        name: "members",
        size: 10_000,
        unit: "kills and stops of members and their server",
        command: "cargo xtask torture-groups --kills SIZE",
    },
    Check {
        name: "shop",
        size: 3_000,
        unit: "kills of the programs of the shop",
        command: "cargo xtask demo-shop --kills SIZE",
    },
    Check {
        name: "clocks",
        size: 200,
        unit: "kills under clocks that are wrong",
        command: "cargo xtask demo-shop --clocks SIZE",
    },
    Check {
        name: "servers",
        size: 100,
        unit: "kills of the server that deals the groups of a database",
        command: "cargo xtask demo-shop --servers SIZE",
    },
    Check {
        name: "loans",
        size: 1,
        unit: "run over all loans of the real data",
        command: "GESTA_ALL_DATA=1 GESTA_SERVERS=required cargo test --quiet --package gesta-views --package gesta-cli --features gesta-views/postgres loans",
    },
    Check {
        name: "nodes",
        size: 60,
        unit: "kills of nodes of the cluster that a shop runs on",
        command: "cargo xtask demo-cluster --kills SIZE",
    },
];

/// Runs the checks that are named, or all: `[--percent N] [NAME…]`. A failure does not keep the others from running.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let (percent, names) = match arguments {
        ["--percent", percent, names @ ..] => {
            let number = percent.parse::<u64>().ok().filter(|percent| (1..=100).contains(percent));
            (number.ok_or_else(|| format!("`{percent}` is not a percentage from 1 to 100"))?, names)
        }
        names => (100, names),
    };
    let known = || CHECKS.iter().map(|check| check.name).collect::<Vec<_>>();
    if let Some(unknown) = names.iter().find(|name| !known().contains(name)) {
        return Err(format!("`{unknown}` is no check of a night: choose from {}", known().join(", ")));
    }
    let chosen = CHECKS.iter().filter(|check| names.is_empty() || names.contains(&check.name));
    let lines = chosen.map(|check| check.run(percent)).collect::<Vec<_>>();
    println!();
    for line in &lines {
        println!("=== {}", line.as_ref().unwrap_or_else(|failure| failure));
    }
    match lines.iter().filter(|line| line.is_err()).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} checks failed", lines.len())),
    }
}

impl Check {
    /// The number of seeds or kills at a percentage of the size.
    const fn size_at(&self, percent: u64) -> u64 {
        (self.size * percent).div_ceil(100)
    }

    /// The commands at a size.
    fn commands(&self, size: u64) -> Vec<String> {
        let command = self.command.replace("BUILD", sim::BUILD).replace("SIZE", &size.to_string());
        match command.contains("SEED=SEED") {
            true => (1..=size).map(|seed| command.replace("SEED=SEED", &format!("SEED={seed}"))).collect(),
            false => vec![command],
        }
    }

    /// Runs the check. Returns a line about it; the error is one too.
    fn run(&self, percent: u64) -> Result<String, Failure> {
        let (begun, size) = (Instant::now(), self.size_at(percent));
        for command in self.commands(size) {
            println!("\n=== {}: {command}", self.name);
            let status = shell::command(&command).status();
            let failed = match status {
                Ok(status) if status.success() => continue,
                Ok(status) => status.to_string(),
                Err(error) => format!("cannot start: {error}"),
            };
            return Err(format!("{}: failed ({failed}); repeat it with: {command}", self.name));
        }
        Ok(format!("{}: {size} {}, passed in {:.0} s", self.name, self.unit, begun.elapsed().as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_and_seeds_stand_in_the_commands() {
        let find = |name| CHECKS.iter().find(|check| check.name == name).expect("it is there");
        let shop = find("shop");
        assert_eq!(shop.size_at(1), 30);
        assert_eq!(shop.commands(shop.size_at(1)), ["cargo xtask demo-shop --kills 30"]);
        let proxy = find("proxy");
        let commands = proxy.commands(proxy.size_at(10));
        assert_eq!(commands.len(), 2);
        assert!(commands[1].starts_with("GESTA_PROXY_SEED=2 cargo test"), "{commands:?}");
        assert!(CHECKS.iter().all(|check| check.size_at(1) > 0));
    }

    #[test]
    fn a_check_that_is_unknown_is_named() {
        let failure = run(&["shops"]).expect_err("it is unknown");
        assert!(failure.contains("`shops`") && failure.contains("shop"), "{failure}");
        assert!(run(&["--percent", "0"]).is_err());
    }
}
