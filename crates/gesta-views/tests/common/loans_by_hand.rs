//! The answers about the loans, from the lines of the file alone: nothing is folded event by event, as a view does.

use std::collections::{BTreeMap, BTreeSet};

use gesta_views::SqlValue;
use serde_json::Value;

use super::nanos;

/// The lines that were read, as far as the answers need them. Days and months are the first characters of a time.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Month and outcome of each application that ended.
    outcomes: Vec<(String, String)>,
    /// The work on each loan, by its type.
    work: BTreeMap<(String, String), Vec<Step>>,
    /// The day on which each loan was submitted.
    submitted: BTreeMap<String, String>,
    /// The first day on which each loan ended.
    ended: BTreeMap<String, String>,
    /// The days on which a loan was submitted or ended.
    days: BTreeSet<String>,
}

/// A step of some work.
#[derive(Debug)]
struct Step {
    lifecycle: String,
    nanos: i64,
    resource: String,
}

type Table = Vec<Vec<SqlValue>>;

impl Lines {
    pub(super) fn see(&mut self, line: &Value) {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let data = |name: &str| line["data"][name].as_str().map(str::to_owned);
        let (loan, kind, time) = (text("subject"), text("type"), text("time"));
        let (month, day) = (time[..7].to_owned(), time[..10].to_owned());
        match kind.strip_prefix("loan.").unwrap() {
            "a_submitted" => {
                self.days.insert(day.clone());
                self.submitted.insert(loan, day);
            }
            "a_approved" | "a_declined" | "a_cancelled" => {
                self.outcomes.push((month, kind["loan.a_".len()..].to_owned()));
                self.days.insert(day.clone());
                self.ended.entry(loan).or_insert(day);
            }
            work if work.starts_with("w_") => {
                let resource = data("resource").unwrap_or_else(|| "nobody".to_owned());
                let step = Step { lifecycle: data("lifecycle").unwrap(), nanos: nanos(&time), resource };
                self.work.entry((loan, kind)).or_default().push(step);
            }
            _ => {}
        }
    }

    /// Month, outcome, and the number of applications.
    pub(super) fn outcomes(&self) -> Table {
        let mut sorted = self.outcomes.clone();
        sorted.sort();
        let of_one = |run: &[(String, String)]| vec![text(&run[0].0), text(&run[0].1), count(run.len())];
        sorted.chunk_by(|one, next| one == next).map(of_one).collect()
    }

    /// Resource, items, nanoseconds and hours.
    pub(super) fn hours(&self) -> Table {
        let mut took = BTreeMap::<&str, Vec<i64>>::new();
        for steps in self.work.values() {
            for piece in steps.split_inclusive(|step| step.lifecycle == "complete") {
                let begun = piece.iter().rev().find(|step| step.lifecycle == "start");
                let ended = piece.last().filter(|step| step.lifecycle == "complete");
                if let (Some(begun), Some(ended)) = (begun, ended) {
                    took.entry(&ended.resource).or_default().push(ended.nanos - begun.nanos);
                }
            }
        }
        let row = |(resource, took): (&&str, &Vec<i64>)| {
            let nanos = took.iter().sum::<i64>();
            let hours = SqlValue::Real(nanos as f64 / 3.6e12);
            vec![text(resource), count(took.len()), SqlValue::Integer(nanos), hours]
        };
        took.iter().map(row).collect()
    }

    /// Day, and the number of applications that are open at its end.
    pub(super) fn stock(&self) -> Table {
        let up_to =
            |days: &BTreeMap<String, String>, end: &String| days.values().filter(|day| *day <= end).count();
        let row =
            |day: &String| vec![text(day), count(up_to(&self.submitted, day) - up_to(&self.ended, day))];
        self.days.iter().map(row).collect()
    }
}

fn text(text: &str) -> SqlValue {
    SqlValue::from(text)
}

fn count(count: usize) -> SqlValue {
    SqlValue::Integer(i64::try_from(count).unwrap())
}
