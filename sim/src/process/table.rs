//! The attempts of a kind of fault, their outcomes, and a verdict.

use std::collections::BTreeMap;
use std::fmt;

/// One row: a fault and the outcomes of its runs.
#[derive(Debug, Clone)]
pub struct Row {
    /// The fault.
    pub cell: String,
    /// The outcomes, with the number of runs of each.
    pub happened: BTreeMap<String, u64>,
    /// The failed checks.
    pub wrong: Vec<String>,
}

/// Rows, printed one a line.
#[derive(Debug, Clone)]
pub struct Table {
    /// The common property of the rows.
    pub title: String,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Row {
    /// A row without runs.
    #[must_use]
    pub fn new(cell: impl Into<String>) -> Self {
        Self { cell: cell.into(), happened: BTreeMap::new(), wrong: Vec::new() }
    }

    /// Notes the outcome of one run.
    pub fn note(&mut self, run: &str, outcome: Result<String, String>) {
        match outcome {
            Ok(happened) => *self.happened.entry(happened).or_default() += 1,
            Err(wrong) => self.wrong.push(format!("{run}: {wrong}")),
        }
    }

    fn runs(&self) -> u64 {
        self.happened.values().sum::<u64>() + self.wrong.len() as u64
    }
}

impl Table {
    /// True if no check failed and every row has an outcome.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.rows.iter().all(|row| row.wrong.is_empty() && row.runs() > 0)
    }

    /// The number of runs in all rows.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.rows.iter().map(Row::runs).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} runs", self.title, self.runs())?;
        let width = self.rows.iter().map(|row| row.cell.len()).max().unwrap_or(0);
        for row in &self.rows {
            let verdict = match row.wrong.len() {
                0 if row.runs() == 0 => "NEVER HAPPENED".to_owned(),
                0 => "right".to_owned(),
                wrong => format!("{wrong} WRONG"),
            };
            let happened = row.happened.iter().map(|(what, times)| format!("{times} {what}"));
            let happened = happened.collect::<Vec<_>>().join(", ");
            writeln!(f, "  {:width$}  {verdict:5}  {happened}", row.cell)?;
            for wrong in &row.wrong {
                writeln!(f, "  {:width$}    wrong: {wrong}", "")?;
            }
        }
        Ok(())
    }
}
