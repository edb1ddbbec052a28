//! A small log with many kinds of events in every partition, as material for reads.

use gesta_core::{Batch, Item, NewEvent, Placed, Query, RecordedEvent};

use crate::given::{category, event_type, id, name, number, tag, typed};
use crate::world::World;

/// The number of batches in the town's log.
const BATCHES: u32 = 18;

/// The log as it was written.
pub(crate) struct Town {
    pub(crate) entries: Vec<Entry>,
    pub(crate) streams: Vec<String>,
}

/// One event of the town.
pub(crate) struct Entry {
    pub(crate) event: NewEvent,
    pub(crate) place: Placed,
    /// The number of its batch.
    pub(crate) batch: u32,
}

/// A query, and the same condition as a function of an event.
pub(crate) type Case = (Query, Box<dyn Fn(&NewEvent) -> bool>);

impl Town {
    /// Writes the log: batches of one event, of several to one stream, and of several to two streams in turn.
    pub(crate) fn build(world: &World<'_>) -> Self {
        let keys = world.keys();
        let stream = |kind: &str, key: &String| format!("{kind}{{{key}}}");
        let mut town = Self { entries: Vec::new(), streams: Vec::new() };
        for (batch, key) in (0..BATCHES).zip(keys.iter().cycle()) {
            world.clock().set(i64::from(batch) * 10);
            let [home, shop, park] = ["home-", "shop-", "park"].map(|kind| stream(kind, key));
            let streams = match batch / 3 % 4 {
                0 => vec![home],
                1 => vec![home.clone(), shop, home],
                2 => vec![shop.clone(), shop.clone(), shop],
                _ => vec![park, home],
            };
            town.write(world, batch, &streams);
        }
        town.streams = keys
            .iter()
            .flat_map(|key| ["home-", "shop-", "park"].map(|kind| stream(kind, key)))
            .filter(|name| town.entries.iter().any(|entry| entry.event.stream.as_str() == name))
            .collect();
        town
    }

    fn write(&mut self, world: &World<'_>, batch: u32, streams: &[String]) {
        let first = u32::try_from(self.entries.len()).expect("a small log") + 1;
        let events =
            (first..).zip(streams).map(|(number, stream)| inhabitant(stream, number)).collect::<Vec<_>>();
        let places = world.append(Batch::new(events.clone())).places;
        let entries = events.into_iter().zip(places);
        self.entries.extend(entries.map(|(event, place)| Entry { event, place, batch }));
    }

    /// Returns the ids of the wanted events, grouped by partition.
    pub(crate) fn ids(&self, world: &World<'_>, wanted: impl Fn(&NewEvent) -> bool) -> Vec<Vec<u32>> {
        let entries = self.entries.iter().filter(|entry| wanted(&entry.event));
        world.by_partition(entries.map(|entry| (entry.place.position.partition, number(entry.event.id))))
    }

    /// Returns the number of an event's batch.
    pub(crate) fn batch_of(&self, event: &RecordedEvent) -> u32 {
        let entry = self.entries.iter().find(|entry| entry.event.id == event.id());
        entry.expect("an event of the town").batch
    }

    /// Returns true if a sequence lies inside a batch: after one of its events and before another.
    pub(crate) fn is_inside_a_batch(&self, partition: u16, sequence: u64) -> bool {
        (0..BATCHES).any(|batch| {
            let mut of_batch = self.entries.iter().filter(|entry| entry.batch == batch);
            let first = of_batch.next().expect("a batch has events").place.position;
            let last = of_batch.next_back().map_or(first, |entry| entry.place.position);
            first.partition == partition && (first.sequence..last.sequence).contains(&sequence)
        })
    }

    /// Returns one query of each kind and some mixed ones, each with its meaning.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let home = || self.streams[0].clone();
        let of_home = |item: Item| Item { stream: Some(name(&home())), ..item };
        let moved_home = {
            let home = home();
            move |stream: &str, number| stream == home && number % 3 != 0
        };
        vec![
            case(Query::All, |_, _| true),
            case(of_home(Item::default()), {
                let home = home();
                move |stream, _| stream == home
            }),
            case(Query::category(category("shop")), |stream, _| stream.starts_with("shop-")),
            case(types(&["moved"]), |_, number| number % 3 == 1),
            case(types(&["moved", "closed"]), |_, number| number % 3 != 0),
            case(numbers(&[3, 7, 99, 20]), |_, number| [3, 7, 20].contains(&number)),
            case(tags(&["parity:0", "third:1"]), |_, number| number % 2 == 0 && number % 3 == 1),
            case(of_home(types(&["moved", "closed"])), moved_home.clone()),
            case(shops(tags(&["parity:0"])), |stream, number| stream.starts_with("shop-") && number % 2 == 0),
            case(
                Query::Any(vec![shops(tags(&["parity:0"])), numbers(&[1, 2, 3]), tags(&["parity:0"])]),
                |_, number| number <= 3 || number % 2 == 0,
            ),
            case(Query::Any(vec![of_home(types(&["moved", "closed"])), types(&["never"])]), moved_home),
            case(types(&["never"]), |_, _| false),
            case(Item { ids: vec![id(1)], ..tags(&["parity:0"]) }, |_, _| false),
        ]
    }
}

fn case(query: impl Into<Query>, wanted: impl Fn(&str, u32) -> bool + 'static) -> Case {
    (query.into(), Box::new(move |event| wanted(event.stream.as_str(), number(event.id))))
}

fn types(texts: &[&str]) -> Item {
    Item { types: texts.iter().map(|text| event_type(text)).collect(), ..Item::default() }
}

fn tags(texts: &[&str]) -> Item {
    Item { tags: texts.iter().map(|text| tag(text)).collect(), ..Item::default() }
}

fn numbers(numbers: &[u32]) -> Item {
    Item { ids: numbers.iter().copied().map(id).collect(), ..Item::default() }
}

fn shops(item: Item) -> Item {
    Item { category: Some(category("shop")), ..item }
}

/// An event whose type and tags depend on its number.
fn inhabitant(stream: &str, number: u32) -> NewEvent {
    let kind = ["opened", "moved", "closed"][number as usize % 3];
    let tags = [format!("parity:{}", number % 2), format!("third:{}", number % 3)];
    typed(stream, number, kind).with_tags(tags.iter().map(|text| tag(text)))
}
