//! Queries, which select events. An event matches a query if it matches any item, and an item if it matches all its
//! fields.

use crate::event::{EventBytes, EventId};
use crate::name::{Category, EventType, StreamName, Tag};

/// The events that a read returns or a condition looks for.
///
/// A store refuses a query without items and an item without fields, so neither means "all" by accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Every event, including the system's.
    All,
    /// Every event that matches at least one item.
    Any(Vec<Item>),
}

/// One alternative of a query. An event matches if it matches every given field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Item {
    /// The event is in this stream.
    pub stream: Option<StreamName>,
    /// The event's stream has this category.
    pub category: Option<Category>,
    /// The event has any of these types; empty means any type.
    pub types: Vec<EventType>,
    /// The event has any of these ids; empty means any id.
    pub ids: Vec<EventId>,
    /// The event has all of these tags.
    pub tags: Vec<Tag>,
}

impl Query {
    /// Selects the events of one stream.
    #[must_use]
    pub fn stream(name: StreamName) -> Self {
        Item { stream: Some(name), ..Item::default() }.into()
    }

    /// Selects the events of all streams of one category.
    #[must_use]
    pub fn category(category: Category) -> Self {
        Item { category: Some(category), ..Item::default() }.into()
    }

    /// Selects the events of any of these types.
    #[must_use]
    pub fn types(types: impl IntoIterator<Item = EventType>) -> Self {
        Item { types: types.into_iter().collect(), ..Item::default() }.into()
    }

    /// Selects the events with all of these tags.
    #[must_use]
    pub fn tags(tags: impl IntoIterator<Item = Tag>) -> Self {
        Item { tags: tags.into_iter().collect(), ..Item::default() }.into()
    }

    /// Returns true if the query selects the event.
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
    /// Returns true if no field is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms() == 0
    }

    /// Returns the number of streams, categories, types, ids and tags in the item.
    #[must_use]
    pub fn terms(&self) -> usize {
        usize::from(self.stream.is_some())
            + usize::from(self.category.is_some())
            + self.types.len()
            + self.ids.len()
            + self.tags.len()
    }

    /// Returns true if the event matches every given field.
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
