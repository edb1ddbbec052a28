//! `GET /openapi.json` and `GET /asyncapi.json`: what this server takes and gives, for generators of clients, viewers and tests.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use gesta::http::api::{self, Described, Everywhere, Info, Operation, describe_app};
use gesta::http::{Params, Problem};
use gesta_wire::kinds;
use gesta_wire::schema::{self, text};
use serde_json::{Value, json};

use super::{consumers, table, view_parked, views};
use crate::asyncapi::{self, Sends};
use crate::state::Shared;

/// The document.
pub(super) async fn openapi(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    params.finish()?;
    let document = shared.openapi.get_or_init(|| Bytes::from(openapi_of(&shared).to_string()));
    Ok(([(header::CONTENT_TYPE, "application/json")], document.clone()))
}

pub(super) fn openapi_operation() -> Operation {
    Operation::new("openapi", "this description, in OpenAPI 3.1").json(
        200,
        "The document.",
        json!({"type": "object"}),
    )
}

/// The document of the messages that the server sends.
pub(super) async fn asyncapi(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Result<impl IntoResponse, Problem> {
    params.finish()?;
    let document = shared.asyncapi.get_or_init(|| Bytes::from(asyncapi_of(&shared).to_string()));
    Ok(([(header::CONTENT_TYPE, "application/json")], document.clone()))
}

pub(super) fn asyncapi_operation() -> Operation {
    let text =
        "The subscription and the deliveries of consumer groups as channels, and every hosted event type.";
    Operation::new("asyncapi", "what this server sends, in AsyncAPI 3.0").text(text).json(
        200,
        "The document.",
        json!({"type": "object"}),
    )
}

/// The AsyncAPI document of the server.
pub(crate) fn asyncapi_of(shared: &Shared) -> Value {
    asyncapi::asyncapi(&Sends {
        info: info(shared),
        events: &shared.events,
        has_log: !shared.hides_raw_routes,
        has_groups: shared.groups.is_some(),
    })
}

/// Every route of the server: its own, and those of its application.
pub(crate) fn described(shared: &Shared) -> Vec<Described> {
    let own = table::routes(shared);
    let of_app = shared.app.iter().flat_map(|app| describe_app(app).routes);
    own.iter().map(|route| route.described().clone()).chain(of_app).collect()
}

/// The OpenAPI document of the server.
pub(crate) fn openapi_of(shared: &Shared) -> Value {
    let of_app = shared.app.iter().flat_map(|app| describe_app(app).schemas);
    let of_wire = schema::schemas().map(|(name, schema)| (name.to_owned(), schema));
    let schemas = of_wire
        .chain(consumers::schemas())
        .chain(views::schemas())
        .chain(view_parked::schemas())
        .chain(of_app);
    api::openapi(&info(shared), &described(shared), &everywhere(), schemas)
}

fn info(shared: &Shared) -> Info {
    let title = shared.app.as_ref().map_or("Gesta", |app| app.name());
    Info {
        title: title.to_owned(),
        description: "Errors are Problem Details (RFC 9457): programs decide by `type`, and `retry` tells whether to send the request again. \
                      Routes refuse parameters that they do not know."
            .to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The effect of the layers around all routes.
fn everywhere() -> Everywhere {
    let store = json!({"type": "string", "format": "store", "minLength": 32, "maxLength": 32});
    Everywhere {
        request_headers: vec![(
            "Gesta-Store",
            "The id of the store that the request is for. Any other refuses it.",
            store,
        )],
        answer_headers: vec![("Gesta-Store", "The id of the store.", text())],
        problems: vec![
            kinds::FOREIGN_STORE,
            kinds::FOREIGN_HOST,
            kinds::INTERNAL,
            kinds::OVERLOADED,
            kinds::UNAVAILABLE,
            kinds::CLOSED,
        ],
        problems_of_writes: vec![kinds::CROSS_SITE],
    }
}
