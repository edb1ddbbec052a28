//! Command keys that are safe to take from outside.

use bytes::Bytes;
use gesta_core::CommandKey;
use sha2::{Digest, Sha256};

/// The scope of command keys: a principal and a route. So two users can use the same key.
///
/// # Example
/// ```
/// # use gesta::Idempotency;
/// let ann = Idempotency::new("ann", "POST /commands").command_key("1", [b"{}".as_slice()]);
/// let ben = Idempotency::new("ben", "POST /commands").command_key("1", [b"{}".as_slice()]);
/// assert_ne!(ann.key, ben.key);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency<'a> {
    principal: &'a str,
    route: &'a str,
}

impl<'a> Idempotency<'a> {
    /// The keys of that principal on that route.
    #[must_use]
    pub const fn new(principal: &'a str, route: &'a str) -> Self {
        Self { principal, route }
    }

    /// The command key for a caller's key and raw request: 32 bytes, whatever the length of the parts.
    #[must_use]
    pub fn command_key<'p>(&self, key: &str, request: impl IntoIterator<Item = &'p [u8]>) -> CommandKey {
        let key = digest([self.principal.as_bytes(), self.route.as_bytes(), key.as_bytes()]);
        CommandKey { key: Bytes::copy_from_slice(&key), request: digest(request) }
    }
}

/// SHA-256 over the parts, each with its length, so that no two lists of parts look the same.
pub(crate) fn digest<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_key_depends_on_principal_route_key_and_request() {
        let key = |principal, route, key: &str, body: &'static [u8]| {
            Idempotency::new(principal, route).command_key(key, [body])
        };
        let one = key("ann", "a", "1", b"x");
        assert_eq!(one, key("ann", "a", "1", b"x"));
        for other in [key("anna", "", "1", b"x"), key("ann", "a1", "", b"x"), key("ben", "a", "1", b"x")] {
            assert_ne!(one.key, other.key);
        }
        let other = key("ann", "a", "1", b"y");
        assert_eq!(one.key, other.key);
        assert_ne!(one.request, other.request);
    }
}
