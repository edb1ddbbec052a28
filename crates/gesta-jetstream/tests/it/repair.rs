//! Repair after a loss on the cluster: from a copy if nobody has written since, otherwise beside it.

use std::path::Path;

use gesta_core::{Batch, Checkpoint, CommandKey, EventStore, Place, Query, Read, RecordedEvent, When};
use gesta_jetstream::{CopyState, JetStreamStore, JetStreamUrl, Mend, OpenError, Repaired, repair};
use pollster::block_on;
use test_servers::NATS_URL;

use crate::history::Kept;
use crate::opening::{at, unsafe_options};
use crate::partitions::{event_of, streams, with_partitions};
use test_servers::given;

fn open(url: &JetStreamUrl, folder: &Path) -> Result<JetStreamStore, OpenError> {
    JetStreamStore::open(url, folder, &unsafe_options())
}

/// Repairs, or only compares. Returns also the ids of the events that only the copy has.
fn mended(url: &JetStreamUrl, folder: &Path, mend: Mend) -> (Vec<Repaired>, Vec<u128>) {
    let mut only_here = Vec::new();
    let list = &mut |event: &RecordedEvent| only_here.push(id_of(event));
    let repaired = repair(url, folder, &unsafe_options(), (mend, list)).unwrap();
    (repaired, only_here)
}

fn id_of(event: &RecordedEvent) -> u128 {
    u128::from_be_bytes(*event.id().as_bytes())
}

fn log(store: &JetStreamStore) -> Vec<RecordedEvent> {
    let page = block_on(store.read(Read::log(Query::All))).unwrap();
    assert!(page.end, "one page has all of them");
    page.events
}

fn states(repaired: &[Repaired]) -> Vec<CopyState> {
    repaired.iter().map(|repaired| repaired.found.state.clone()).collect()
}

fn keyed(batch: Batch) -> Batch {
    batch.with_command(CommandKey { key: "open".into(), request: [1; 32] })
}

/// Waits until a copy has what a place covers.
fn wait_for(store: &JetStreamStore, place: &Checkpoint) {
    let mut head = block_on(store.locate(When::Head)).unwrap();
    while !head.at_least(place) {
        head = block_on(store.wait_past(head)).unwrap();
    }
}

#[test]
fn lost_events_are_published_again_at_their_places_if_nobody_has_written_since() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folders) = (with_partitions(&at(&servers), 3), tempfile::tempdir().unwrap());
    let [one, two] = ["one", "two"].map(|name| folders.path().join(name));
    let (first, second) = (open(&url, &one).unwrap(), open(&url, &two).unwrap());
    let streams = streams();
    for (number, stream) in (0..).zip(&streams) {
        block_on(first.append(Batch::new([event_of(stream, number)]))).unwrap();
    }
    let kept = Kept::of(&servers, &url);
    let sent = keyed(Batch::new([10, 11, 12].map(|number| event_of(&streams[1], number))));
    let answer = block_on(first.append(sent.clone())).unwrap();
    wait_for(&second, &answer.checkpoint);
    let whole = log(&first);
    drop((first, second));
    kept.put_back();
    let ahead = [CopyState::Whole, CopyState::Ahead, CopyState::Whole];
    let (compared, only_here) = mended(&url, &one, Mend::Nothing);
    assert_eq!((states(&compared), only_here), (ahead.to_vec(), vec![10, 11, 12]));
    assert_eq!((compared[1].found.stream, compared[1].found.copy), (1, 4));
    let (repaired, only_here) = mended(&url, &one, Mend::All);
    assert_eq!(
        (states(&repaired), only_here),
        (ahead.to_vec(), vec![10, 11, 12]),
        "a comparison changes nothing"
    );
    let (again, only_here) = mended(&url, &one, Mend::All);
    assert_eq!((states(&again), only_here), (vec![CopyState::Whole; 3], vec![]));
    let first = open(&url, &one).unwrap();
    assert_eq!(log(&first), whole);
    // Checkpoints and keys of lost events are good again.
    block_on(first.read(Read::log_from(Query::All, Place::At(answer.checkpoint.clone())))).unwrap();
    let repeated = block_on(first.append(sent)).unwrap();
    assert_eq!((repeated.repeated, repeated.places), (true, answer.places));
    // The other copy knows the lost messages. It has the same events.
    assert!(matches!(open(&url, &two), Err(OpenError::Lost { .. })));
    let (repaired, only_here) = mended(&url, &two, Mend::All);
    assert_eq!((states(&repaired), only_here), (vec![CopyState::Whole; 3], vec![]));
    let second = open(&url, &two).unwrap();
    block_on(first.append(Batch::new([event_of(&streams[1], 13)]))).unwrap();
    block_on(second.head_now()).unwrap();
    assert_eq!(log(&second), log(&first));
}

#[test]
fn a_copy_of_another_history_is_moved_aside_and_its_events_are_named() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folders) = (at(&servers), tempfile::tempdir().unwrap());
    let [one, two] = ["one", "two"].map(|name| folders.path().join(name));
    let stream = &streams()[0];
    let append = |store: &JetStreamStore, number| {
        block_on(store.append(Batch::new([event_of(stream, number)]))).unwrap();
    };
    let first = open(&url, &one).unwrap();
    append(&first, 1);
    let kept = Kept::of(&servers, &url);
    (2..5).for_each(|number| append(&first, number));
    drop(first);
    kept.put_back();
    // Another process, which has not seen the lost events, goes on.
    let second = open(&url, &two).unwrap();
    append(&second, 20);
    let diverged = [CopyState::Diverged { from: 2 }];
    let (compared, only_here) = mended(&url, &one, Mend::Nothing);
    assert_eq!((states(&compared), only_here), (diverged.to_vec(), vec![2, 3, 4]));
    assert_eq!(compared[0].aside, None);
    let (repaired, only_here) = mended(&url, &one, Mend::All);
    assert_eq!((states(&repaired), only_here), (diverged.to_vec(), vec![2, 3, 4]));
    let aside = repaired[0].aside.clone().unwrap();
    assert!(aside.starts_with(&one) && aside.is_dir() && !one.join("p0").exists());
    let first = open(&url, &one).unwrap();
    assert_eq!(log(&first).iter().map(id_of).collect::<Vec<_>>(), [1, 20]);
    assert_eq!(log(&first), log(&second));
    // The old copy is a log, to be read.
    drop(first);
    let kept = gesta_log::LogStore::open_existing(&aside, &gesta_log::Options::default()).unwrap();
    let page = block_on(kept.read(Read::log(Query::All))).unwrap();
    assert_eq!(page.events.iter().map(id_of).collect::<Vec<_>>(), [1, 2, 3, 4]);
}
