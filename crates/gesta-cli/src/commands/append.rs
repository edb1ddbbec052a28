//! `gesta append`: appends one event.

use std::io::Read;

use gesta_core::{
    Batch, ContentKind, EventId, EventType, Expected, NewEvent, StreamName, Tag, Timestamp, Version,
};
use gesta_server::now;
use gesta_wire::{check_json, check_user_names, parse_time};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::target::{IfMissing, Target};

#[derive(clap::Args)]
pub(crate) struct AppendEvent {
    /// The stream, such as `account-42`. Names that begin with `$` belong to the system.
    stream: StreamName,
    /// The type of the event, such as `bank.account.deposited`.
    #[arg(value_name = "TYPE")]
    event_type: EventType,
    /// The data of the event as JSON; `-` reads the standard input.
    data: String,
    /// Store the data as plain text instead of JSON.
    #[arg(long)]
    text: bool,
    /// Append only if the stream is in this state: `any`, `none` (no event yet), `exists`, or the version of its last event.
    #[arg(long, value_name = "VERSION", value_parser = parse_expected, default_value = "any")]
    expect: Expected,
    /// The id of the event, a UUID; random by default. An event with the same id is not appended again.
    #[arg(long, value_name = "UUID")]
    id: Option<EventId>,
    /// A tag, `key:value`. Repeat it for several tags.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,
    /// The schema version of the type.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    schema_version: u16,
    /// When it happened, in RFC 3339, such as 2026-01-31T12:00:00Z; now by default.
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    time: Option<Timestamp>,
    /// Metadata of the event, as JSON.
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    #[command(flatten)]
    target: Target,
}

fn parse_expected(text: &str) -> Result<Expected, String> {
    match text {
        "any" => Ok(Expected::Any),
        "none" => Ok(Expected::None),
        "exists" => Ok(Expected::Exists),
        number => {
            let version = number
                .parse()
                .map_err(|_| "use `any`, `none`, `exists` or a version, such as 7".to_owned())?;
            Ok(Expected::Exactly(Version::new(version)))
        }
    }
}

/// Parses the time in a flag.
pub(crate) fn parse_when(text: &str) -> Result<Timestamp, String> {
    parse_time(text).map_err(|error| error.to_string())
}

impl AppendEvent {
    pub(crate) fn run(self) -> Outcome {
        let (target, expect, stream) = (self.target.clone(), self.expect, self.stream.clone());
        let event = self.event()?;
        check_user_names(&event).map_err(|error| Failure::usage(error.to_string()))?;
        let opened = target.open(IfMissing::Make)?;
        let batch = Batch::new([event]).expect(stream.clone(), expect);
        let appended = pollster::block_on(opened.store().append(batch))?;
        let place = appended.places[0];
        let repeated = if appended.repeated { ", appended before" } else { "" };
        say(&format!("{stream} version {} at position {}{repeated}", place.version, place.position))?;
        Ok(())
    }

    fn event(self) -> Outcome<NewEvent> {
        let data = match self.data.as_str() {
            "-" => {
                let mut data = Vec::new();
                std::io::stdin()
                    .read_to_end(&mut data)
                    .map_err(|error| Failure::new("cannot read the standard input").because(&error))?;
                String::from_utf8(data)
                    .map_err(|error| Failure::new("the data is not UTF-8").because(&error))?
            }
            text => text.to_owned(),
        };
        let (kind, data) = match self.text {
            true => (ContentKind::Text, data),
            false => (ContentKind::Json, json("data", &data)?),
        };
        let metadata = self.metadata.map(|text| json("metadata", &text)).transpose()?;
        Ok(NewEvent {
            id: self.id.unwrap_or_else(|| EventId::from_bytes(Uuid::now_v7().into_bytes())),
            stream: self.stream,
            event_type: self.event_type,
            schema_version: self.schema_version,
            kind,
            data: data.into(),
            metadata: metadata.unwrap_or_default().into(),
            tags: self.tags,
            time: self.time.unwrap_or_else(now),
        })
    }
}

fn json(what: &'static str, text: &str) -> Outcome<String> {
    let value = serde_json::from_str::<&RawValue>(text);
    let value = value.map_err(|error| {
        let failure = Failure::usage(format!("the {what} is not JSON")).because(&error);
        if what == "data" {
            failure.help("quote the JSON for the shell, or store plain text with `--text`")
        } else {
            failure
        }
    })?;
    check_json(what, value.get(), text.as_bytes()).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(value.get().to_owned())
}
