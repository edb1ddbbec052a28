//! A view as of an earlier place in the log.

use gesta_core::*;
use gesta_views::*;

use crate::support::*;

#[test]
fn a_view_is_folded_up_to_any_place() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let views = open(&store, folder.path());
    let mut seen = Vec::new();
    for number in 0..12 {
        let at = append(&store, [deposited(number % 3, 10), event("x-1", "other", "{}")]);
        wait(&views, &at);
        seen.push((at.clone(), rows(&views, TOTALS)));
    }
    for (at, expected) in seen {
        let then = evaluate(&*store, &definition(BALANCES), &at, &Cancel::default()).unwrap();
        let answer = then.query(TOTALS, &[], &QueryLimits::default()).unwrap();
        assert_eq!((answer.rows, answer.checkpoint), (expected, at));
        let error = then.query("delete from balances", &[], &QueryLimits::default()).unwrap_err();
        assert!(matches!(error, QueryError::NotAllowed { .. }), "{error}");
        then.query("select date('now')", &[], &QueryLimits::default()).unwrap();
    }
}

#[test]
fn a_place_that_is_not_in_the_log_is_refused() {
    let store = store();
    let head = append(&store, [deposited(1, 1)]);
    let at = |checkpoint: &Checkpoint| {
        evaluate(&*store, &definition(BALANCES), checkpoint, &Cancel::default()).err().unwrap()
    };
    assert!(matches!(at(&head.clone().with(0, 9)), RunError::Read(ReadError::CheckpointAhead { .. })));
    let foreign = Checkpoint::start(StoreId::from_bytes([1; 16]), 1);
    assert!(matches!(at(&foreign), RunError::Read(ReadError::ForeignCheckpoint { .. })));
}

#[test]
fn an_event_that_cannot_be_applied_is_named() {
    let store = store();
    let head = append(&store, [deposited(1, 1), NewEvent { schema_version: 9, ..deposited(1, 1) }]);
    let error = evaluate(&*store, &definition(BALANCES), &head, &Cancel::default()).err().unwrap();
    assert_eq!(error.event().unwrap().position.sequence, 2);
}

#[test]
fn an_evaluation_is_cancelled_from_outside() {
    let store = store();
    let head = append(&store, [deposited(1, 1)]);
    let cancel = Cancel::default();
    cancel.cancel();
    let error = evaluate(&*store, &definition(BALANCES), &head, &cancel).err().unwrap();
    assert!(matches!(error, RunError::Cancelled), "{error}");
}
