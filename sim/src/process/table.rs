//! What was tried, what came of it, and whether that is right.

use std::collections::BTreeMap;
use std::fmt;

/// One cell of a matrix of faults.
#[derive(Debug, Clone)]
pub struct Row {
    /// The fault.
    pub cell: String,
    /// What happened, and how often.
    pub happened: BTreeMap<String, u64>,
    /// What is not as it must be.
    pub wrong: Vec<String>,
}

/// Cells, printed one a line.
#[derive(Debug, Clone)]
pub struct Table {
    /// What all of them have in common.
    pub title: String,
    /// The cells.
    pub rows: Vec<Row>,
}

impl Row {
    /// A cell in which nothing happened yet.
    #[must_use]
    pub fn new(cell: impl Into<String>) -> Self {
        Self { cell: cell.into(), happened: BTreeMap::new(), wrong: Vec::new() }
    }

    /// Notes what one run came to.
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
    /// Whether everything was as it must be, and something happened in every cell.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.rows.iter().all(|row| row.wrong.is_empty() && row.runs() > 0)
    }

    /// Runs in all cells.
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
