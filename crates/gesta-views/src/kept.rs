//! The versions of a view that its database keeps, and the decision which of them is wanted, which serves and which one follows
//! beside it.
//!
//! *Invariant.* Of two versions that served, the one with the higher number in `served` did so later. A switch writes one number, in
//! one transaction, so it is atomic.

use gesta_core::Checkpoint;

use crate::parked::ParkedStreams;

/// A version that answers queries, or did before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    /// The hash of its definition.
    pub(crate) hash: String,
    /// Its number in the order of switches.
    pub(crate) served: i64,
    /// The place that its rows show; `None` if it cannot be read.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The streams that its rows do not show to the end.
    pub(crate) parked: ParkedStreams,
    /// The rollback to this version, if there was one.
    pub(crate) rollback: Option<Rollback>,
    /// Its definition, if it is text.
    pub(crate) source: Option<Source>,
}

/// A rollback: a version is wanted in place of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollback {
    /// The hash of the definition.
    pub(crate) instead_of: String,
    /// The highest number of a version when it was made. It ends when any other version serves after that.
    pub(crate) since: i64,
}

/// The text of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The file's name, for messages.
    pub(crate) file: String,
    pub(crate) text: String,
}

/// What is done with the versions of a view.
#[derive(Debug, PartialEq)]
pub(crate) struct Roles {
    /// The version that is wanted in place of the given definition, after a rollback.
    pub(crate) instead: Option<Kept>,
    /// The version that served last, other than the wanted one.
    pub(crate) old: Option<Kept>,
    /// The wanted version serves.
    pub(crate) serves: bool,
}

/// Decides the roles of versions. `given` is the hash of the definition that the host gives.
pub(crate) fn roles(given: &str, kept: &[Kept]) -> Roles {
    let is_instead = |version: &&Kept| {
        let rollback = version.rollback.as_ref().filter(|rollback| rollback.instead_of == given);
        let is_last = |rollback: &Rollback| {
            kept.iter().all(|other| other.hash == version.hash || other.served <= rollback.since)
        };
        rollback.is_some_and(is_last) && version.hash != given && version.source.is_some()
    };
    let instead = kept.iter().find(is_instead);
    let wanted = instead.map_or(given, |instead| &instead.hash);
    let others = kept.iter().filter(|version| version.hash != wanted);
    let old = others.max_by_key(|version| version.served);
    let serves = kept
        .iter()
        .find(|version| version.hash == wanted)
        .is_some_and(|wanted| old.is_none_or(|old| old.served < wanted.served));
    Roles { instead: instead.cloned(), old: old.cloned(), serves }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(hash: &str, served: i64, rollback: Option<(&str, i64)>) -> Kept {
        let source = Some(Source { file: String::new(), text: String::new() });
        let rollback = rollback.map(|(hash, since)| Rollback { instead_of: hash.into(), since });
        let (checkpoint, parked) = (None, ParkedStreams::default());
        Kept { hash: hash.into(), served, checkpoint, parked, rollback, source }
    }

    fn check(given: &str, versions: &[Kept], expected: (Option<&str>, Option<&str>, bool)) {
        let roles = roles(given, versions);
        let hash = |kept: &Option<Kept>| kept.as_ref().map(|kept| kept.hash.clone());
        let expected = (expected.0.map(str::to_owned), expected.1.map(str::to_owned), expected.2);
        assert_eq!((hash(&roles.instead), hash(&roles.old), roles.serves), expected, "{given} {versions:?}");
    }

    #[test]
    fn the_last_one_serves_until_the_wanted_one_does() {
        check("a", &[], (None, None, false));
        check("a", &[kept("a", 1, None)], (None, None, true));
        check("b", &[kept("a", 1, None)], (None, Some("a"), false));
        check("b", &[kept("a", 1, None), kept("b", 2, None)], (None, Some("a"), true));
        check("c", &[kept("a", 1, None), kept("b", 2, None)], (None, Some("b"), false));
        check("a", &[kept("a", 1, None), kept("b", 2, None)], (None, Some("b"), false));
    }

    #[test]
    fn a_rollback_holds_for_the_definition_that_it_was_from() {
        let versions = [kept("a", 3, Some(("b", 2))), kept("b", 2, None)];
        check("b", &versions, (Some("a"), Some("b"), true));
        check("c", &versions, (None, Some("a"), false));
        check("a", &versions, (None, Some("b"), true));
        let not_yet = [kept("a", 1, Some(("b", 2))), kept("b", 2, None)];
        check("b", &not_yet, (Some("a"), Some("b"), false));
        let without_text = Kept { source: None, ..kept("a", 1, Some(("b", 2))) };
        check("b", &[without_text, kept("b", 2, None)], (None, Some("a"), true));
    }

    #[test]
    fn a_rollback_ends_when_another_version_serves() {
        let rolled_back = kept("a", 3, Some(("b", 2)));
        check("b", &[rolled_back.clone(), kept("c", 4, None)], (None, Some("c"), false));
        check("b", &[rolled_back.clone(), kept("c", 4, None), kept("b", 5, None)], (None, Some("c"), true));
        check("b", &[rolled_back], (Some("a"), None, true));
    }
}
