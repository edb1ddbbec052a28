//! The events that a group selects: items of a query, each from a place on.

use gesta_core::{Checkpoint, Item, Query, RecordedEvent, StreamName};

use crate::bugs::{Bug, planted};
use crate::group::status::SelectedItem;

/// Items of a query. Each counts for events after its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    items: Vec<SelectedItem>,
}

impl Selection {
    pub(super) const fn new(items: Vec<SelectedItem>) -> Self {
        Self { items }
    }

    /// Returns the items of a query, each from one place on.
    pub(super) fn of(query: &Query, since: &Checkpoint) -> Self {
        let item = |item| SelectedItem { item, since: since.clone() };
        match query {
            Query::All => Self::new(vec![item(None)]),
            Query::Any(items) => Self::new(items.iter().cloned().map(Some).map(item).collect()),
        }
    }

    pub(super) fn items(&self) -> &[SelectedItem] {
        &self.items
    }

    /// Returns the query that finds every selected event, and those before an item's place too.
    pub(super) fn query(&self) -> Query {
        let items = self.items.iter().map(|selected| selected.item.clone()).collect::<Option<Vec<_>>>();
        items.map_or(Query::All, Query::Any)
    }

    /// Returns the query for the events of one stream; `None` if no item can select one.
    pub(super) fn query_of(&self, stream: &StreamName) -> Option<Query> {
        let mut narrowed = Vec::new();
        for selected in &self.items {
            match &selected.item {
                None => return Some(Query::stream(stream.clone())),
                Some(item) => narrowed.extend(narrow(item, stream)),
            }
        }
        (!narrowed.is_empty()).then_some(Query::Any(narrowed))
    }

    /// Returns true if every item counts after this place, so that the query alone decides.
    pub(super) fn is_decided_by_query(&self, after: &Checkpoint) -> bool {
        self.items.iter().all(|selected| after.at_least(&selected.since))
    }

    /// Returns true if an item selects the event.
    pub(super) fn selects(&self, event: &RecordedEvent) -> bool {
        let at = event.position();
        self.items.iter().any(|selected| {
            (selected.since.sequence(at.partition) < at.sequence || planted(Bug::SinceIgnored))
                && selected.item.as_ref().is_none_or(|item| item.matches(event))
        })
    }

    /// Returns the items with those of a query that are new, which count after `since`; `None` if none is new.
    pub(super) fn widened(&self, query: &Query, since: &Checkpoint) -> Option<Self> {
        let added = Self::of(query, since).items.into_iter().filter(|added| !self.has(added));
        let mut items = self.items.clone();
        items.extend(added);
        (items.len() > self.items.len()).then_some(Self { items })
    }

    /// Returns the items that a query names; `None` if it names all of them, or everything.
    pub(super) fn narrowed(&self, query: &Query) -> Option<Self> {
        if *query == Query::All {
            return None;
        }
        let start = self.items.first().map(|selected| &selected.since)?;
        let named = Self::of(query, start);
        let items = self.items.iter().filter(|selected| named.has(selected)).cloned().collect::<Vec<_>>();
        (items.len() < self.items.len()).then_some(Self { items })
    }

    fn has(&self, other: &SelectedItem) -> bool {
        self.items.iter().any(|selected| selected.item == other.item)
    }
}

/// The item for the events of one stream; `None` if it selects none of them.
fn narrow(item: &Item, stream: &StreamName) -> Option<Item> {
    let fits = item.stream.as_ref().is_none_or(|name| name == stream)
        && item.category.as_ref().is_none_or(|category| *category == stream.category());
    fits.then(|| Item { stream: Some(stream.clone()), category: None, ..item.clone() })
}

#[cfg(test)]
mod tests {
    use gesta_core::StoreId;

    use super::*;

    fn at(sequence: u64) -> Checkpoint {
        Checkpoint::new(StoreId::from_bytes([1; 16]), [sequence])
    }

    #[test]
    fn the_query_of_a_stream_leaves_out_items_that_cannot_select_it() {
        let stream = |name: &str| Query::stream(name.parse().unwrap());
        let Query::Any(items) = Query::category("order".parse().unwrap()) else { unreachable!() };
        let Query::Any(more) = stream("stock-1") else { unreachable!() };
        let selection = Selection::of(&Query::Any([items, more].concat()), &at(0));
        let query_of = |name: &str| selection.query_of(&name.parse().unwrap());
        assert_eq!(query_of("order-7"), Some(stream("order-7")));
        assert_eq!(query_of("stock-1"), Some(stream("stock-1")));
        assert_eq!(query_of("stock-2"), None);
        assert_eq!(Selection::of(&Query::All, &at(0)).query_of(&"x".parse().unwrap()), Some(stream("x")));
    }

    #[test]
    fn a_query_widens_by_new_items_and_narrows_by_those_that_it_lacks() {
        let types = |names: &[&str]| {
            Query::Any(
                names
                    .iter()
                    .map(|name| Item { types: vec![name.parse().unwrap()], ..Item::default() })
                    .collect(),
            )
        };
        let selection = Selection::of(&types(&["a"]), &at(1));
        assert_eq!(selection.widened(&types(&["a"]), &at(5)), None);
        let wide = selection.widened(&types(&["b", "a"]), &at(5)).unwrap();
        let since = wide.items().iter().map(|item| item.since.sequence(0)).collect::<Vec<_>>();
        assert_eq!((wide.query(), since), (types(&["a", "b"]), vec![1, 5]));
        assert!(!wide.is_decided_by_query(&at(4)) && wide.is_decided_by_query(&at(5)));
        assert_eq!(wide.narrowed(&types(&["a", "b"])), None);
        assert_eq!(wide.narrowed(&types(&["b"])).unwrap().query(), types(&["b"]));
        let all = wide.widened(&Query::All, &at(9)).unwrap();
        assert_eq!((all.query(), all.narrowed(&Query::All)), (Query::All, None));
    }
}
