//! A store that another program copies into.

use gesta_core::{AppendError, Batch, CopyTarget, EventId, EventStore, NewEvent, Timestamp};
use gesta_postgres::{Options, PostgresCopy};
use pollster::block_on;

use crate::database::{Schema, shared};

fn event(number: u128) -> Batch {
    let (id, time) = (EventId::from_u128(number), Timestamp::from_nanos(0));
    Batch::new([NewEvent::json(id, "a-1".parse().unwrap(), "a.b".parse().unwrap(), time, "{}")])
}

#[test]
fn nothing_is_appended_while_a_copy_goes_on() {
    let Some(server) = shared() else { return };
    let schema = Schema::new(&server);
    let store = schema.open(&Options::default());
    block_on(store.append(event(1))).unwrap();
    let copy = PostgresCopy::open(&schema.url(), store.store_id(), &Options::default()).unwrap();
    block_on(copy.reopen()).unwrap();
    let refused = block_on(store.append(event(2))).unwrap_err();
    let is_named = matches!(&refused, AppendError::ReadOnly { reason } if reason.contains("`gesta copy`"));
    assert!(is_named, "{refused}");
    block_on(copy.finish()).unwrap();
    block_on(store.append(event(2))).unwrap();
}
