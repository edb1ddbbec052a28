//! Two processes that advertise one address.

use std::time::Duration;

use gesta_core::Revision;

use super::{Holder, Put, Role, Row, Step, Times};

/// A row that expects revisions, as a store keeps it.
#[derive(Default)]
struct Store {
    row: Option<(Row, Revision)>,
}

impl Store {
    /// Does the steps of a process that are due.
    fn run(&mut self, holder: &mut Holder, now: Duration) {
        loop {
            match holder.step(now) {
                Step::Wait(_) => return,
                Step::Get => holder.got(now, self.row.clone()),
                Step::Put(row, expect) => {
                    let actual = self.row.as_ref().map(|(_, revision)| *revision);
                    let put = match actual == expect {
                        true => Put::Accepted(Revision::new(actual.map_or(1, |actual| actual.get() + 1))),
                        false => Put::Refused,
                    };
                    if let Put::Accepted(revision) = put {
                        self.row = Some((row, revision));
                    }
                    holder.put(now, put);
                }
            }
        }
    }
}

fn process(name: &str, address: &str) -> Holder {
    let mut holder = Holder::new(name.to_owned(), String::new(), Times::USUAL);
    holder.announce(address.to_owned());
    holder
}

/// Runs two processes from one second to another. Returns how often the holder of the row changed.
fn run(store: &mut Store, holders: &mut [&mut Holder], seconds: std::ops::Range<u64>) -> usize {
    let (mut changes, mut last) = (0, store.row.as_ref().map(|(row, _)| row.holder.clone()));
    for second in seconds {
        for holder in &mut *holders {
            store.run(holder, Duration::from_secs(second));
            let named = store.row.as_ref().map(|(row, _)| row.holder.clone());
            changes += usize::from(last != named);
            last = named;
        }
    }
    changes
}

#[test]
fn the_later_of_two_processes_with_one_address_deals_and_the_other_one_says_so() {
    let mut store = Store::default();
    let (mut first, mut second) = (process("first", "http://a"), process("second", "http://a"));
    run(&mut store, &mut [&mut first], 0..5);
    assert_eq!(first.role(Duration::from_secs(4)), Role::Holder);
    assert_eq!(first.alone_from(), Duration::ZERO);
    let changes = run(&mut store, &mut [&mut first, &mut second], 5..60);
    assert!(second.alone_from() >= Duration::from_secs(15), "the first one deals on for a moment");
    assert_eq!(changes, 1, "they do not take over from each other in turns");
    let now = Duration::from_secs(59);
    assert_eq!(second.role(now), Role::Holder);
    assert!(matches!(first.role(now), Role::Contested(row) if row.holder == "second"));
    // The first one takes over as every other process does.
    run(&mut store, &mut [&mut first], 60..75);
    assert_eq!(first.role(Duration::from_secs(74)), Role::Holder);
}

#[test]
fn a_process_that_resigns_lets_others_deal_first() {
    let (mut store, mut first) = (Store::default(), process("first", "http://a"));
    run(&mut store, &mut [&mut first], 0..3);
    store.row = None;
    first.resign(Duration::from_secs(3));
    assert_eq!(first.role(Duration::from_secs(3)), Role::Nobody);
    let mut second = process("second", "http://b");
    run(&mut store, &mut [&mut first, &mut second], 3..30);
    assert_eq!(second.role(Duration::from_secs(29)), Role::Holder);
}

#[test]
fn a_secret_is_compared_as_a_whole() {
    let holder = Holder::new("first".to_owned(), "abc".to_owned(), Times::USUAL);
    assert!(holder.trusts("abc"));
    for wrong in ["", "ab", "abd", "abcd"] {
        assert!(!holder.trusts(wrong), "{wrong}");
    }
    assert!(!Holder::new("first".to_owned(), String::new(), Times::USUAL).trusts(""));
}
