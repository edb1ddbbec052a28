//! Laws of queries: they select exactly the matching events, and an empty one never means all.

use gesta_core::{AppendError, Item, Lane, Lanes, Query, Read, ReadError, Select};

use crate::given::{A, B, batch, category, event_type, id, ids, name, tag, typed};
use crate::town::Town;
use crate::world::World;

pub(crate) fn a_query_selects_exactly_the_matching_events(world: &World<'_>) {
    let town = Town::build(world);
    for (query, wanted) in town.cases() {
        let found = world.read(Read::log(query.clone())).events;
        assert_eq!(world.ids_by_partition(&found), town.ids(world, wanted), "{query:?}");
    }
}

pub(crate) fn an_event_that_matches_several_items_is_returned_once(world: &World<'_>) {
    world.append(gesta_core::Batch::new([typed(A, 1, "moved").with_tags([tag("a:1")])]));
    let items = [
        Item { types: vec![event_type("moved"), event_type("moved")], ..Item::default() },
        Item { tags: vec![tag("a:1"), tag("a:1")], ..Item::default() },
        Item { ids: vec![id(1), id(1)], ..Item::default() },
    ];
    assert_eq!(ids(&world.read(Read::log(Query::Any(items.to_vec()))).events), [1]);
}

pub(crate) fn the_fields_of_a_query_are_compared_byte_by_byte(world: &World<'_>) {
    world.append(gesta_core::Batch::new([typed("Home-{k}1", 1, "Moved").with_tags([tag("Key:Value:x")])]));
    let near = [
        Query::stream(name("home-{k}1")),
        Query::stream(name("Home-{k}")),
        Query::category(category("home")),
        Query::category(category("Hom")),
        Query::types([event_type("moved"), event_type("Moved.")]),
        Query::tags([tag("Key:Value")]),
        Query::tags([tag("Key:value:x")]),
    ];
    for query in near {
        assert!(world.read(Read::log(query.clone())).events.is_empty(), "{query:?}");
    }
    let exact = Item {
        stream: Some(name("Home-{k}1")),
        category: Some(category("Home")),
        types: vec![event_type("Moved")],
        ids: vec![id(1)],
        tags: vec![tag("Key:Value:x")],
    };
    assert_eq!(ids(&world.read(Read::log(exact.into())).events), [1]);
}

pub(crate) fn a_category_ends_at_the_first_dash_or_is_the_whole_name(world: &World<'_>) {
    for (number, stream) in (1..).zip(["home-1-2", "home", "home-", "homes-1", "-home", "ho-me"]) {
        world.append(batch(&[(stream, number)]));
    }
    for (text, expected) in [("home", &[1, 2, 3][..]), ("homes", &[4]), ("", &[5]), ("ho", &[6]), ("h", &[])]
    {
        let found = ids(&world.read(Read::log(Query::category(category(text)))).events);
        assert_eq!(sorted(found), expected, "category `{text}`");
    }
}

pub(crate) fn an_empty_query_or_item_is_refused_and_never_means_all(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    let full = Item { stream: Some(name(B)), ..Item::default() };
    for items in [vec![], vec![Item::default()], vec![full, Item::default()]] {
        let read = Read::log(Query::Any(items.clone()));
        for read in [read.clone(), read.backward()] {
            assert!(matches!(world.refuse_read(read), ReadError::Invalid { .. }), "{items:?}");
        }
        let error = world.refuse(batch(&[(A, 2)]).fail_if(Query::Any(items.clone()), None));
        assert!(matches!(error, AppendError::Invalid { .. }), "{items:?}: {error}");
    }
}

pub(crate) fn a_read_of_all_events_includes_system_streams(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    let system = batch(&[("$audit-{k}", 2), (A, 3)]);
    if !world.harness.takes_system_streams() {
        world.refuse(system);
        assert_eq!(ids(&world.log()), [1]);
        return;
    }
    world.append(system);
    assert_eq!(ids(&world.log()), [1, 2, 3]);
    assert_eq!(ids(&world.stream("$audit-{k}")), [2]);
    assert_eq!(ids(&world.read(Read::log(Query::category(category("$audit")))).events), [2]);
}

pub(crate) fn a_read_of_a_lane_returns_exactly_the_events_of_its_streams(world: &World<'_>) {
    let town = Town::build(world);
    let of_lanes = |lanes: Lanes| {
        let select = Select::Log { query: Query::All, from: gesta_core::Place::Start, lanes: Some(lanes) };
        world.read(select.into())
    };
    for stream in &town.streams {
        let lane = Lane::of(stream);
        let page = of_lanes(Lanes::from_iter([lane]));
        let expected = town.ids(world, |event| Lane::of(event.stream.as_str()) == lane);
        assert_eq!(world.ids_by_partition(&page.events), expected, "{stream}");
        assert!(page.end && page.scanned_to == world.head(), "the read passes over events of other lanes");
    }
    let all = town.ids(world, |_| true);
    assert_eq!(world.ids_by_partition(&of_lanes(Lanes::ALL).events), all);
    for divisor in [2_u16, 3] {
        let parts = (0..divisor).map(|part| {
            let lanes = (0..1_024).filter(|lane| lane % divisor == part).filter_map(Lane::new).collect();
            ids(&of_lanes(lanes).events)
        });
        assert_eq!(sorted(parts.flatten().collect()), sorted(all.concat()), "each event in one part");
    }
}

/// Sorts, because events in different partitions have no order.
fn sorted(mut ids: Vec<u32>) -> Vec<u32> {
    ids.sort_unstable();
    ids
}

pub(crate) fn a_read_of_no_lanes_is_refused(world: &World<'_>) {
    let select = Select::Log { query: Query::All, from: gesta_core::Place::Start, lanes: Some(Lanes::NONE) };
    assert!(matches!(world.refuse_read(select.into()), ReadError::Invalid { .. }));
}
