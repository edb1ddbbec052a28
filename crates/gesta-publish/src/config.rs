//! The file of publishers, in TOML: read, checked, and made into publishers.

mod target;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gesta_consumer::group::limits::IN_FLIGHT_MAX as GROUP_IN_FLIGHT_MAX;
use gesta_consumer::group::{BackOff, GroupName, GroupSettings};
use gesta_core::{Place, Query};
use gesta_wire::{ItemJson, QueryJson};
use serde::Deserialize;

use crate::limits::{
    ANSWER_TIME_DEFAULT, ANSWER_TIME_MAX, ANSWER_TIME_MIN, BACK_OFF_MAX, BACK_OFF_MIN, FILE_BYTES_MAX,
    IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX, RUN_MAX,
};
use crate::link::Link;
use crate::publisher::Publisher;
use crate::secret::Secret;
use crate::subject::Template;

use target::Target;

/// Why a file has no publishers that can run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the publishers in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The text is not that of publishers.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The file has no publisher.
    #[error("`{}` has no publisher: add a table `[publisher.NAME]`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A key of a publisher is missing or wrong.
    #[error("`{}`, [publisher.{publisher}]: `{key}` {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The publisher.
        publisher: String,
        /// The key.
        key: &'static str,
        /// What is wrong with it, and what helps.
        reason: String,
    },
}

/// Reads the publishers of a file, by name. Secrets are read too; nothing is connected.
///
/// # Errors
/// [`ConfigError`] names the file and the place in it.
pub fn read_file(path: &Path) -> Result<Vec<Publisher>, ConfigError> {
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        match text.len() as u64 > FILE_BYTES_MAX {
            true => Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"))),
            false => Ok(text),
        }
    };
    let text = read().map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    read_text(&text, path)
}

/// Reads publishers from a text. `path` is the file that errors name; relative paths in the text begin at its folder.
///
/// # Errors
/// [`ConfigError`], as [`read_file`].
pub fn read_text(text: &str, path: &Path) -> Result<Vec<Publisher>, ConfigError> {
    let file = toml::from_str::<FileToml<'_>>(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::Form { path: path.to_owned(), line, reason: error.message().trim_end().to_owned() }
    })?;
    if file.publisher.is_empty() {
        return Err(ConfigError::Empty { path: path.to_owned() });
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let publishers = file.publisher.iter().map(|(name, given)| {
        given.to_publisher(name, folder).map_err(|KeyError { key, reason }| ConfigError::Key {
            path: path.to_owned(),
            publisher: name.clone(),
            key,
            reason,
        })
    });
    publishers.collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileToml<'a> {
    #[serde(borrow, default)]
    publisher: BTreeMap<String, PublisherToml<'a>>,
}

/// The keys of a publisher.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublisherToml<'a> {
    to: Option<String>,
    from: Option<String>,
    #[serde(borrow)]
    select: Option<Vec<ItemJson<'a>>>,
    subject: Option<String>,
    stream: Option<String>,
    exchange: Option<String>,
    topic: Option<String>,
    secret_env: Option<String>,
    secret_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    in_flight_max: Option<u32>,
    attempts_max: Option<u32>,
    answer_ms: Option<u64>,
}

/// A key that is missing or wrong.
#[derive(Debug, PartialEq, Eq)]
struct KeyError {
    key: &'static str,
    reason: String,
}

/// An error about a key, for `map_err`.
fn at<E: ToString>(key: &'static str) -> impl Fn(E) -> KeyError {
    move |reason| KeyError { key, reason: reason.to_string() }
}

impl PublisherToml<'_> {
    fn to_publisher(&self, name: &str, folder: &Path) -> Result<Publisher, KeyError> {
        let group = GroupName::new(format!("publish-{name}"));
        let group =
            group.map_err(|error| at("publisher")(format!("has a name that cannot be used: {error}")))?;
        let in_flight = self.in_flight()?;
        let subject = self.subject.as_deref().map(Template::parse).transpose().map_err(at("subject"))?;
        let secret = self.secret(folder)?;
        let ca = self.ca_file.as_ref().map(|file| folder.join(file));
        let target = Target { toml: self, subject: subject.as_ref(), secret, ca: ca.as_deref() };
        let broker = target.broker()?;
        Ok(Publisher {
            settings: self.settings(in_flight)?,
            concurrency: usize::try_from(in_flight.get()).unwrap_or(usize::MAX),
            subject: subject.unwrap_or_default(),
            skips_system: self.select.is_none(),
            link: Link::new(group.clone(), broker),
            group,
        })
    }

    fn settings(&self, in_flight: NonZeroU32) -> Result<GroupSettings, KeyError> {
        let attempts_max = match self.attempts_max {
            None => NonZeroU32::new(10),
            Some(0) => return Err(at("attempts_max")("is 0: give at least 1, or leave it out for 10")),
            Some(attempts) => NonZeroU32::new(attempts),
        };
        // The runs of all streams in flight fit into the group's bound.
        let run_max = (GROUP_IN_FLIGHT_MAX / in_flight.get()).clamp(1, RUN_MAX);
        Ok(GroupSettings {
            from: self.from()?,
            attempts_max,
            back_off: BackOff { first: BACK_OFF_MIN, max: BACK_OFF_MAX },
            run_max: NonZeroU32::new(run_max).expect("it is at least 1"),
            in_flight_max: const { NonZeroU32::new(GROUP_IN_FLIGHT_MAX).unwrap() },
            ..GroupSettings::new(self.query()?)
        })
    }

    fn from(&self) -> Result<Place, KeyError> {
        let from = self.from.as_deref().ok_or_else(|| {
            at("from")("is missing: give `start` for all events, `now` for new ones, or a checkpoint")
        })?;
        match from {
            "start" => Ok(Place::Start),
            "now" => Ok(Place::End),
            token => token.parse().map(Place::At).map_err(|error| {
                at("from")(format!("is neither `start` nor `now` nor a checkpoint: {error}"))
            }),
        }
    }

    fn query(&self) -> Result<Query, KeyError> {
        match &self.select {
            None => Ok(Query::All),
            Some(items) if items.is_empty() => Err(at("select")(
                "selects nothing: give an item such as `{ category = \"order\" }`, or leave it out",
            )),
            Some(items) => QueryJson::Any(items.clone()).to_query().map_err(at("select")),
        }
    }

    fn in_flight(&self) -> Result<NonZeroU32, KeyError> {
        let given = self.in_flight_max.unwrap_or(IN_FLIGHT_DEFAULT);
        let in_flight = NonZeroU32::new(given).filter(|given| given.get() <= IN_FLIGHT_MAX);
        in_flight.ok_or_else(|| at("in_flight_max")(format!("is {given}: give 1 to {IN_FLIGHT_MAX}")))
    }

    fn answer_time(&self) -> Result<Duration, KeyError> {
        let given = self.answer_ms.map_or(ANSWER_TIME_DEFAULT, Duration::from_millis);
        if (ANSWER_TIME_MIN..=ANSWER_TIME_MAX).contains(&given) {
            return Ok(given);
        }
        let (min, max) = (ANSWER_TIME_MIN.as_millis(), ANSWER_TIME_MAX.as_millis());
        Err(at("answer_ms")(format!("is {}: give {min} to {max}", given.as_millis())))
    }

    fn secret(&self, folder: &Path) -> Result<Option<Secret>, KeyError> {
        match (&self.secret_env, &self.secret_file) {
            (Some(_), Some(_)) => Err(at("secret_file")("is given beside `secret_env`: give one of them")),
            (Some(name), None) => Secret::of_variable(name).map(Some).map_err(at("secret_env")),
            (None, Some(file)) => Secret::of_file(&folder.join(file)).map(Some).map_err(at("secret_file")),
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
