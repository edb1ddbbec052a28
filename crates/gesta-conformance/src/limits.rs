//! Laws of limits: a store accepts a size at its declared limit, and refuses one above it with the limit in the
//! error.

use bytes::Bytes;
use gesta_core::{
    AppendError, Batch, COMMAND_KEY_BYTES_MAX, CommandKey, Expected, Item, Limits, NewEvent, Query, Read,
    ReadError,
};

use crate::given::{A, B, batch, event, event_type, name, tag};
use crate::world::World;

impl World<'_> {
    fn limits(&self) -> &Limits {
        &self.capabilities().limits
    }

    /// Checks a limit of the store with batches of given sizes.
    fn check_limit(&self, max: usize, sized: impl Fn(usize) -> Batch) {
        self.append(sized(max));
        match self.refuse(sized(max + 1)) {
            AppendError::TooLarge { actual, limit, .. } => assert_eq!((actual, limit), (max + 1, max)),
            error => panic!("{error}"),
        }
    }
}

fn numbers(count: usize) -> std::ops::Range<u32> {
    0..u32::try_from(count).expect("a limit of the contract")
}

pub(crate) fn the_events_of_a_batch_are_limited_as_declared(world: &World<'_>) {
    world.check_limit(world.limits().batch_events_max, |count| {
        Batch::new(numbers(count).map(|number| event(A, number)))
    });
}

pub(crate) fn the_bytes_of_a_batch_are_limited_as_declared(world: &World<'_>) {
    let data_max = world.limits().data_bytes_max;
    let shared = Bytes::from(vec![b'x'; data_max]);
    let around = NewEvent { data: Bytes::new(), ..event(A, 0) }.canonical_len();
    world.check_limit(world.limits().batch_bytes_max, |total| {
        let count = total.div_ceil(data_max + around);
        let cut = |at: u32| total * at as usize / count;
        let of_bytes = |at: u32| shared.slice(..cut(at + 1) - cut(at) - around);
        Batch::new(numbers(count).map(|at| NewEvent { data: of_bytes(at), ..event(A, at) }))
    });
}

pub(crate) fn the_expectations_of_a_batch_are_limited_as_declared(world: &World<'_>) {
    world.check_limit(world.limits().batch_expectations_max, |count| {
        let expected = numbers(count).map(|number| name(&format!("never-{{k}}{number}")));
        expected.fold(batch(&[(A, 1)]), |batch, stream| batch.expect(stream, Expected::None))
    });
}

pub(crate) fn the_conditions_of_a_batch_are_limited_as_declared(world: &World<'_>) {
    world.check_limit(world.limits().batch_conditions_max, |count| {
        numbers(count).fold(batch(&[(A, 1)]), |batch, _| batch.fail_if(Query::stream(name(B)), None))
    });
}

pub(crate) fn the_data_of_an_event_is_limited_as_declared(world: &World<'_>) {
    let max = world.limits().data_bytes_max;
    let shared = Bytes::from((0..=max).map(|at| at.to_le_bytes()[at % 3]).collect::<Vec<_>>());
    world.check_limit(max, |size| Batch::new([NewEvent { data: shared.slice(..size), ..event(A, 1) }]));
    assert!(world.stream(A)[0].data() == shared.slice(..max), "the data is read back unchanged");
}

pub(crate) fn the_metadata_of_an_event_is_limited_as_declared(world: &World<'_>) {
    world.check_limit(world.limits().metadata_bytes_max, |size| {
        Batch::new([event(A, 1).with_metadata(vec![b'm'; size])])
    });
}

pub(crate) fn the_tags_of_an_event_are_limited_as_declared(world: &World<'_>) {
    world.check_limit(world.limits().tags_max, |count| {
        Batch::new([event(A, 1).with_tags(numbers(count).map(|number| tag(&format!("n:{number}"))))])
    });
}

pub(crate) fn a_duplicate_tag_counts_once_for_the_limit(world: &World<'_>) {
    let max = world.limits().tags_max;
    let tags = || numbers(max).map(|number| tag(&format!("n:{number}")));
    world.append(Batch::new([event(A, 1).with_tags(tags()).with_tags(tags())]));
    assert_eq!(world.stream(A)[0].tags().count(), max);
}

pub(crate) fn a_command_key_has_1_to_256_bytes(world: &World<'_>) {
    let keyed = |size: usize| {
        batch(&[(A, 1)]).with_command(CommandKey { key: vec![b'k'; size].into(), request: [0; 32] })
    };
    assert!(matches!(world.refuse(keyed(0)), AppendError::Invalid { .. }));
    world.check_limit(COMMAND_KEY_BYTES_MAX, keyed);
}

/// Checks a limit of queries, in reads and conditions, with queries of given sizes.
fn check_query_limit(world: &World<'_>, max: usize, sized: impl Fn(usize) -> Query) {
    world.check_limit(max, |count| batch(&[(A, 1)]).fail_if(sized(count), None));
    world.read(Read::log(sized(max)));
    match world.refuse_read(Read::log(sized(max + 1))) {
        ReadError::TooLarge { actual, limit, .. } => assert_eq!((actual, limit), (max + 1, max)),
        error => panic!("{error}"),
    }
}

pub(crate) fn the_items_of_a_query_are_limited_as_declared(world: &World<'_>) {
    check_query_limit(world, world.limits().query_items_max, |count| {
        let never = numbers(count).map(|number| name(&format!("never-{{k}}{number}")));
        Query::Any(never.map(|stream| Item { stream: Some(stream), ..Item::default() }).collect())
    });
}

pub(crate) fn the_terms_of_a_query_are_limited_over_all_its_items_as_declared(world: &World<'_>) {
    check_query_limit(world, world.limits().query_terms_max, |count| {
        let item = |count: usize| {
            let types = numbers(count - 1).map(|number| event_type(&format!("never.{number}"))).collect();
            Item { stream: Some(name(B)), types, ..Item::default() }
        };
        Query::Any(vec![item(count / 2), item(count - count / 2)])
    });
}
