//! The `Idempotency-Key` of a request, as a command key that no other caller's or route's key can meet.

use axum::http::{HeaderMap, Method, Uri};
use gesta::Idempotency;
use gesta_core::{CommandKey, EventId};
use uuid::Uuid;

use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use gesta::http::Problem;

/// Who asks, as long as the server knows no users.
const PRINCIPAL: &str = "anonymous";

/// The command key of a request that carries an `Idempotency-Key`. Its request is the method, the address with its
/// parameters, and the body, byte for byte.
pub(crate) fn command_key(
    headers: &HeaderMap,
    route: &str,
    method: &Method,
    uri: &Uri,
    body: &[u8],
) -> Result<Option<CommandKey>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let refuse = |what: &str| Problem::invalid(format!("header `Idempotency-Key` {what}"));
    let text = value.to_str().map_err(|_| refuse("is not visible ASCII"))?;
    // The draft standard has it as a quoted string, most clients send it bare: both name the same.
    let key = text.trim().trim_matches('"');
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(refuse(&format!("has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")));
    }
    let address = uri.path_and_query().map_or("", |address| address.as_str());
    let request = [method.as_str().as_bytes(), address.as_bytes(), body];
    Ok(Some(Idempotency::new(PRINCIPAL, route).command_key(key, request)))
}

/// Ids for events that came without: of a request with a key always the same, so that its repeat names the same events.
pub(crate) fn event_id(command: Option<&CommandKey>, index: usize) -> EventId {
    let id = match command {
        None => Uuid::now_v7(),
        Some(command) => {
            let name = [&command.key, &command.request[..], &(index as u64).to_le_bytes()].concat();
            Uuid::new_v5(&crate::cloudevents::NAMESPACE, &name)
        }
    };
    EventId::from_bytes(id.into_bytes())
}
