//! `gesta groups`: shows consumer groups and operates them, on the server that has them.

mod advice;
mod print;

use std::num::NonZeroU32;
use std::path::PathBuf;

use gesta_client::RemoteGroups;
use gesta_consumer::group::{GroupName, GroupSettings, Groups, To};
use gesta_core::{BoxFuture, Category, EventType, Item, Place, Query, StreamName, Version};
use gesta_wire::{FEATURE_GROUPS, group_json, parse_time};

use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::target::{Place as At, Target, connect, served_at};
use advice::Advice;

#[derive(clap::Args)]
pub(crate) struct ManageGroups {
    #[command(subcommand)]
    action: Action,
    /// The address of a server, such as `http://127.0.0.1:2114` [env: GESTA_URL].
    #[arg(long, value_name = "URL", global = true, conflicts_with = "dir")]
    url: Option<String>,
    /// The folder of a log that a server of this machine has open [env: GESTA_DIR].
    #[arg(long, value_name = "FOLDER", global = true)]
    dir: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the groups with their state and their lag.
    List {
        /// Print JSON, one group per line.
        #[arg(long)]
        json: bool,
    },
    /// Show the settings, state and members of a group.
    Show {
        /// The name of the group.
        group: GroupName,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Create a group. Its other settings have their defaults; `PUT /groups/{group}` sets them all.
    Create(Create),
    /// List the parked streams of a group, or the events that one of them holds back.
    Parked {
        /// The name of the group.
        group: GroupName,
        /// A parked stream, to show the events that it holds back.
        stream: Option<StreamName>,
        /// Print JSON: one stream per line, or one object with the events of a stream.
        #[arg(long)]
        json: bool,
    },
    /// Deliver parked streams again, from the events that failed.
    Replay {
        /// The name of the group.
        group: GroupName,
        /// The streams.
        #[arg(conflicts_with = "all")]
        streams: Vec<StreamName>,
        /// All parked streams.
        #[arg(long)]
        all: bool,
    },
    /// Pass events of a stream for good: they are never delivered to this group again.
    Skip {
        /// The name of the group.
        group: GroupName,
        /// The stream.
        stream: StreamName,
        /// The version of the last event to pass.
        #[arg(long, value_name = "VERSION")]
        through: u64,
        /// The reason, for people. It is kept with the skip.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Stop deliveries until `resume`, also over restarts of the server.
    Pause {
        /// The name of the group.
        group: GroupName,
    },
    /// Deliver again after a pause or a stop.
    Resume {
        /// The name of the group.
        group: GroupName,
    },
    /// Move the place of a paused group. Everything after the place is delivered again.
    Reset {
        /// The name of the group.
        group: GroupName,
        /// The place: `start`, `now`, a checkpoint, or a time such as 2026-01-01T00:00:00Z.
        #[arg(long, value_name = "PLACE", value_parser = place)]
        to: To,
    },
    /// Take away what the host of a paused group no longer names.
    Narrow {
        /// The name of the group.
        group: GroupName,
    },
    /// Remove a group with its progress.
    Remove {
        /// The name of the group.
        group: GroupName,
    },
}

#[derive(clap::Args)]
struct Create {
    /// The name of the group.
    group: GroupName,
    /// Events of this category. May be given several times.
    #[arg(long, value_name = "CATEGORY")]
    category: Vec<Category>,
    /// Events of this type. May be given several times. With `--category`, events must match both.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<EventType>,
    /// Every event.
    #[arg(long, conflicts_with_all = ["category", "types"])]
    all: bool,
    /// The place to begin at: `start`, `now`, or a checkpoint.
    #[arg(long, value_name = "PLACE", value_parser = beginning)]
    from: Place,
}

/// Reads a place to begin at.
fn beginning(text: &str) -> Result<Place, String> {
    match text {
        "start" => Ok(Place::Start),
        "now" => Ok(Place::End),
        token => token
            .parse()
            .map(Place::At)
            .map_err(|error| format!("it is neither `start`, `now` nor a checkpoint: {error}")),
    }
}

/// Reads a place to move to.
fn place(text: &str) -> Result<To, String> {
    match beginning(text) {
        Ok(Place::Start) => Ok(To::Start),
        Ok(Place::End) => Ok(To::Now),
        Ok(Place::At(checkpoint)) => Ok(To::At(checkpoint)),
        Err(_) => parse_time(text)
            .map(To::Time)
            .map_err(|_| "it is neither `start`, `now`, a checkpoint nor a time with an offset".to_owned()),
    }
}

/// Parked streams per page.
const PAGE: NonZeroU32 = NonZeroU32::new(1_000).expect("above 0");
/// Held events that are shown.
const HELD: NonZeroU32 = NonZeroU32::new(100).expect("above 0");

impl ManageGroups {
    pub(crate) fn run(self) -> Outcome {
        if let Action::Create(Create { category, types, all: false, .. }) = &self.action
            && category.is_empty()
            && types.is_empty()
        {
            return Err(Failure::usage("no events selected")
                .help("give `--category`, `--type`, or `--all` for every event"));
        }
        let groups = &groups(self.url, self.dir)?;
        match self.action {
            Action::List { json } => {
                let all = wait("cannot list the groups", groups.list())?;
                print::list(&all, json)
            }
            Action::Show { group, json } => {
                let status = wait("cannot show the group", groups.get(group))?;
                if json { Ok(say(&group_json(&status).to_string())?) } else { print::group(&status) }
            }
            Action::Create(create) => create.run(groups),
            Action::Parked { group, stream: None, json } => parked(groups, &group, json),
            Action::Parked { group, stream: Some(stream), json } => held(groups, group, stream, json),
            Action::Replay { group, streams, all } => replay(groups, group, streams, all),
            Action::Skip { group, stream, through, reason } => {
                let text = format!("passed `{stream}` up to version {through} for good");
                let through = Version::new(through);
                wait("cannot skip", groups.skip(group, stream, through, operator(), reason))?;
                Ok(say(&text)?)
            }
            Action::Pause { group } => {
                let text = format!("paused `{group}`");
                wait("cannot pause the group", groups.pause(group, operator()))?;
                Ok(say(&text)?)
            }
            Action::Resume { group } => {
                let text = format!("resumed `{group}`");
                wait("cannot resume the group", groups.resume(group))?;
                Ok(say(&text)?)
            }
            Action::Reset { group, to } => reset(groups, group, to),
            Action::Narrow { group } => {
                let version = wait("cannot narrow the group", groups.narrow(group))?;
                Ok(say(&format!("the settings have version {version}"))?)
            }
            Action::Remove { group } => {
                let text = format!("removed `{group}` with its progress");
                wait("cannot remove the group", groups.remove(group))?;
                Ok(say(&text)?)
            }
        }
    }
}

/// The groups of the server at an address, or of the one that serves a folder.
fn groups(url: Option<String>, dir: Option<PathBuf>) -> Outcome<RemoteGroups> {
    let url = match (Target { dir, url }).place()? {
        At::Server(url) => url,
        At::Folder(folder) => served_at(&folder)?,
    };
    let store = connect(&url)?;
    if !store.features().iter().any(|feature| feature == FEATURE_GROUPS) {
        return Err(Failure::new(format!("the server at `{url}` has no consumer groups"))
            .help("give the address of a `gesta serve` of this version or later"));
    }
    Ok(store.groups())
}

/// Waits for an answer.
fn wait<T, E: Advice>(failed: &str, answer: BoxFuture<'_, Result<T, E>>) -> Outcome<T> {
    pollster::block_on(answer).map_err(|error| {
        let failure = Failure::new(failed).because(&error);
        match error.advice() {
            Some(advice) => failure.help(advice),
            None => failure,
        }
    })
}

/// The name under which skips and pauses are recorded.
fn operator() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "operator".to_owned())
}

impl Create {
    fn run(self, groups: &RemoteGroups) -> Outcome {
        let Self { group, category, types, all, from } = self;
        let item = |category| Item { category, types: types.clone(), ..Item::default() };
        let query = match (all, category.is_empty()) {
            (true, _) => Query::All,
            (false, true) => Query::Any(vec![item(None)]),
            (false, false) => Query::Any(category.into_iter().map(|category| item(Some(category))).collect()),
        };
        let settings = GroupSettings { from, ..GroupSettings::new(query) };
        let text = format!("created `{group}`");
        wait("cannot create the group", groups.put(group, settings, None))?;
        Ok(say(&text)?)
    }
}

fn parked(groups: &RemoteGroups, group: &GroupName, json: bool) -> Outcome {
    let mut after = None;
    loop {
        let page = wait("cannot list parked streams", groups.parked(group.clone(), after, PAGE))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.stream.clone());
        print::parked(&page, json)?;
    }
}

fn held(groups: &RemoteGroups, group: GroupName, stream: StreamName, json: bool) -> Outcome {
    let not_parked = Failure::new(format!("stream `{stream}` is not parked in group `{group}`"))
        .help(format!("`gesta groups parked {group}` lists the parked streams"));
    let held = wait("cannot show the parked stream", groups.held(group, stream, HELD))?;
    print::held(&held.ok_or(not_parked)?, json)
}

fn replay(groups: &RemoteGroups, group: GroupName, streams: Vec<StreamName>, all: bool) -> Outcome {
    // To groups, no stream means all.
    if streams.is_empty() && !all {
        return Err(Failure::usage("no stream given")
            .help(format!("name streams that `gesta groups parked {group}` lists, or give `--all`")));
    }
    let replayed = wait("cannot replay", groups.replay(group, streams))?;
    Ok(say(&format!("{} delivered again", count(u64::from(replayed), "stream")))?)
}

fn reset(groups: &RemoteGroups, group: GroupName, to: To) -> Outcome {
    let name = group.clone();
    let reset = wait("cannot reset the group", groups.reset(group, to))?;
    say(&format!("`{name}` begins again after {}", reset.at))?;
    if reset.were_parked > 0 {
        say(&format!("{} no longer parked", count(u64::from(reset.were_parked), "stream")))?;
    }
    Ok(say(
        "targets that keep the last version they have seen drop what is delivered again: lower it before you resume",
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_a_checkpoint_or_a_time() {
        let token = format!("{}.7", "ab".repeat(16));
        for (text, expected) in [
            ("start", Some(To::Start)),
            ("now", Some(To::Now)),
            (token.as_str(), Some(To::At(token.parse().unwrap()))),
            ("1970-01-01T00:00:00Z", Some(To::Time(gesta_core::Timestamp::from_nanos(0)))),
            ("end", None),
            ("yesterday", None),
            ("1970-01-01", None),
        ] {
            assert_eq!(place(text).ok(), expected, "{text}");
        }
    }
}
