//! Rates in bytes per second, such as `50M`.

use std::num::NonZeroU64;

use gesta_log::Scrub;

const EXPECTED: &str = "a number of bytes above 0, such as 500K, 50M or 1G";

/// Parses a number of bytes with an optional unit.
pub(crate) fn rate(text: &str) -> Result<NonZeroU64, String> {
    bytes(text).and_then(NonZeroU64::new).ok_or_else(|| format!("use {EXPECTED}"))
}

/// Parses the rate of the background scrub; 0 turns it off.
pub(crate) fn scrub(text: &str) -> Result<Scrub, String> {
    let bytes = bytes(text).ok_or_else(|| format!("use {EXPECTED}, or 0 for never"))?;
    Ok(NonZeroU64::new(bytes).map_or(Scrub::Off, Scrub::BytesPerSecond))
}

fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_with_a_unit() {
        let cases = [("1", 1), ("20k", 20 << 10), ("50M", 50 << 20), ("2G", 2 << 30)];
        for (text, expected) in cases {
            assert_eq!(rate(text).map(NonZeroU64::get), Ok(expected), "{text}");
            let expected = Scrub::BytesPerSecond(NonZeroU64::new(expected).unwrap());
            assert_eq!(scrub(text), Ok(expected), "{text}");
        }
        for text in ["", "M", "1.5M", "-1", "99999999999G", "1é"] {
            assert!(rate(text).is_err() && scrub(text).is_err(), "{text}");
        }
        assert!(rate("0").is_err());
        assert_eq!(scrub("0"), Ok(Scrub::Off));
    }
}
