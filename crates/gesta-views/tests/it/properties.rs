//! Properties of every log: the size of pages changes neither rows nor errors.

use gesta_core::*;
use gesta_views::*;
use proptest::prelude::*;

use crate::support::*;

/// Batches of events: an account, an amount (a handler refuses 0), and deposit or withdrawal.
fn batches() -> impl Strategy<Value = Vec<Vec<(u64, i64, bool)>>> {
    let amount = prop_oneof![50 => 1_i64..100, 1 => Just(0)];
    prop::collection::vec(prop::collection::vec((0..5_u64, amount, any::<bool>()), 1..5), 1..30)
}

/// Rows and checkpoint when the view has reached the head or stopped.
fn outcome(
    store: &std::sync::Arc<MemoryStore>,
    head: &Checkpoint,
    page: u32,
) -> (Vec<Vec<SqlValue>>, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let text = BALANCES.replace(
        "-- require: amount\ninsert",
        "-- require: amount\nupdate checks set n = n / :amount;\ninsert",
    );
    let text = text.replace("-- on deposited", "create table checks (n integer check (n is not null));\ninsert into checks values (1);\n-- on deposited");
    let views =
        Views::open_with(store.clone(), folder.path().into(), vec![definition(&text)], &page_of(page))
            .unwrap();
    // The view reaches the head, or stops before it. Both end the wait.
    let _ended = pollster::block_on(views.wait_for("balances", head));
    let answer = query(&views, "select * from balances order by account").unwrap();
    (answer.rows, answer.checkpoint)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_size_of_pages_changes_neither_rows_nor_where_a_view_stops(batches in batches()) {
        let store = store();
        let mut head = None;
        for batch in &batches {
            let events = batch.iter().map(|(account, amount, is_deposit)| {
                let event_type = if *is_deposit { "deposited" } else { "withdrawn" };
                event(&format!("account-{account}"), event_type, &format!(r#"{{"amount": {amount}}}"#))
            });
            head = Some(append(&store, events));
        }
        let head = head.unwrap();
        let one = outcome(&store, &head, 1);
        for page in [2, 7, 1_000] {
            prop_assert_eq!(&outcome(&store, &head, page), &one);
        }
    }
}
