//! Queries: which events. Items are ORed; the fields of an item are ANDed.

use crate::event::{EventBytes, EventId};
use crate::name::{Category, EventType, StreamName, Tag};

/// Which events a read gives or a condition looks for.
///
/// An empty list of items and an item without a field are refused when used: never "all" by accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Every event, the system's included.
    All,
    /// Every event that matches at least one item.
    Any(Vec<Item>),
}

/// One alternative of a query: an event matches when it matches every field that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Item {
    /// It stands in this stream.
    pub stream: Option<StreamName>,
    /// Its stream is of this category.
    pub category: Option<Category>,
    /// Its type is any of these; empty means any type.
    pub types: Vec<EventType>,
    /// Its id is any of these; empty means any id.
    pub ids: Vec<EventId>,
    /// It carries all of these tags.
    pub tags: Vec<Tag>,
}

impl Query {
    /// The events of one stream.
    #[must_use]
    pub fn stream(name: StreamName) -> Self {
        Item { stream: Some(name), ..Item::default() }.into()
    }

    /// The events of all streams of one category.
    #[must_use]
    pub fn category(category: Category) -> Self {
        Item { category: Some(category), ..Item::default() }.into()
    }

    /// The events of any of these types.
    #[must_use]
    pub fn types(types: impl IntoIterator<Item = EventType>) -> Self {
        Item { types: types.into_iter().collect(), ..Item::default() }.into()
    }

    /// The events that carry all of these tags.
    #[must_use]
    pub fn tags(tags: impl IntoIterator<Item = Tag>) -> Self {
        Item { tags: tags.into_iter().collect(), ..Item::default() }.into()
    }

    /// Whether the event is one of those meant.
    #[must_use]
    pub fn matches(&self, event: &EventBytes) -> bool {
        match self {
            Self::All => true,
            Self::Any(items) => items.iter().any(|item| item.matches(event)),
        }
    }
}

impl From<Item> for Query {
    fn from(item: Item) -> Self {
        Self::Any(vec![item])
    }
}

impl Item {
    /// Whether no field is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms() == 0
    }

    /// How many names and ids it holds.
    #[must_use]
    pub fn terms(&self) -> usize {
        usize::from(self.stream.is_some())
            + usize::from(self.category.is_some())
            + self.types.len()
            + self.ids.len()
            + self.tags.len()
    }

    /// Whether the event matches every field that is given.
    #[must_use]
    pub fn matches(&self, event: &EventBytes) -> bool {
        let stream = event.stream();
        self.stream.as_ref().is_none_or(|name| name.as_str() == stream)
            && self
                .category
                .as_ref()
                .is_none_or(|category| category.as_str() == StreamName::category_of(stream))
            && (self.types.is_empty() || self.types.iter().any(|own| own.as_str() == event.event_type()))
            && (self.ids.is_empty() || self.ids.contains(&event.id()))
            && self.tags.iter().all(|tag| event.tags().any(|own| own == tag.as_str()))
    }
}
