//! The JSON of the wire, shared by server and client: requests, answers, problems and CloudEvents. It does no I/O.
//!
//! Each form has one writer and one reader in this crate, and what is written is read without a change. Functions `…_json` and
//! `write_…` write; types `…Json` and functions `read_…` read.
//!
//! | what | written by | read by |
//! | --- | --- | --- |
//! | an event to append | [`write_new_event`] | [`EventJson::to_new_event`] |
//! | a recorded event | [`write_event`] | [`EventJson::to_recorded`] |
//! | a batch, a command key | [`batch_json`], [`command_json`] | [`BatchJson`], [`CommandJson`] |
//! | the answer to an append | [`appended_json`] | [`read_appended`] |
//! | the question for a repeat, and its answer | [`repeat_request_json`], [`repeat_json`] | [`RepeatJson`], [`read_repeat`] |
//! | a query | [`QueryJson::of`] | [`QueryJson::to_query`] |
//! | a read of the log | [`log_read_json`] | [`LogReadJson`] |
//! | a page of events, of streams | [`write_page`], [`streams_json`] | [`read_page`], [`read_streams`] |
//! | a store and its limits | [`store_json`] | [`read_store`] |
//! | a checkpoint as an answer | [`checkpoint_json`] | [`read_checkpoint`] |
//! | an error | [`Problem::from`], [`Problem::to_json`] | [`Problem::from_json`], [`Problem::to_append_error`], [`Problem::to_read_error`] |
//! | a group: settings, status, errors | [`group_settings_json`], [`group_json`], [`Problem::from`] | [`GroupSettingsJson`], [`read_group`], [`Problem::to_put_error`] |
//! | the call of a member, and its answer | [`take_json`], [`write_taken`] | [`TakeJson`], [`read_taken`] |
//! | what operators ask of a group | [`skip_json`], [`replay_json`], [`reset_request_json`] | [`SkipJson`], [`ReplayJson`], [`ResetJson`] |
//! | a CloudEvent | [`cloudevents::write_cloud_event`] | [`cloudevents::CloudEvent`] |
//! | a CloudEvent for a broker | [`cloudevents::PublishedEvent`] | [`cloudevents::CloudEvent`] |

/// The header in which requests and answers name their store.
pub const STORE_HEADER: &str = "gesta-store";
/// The header in which a request that another process passes on names the process that deals the groups.
pub const HOLDER_HEADER: &str = "gesta-holder";

/// The scheme of the header `Authorization` by which a process logs in at another one of the same store, before the secret of that one.
pub const PEER_SCHEME: &str = "Gesta-Peer";

mod answer;
#[cfg(test)]
mod any;
mod appended;
mod batch;
mod capped;
pub mod cloudevents;
mod event;
mod group;
mod limits;
mod log_read;
mod names;
mod page;
mod problem;
mod query;
mod scalar;
pub mod schema;
mod store_info;
mod surrogates;
mod text;
mod time;

#[cfg(test)]
mod tests;

pub use answer::{AnswerError, checkpoint_json, read_checkpoint, read_streams, streams_json};
pub use appended::{appended_json, read_appended, read_repeat, repeat_json};
pub use batch::{
    BatchJson, BatchJsonError, CommandJson, RepeatJson, batch_json, command_json, repeat_request_json,
};
pub use capped::{Capped, limit_exceeded};
pub use event::{EventJson, EventJsonError, check_json, write_event, write_event_line, write_new_event};
pub use group::*;
pub use limits::{CLOUD_EVENT_ATTRIBUTES_MAX, JSON_DEPTH_MAX};
pub use log_read::{
    LogReadJson, LogReadJsonError, direction_from_text, direction_text, log_read_json, place_from_text,
};
pub use names::{SystemName, check_user_names, check_user_stream};
pub use page::{read_page, write_page};
pub use problem::{Kind, PROBLEM_MEDIA_TYPE, Problem, ProblemJsonError, kinds};
pub use query::{ItemJson, QueryJson, QueryJsonError};
pub use scalar::{expected_from_json, expected_from_text, expected_json, position_from_json, position_json};
pub use store_info::{FEATURE_GROUPS, StoreInfo, read_store, store_json};
pub use surrogates::{HalfPair, check_surrogates};
pub use text::write_string;
pub use time::{TimeError, format_time, parse_time};
