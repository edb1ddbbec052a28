//! Signatures as in Standard Webhooks 1.0: HMAC-SHA256 over id, time and body.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// Before the base64 of a key.
const PREFIX: &str = "whsec_";
/// The shortest and longest key in bytes, as Standard Webhooks say.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that signs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(Vec<u8>);

/// Reads the keys in a secret, separated by white space: while one is replaced by another, both sign. The error says what helps.
pub(crate) fn keys_of(secret: &Secret) -> Result<Vec<Key>, String> {
    secret.reveal().split_whitespace().map(key_of).collect()
}

fn key_of(text: &str) -> Result<Key, String> {
    let key = text.strip_prefix(PREFIX).and_then(|text| BASE64_STANDARD.decode(text).ok());
    let key = key.filter(|key| KEY_BYTES.contains(&key.len()));
    key.map(Key).ok_or_else(|| {
        "holds a key that is not `whsec_` and the base64 of 24 to 64 bytes: make one with `echo whsec_$(openssl rand -base64 32)`"
            .to_owned()
    })
}

/// The value of `webhook-signature`: one signature for each key.
pub(super) fn sign(keys: &[Key], id: &str, seconds: u64, body: &[u8]) -> String {
    let head = format!("{id}.{seconds}.");
    let signatures = keys.iter().map(|Key(key)| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of HMAC has any length");
        mac.update(head.as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<Vec<Key>, String> {
        keys_of(&Secret::new(text).unwrap())
    }

    /// The example of the reference libraries of Standard Webhooks.
    #[test]
    fn a_signature_is_that_of_the_reference_libraries() {
        let keys = keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            sign(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn all_keys_of_a_secret_sign_while_one_is_replaced() {
        let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
        let both = sign(&keys(&format!("{new}\n {old}")).unwrap(), "a", 1, b"b");
        let one = |text| sign(&keys(text).unwrap(), "a", 1, b"b");
        assert_eq!(both, format!("{} {}", one(new), one(old)));
    }

    #[test]
    fn a_key_of_another_form_is_refused() {
        for wrong in
            ["secret", "whsec_", "whsec_short", "whsec_????", "whsec_AAAA MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        {
            let error = keys(wrong).err().unwrap_or_default();
            assert!(error.contains("make one with"), "{wrong}: {error}");
        }
    }
}
