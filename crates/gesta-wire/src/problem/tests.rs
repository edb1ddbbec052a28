//! Every error of a store comes back from its problem as itself.

use gesta_core::{AppendError, ReadError, Retry, Timestamp};
use proptest::prelude::*;

use super::{Kind, Problem, kinds};
use crate::any::{checkpoint, expected, id, position, stream, text, version};

fn append_error() -> impl Strategy<Value = AppendError> {
    prop_oneof![
        text().prop_map(|reason| AppendError::Invalid { reason }),
        (text(), any::<usize>(), any::<usize>()).prop_map(|(what, actual, limit)| AppendError::TooLarge {
            what: what.into(),
            actual,
            limit
        }),
        (stream(), expected(), prop::option::of(version()))
            .prop_map(|(stream, expected, actual)| AppendError::Conflict { stream, expected, actual }),
        (any::<usize>(), position()).prop_map(|(index, at)| AppendError::ConditionFailed { index, at }),
        (stream(), id(), version(), any::<usize>())
            .prop_map(|(stream, id, version, index)| AppendError::IdTaken { stream, id, version, index }),
        Just(AppendError::KeyReused),
        checkpoint().prop_map(|checkpoint| AppendError::ForeignCheckpoint { checkpoint }),
        (checkpoint(), checkpoint())
            .prop_map(|(checkpoint, head)| AppendError::CheckpointAhead { checkpoint, head }),
        (checkpoint(), checkpoint())
            .prop_map(|(checkpoint, found)| AppendError::Diverged { checkpoint, found }),
        text().prop_map(|capability| AppendError::Unsupported { capability: capability.into() }),
        ("[a-z-]{1,20}|conflict|hosted-category", text())
            .prop_map(|(code, reason)| AppendError::Denied { code: code.into(), reason }),
        text().prop_map(|reason| AppendError::ReadOnly { reason }),
        text().prop_map(|reason| AppendError::StorageFull { reason }),
        Just(AppendError::Overloaded),
        text().prop_map(|reason| AppendError::Unavailable { reason }),
        text().prop_map(|reason| AppendError::InDoubt { reason }),
        Just(AppendError::Closed),
    ]
}

fn read_error() -> impl Strategy<Value = ReadError> {
    prop_oneof![
        text().prop_map(|reason| ReadError::Invalid { reason }),
        (text(), any::<usize>(), any::<usize>()).prop_map(|(what, actual, limit)| ReadError::TooLarge {
            what: what.into(),
            actual,
            limit
        }),
        checkpoint().prop_map(|checkpoint| ReadError::ForeignCheckpoint { checkpoint }),
        (checkpoint(), checkpoint())
            .prop_map(|(checkpoint, head)| ReadError::CheckpointAhead { checkpoint, head }),
        (checkpoint(), checkpoint())
            .prop_map(|(checkpoint, found)| ReadError::Diverged { checkpoint, found }),
        text().prop_map(|capability| ReadError::Unsupported { capability: capability.into() }),
        (text(), position(), position(), checkpoint())
            .prop_map(|(location, from, to, resume)| { ReadError::DataLoss { location, from, to, resume } }),
        any::<i64>().prop_map(|nanos| ReadError::NotYet { now: Timestamp::from_nanos(nanos) }),
        Just(ReadError::Overloaded),
        text().prop_map(|reason| ReadError::Unavailable { reason }),
        Just(ReadError::Closed),
    ]
}

/// The problem after its way over the wire.
fn sent(problem: &Problem) -> Problem {
    Problem::from_json(problem.to_json().to_string().as_bytes()).expect("a written problem is read")
}

proptest! {
    #[test]
    fn every_error_of_an_append_comes_back_as_itself(error in append_error()) {
        let problem = Problem::from(error.clone());
        let is_listed = kinds::OF_APPENDS.iter().any(|kind| kind.name == problem.kind);
        prop_assert!(is_listed || matches!(error, AppendError::Denied { .. }), "{}", problem.kind);
        prop_assert_eq!(problem.undescribed(), [""; 0]);
        let sent = sent(&problem);
        prop_assert_eq!(&sent, &problem);
        prop_assert_eq!(sent.retry, error.retry());
        prop_assert_eq!(sent.as_append_error(), Some(error.clone()));
        prop_assert_eq!(sent.to_append_error(), error);
    }

    #[test]
    fn every_error_of_a_read_comes_back_as_itself(error in read_error()) {
        let problem = Problem::from(error.clone());
        prop_assert!(kinds::OF_READS.iter().any(|kind| kind.name == problem.kind), "{}", problem.kind);
        prop_assert_eq!(problem.undescribed(), [""; 0]);
        let sent = sent(&problem);
        prop_assert_eq!(&sent, &problem);
        prop_assert_eq!(sent.retry, error.retry());
        prop_assert_eq!(sent.as_read_error(), Some(error.clone()));
        prop_assert_eq!(sent.to_read_error(), error);
    }
}

#[test]
fn a_problem_of_the_server_becomes_the_error_that_its_status_allows() {
    let problem = |status, kind| Problem::new(Kind::new(status, kind, "title"), "detail");
    let reason = || "detail".to_owned();
    let unavailable =
        || (AppendError::Unavailable { reason: reason() }, ReadError::Unavailable { reason: reason() });
    let cases = [
        (
            problem(400, "invalid-event"),
            (AppendError::Invalid { reason: reason() }, ReadError::Invalid { reason: reason() }),
        ),
        (
            problem(403, "system-stream"),
            (
                AppendError::Denied { code: "system-stream".into(), reason: reason() },
                ReadError::Invalid { reason: reason() },
            ),
        ),
        (problem(421, "foreign-store"), (AppendError::Closed, ReadError::Closed)),
        (problem(408, "too-slow"), unavailable()),
        (problem(503, "stopping").retry(Retry::AfterPause), unavailable()),
        (
            problem(500, "internal"),
            (AppendError::InDoubt { reason: reason() }, ReadError::Unavailable { reason: reason() }),
        ),
        (
            // A kind of this version whose members are missing.
            Problem::new(kinds::TOO_LARGE, "detail"),
            (AppendError::Invalid { reason: reason() }, ReadError::Invalid { reason: reason() }),
        ),
    ];
    for (problem, (append, read)) in cases {
        assert_eq!((problem.to_append_error(), problem.to_read_error()), (append, read), "{problem:?}");
    }
}

#[test]
fn a_denied_append_has_the_status_of_its_rule() {
    let reason = "send a command".to_owned();
    for (code, status) in [("hosted-category", 409), ("system-stream", 403), ("conflict", 403)] {
        let problem = Problem::from(AppendError::Denied { code: code.into(), reason: reason.clone() });
        assert_eq!((problem.status, &*problem.kind, &problem.detail), (status, code, &reason));
    }
}

#[test]
fn an_answer_that_is_no_problem_is_named_so() {
    for text in
        ["", "<html>", "[]", "{}", r#"{"type":"about:blank","title":"x","detail":"y","retry":"never"}"#]
    {
        let error = Problem::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("the answer is not a problem of a Gesta server"), "{text}: {error}");
    }
}

#[test]
fn every_kind_has_one_name() {
    let mut names = kinds::ALL.iter().map(|kind| kind.name).collect::<Vec<_>>();
    names.sort_unstable();
    let number = names.len();
    names.dedup();
    assert_eq!(names.len(), number);
}
