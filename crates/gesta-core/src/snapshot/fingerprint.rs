//! The identity of a kind of state.

use std::fmt;
use std::str::FromStr;

/// The identity of a way to fold and to write a state: a SHA-256 over everything that is known of it.
///
/// Printed and parsed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Creates a fingerprint from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the fingerprint of a state: it has 64 hexadecimal digits in lower case")]
pub struct FingerprintParseError {
    /// The text, cut to its first 80 characters.
    pub text: String,
}

impl FromStr for Fingerprint {
    type Err = FingerprintParseError;

    /// Accepts exactly the output of `Display`.
    fn from_str(text: &str) -> Result<Self, FingerprintParseError> {
        parse(text).ok_or_else(|| FingerprintParseError { text: text.chars().take(80).collect() })
    }
}

fn parse(text: &str) -> Option<Fingerprint> {
    let digits = text.as_bytes();
    if digits.len() != 64 || digits.iter().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Fingerprint(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_printed_and_parsed_as_64_digits() {
        let mut bytes = [0xab; 32];
        bytes[0] = 0x01;
        let fingerprint = Fingerprint::from_bytes(bytes);
        let text = fingerprint.to_string();
        assert!(text.starts_with("01abab") && text.len() == 64, "{text}");
        assert_eq!(text.parse(), Ok(fingerprint));
        for wrong in ["", "01", &text[1..], &text.to_uppercase(), &format!("{}g", &text[1..])] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
