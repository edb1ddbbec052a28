//! The lines that a process prints on standard output: each answer, before it does anything else.

use std::fmt;
use std::str::FromStr;

use gesta_core::{AppendError, Appended};

/// One line of a process that appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The log was opened.
    Opened {
        /// The reason why the log takes no writes, if it takes none.
        read_only: Option<String>,
    },
    /// A batch was acknowledged.
    Acknowledged(Acknowledged),
    /// A batch was not acknowledged.
    NotAcknowledged {
        /// The client.
        client: u64,
        /// The number of the batch.
        count: u64,
        /// The kind of answer.
        answer: Answer,
        /// The text of the answer.
        why: String,
    },
    /// All events were read: their number.
    Read(u64),
    /// Opening or reading the log failed.
    Failed(String),
    /// The process saw the log break a promise.
    Broken(String),
}

/// An acknowledgement: the client's `count`-th batch is durable, at these places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The client.
    pub client: u64,
    /// The number of the batch.
    pub count: u64,
    /// Position and version of each event.
    pub places: Vec<(u64, u64)>,
    /// On a recorded disk: the length of the record of writes when the client got its answer, in bytes.
    pub writes_bytes: Option<u64>,
}

/// An answer other than an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// It may have been written.
    InDoubt,
    /// The log takes no more writes.
    ReadOnly,
    /// There is no space, and the batch was not checked or written.
    StorageFull,
    /// A temporary refusal.
    Unavailable,
    /// Any other answer: no fault of a machine explains it.
    Other,
}

impl Answer {
    /// The kind of an error.
    #[must_use]
    pub const fn of(error: &AppendError) -> Self {
        match error {
            AppendError::InDoubt { .. } => Self::InDoubt,
            AppendError::ReadOnly { .. } => Self::ReadOnly,
            AppendError::StorageFull { .. } => Self::StorageFull,
            AppendError::Unavailable { .. } => Self::Unavailable,
            _ => Self::Other,
        }
    }
}

impl Said {
    /// True if the batch is in doubt.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        matches!(self, Self::NotAcknowledged { answer: Answer::InDoubt, .. })
    }
}

/// The places in an answer.
#[must_use]
pub fn places(appended: &Appended) -> Vec<(u64, u64)> {
    appended.places.iter().map(|place| (place.position.sequence, place.version.get())).collect()
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { read_only: None } => write!(f, "opened"),
            Self::Opened { read_only: Some(reason) } => write!(f, "opened {}", one_line(reason)),
            Self::Acknowledged(Acknowledged { client, count, places, writes_bytes }) => {
                write!(f, "ok {client} {count}")?;
                places.iter().try_for_each(|(position, version)| write!(f, " {position}@{version}"))?;
                writes_bytes.map_or(Ok(()), |bytes| write!(f, " after {bytes}"))
            }
            Self::NotAcknowledged { client, count, answer, why } => {
                write!(f, "no {client} {count} {} {}", answer.name(), one_line(why))
            }
            Self::Read(events) => write!(f, "read {events}"),
            Self::Failed(why) => write!(f, "failed {}", one_line(why)),
            Self::Broken(why) => write!(f, "broken {}", one_line(why)),
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

impl Answer {
    const ALL: [Self; 5] = [Self::InDoubt, Self::ReadOnly, Self::StorageFull, Self::Unavailable, Self::Other];

    /// Its name in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InDoubt => "in-doubt",
            Self::ReadOnly => "read-only",
            Self::StorageFull => "storage-full",
            Self::Unavailable => "unavailable",
            Self::Other => "other",
        }
    }
}

impl FromStr for Said {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let said = match kind {
            "opened" => Some(Self::Opened { read_only: Some(rest.to_owned()).filter(|why| !why.is_empty()) }),
            "ok" => acknowledged(rest),
            "no" => not_acknowledged(rest),
            "read" => rest.parse().ok().map(Self::Read),
            "failed" => Some(Self::Failed(rest.to_owned())),
            "broken" => Some(Self::Broken(rest.to_owned())),
            _ => None,
        };
        said.ok_or_else(|| format!("not a line of `torture`: `{line}`"))
    }
}

fn acknowledged(text: &str) -> Option<Said> {
    let (text, writes_bytes) = match text.split_once(" after ") {
        Some((text, bytes)) => (text, Some(bytes.parse().ok()?)),
        None => (text, None),
    };
    let mut words = text.split(' ');
    let (client, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let place = |word: &str| {
        let (position, version) = word.split_once('@')?;
        Some((position.parse().ok()?, version.parse().ok()?))
    };
    let places = words.map(place).collect::<Option<Vec<_>>>()?;
    Some(Said::Acknowledged(Acknowledged { client, count, places, writes_bytes }))
}

fn not_acknowledged(text: &str) -> Option<Said> {
    let mut words = text.splitn(4, ' ');
    let (client, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let name = words.next()?;
    let answer = Answer::ALL.into_iter().find(|answer| answer.name() == name)?;
    Some(Said::NotAcknowledged { client, count, answer, why: words.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_as_they_are_printed() {
        let acknowledged =
            Acknowledged { client: 1, count: 2, places: vec![(3, 0), (4, 7)], writes_bytes: None };
        let written_down = Acknowledged { writes_bytes: Some(4096), ..acknowledged.clone() };
        let refused = Said::NotAcknowledged {
            client: 1,
            count: 2,
            answer: Answer::StorageFull,
            why: "no space left".to_owned(),
        };
        let all = [
            Said::Opened { read_only: None },
            Said::Opened { read_only: Some("it is damaged".to_owned()) },
            Said::Acknowledged(acknowledged),
            Said::Acknowledged(written_down),
            refused,
            Said::Read(12),
            Said::Failed("no such file".to_owned()),
            Said::Broken("versions go back".to_owned()),
        ];
        for said in all {
            assert_eq!(said.to_string().parse(), Ok(said));
        }
        for line in ["", "ok", "ok 1", "ok 1 2 3", "ok 1 2 3@0 after x", "no 1 2 what why", "read x", "hello"]
        {
            assert!(line.parse::<Said>().is_err(), "{line}");
        }
    }
}
