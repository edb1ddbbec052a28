//! A walk through a history at a server that hosts the entity.

use gesta_client::{RemoteServer, RequestError};
use serde_json::Value;

use super::{Shown, Walk};
use crate::failure::Outcome;
use crate::target::{encode, json_of, refused_by};

/// A walk by requests: each step is its event and what differs between two versions.
pub(in super::super) struct RemoteSteps {
    url: String,
    server: RemoteServer,
    category: String,
    id: String,
    /// The version of the event that it stands at.
    at: Option<u64>,
}

impl RemoteSteps {
    pub(in super::super) fn new(url: &str, server: RemoteServer, category: &str, id: &str) -> Self {
        let (url, category, id) = (url.to_owned(), category.to_owned(), id.to_owned());
        Self { url, server, category, id, at: None }
    }

    /// Shows an event; `None` if the entity has none with this version.
    fn show(&mut self, version: u64) -> Outcome<Option<Shown>> {
        let history = self.get("histories", &format!("?from={version}&limit=1"))?;
        let Some(event) = history.as_ref().and_then(|history| history["events"].get(0)) else {
            return Ok(None);
        };
        let changes = match version.checked_sub(1) {
            Some(before) => self.get("states", &format!("/diff?from={before}&to={version}"))?,
            None => self.get("states", "?version=0")?,
        };
        let changes = changes.unwrap_or_default();
        let value = |change: &Value, name: &str| change.get(name).cloned();
        let changes = match changes["changes"].as_array() {
            Some(changes) => changes
                .iter()
                .map(|change| {
                    let pointer = change["pointer"].as_str().unwrap_or_default().to_owned();
                    (pointer, value(change, "before"), value(change, "after"))
                })
                .collect(),
            // The server does not say what the state is before the first event.
            None => vec![(String::new(), None, value(&changes, "state"))],
        };
        self.at = Some(version);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (stream, time) = (format!("{}-{}", self.category, self.id), event["time"].as_str());
        Ok(Some(Shown {
            event: format!(
                "{}  {}  {stream}@{version}  {}  {}",
                text(&event["position"]).unwrap_or_else(|| event["position"].to_string()),
                time.unwrap_or_default(),
                event["type"].as_str().unwrap_or_default(),
                event["data"]
            ),
            who: text(&event["actor"]),
            cause: text(&event["causation"]),
            reason: text(&event["metadata"]["reason"]),
            changes,
        }))
    }

    /// The JSON at a route of the entity; `None` if it has no event there.
    fn get(&self, route: &str, rest: &str) -> Outcome<Option<Value>> {
        let path = format!("/{route}/{}/{}{rest}", encode(&self.category), encode(&self.id));
        match pollster::block_on(self.server.get(&path)) {
            Ok(answer) => json_of(&self.url, &answer).map(Some),
            Err(RequestError::Refused { problem }) if problem.kind == "no-stream" => Ok(None),
            Err(error) => Err(refused_by(&self.url, error)),
        }
    }
}

impl Walk for RemoteSteps {
    fn next(&mut self) -> Outcome<Option<Shown>> {
        self.show(self.at.map_or(0, |at| at + 1))
    }

    fn back(&mut self) -> Outcome<Option<Shown>> {
        match self.at.and_then(|at| at.checked_sub(1)) {
            Some(before) => self.show(before),
            None => {
                self.at = None;
                Ok(None)
            }
        }
    }

    fn goto(&mut self, version: u64) -> Outcome<Result<Shown, String>> {
        let missing = format!("stream `{}-{}` has no version {version}", self.category, self.id);
        Ok(self.show(version)?.ok_or(missing))
    }

    fn is_at_start(&self) -> bool {
        self.at.is_none()
    }
}
