//! The limits of the JSON, each with its unit and reason.

/// Depth of the JSON data of an event: the limit of common parsers.
pub const JSON_DEPTH_MAX: usize = 128;
/// Attributes of one CloudEvent, so that a hostile event cannot take many times its size in memory.
pub const CLOUD_EVENT_ATTRIBUTES_MAX: usize = 128;
