//! Pauses: a view stands between two pages, and still answers.

use std::sync::Arc;

use gesta_consumer::Paused;
use gesta_core::*;
use gesta_views::*;

use crate::support::*;

fn paused(by: &str) -> Option<Paused> {
    Some(Paused { by: by.into(), since: Timestamp::from_nanos(7) })
}

fn wait_until_paused(views: &Views) {
    while !matches!(views.state("balances").unwrap(), State::Paused { .. }) {
        std::thread::yield_now();
    }
}

#[test]
fn a_view_that_is_paused_answers_as_of_its_place_and_goes_on_from_there() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let views = Arc::new(open(&store, folder.path()));
    let first = append_deposits(&store, 30);
    wait(&views, &first);
    let consumer = views.consumers().remove(0);
    assert_eq!((consumer.name(), consumer.kind()), ("balances", "view"));
    consumer.set_paused(paused("ann"));
    wait_until_paused(&views);
    let last = append_deposits(&store, 30);
    let answer = query(&views, TOTALS).unwrap();
    assert_eq!((answer.rows, answer.checkpoint), (integers(&[10, 30, 30]), first));
    let report = pollster::block_on(consumer.report());
    assert_eq!((report.state, report.lag_events), ("paused", Some(30)));
    assert_eq!(report.paused, paused("ann"));
    consumer.set_paused(None);
    wait(&views, &last);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 60, 60]));
}

#[test]
fn a_view_that_starts_paused_opens_nothing() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    append_deposits(&store, 30);
    let paused = [("balances".to_owned(), paused("ann").unwrap())].into();
    let options = Options { paused, ..Options::default() };
    let open = || Views::open_with(store.clone(), folder.path().into(), vec![definition(BALANCES)], &options);
    let views = Arc::new(open().unwrap());
    wait_until_paused(&views);
    assert_eq!(status(&views).checkpoint, None);
    views.shut_down();
    let report = pollster::block_on(views.consumers()[0].report());
    assert_eq!((report.state, report.error.as_deref()), ("stopped", Some("the views were shut down")));
}
