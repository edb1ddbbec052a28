//! A page of events as an answer, written and read. The data of events passes unchanged.

use bytes::Bytes;
use gesta_core::{Checkpoint, Page, StreamName, Version};
use serde::Deserialize;
use serde_json::Value;

use crate::answer::AnswerError;
use crate::event::{EventJson, write_event};
use crate::schema::{about, answer, boolean, list, named, nullable, text};
use crate::text::write_string;

/// Appends the JSON of a page. A page of a stream names it and its last version. `next` is the address of the next page.
pub fn write_page(page: &Page, stream: Option<&StreamName>, next: Option<&str>, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(stream) = stream {
        out.extend_from_slice(b"\"stream\":");
        write_string(stream.as_str(), out);
        let version = page.last_version.map_or_else(|| "null".to_owned(), |version| version.to_string());
        out.extend_from_slice(format!(",\"lastVersion\":{version},").as_bytes());
    }
    out.extend_from_slice(b"\"events\":[");
    for (at, event) in page.events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_event(event, out);
    }
    let rest =
        format!("],\"scannedTo\":\"{}\",\"head\":\"{}\",\"end\":{}", page.scanned_to, page.head, page.end);
    out.extend_from_slice(rest.as_bytes());
    out.extend_from_slice(b",\"next\":");
    match next {
        Some(next) => write_string(next, out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// The members of every page.
fn members() -> Vec<(&'static str, Value)> {
    vec![
        ("events", list(named("Event"))),
        ("scannedTo", about(named("Checkpoint"), "The place to go on from, also if nothing matched.")),
        ("head", named("Checkpoint")),
        ("end", about(boolean(), "False if the page was cut, and there may be more.")),
        ("next", nullable(about(text(), "The address of the next page."))),
    ]
}

pub(crate) fn page_schema() -> Value {
    answer(members())
}

pub(crate) fn stream_page_schema() -> Value {
    let last = about(nullable(named("Version")), "`null` where damage may hide the last event.");
    let of_stream = [("stream", named("StreamName")), ("lastVersion", last)];
    answer(of_stream.into_iter().chain(members()).collect())
}

/// A page, borrowed from its JSON.
#[derive(Deserialize)]
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

/// Reads a page. The events share the bytes of the answer where they can.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`write_page`] writes.
pub fn read_page(bytes: &Bytes) -> Result<Page, AnswerError> {
    let page = serde_json::from_slice::<PageJson<'_>>(bytes)?;
    let events = page.events.iter().enumerate().map(|(index, event)| {
        event.to_recorded(bytes).map_err(|source| AnswerError::Event { index, source })
    });
    let place = |token: &str, member| token.parse::<Checkpoint>().map_err(|_| AnswerError::Member { member });
    Ok(Page {
        events: events.collect::<Result<_, _>>()?,
        scanned_to: place(&page.scanned_to, "scannedTo")?,
        head: place(&page.head, "head")?,
        last_version: page.last_version.map(Version::new),
        end: page.end,
    })
}
