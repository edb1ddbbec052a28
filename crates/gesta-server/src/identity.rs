//! The layer that names the store on every answer, and refuses requests that are meant for another one.
//!
//! A client that names its store cannot write to another one behind a proxy that points elsewhere.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use gesta::http::{Problem, header_text};
use gesta_core::{EventStore, ReadError, StoreId, When};
use gesta_wire::{STORE_HEADER, kinds};
use tokio::sync::OnceCell;

use crate::state::Shared;

/// The id of the store, and the same as a header. A store gives its id only in a checkpoint.
#[derive(Default)]
pub(crate) struct Identity(OnceCell<(StoreId, HeaderValue)>);

impl Identity {
    /// The id of the store. It is asked for once.
    pub(crate) async fn of(&self, store: &dyn EventStore) -> Result<StoreId, ReadError> {
        let known = self.0.get_or_try_init(|| async {
            let id = store.locate(When::Start).await?.store();
            let header = HeaderValue::try_from(id.to_string()).expect("hexadecimal digits");
            Ok::<_, ReadError>((id, header))
        });
        known.await.map(|(id, _)| *id)
    }
}

/// Refuses a request that names another store. Puts the store's id on the answer; it is missing only while a store that has to ask
/// elsewhere does not know it.
pub(crate) async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match refuse_foreign(&shared, request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    // `/livez` must not wait for the store.
    drop(shared.identity.of(&*shared.store).now_or_never());
    if let Some((_, header)) = shared.identity.0.get() {
        response.headers_mut().insert(STORE_HEADER, header.clone());
    }
    response
}

async fn refuse_foreign(shared: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(named) = header_text(headers, STORE_HEADER)? else { return Ok(()) };
    let named = named.parse::<StoreId>();
    let named = named.map_err(|error| Problem::invalid(format!("header `{STORE_HEADER}`: {error}")))?;
    let store = shared.identity.of(&*shared.store).await?;
    if named == store {
        return Ok(());
    }
    let detail =
        format!("the request is for store {named}, but this server has store {store}: nothing was done");
    Err(Problem::of(kinds::FOREIGN_STORE, detail).with("store", store.to_string()))
}
