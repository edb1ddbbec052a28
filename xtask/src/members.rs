//! Members of a consumer group and their server, killed for long.

use crate::{Failure, shell};

/// The test of `gesta-cli` that does it, with fewer kills.
const TEST: &str = "groups::faults::effects_are_exactly_the_events_when_members_and_the_server_are_killed";

/// Kills members and servers. The arguments are settings of the test.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    shell::run(&line(arguments)?)
}

fn line(arguments: &[&str]) -> Result<String, Failure> {
    let (mut kills, mut seed) = ("10000", "1");
    for argument in arguments.chunks(2) {
        match argument {
            ["--kills", number] => kills = number,
            ["--seed", number] => seed = number,
            other => return Err(format!("`{}` is neither `--kills N` nor `--seed N`", other.join(" "))),
        }
    }
    Ok(format!(
        "GESTA_KILLS={kills} GESTA_SEED={seed} cargo test --release --package gesta-cli --test it -- --exact --nocapture {TEST}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_and_seed_are_settings_of_the_test() {
        assert!(line(&[]).unwrap().starts_with("GESTA_KILLS=10000 GESTA_SEED=1 cargo test "));
        assert!(line(&["--seed", "7", "--kills", "9"]).unwrap().starts_with("GESTA_KILLS=9 GESTA_SEED=7 "));
        assert!(line(&["--kills"]).unwrap_err().contains("neither"));
    }
}
