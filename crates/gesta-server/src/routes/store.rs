//! `GET /store`: what a client must know about the store.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem};
use gesta_core::ReadError;
use gesta_wire::schema::named;
use gesta_wire::{FEATURE_GROUPS, StoreInfo, kinds, store_json};
use serde_json::Value;

use crate::limits::{PAGE_EVENTS_MAX, PARTITIONS_MAX};
use crate::state::Shared;

/// The id, capabilities and limits of the store. A store of too many partitions is refused here, before a client uses it.
pub(super) async fn describe(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let capabilities = shared.store.capabilities().clone();
    if capabilities.partitions > PARTITIONS_MAX {
        let capability = format!("clients over HTTP with more than {PARTITIONS_MAX} partitions");
        return Err(ReadError::Unsupported { capability: capability.into() }.into());
    }
    let wait = shared.limits.checkpoint_wait_max.as_secs();
    let info = StoreInfo {
        store: shared.identity.of(&*shared.store).await?,
        capabilities,
        page_events_max: PAGE_EVENTS_MAX,
        wait_seconds_max: u32::try_from(wait).unwrap_or(u32::MAX),
        features: shared.groups.iter().map(|_| FEATURE_GROUPS.to_owned()).collect(),
    };
    Ok(Json(store_json(&info)))
}

pub(super) fn operation() -> Operation {
    Operation::new("getStore", "the id, capabilities and limits of the store")
        .tag("log")
        .json(200, "The store.", named("Store"))
        .problems(kinds::OF_READS)
}
