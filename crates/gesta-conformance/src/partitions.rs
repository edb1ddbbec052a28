//! Laws of partitions: the scope of one batch, and the order of events.

use gesta_core::{AppendError, Batch, Expected, Item, Placed, Query, Read};
use pollster::block_on;

use crate::given::{A, B, batch, category, command, event_type, ids, name, tag};
use crate::world::World;

impl World<'_> {
    /// Three streams with different partition keys, in three partitions if the store has as many.
    fn streams(&self) -> [String; 3] {
        let mut keys = self.keys().into_iter();
        [(); 3].map(|()| format!("s-{{{}}}", keys.next().expect("three keys")))
    }

    /// Appends a batch that spans the three keys. It must be accepted, or refused according to the store's
    /// capabilities.
    fn reach_over(&self, batch: Batch) {
        if self.is_scoped_to_a_partition() {
            let error = self.refuse(batch);
            assert!(matches!(error, AppendError::Unsupported { .. }), "{error}");
        } else {
            self.append(batch);
        }
    }
}

pub(crate) fn a_batch_with_several_partition_keys_is_whole_or_unsupported(world: &World<'_>) {
    let [first, second, third] = world.streams();
    world.reach_over(batch(&[(&first, 1), (&second, 2), (&third, 3), (&first, 4)]));
    let expected: &[u32] = if world.is_scoped_to_a_partition() { &[] } else { &[1, 2, 3, 4] };
    assert_eq!(ids(&world.log()), expected);
}

pub(crate) fn an_expectation_under_another_partition_key_is_checked_or_unsupported(world: &World<'_>) {
    let [first, second, _] = world.streams();
    world.append(batch(&[(&second, 1)]));
    world.reach_over(batch(&[(&first, 2)]).expect(name(&second), Expected::Exists));
    let failing = batch(&[(&first, 3)]).expect(name(&second), Expected::None);
    let error = world.refuse(failing);
    if world.is_scoped_to_a_partition() {
        assert!(matches!(error, AppendError::Unsupported { .. }), "{error}");
    } else {
        assert!(matches!(error, AppendError::Conflict { .. }), "{error}");
    }
}

pub(crate) fn a_condition_that_spans_partitions_is_checked_or_unsupported(world: &World<'_>) {
    let [first, second, _] = world.streams();
    let own = || Item { stream: Some(name(&first)), ..Item::default() };
    let reaching = [
        Query::All,
        Query::category(category("never")),
        Query::types([event_type("never")]),
        Query::tags([tag("never:1")]),
        Query::stream(name(&second)),
        Query::Any(vec![own(), Item { stream: Some(name(&second)), ..Item::default() }]),
        Query::Any(vec![own(), Item { category: Some(category("never")), ..Item::default() }]),
    ];
    for (number, query) in (1..).zip(reaching) {
        let head = world.head();
        world.reach_over(batch(&[(&first, number)]).fail_if(query, Some(head)));
    }
    let head = world.head();
    let in_scope = Item { types: vec![event_type("never")], category: Some(category("s")), ..own() };
    world.append(batch(&[(&first, 100)]).fail_if(Query::Any(vec![own(), in_scope]), Some(head)));
}

pub(crate) fn an_unsupported_batch_is_refused_before_any_other_check(world: &World<'_>) {
    let [first, second, _] = world.streams();
    let one = batch(&[(&first, 1)]).with_command(command("used", 1));
    let answer = world.append(one.clone());
    // With its key the batch is a repeat. Without it, an id is taken, an expectation fails and a condition fails.
    let over = batch(&[(&first, 1), (&second, 2)]).expect(name(&first), Expected::None);
    let over = over.fail_if(Query::stream(name(&first)), None);
    for sent in [over.clone().with_command(command("used", 1)), over.with_command(command("used", 2))] {
        let answered = world.try_append(sent);
        if world.is_scoped_to_a_partition() {
            assert!(matches!(answered, Err(AppendError::Unsupported { .. })), "{answered:?}");
        } else {
            let places = answered.map(|appended| appended.places);
            assert!(matches!(&places, Err(AppendError::KeyReused)) || places == Ok(answer.places.clone()));
        }
    }
    assert_eq!(ids(&world.log()), [1]);
}

pub(crate) fn streams_that_share_a_partition_key_share_a_partition_and_batches(world: &World<'_>) {
    for key in ["acme", "z", "ä", "a-b", "{"] {
        let streams = [format!("a-{{{key}}}1"), format!("b-{{{key}}}2"), format!("{{{key}}}")];
        let events =
            (1..).zip(&streams).map(|(number, stream)| (stream.as_str(), number)).collect::<Vec<_>>();
        let about = Item { stream: Some(name(&streams[2])), ..Item::default() };
        let sent = batch(&events).expect(name(&streams[0]), Expected::None).fail_if(about.into(), None);
        let partition = world.partition_of(&streams[0]);
        let Some(first) = world.append(sent).places.first().copied() else { panic!("a place an event") };
        assert_eq!(first.position.partition, partition, "the published partition");
    }
}

pub(crate) fn every_stream_is_in_the_partition_of_its_lane(world: &World<'_>) {
    for (number, stream) in (0..40).map(|number| (number, format!("stream-{number}"))) {
        let Placed { position, .. } = world.append(batch(&[(&stream, number)])).places[0];
        assert_eq!(position.partition, world.partition_of(&stream), "{stream}");
        assert!(position.partition < world.partitions());
    }
    let with_events = world.ids_by_partition(&world.log());
    assert!(world.partitions() > 8 || with_events.iter().all(|ids| !ids.is_empty()), "{with_events:?}");
}

pub(crate) fn the_log_is_read_in_order_in_each_partition_and_in_total_order_with_one_partition(
    world: &World<'_>,
) {
    let written = (0..30_u32).map(|number| {
        let stream = format!("stream-{}", number % 7);
        (world.append(batch(&[(&stream, number)])).places[0].position.partition, number)
    });
    let written = written.collect::<Vec<_>>();
    let forward = world.log();
    let backward = world.read(Read::log_from(Query::All, gesta_core::Place::End).backward()).events;
    assert_eq!(world.ids_by_partition(&forward), world.by_partition(written.iter().copied()));
    assert_eq!(world.ids_by_partition(&backward), world.by_partition(written.into_iter().rev()));
    if world.capabilities().total_order() {
        assert!(forward.is_sorted_by(|before, after| before.position() < after.position()));
        assert!(backward.is_sorted_by(|before, after| before.position() > after.position()));
    }
}

pub(crate) fn the_checkpoint_of_an_append_covers_its_events_and_is_not_beyond_the_head(world: &World<'_>) {
    let [first, second, _] = world.streams();
    world.append(batch(&[(&second, 1)]));
    let appended = world.append(batch(&[(&first, 2)]));
    let head = world.head();
    assert!(head.at_least(&appended.checkpoint), "{head} and {}", appended.checkpoint);
    assert!(appended.checkpoint.covers(appended.places[0].position));
    if world.partitions() == 1 {
        assert_eq!(appended.checkpoint, head, "with one partition, a read may resume from it");
    }
}

pub(crate) fn a_command_key_is_unique_in_the_partition_of_its_streams(world: &World<'_>) {
    let [first, second, _] = world.streams();
    let appended = world.append(batch(&[(&first, 1)]).with_command(command("open", 1)));
    let elsewhere = block_on(world.store.repeat_of(command("open", 1), name(&second)));
    if world.partition_of(&first) == world.partition_of(&second) {
        assert_eq!(elsewhere.map(|found| found.map(|found| found.places)), Ok(Some(appended.places)));
        assert_eq!(
            world.refuse(batch(&[(&second, 2)]).with_command(command("open", 2))),
            AppendError::KeyReused
        );
    } else {
        assert_eq!(elsewhere, Ok(None));
        world.append(batch(&[(&second, 2)]).with_command(command("open", 2)));
    }
    world.repeat(batch(&[(&first, 3)]).with_command(command("open", 1)));
}

pub(crate) fn the_capabilities_of_a_store_are_consistent(world: &World<'_>) {
    let capabilities = world.capabilities();
    assert!((1..=gesta_core::PARTITIONS_MAX).contains(&capabilities.partitions));
    assert_eq!(capabilities.total_order(), capabilities.partitions == 1);
    let (limits, most) = (&capabilities.limits, gesta_core::Limits::default());
    let pairs = [
        (limits.batch_events_max, most.batch_events_max),
        (limits.batch_bytes_max, most.batch_bytes_max),
        (limits.batch_expectations_max, most.batch_expectations_max),
        (limits.batch_conditions_max, most.batch_conditions_max),
        (limits.data_bytes_max, most.data_bytes_max),
        (limits.metadata_bytes_max, most.metadata_bytes_max),
        (limits.tags_max, most.tags_max),
        (limits.query_items_max, most.query_items_max),
        (limits.query_terms_max, most.query_terms_max),
    ];
    assert!(pairs.iter().all(|(own, most)| (1..=*most).contains(own)), "{limits:?}");
    let shared = world.append(batch(&[(A, 1), (B, 2)])).places;
    assert_eq!(
        shared[0].position.partition, shared[1].position.partition,
        "streams with one partition key are in one partition"
    );
}
