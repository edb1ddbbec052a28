//! Texts that are not quite UTF-8.

/// A text as Rust has it. What is not UTF-8 becomes U+FFFD, half a surrogate pair, which JSON can bring along,
/// a single one.
pub(crate) fn lossy_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(&without_surrogates(bytes)).into_owned(),
    }
}

/// Replaces encoded surrogates, `ED A0..BF xx`, by U+FFFD, which is as long.
fn without_surrogates(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_owned();
    for at in 2..bytes.len() {
        if bytes[at - 2] == 0xED && bytes[at - 1] >= 0xA0 {
            bytes[at - 2..=at].copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_half_of_a_surrogate_pair_becomes_one_replacement_character() {
        assert_eq!(lossy_text(b"a\xED\xA0\xBDb\xED\xB0\x80"), "a\u{fffd}b\u{fffd}");
        assert_eq!(lossy_text("\u{d7ff} é".as_bytes()), "\u{d7ff} é");
        assert_eq!(lossy_text(b"\xED\xA0"), "\u{fffd}\u{fffd}");
    }
}
