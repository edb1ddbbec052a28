//! A group's row as it is written: JSON with texts and numbers.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use gesta_core::{
    Checkpoint, EventId, Item, LANES, Lane, Place, Query, StoreId, StreamName, Timestamp, Version,
};
use serde::{Deserialize, Serialize};

use super::{Entry, Paused, Row};
use crate::group::dealer::selection::Selection;
use crate::group::settings::{BackOff, GroupSettings, OnPoison, Order, SettingsVersion};
use crate::group::status::SelectedItem;

impl Row {
    pub(super) fn written(&self) -> Written {
        let mut since = Vec::<String>::new();
        let query = self.items.iter().map(|selected| {
            let place = places(&selected.since);
            let index = since.iter().position(|known| *known == place).unwrap_or_else(|| {
                since.push(place);
                since.len() - 1
            });
            WrittenItem { item: selected.item.as_ref().map(ItemFields::of), since: index }
        });
        let query = query.collect();
        Written {
            v: 1,
            store: self.store.to_string(),
            epoch: self.epoch,
            put: self.put,
            running: self.is_running,
            paused: self
                .paused
                .as_ref()
                .map(|paused| WrittenPause { by: paused.by.clone(), since: paused.since.as_nanos() }),
            stopped: self.stopped.clone(),
            settings: WrittenSettings::of(&self.settings),
            settings_version: self.settings_version.get(),
            query,
            since,
            scanned: places(&self.scanned),
            behind: self.behind.iter().map(|(lane, sequence)| (lane.get(), *sequence)).collect(),
            apart: self
                .apart
                .iter()
                .map(|(name, entry)| (name.to_string(), WrittenEntry::of(*entry)))
                .collect(),
        }
    }
}

/// The text of a checkpoint without its store.
fn places(checkpoint: &Checkpoint) -> String {
    let token = checkpoint.to_string();
    token.split_once('.').map(|(_, places)| places.to_owned()).expect("a token has a store and places")
}

fn place(store: StoreId, places: &str) -> Result<Checkpoint, String> {
    format!("{store}.{places}").parse::<Checkpoint>().map_err(|error| error.to_string())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    v: u32,
    store: String,
    epoch: u64,
    put: u64,
    running: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<WrittenPause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    settings: WrittenSettings,
    settings_version: u64,
    pub(super) query: Vec<WrittenItem>,
    /// Places that items name by their index: most items share one.
    pub(super) since: Vec<String>,
    scanned: String,
    behind: BTreeMap<u16, u64>,
    apart: BTreeMap<String, WrittenEntry>,
}

#[derive(Serialize, Deserialize)]
struct WrittenPause {
    by: String,
    since: i64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WrittenItem {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    item: Option<ItemFields>,
    since: usize,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct ItemFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSettings {
    from: String,
    ack_millis: u64,
    attempts_max: Option<NonZeroU32>,
    back_off_millis: (u64, u64),
    run_max: NonZeroU32,
    in_flight_max: NonZeroU32,
    on_poison: String,
    order: String,
}

#[derive(Serialize, Deserialize)]
struct WrittenEntry {
    version: u64,
    position: u64,
    attempts: u32,
    parked: bool,
}

impl WrittenEntry {
    const fn of(entry: Entry) -> Self {
        Self {
            version: entry.version.get(),
            position: entry.sequence,
            attempts: entry.attempts,
            parked: entry.is_parked,
        }
    }

    fn read(&self) -> Result<Entry, String> {
        if self.position == 0 {
            return Err("a stream that is apart has position 0: positions begin at 1".to_owned());
        }
        let (version, sequence) = (Version::new(self.version), self.position);
        Ok(Entry { version, sequence, attempts: self.attempts, is_parked: self.parked })
    }
}

impl ItemFields {
    fn of(item: &Item) -> Self {
        fn texts<T: ToString>(names: &[T]) -> Vec<String> {
            names.iter().map(ToString::to_string).collect()
        }
        Self {
            stream: item.stream.as_ref().map(ToString::to_string),
            category: item.category.as_ref().map(ToString::to_string),
            types: texts(&item.types),
            ids: texts(&item.ids),
            tags: texts(&item.tags),
        }
    }

    fn read(&self) -> Result<Item, String> {
        fn names<T: std::str::FromStr<Err: ToString>>(texts: &[String]) -> Result<Vec<T>, String> {
            texts.iter().map(|text| text.parse::<T>().map_err(|error| error.to_string())).collect()
        }
        let item = Item {
            stream: names(self.stream.as_slice())?.pop(),
            category: names(self.category.as_slice())?.pop(),
            types: names(&self.types)?,
            ids: names::<EventId>(&self.ids)?,
            tags: names(&self.tags)?,
        };
        if item.is_empty() { Err("an item of the query has no field".to_owned()) } else { Ok(item) }
    }
}

impl WrittenSettings {
    fn of(settings: &GroupSettings) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            from: match &settings.from {
                Place::Start => "start".to_owned(),
                Place::End => "now".to_owned(),
                Place::At(checkpoint) => places(checkpoint),
            },
            ack_millis: millis(settings.ack_time),
            attempts_max: settings.attempts_max,
            back_off_millis: (millis(settings.back_off.first), millis(settings.back_off.max)),
            run_max: settings.run_max,
            in_flight_max: settings.in_flight_max,
            on_poison: match settings.on_poison {
                OnPoison::Park => "park".to_owned(),
                OnPoison::Stop => "stop".to_owned(),
            },
            order: match settings.order {
                Order::Stream => "stream".to_owned(),
                Order::Log => "log".to_owned(),
            },
        }
    }

    fn read(self, store: StoreId, query: Query) -> Result<GroupSettings, String> {
        let settings = GroupSettings {
            query,
            from: match self.from.as_str() {
                "start" => Place::Start,
                "now" => Place::End,
                places => Place::At(place(store, places)?),
            },
            ack_time: Duration::from_millis(self.ack_millis),
            attempts_max: self.attempts_max,
            back_off: BackOff {
                first: Duration::from_millis(self.back_off_millis.0),
                max: Duration::from_millis(self.back_off_millis.1),
            },
            run_max: self.run_max,
            in_flight_max: self.in_flight_max,
            on_poison: match self.on_poison.as_str() {
                "park" => OnPoison::Park,
                "stop" => OnPoison::Stop,
                other => return Err(format!("`onPoison` is `{other}`, neither `park` nor `stop`")),
            },
            order: match self.order.as_str() {
                "stream" => Order::Stream,
                "log" => Order::Log,
                other => return Err(format!("`order` is `{other}`, neither `stream` nor `log`")),
            },
        };
        settings.check().map_err(|error| error.to_string())?;
        Ok(settings)
    }
}

impl Written {
    pub(super) fn read(self) -> Result<Row, String> {
        if self.v != 1 {
            return Err(format!("it has format {}: this program reads format 1", self.v));
        }
        // A store's id is printed as in a checkpoint, so a checkpoint's parser checks it.
        let scanned = format!("{}.{}", self.store, self.scanned);
        let scanned = scanned.parse::<Checkpoint>().map_err(|error| error.to_string())?;
        let store = scanned.store();
        let since = self.since.iter().map(|text| place(store, text)).collect::<Result<Vec<_>, _>>()?;
        if since.iter().any(|since| !since.is_comparable(&scanned)) {
            return Err("its places have different numbers of partitions".to_owned());
        }
        let items = self.query.iter().map(|written| {
            let since = since.get(written.since).ok_or("an item names a place that is not listed")?.clone();
            Ok(SelectedItem { item: written.item.as_ref().map(ItemFields::read).transpose()?, since })
        });
        let items = items.collect::<Result<Vec<_>, String>>()?;
        if items.is_empty() {
            return Err("its query has no item".to_owned());
        }
        let query = Selection::new(items.clone()).query();
        let lane = |number| Lane::new(number).ok_or(format!("lane {number} is not below {LANES}"));
        let behind = self.behind.iter().map(|(number, sequence)| Ok((lane(*number)?, *sequence)));
        let apart = self.apart.iter().map(|(name, entry)| {
            Ok((name.parse::<StreamName>().map_err(|error| error.to_string())?, entry.read()?))
        });
        Ok(Row {
            store,
            epoch: self.epoch,
            put: self.put,
            is_running: self.running,
            paused: self
                .paused
                .map(|paused| Paused { by: paused.by, since: Timestamp::from_nanos(paused.since) }),
            stopped: self.stopped,
            settings: self.settings.read(store, query)?,
            settings_version: SettingsVersion::new(self.settings_version),
            behind: behind.collect::<Result<_, String>>()?,
            apart: apart.collect::<Result<_, String>>()?,
            items,
            scanned,
        })
    }
}
