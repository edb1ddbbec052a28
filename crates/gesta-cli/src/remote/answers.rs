//! Answers of a server, as values and errors of a store.

use bytes::Bytes;
use gesta_core::{
    AppendError, Appended, Checkpoint, Diverged, Expected, ListToken, Page, Placed, Position, ReadError,
    StreamInfo, StreamPage, Version,
};
use gesta_server::wire::{EventJson, position_from_json};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::failure::Failure;

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server did not answer.
    Transport(String),
    /// The server answered with a problem.
    Problem(Value),
    /// The answer does not fit this protocol.
    Strange(String),
}

impl Fault {
    pub(super) fn transport(error: ureq::Error) -> Self {
        Self::Transport(error.to_string())
    }

    pub(super) fn request(error: ureq::http::Error) -> Self {
        Self::Strange(error.to_string())
    }

    pub(super) fn answer(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(problem) if problem["type"].is_string() => Self::Problem(problem),
            _ => Self::Strange(format!("status {status} without Problem Details")),
        }
    }

    pub(super) fn unsupported(what: &str) -> Self {
        Self::Strange(format!("not supported: {what}"))
    }

    /// True if it is a problem of that kind.
    pub(crate) fn is_kind(&self, kind: &str) -> bool {
        self.kind() == Some(kind)
    }

    fn kind(&self) -> Option<&str> {
        let Self::Problem(problem) = self else { return None };
        problem["type"].as_str()?.strip_prefix("urn:gesta:problem:")
    }

    /// The problem as text.
    fn text(&self) -> String {
        match self {
            Self::Transport(text) => text.clone(),
            Self::Problem(problem) => {
                problem["detail"].as_str().unwrap_or("the server gave no reason").to_owned()
            }
            Self::Strange(text) => text.clone(),
        }
    }

    /// The problem as the failure of a command.
    pub(crate) fn failure(&self, url: &str) -> Failure {
        let message = match self {
            Self::Transport(_) => format!("cannot reach a server at `{url}`"),
            Self::Problem(_) => format!("the server at `{url}` refused the request"),
            Self::Strange(_) => format!("`{url}` does not answer like a Gesta server"),
        };
        let failure = Failure::new(message).cause(self.text());
        match self {
            Self::Transport(_) => failure.help("check the address; `gesta serve` starts a server"),
            Self::Problem(_) => failure,
            Self::Strange(_) => failure.help("check the address and the port"),
        }
    }

    /// The problem as the error of an append.
    pub(super) fn append(self) -> AppendError {
        let reason = self.text();
        let Self::Problem(problem) = &self else { return AppendError::InDoubt { reason } };
        let refused = match self.kind() {
            Some("conflict") => conflict(problem),
            Some("id-taken") => id_taken(problem),
            Some("condition-failed") => condition_failed(problem),
            Some("diverged") => diverged(problem).map(AppendError::from),
            Some("overloaded" | "too-slow") => Some(AppendError::Overloaded),
            Some("unavailable" | "stopping") => Some(AppendError::Unavailable { reason: reason.clone() }),
            Some("read-only") => Some(AppendError::ReadOnly { reason: reason.clone() }),
            Some("storage-full") => Some(AppendError::StorageFull { reason: reason.clone() }),
            Some("closed") => Some(AppendError::Closed),
            Some("in-doubt" | "internal") => Some(AppendError::InDoubt { reason: reason.clone() }),
            _ => None,
        };
        refused.unwrap_or(AppendError::Invalid { reason })
    }

    /// The problem as the error of a read.
    pub(super) fn read(self) -> ReadError {
        let reason = self.text();
        if let Some(lost) = self.data_loss() {
            return lost;
        }
        if let Some(diverged) = self.diverged() {
            return diverged.into();
        }
        match self.kind() {
            Some("overloaded") => ReadError::Overloaded,
            Some("closed") => ReadError::Closed,
            Some("unavailable" | "stopping" | "internal" | "data-loss") | None => {
                ReadError::Unavailable { reason }
            }
            Some(_) => ReadError::Invalid { reason },
        }
    }
}

impl Fault {
    /// A checkpoint of another history of the server's store.
    fn diverged(&self) -> Option<Diverged> {
        let Self::Problem(problem) = self else { return None };
        if self.is_kind("diverged") { diverged(problem) } else { None }
    }

    /// Damage that the server met, with the checkpoint to continue at.
    fn data_loss(&self) -> Option<ReadError> {
        let Self::Problem(problem) = self else { return None };
        if !self.is_kind("data-loss") {
            return None;
        }
        Some(ReadError::DataLoss {
            location: "in the log of the server".to_owned(),
            from: position_from_json(&problem["from"])?,
            to: position_from_json(&problem["to"])?,
            resume: checkpoint(&problem["resume"])?,
        })
    }
}

fn conflict(problem: &Value) -> Option<AppendError> {
    let expected = match &problem["expected"] {
        Value::String(word) if word == "none" => Expected::None,
        Value::String(word) if word == "exists" => Expected::Exists,
        Value::Object(event) => Expected::Event {
            version: super::version(event.get("version")?)?,
            id: event.get("id")?.as_str()?.parse().ok()?,
        },
        value => Expected::Exactly(super::version(value)?),
    };
    let stream = problem["stream"].as_str()?.parse().ok()?;
    Some(AppendError::Conflict { stream, expected, actual: super::version(&problem["actual"]) })
}

fn diverged(problem: &Value) -> Option<Diverged> {
    let place = |name: &str| checkpoint(&problem[name]);
    Some(Diverged { checkpoint: place("checkpoint")?, found: place("found")? })
}

fn id_taken(problem: &Value) -> Option<AppendError> {
    Some(AppendError::IdTaken {
        stream: problem["stream"].as_str()?.parse().ok()?,
        id: problem["id"].as_str()?.parse().ok()?,
        version: super::version(&problem["version"])?,
        index: usize::try_from(problem["index"].as_u64()?).ok()?,
    })
}

fn condition_failed(problem: &Value) -> Option<AppendError> {
    let index = usize::try_from(problem["index"].as_u64()?).ok()?;
    Some(AppendError::ConditionFailed { index, at: position_from_json(&problem["position"])? })
}

fn strange(what: &str) -> Fault {
    Fault::Strange(format!("an answer without {what}"))
}

fn parse(bytes: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(bytes).map_err(|error| Fault::Strange(error.to_string()))
}

fn checkpoint(value: &Value) -> Option<Checkpoint> {
    value.as_str()?.parse().ok()
}

pub(super) fn read_checkpoint(bytes: &[u8]) -> Result<Checkpoint, Fault> {
    checkpoint(&parse(bytes)?["checkpoint"]).ok_or_else(|| strange("a checkpoint"))
}

pub(super) fn read_appended(bytes: &[u8]) -> Result<Appended, Fault> {
    let answer = parse(bytes)?;
    let numbers = |name: &str| answer[name].as_array().ok_or_else(|| strange(name));
    let versions = numbers("versions")?.iter().map(super::version);
    let positions = numbers("positions")?.iter().map(position_from_json);
    let place = |(version, position): (Option<Version>, Option<Position>)| {
        Some(Placed { version: version?, position: position? })
    };
    let places =
        versions.zip(positions).map(place).collect::<Option<_>>().ok_or_else(|| strange("places"))?;
    Ok(Appended {
        places,
        checkpoint: checkpoint(&answer["checkpoint"]).ok_or_else(|| strange("a checkpoint"))?,
        repeated: answer["repeated"].as_bool().ok_or_else(|| strange("`repeated`"))?,
    })
}

pub(super) fn read_streams(bytes: &[u8]) -> Result<StreamPage, Fault> {
    let answer = parse(bytes)?;
    let info = |stream: &Value| {
        let name = stream["stream"].as_str()?.parse().ok()?;
        Some(StreamInfo::new(name, super::version(&stream["version"])?))
    };
    let streams = answer["streams"].as_array().ok_or_else(|| strange("streams"))?;
    let streams = streams.iter().map(info).collect::<Option<_>>().ok_or_else(|| strange("streams"))?;
    Ok(StreamPage { streams, next: answer["next"].as_str().map(list_token).transpose()? })
}

/// The token in the address of the next page.
fn list_token(address: &str) -> Result<ListToken, Fault> {
    let parameters = address.split_once('?').map_or("", |(_, parameters)| parameters).split('&');
    let token = parameters.filter_map(|pair| pair.strip_prefix("after=")).next();
    let token = token.and_then(|token| percent_decode_str(token).decode_utf8().ok());
    token.map(|token| ListToken(token.into())).ok_or_else(|| strange("the address of the next page"))
}

/// A page, borrowed from its JSON.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageJson<'a> {
    #[serde(borrow)]
    events: Vec<EventJson<'a>>,
    scanned_to: String,
    head: String,
    #[serde(default)]
    last_version: Option<u64>,
    end: bool,
}

/// Reads a page. The data of events is taken from the JSON unchanged, so its bytes are the stored ones.
pub(super) fn read_page(bytes: &Bytes) -> Result<Page, Fault> {
    let page = serde_json::from_slice::<PageJson<'_>>(bytes);
    let page = page.map_err(|error| Fault::Strange(error.to_string()))?;
    let events = page.events.iter().map(|event| event.to_recorded(bytes)).collect::<Result<_, _>>();
    let place = |token: &str| token.parse().map_err(|_| strange("a checkpoint"));
    Ok(Page {
        events: events.map_err(|error| Fault::Strange(error.to_string()))?,
        scanned_to: place(&page.scanned_to)?,
        head: place(&page.head)?,
        last_version: page.last_version.map(Version::new),
        end: page.end,
    })
}
