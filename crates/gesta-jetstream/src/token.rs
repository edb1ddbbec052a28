//! Names as parts of subjects of NATS: letters, digits, `-`, `_` and `/` stand for themselves, every other byte is `=XX`.
//!
//! A subject has no spaces, and dots, `*` and `>` have a meaning there.

use std::fmt::Write;

/// Writes a name as one part of a subject.
pub(crate) fn escape(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'/' => token.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(token, "={byte:02X}")),
        }
    }
    token
}

/// Reads a name again; `None` if it was not written by [`escape`].
pub(crate) fn unescape(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|name| escape(name) == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_part_of_a_subject_and_comes_back() {
        for (name, token) in [
            ("groups/mail", "groups/mail"),
            ("a.b=c", "a=2Eb=3Dc"),
            ("..", "=2E=2E"),
            ("account-{a b}*>", "account-=7Ba=20b=7D=2A=3E"),
            ("ä", "=C3=A4"),
        ] {
            assert_eq!(escape(name), token);
            assert_eq!(unescape(token).as_deref(), Some(name));
        }
        for token in ["=2", "=", "=zz", "=2e", "a.b", "=61", "=FF", "=+1"] {
            assert_eq!(unescape(token), None, "{token}");
        }
    }
}
