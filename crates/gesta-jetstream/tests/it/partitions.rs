//! Stores with several partitions: how they are made and opened, and the order of their events.

use async_nats::jetstream::Context;
use gesta_core::{
    AppendError, Batch, Checkpoint, CopySource, EventStore, Lane, Limit, NewEvent, Place, Query, Read,
    Timestamp,
};
use gesta_jetstream::{JetStreamStore, JetStreamUrl, OpenError, Options};
use pollster::block_on;
use test_servers::NATS_URL;

use crate::history::{connect, runtime};
use crate::opening::{at, event, unsafe_options};
use test_servers::given;

pub(crate) fn with_partitions(url: &JetStreamUrl, partitions: u16) -> JetStreamUrl {
    format!("{url}?partitions={partitions}").parse().unwrap()
}

/// One stream in each of three partitions.
pub(crate) fn streams() -> [String; 3] {
    let in_partition = |partition| {
        let mut names = (0..).map(|number| format!("a-{number}"));
        names.find(|name| Lane::of(name).partition(3) == partition).unwrap()
    };
    [0, 1, 2].map(in_partition)
}

pub(crate) fn event_of(stream: &str, number: u128) -> NewEvent {
    NewEvent { stream: stream.parse().unwrap(), ..event(number) }
}

/// Changes the streams of a store as an operator or a crash may.
fn tamper<F: Future<Output = ()>>(servers: &str, change: impl FnOnce(Context) -> F) {
    runtime().block_on(async {
        let (_, context) = connect(servers).await;
        change(context).await;
    });
}

#[test]
fn the_number_of_partitions_is_kept_with_the_store() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folders) = (at(&servers), tempfile::tempdir().unwrap());
    let open = |url: &JetStreamUrl, folder: &str| {
        JetStreamStore::open(url, &folders.path().join(folder), &unsafe_options())
    };
    let first = open(&with_partitions(&url, 3), "a").unwrap();
    for (number, stream) in (0..).zip(streams()) {
        block_on(first.append(Batch::new([event_of(&stream, number)]))).unwrap();
    }
    drop(first);
    let second = open(&url, "b").unwrap();
    assert_eq!(second.capabilities().partitions, 3, "without the parameter, the number is that of the store");
    assert_eq!(block_on(second.head_now()).unwrap(), Checkpoint::new(second.store_id(), [1, 1, 1]));
    assert!((0..3).all(|partition| folders.path().join(format!("b/p{partition}")).is_dir()));
    for other in [1, 2, 4] {
        let refused = open(&with_partitions(&url, other), "c").unwrap_err();
        let says_so =
            refused.to_string().contains("partitions=3") && refused.to_string().contains("leave it out");
        assert!(matches!(refused, OpenError::Refused { .. }) && says_so, "{refused}");
    }
    let of_one = at(&servers);
    drop(open(&of_one, "d").unwrap());
    let refused = open(&with_partitions(&of_one, 3), "d").unwrap_err();
    assert!(refused.to_string().contains("partitions=1"), "{refused}");
}

#[test]
fn a_creation_that_was_stopped_is_finished_and_a_stream_that_was_lost_is_not_made_again() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folders) = (at(&servers), tempfile::tempdir().unwrap());
    let open = |folder: &str| JetStreamStore::open(&url, &folders.path().join(folder), &unsafe_options());
    let first = JetStreamStore::open(&with_partitions(&url, 3), &folders.path().join("a"), &unsafe_options())
        .unwrap();
    let id = first.store_id();
    drop(first);
    let stream = |partition: u16| format!("ES_{}_{partition}", url.name());
    tamper(&servers, async |context| {
        // As if the process had ended after two of three streams.
        context.delete_stream(stream(2)).await.unwrap();
        let mut config = context.get_stream(stream(0)).await.unwrap().cached_info().config.clone();
        config.metadata.insert("gesta_begun".to_owned(), "true".to_owned());
        context.update_stream(config).await.unwrap();
    });
    let again = open("b").unwrap();
    assert_eq!((again.store_id(), again.capabilities().partitions), (id, 3));
    block_on(again.append(Batch::new([event_of(&streams()[2], 1)]))).unwrap();
    drop(again);
    tamper(&servers, async |context| {
        context.delete_stream(stream(2)).await.unwrap();
    });
    let refused = open("c").unwrap_err();
    assert!(refused.to_string().contains(&stream(2)), "{refused}");
    assert!(refused.to_string().contains("not used without"), "{refused}");
}

#[test]
fn a_store_that_the_cluster_has_lost_is_not_made_anew_beside_its_copy() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folders) = (at(&servers), tempfile::tempdir().unwrap());
    let open = |folder: &str| JetStreamStore::open(&url, &folders.path().join(folder), &unsafe_options());
    let store = open("a").unwrap();
    block_on(store.append(Batch::new([event(1)]))).unwrap();
    drop(store);
    let name = format!("ES_{}_0", url.name());
    tamper(&servers, async |context| {
        context.delete_stream(&name).await.unwrap();
    });
    let refused = open("a").unwrap_err();
    let said = refused.to_string();
    assert!(
        matches!(refused, OpenError::Refused { .. }) && said.contains("may be all that is left"),
        "{said}"
    );
    tamper(&servers, async |context| assert!(context.get_stream(&name).await.is_err(), "no stream was made"));
    // In another folder nothing is known of it.
    open("b").unwrap();
}

#[test]
fn a_stream_of_another_store_is_not_taken_for_a_partition() {
    let Some(servers) = given(NATS_URL) else { return };
    let (one, other) = (with_partitions(&at(&servers), 2), with_partitions(&at(&servers), 2));
    let folders = tempfile::tempdir().unwrap();
    let open = |url: &JetStreamUrl, folder: &str| {
        JetStreamStore::open(url, &folders.path().join(folder), &unsafe_options())
    };
    drop((open(&one, "a").unwrap(), open(&other, "b").unwrap()));
    tamper(&servers, async |context| {
        let [name, of_other] = [&one, &other].map(|url| format!("ES_{}_1", url.name()));
        let metadata = context.get_stream(&of_other).await.unwrap().cached_info().config.metadata.clone();
        let mut config = context.get_stream(&name).await.unwrap().cached_info().config.clone();
        config.metadata = metadata;
        context.update_stream(config).await.unwrap();
    });
    let refused = open(&one, "c").unwrap_err();
    assert!(refused.to_string().contains("belongs to the store"), "{refused}");
}

#[test]
fn the_log_of_three_partitions_is_read_in_the_order_of_time_and_batches_say_their_partition() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folder) = (with_partitions(&at(&servers), 3), tempfile::tempdir().unwrap());
    let clock = gesta_conformance::Clock::default();
    clock.set(1_000);
    clock.tick();
    let ticking = clock.clone();
    let options = Options { clock: Some(std::sync::Arc::new(move || ticking.now())), ..unsafe_options() };
    let store = JetStreamStore::open(&url, folder.path(), &options).unwrap();
    // A busy partition beside two quiet ones.
    let turns = [0, 0, 0, 1, 0, 0, 2, 0, 1, 0, 0, 0, 2, 1, 0, 0];
    for (number, turn) in (0..).zip(turns) {
        let stream = &streams()[turn];
        block_on(store.append(Batch::new([event_of(stream, number), event_of(stream, 100 + number)])))
            .unwrap();
    }
    let appended = (0..turns.len() as u128).flat_map(|number| [number, 100 + number]).collect::<Vec<_>>();
    for events in [1, 2, 5, 7, 1_000] {
        let limit = Limit::events(std::num::NonZeroU32::new(events).unwrap());
        let (mut found, mut read) = (Vec::new(), Read::log(Query::All).limit(limit));
        loop {
            let page = block_on(store.read(read)).unwrap();
            found.extend(page.events.iter().map(|event| u128::from_be_bytes(*event.id().as_bytes())));
            if page.end {
                break;
            }
            read = Read::log_from(Query::All, Place::At(page.scanned_to)).limit(limit);
        }
        assert_eq!(found, appended, "pages of {events}");
    }
    let newest = Limit::events(std::num::NonZeroU32::new(4).unwrap());
    let page = block_on(store.read(Read::log_from(Query::All, Place::End).backward().limit(newest))).unwrap();
    let found = page.events.iter().map(|event| u128::from_be_bytes(*event.id().as_bytes()));
    assert!(found.eq([115, 15, 114, 14]), "the newest of all partitions");
    let head = block_on(store.head_now()).unwrap();
    for partition in 0..3 {
        let batches = block_on(store.batches(partition, 0, head.sequence(partition)).next()).unwrap();
        assert_eq!(batches.last().unwrap().last().position().sequence, head.sequence(partition));
        assert!(batches.iter().all(|batch| batch.first().partition == partition));
        assert!(batches.is_sorted_by_key(|batch| batch.recorded_at()));
        assert!(batches[0].recorded_at() > Timestamp::from_nanos(999));
    }
}

#[test]
fn a_batch_and_a_condition_stay_in_one_partition() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folder) = (with_partitions(&at(&servers), 3), tempfile::tempdir().unwrap());
    let store = JetStreamStore::open(&url, folder.path(), &unsafe_options()).unwrap();
    let [one, other, _] = streams();
    let over_two = Batch::new([event_of(&one, 1), event_of(&other, 2)]);
    let on_all = Batch::new([event_of(&one, 1)]).fail_if(Query::All, None);
    for batch in [over_two, on_all] {
        let refused = block_on(store.append(batch)).unwrap_err();
        assert!(matches!(refused, AppendError::Unsupported { .. }), "{refused}");
    }
    let about_one = Query::stream(one.parse().unwrap());
    block_on(store.append(Batch::new([event_of(&one, 1)]).fail_if(about_one, None))).unwrap();
}
