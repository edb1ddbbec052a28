//! Who sends a request, and the command keys that this caller may use.

use axum::http::request::Parts;
use gesta_core::CommandKey;

use super::{Problem, header_text};
use crate::idempotency::Idempotency;

/// The longest `Idempotency-Key`, in bytes: a few times a UUID.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// The scope of keys of requests without a principal.
const ANONYMOUS: &str = "anonymous";

/// The authenticated sender of a request. The host's authentication puts it on the request as an extension, in one layer.
///
/// It is recorded as the actor, whatever the headers say, and it is the scope of idempotency keys: the same key of two
/// principals names two commands. `anonymous` is the scope of requests without a principal, so do not give that name to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(pub String);

/// The sender of a request, as far as the server knows it. Nothing else reads the [`Principal`] of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'a> {
    principal: Option<&'a str>,
}

impl<'a> Caller<'a> {
    /// The sender of this request.
    #[must_use]
    pub fn of(parts: &'a Parts) -> Self {
        let principal = parts.extensions.get::<Principal>();
        Self { principal: principal.map(|Principal(name)| name.as_str()) }
    }

    /// The name of the principal; `None` if the request was not authenticated.
    #[must_use]
    pub const fn principal(&self) -> Option<&'a str> {
        self.principal
    }

    /// The command key of a request that carries an `Idempotency-Key`.
    ///
    /// The key is scoped by principal and `route`, such as `POST /batches`. The request under it is the method, the address with
    /// its parameters, and the body, byte for byte.
    ///
    /// # Errors
    /// A [`Problem`], 400, if the header is empty, repeated or too long.
    pub fn command_key(
        &self,
        parts: &Parts,
        route: &str,
        body: &[u8],
    ) -> Result<Option<CommandKey>, Problem> {
        let Some(given) = header_text(&parts.headers, "Idempotency-Key")? else { return Ok(None) };
        // The draft standard writes the key as a quoted string, most clients send it bare: both mean the same key.
        let key = given.trim_matches('"');
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            let detail = format!("header `Idempotency-Key` takes 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
            return Err(Problem::invalid(detail));
        }
        let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
        let request = [parts.method.as_str().as_bytes(), address.as_bytes(), body];
        let scope = Idempotency::new(self.principal.unwrap_or(ANONYMOUS), route);
        Ok(Some(scope.command_key(key, request)))
    }
}
