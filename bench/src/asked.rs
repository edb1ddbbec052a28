//! The arguments of the command line.

use std::path::PathBuf;
use std::time::Duration;

use bench_core::{Ids, Load, ROUNDS, Sheet, Work};

/// The requested figures and how to measure them.
#[derive(Debug, PartialEq)]
pub struct Asked {
    /// Names of figures.
    pub figures: Vec<String>,
    /// The duration of each row in each round.
    pub seconds: Option<f64>,
    /// Measurements of each row.
    pub rounds: usize,
    /// Events in the log, for figures that fill one.
    pub events: Option<u64>,
    /// Only rows whose name contains this.
    pub only: String,
    /// Only stores, or kinds of call, whose name contains this.
    pub store: String,
    /// The kind of event ids.
    pub ids: Ids,
    /// The part of the index in memory in `growth`, in bytes.
    pub memory: Option<u64>,
    /// The folder for files of figures and plots.
    pub out: PathBuf,
    /// The folder of a log: `rebuild` keeps its log there; `growth` passes it to the process that it kills.
    pub log: Option<PathBuf>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            figures: Vec::new(),
            seconds: None,
            rounds: ROUNDS,
            events: None,
            only: String::new(),
            store: String::new(),
            ids: Ids::V7,
            memory: None,
            out: "figures".into(),
            log: None,
        }
    }
}

/// The help text of the options.
pub const OPTIONS: &str = "\
  --seconds N     duration of each row in each round (2; `sustained` 60)
  --rounds N      measurements of each row (3)
  --events N      number of events in the log: 1000000, 500k, 10M (`reads`, `cold` 1M, `disk` 10M, `growth` 100M)
  --only TEXT     only rows whose name contains this
  --store TEXT    only stores, or kinds of call, whose name contains this
  --ids v4|v7     kind of event ids in `growth` (v7)
  --memory BYTES  part of the index in memory in `growth`, for example 32M (256 MiB)
  --out FOLDER    folder for figures and plots (figures)";

impl Asked {
    /// Parses the arguments.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut asked, mut arguments) = (Self::default(), arguments.into_iter());
        while let Some(argument) = arguments.next() {
            let Some(option) = argument.strip_prefix("--") else {
                asked.figures.push(argument);
                continue;
            };
            let value = arguments.next().ok_or_else(|| format!("`{argument}` needs a value"))?;
            let wrong = || format!("`{value}` is not a value of `{argument}`");
            match option {
                "seconds" => {
                    asked.seconds =
                        Some(value.parse().ok().filter(|&seconds| seconds > 0.0).ok_or_else(wrong)?);
                }
                "rounds" => {
                    asked.rounds = value.parse().ok().filter(|&rounds| rounds > 0).ok_or_else(wrong)?
                }
                "events" => {
                    asked.events = Some(number(&value).filter(|&events| events > 0).ok_or_else(wrong)?)
                }
                "ids" => asked.ids = ids(&value).ok_or_else(wrong)?,
                "memory" => asked.memory = Some(number(&value).ok_or_else(wrong)?),
                "only" => asked.only = value,
                "store" => asked.store = value,
                "out" => asked.out = value.into(),
                "log" => asked.log = Some(value.into()),
                _ => return Err(format!("`{argument}` is not an option")),
            }
        }
        Ok(asked)
    }

    /// The output of a figure.
    pub fn sheet(&self, figure: &str) -> Sheet {
        Sheet {
            file: self.out.join(format!("{figure}.csv")),
            rounds: self.rounds,
            only: self.only.clone(),
            store: self.store.clone(),
        }
    }

    /// A load with the requested duration.
    pub fn load(&self, clients: u64, work: Work) -> Load {
        Load { clients, work, lasts: self.lasts(2.0), rests: true }
    }

    /// The duration of a row.
    pub fn lasts(&self, unless_asked: f64) -> Duration {
        Duration::from_secs_f64(self.seconds.unwrap_or(unless_asked))
    }
}

/// Parses a number that may end in `k` or `M`.
fn number(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix('M') {
        Some(digits) => (digits, 1_000_000),
        None => text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1_000)),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn ids(text: &str) -> Option<Ids> {
    match text {
        "v4" => Some(Ids::V4),
        "v7" => Some(Ids::V7),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_parsed_and_wrong_ones_are_named() {
        let parse = |text: &str| Asked::parse(text.split_whitespace().map(ToOwned::to_owned));
        let asked = parse("growth --events 10M reads --ids v4 --seconds 0.5").expect("arguments");
        assert_eq!(asked.figures, ["growth", "reads"]);
        assert_eq!((asked.events, asked.ids, asked.seconds), (Some(10_000_000), Ids::V4, Some(0.5)));
        for wrong in
            ["--events", "--events 0", "--events 10X", "--ids v5", "--seconds 0", "--rounds 0", "--what 1"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
