//! The keys under which groups are kept.

use std::fmt::Write;

use gesta_core::{KeyName, KeyPrefix, StreamName, Version};
use sha2::{Digest, Sha256};

use crate::group::name::GroupName;

/// The prefix of all keys of groups.
pub(super) fn prefix() -> KeyPrefix {
    "groups/".parse().expect("a constant prefix")
}

/// The key of a group's row.
pub(super) fn row(group: &GroupName) -> KeyName {
    key(format!("groups/{group}"))
}

/// What a key of a group holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The row of a group.
    Row(GroupName),
    /// Words about a stream. The next key that is no words of this group is greater than this one.
    Words { go_on_after: KeyName },
}

/// Returns what a key holds; `None` for a key that no group has.
pub(super) fn held(key: &KeyName) -> Option<Held> {
    let rest = key.as_str().strip_prefix("groups/")?;
    match rest.split_once('/') {
        None => rest.parse().ok().map(Held::Row),
        Some((group, _)) => {
            let group = group.parse::<GroupName>().ok()?;
            // Words begin with `parked` or `skipped`.
            Some(Held::Words { go_on_after: self::key(format!("groups/{group}/z")) })
        }
    }
}

/// The key of the words about a parked stream.
pub(super) fn parked(group: &GroupName, stream: &StreamName) -> KeyName {
    key(format!("groups/{group}/parked/{}", hash(stream)))
}

/// The key of the words about a skipped event.
pub(super) fn skipped(group: &GroupName, stream: &StreamName, version: Version) -> KeyName {
    key(format!("groups/{group}/skipped/{}-{version}", hash(stream)))
}

/// The prefix of the words of a group.
pub(super) fn words(group: &GroupName) -> KeyPrefix {
    format!("groups/{group}/").parse().expect("the name of a group is part of a key")
}

fn key(text: String) -> KeyName {
    KeyName::new(text).expect("names of groups and hashes make keys within the limit")
}

fn hash(stream: &StreamName) -> String {
    let digest: [u8; 32] = Sha256::digest(stream.as_str().as_bytes()).into();
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::limits::GROUP_NAME_BYTES_MAX;

    #[test]
    fn the_longest_names_make_keys() {
        let group = "g".repeat(GROUP_NAME_BYTES_MAX).parse::<GroupName>().unwrap();
        let stream = "s".repeat(512).parse::<StreamName>().unwrap();
        let key = skipped(&group, &stream, Version::new(u64::MAX));
        assert!(key.as_str().len() <= 255, "{}", key.as_str().len());
        assert_eq!(held(&row(&group)), Some(Held::Row(group)));
    }

    #[test]
    fn a_listing_passes_over_the_words_of_a_group_and_over_nothing_else() {
        let group = "a".parse::<GroupName>().unwrap();
        let stream = "s".parse::<StreamName>().unwrap();
        for words in [parked(&group, &stream), skipped(&group, &stream, Version::new(1))] {
            let Some(Held::Words { go_on_after }) = held(&words) else { panic!("{words}") };
            assert!(words < go_on_after);
            for other in ["a0", "b", "a_"] {
                assert!(row(&other.parse().unwrap()) > go_on_after, "{other}");
            }
            for other in ["a", "a-", "a.b"] {
                assert!(row(&other.parse().unwrap()) < words, "{other} was listed before");
            }
        }
    }
}
