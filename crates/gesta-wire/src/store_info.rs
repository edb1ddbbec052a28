//! The answer of `GET /store`: what a client must know about the store behind a server, written and read.

use gesta_core::{AtomicScope, Capabilities, Limits, PARTITIONS_MAX, StoreId};
use serde_json::{Map, Value, json};

use crate::answer::{AnswerError, parse};
use crate::schema::{about, answer, boolean, count, list, one_of, text};

/// A store behind a server, and the limits of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// The id of the store.
    pub store: StoreId,
    /// The capabilities of the store.
    pub capabilities: Capabilities,
    /// Events in the largest page that the server gives.
    pub page_events_max: u32,
    /// Seconds of the longest wait that the server takes.
    pub wait_seconds_max: u32,
    /// Names of services that the server offers beyond the store. A client ignores those that it does not know.
    pub features: Vec<String>,
}

/// The feature of a server that has consumer groups.
pub const FEATURE_GROUPS: &str = "groups";

/// A limit by its name on the wire.
type Field = (&'static str, fn(&mut Limits) -> &mut usize);

/// Every field of [`Limits`].
const LIMITS: [Field; 9] = [
    ("batchEventsMax", |limits| &mut limits.batch_events_max),
    ("batchBytesMax", |limits| &mut limits.batch_bytes_max),
    ("batchExpectationsMax", |limits| &mut limits.batch_expectations_max),
    ("batchConditionsMax", |limits| &mut limits.batch_conditions_max),
    ("dataBytesMax", |limits| &mut limits.data_bytes_max),
    ("metadataBytesMax", |limits| &mut limits.metadata_bytes_max),
    ("tagsMax", |limits| &mut limits.tags_max),
    ("queryItemsMax", |limits| &mut limits.query_items_max),
    ("queryTermsMax", |limits| &mut limits.query_terms_max),
];

/// Returns the JSON of a store.
#[must_use]
pub fn store_json(info: &StoreInfo) -> Value {
    let mut limits = info.capabilities.limits.clone();
    let limits = LIMITS.map(|(name, field)| (name.to_owned(), Value::from(*field(&mut limits))));
    json!({
        "store": info.store.to_string(),
        "partitions": info.capabilities.partitions,
        "densePositions": info.capabilities.dense_positions,
        "atomicScope": match info.capabilities.atomic_scope {
            AtomicScope::Store => "store",
            AtomicScope::Partition => "partition",
        },
        "limits": limits.into_iter().collect::<Map<_, _>>(),
        "pageEventsMax": info.page_events_max,
        "waitSecondsMax": info.wait_seconds_max,
        "features": info.features,
    })
}

pub(crate) fn store_schema() -> Value {
    let limits = LIMITS.map(|(name, _)| (name, count()));
    let features =
        about(list(text()), "What the server offers beyond the store. Ignore names that you do not know.");
    answer(vec![
        ("store", about(text(), "The id of the store.")),
        ("partitions", count()),
        ("densePositions", boolean()),
        ("atomicScope", about(one_of(&["store", "partition"]), "The streams that one batch may span.")),
        ("limits", answer(limits.into())),
        ("pageEventsMax", count()),
        ("waitSecondsMax", count()),
        ("features", features),
    ])
}

/// Reads a store.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`store_json`] writes.
pub fn read_store(bytes: &[u8]) -> Result<StoreInfo, AnswerError> {
    let answer = parse(bytes)?;
    let wrong = |member| AnswerError::Member { member };
    let number = |member| {
        let number = answer[member].as_u64().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| *number > 0).ok_or(wrong(member))
    };
    let store = answer["store"].as_str().and_then(|text| text.parse().ok());
    let partitions = u16::try_from(number("partitions")?).ok();
    let partitions = partitions.filter(|partitions| *partitions <= PARTITIONS_MAX);
    let atomic_scope = match answer["atomicScope"].as_str() {
        Some("store") => AtomicScope::Store,
        Some("partition") => AtomicScope::Partition,
        _ => return Err(wrong("atomicScope")),
    };
    let mut limits = Limits::default();
    for (name, field) in LIMITS {
        let limit = answer["limits"][name].as_u64().and_then(|limit| usize::try_from(limit).ok());
        *field(&mut limits) = limit.ok_or(wrong(name))?;
    }
    let partitions = partitions.ok_or(wrong("partitions"))?;
    let mut capabilities = Capabilities::new(partitions, atomic_scope, limits);
    capabilities.dense_positions = answer["densePositions"].as_bool().ok_or(wrong("densePositions"))?;
    let features = answer["features"].as_array().ok_or(wrong("features"))?;
    Ok(StoreInfo {
        store: store.ok_or(wrong("store"))?,
        capabilities,
        page_events_max: number("pageEventsMax")?,
        wait_seconds_max: number("waitSecondsMax")?,
        features: features.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
    })
}
