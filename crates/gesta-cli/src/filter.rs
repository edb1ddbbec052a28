//! The flags that select events.

use gesta_core::{Category, EventType, Item, Query, StreamName, Tag};

/// Selects events. All kinds of flags must match; one of several `--type`, all of several `--tag`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Filter {
    /// Events in streams of this category, such as `account`.
    #[arg(long, value_name = "CATEGORY")]
    category: Option<Category>,
    /// Events of this type. Repeat it to select several types.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<EventType>,
    /// Events with this tag, `key:value`. Repeat it to require several tags.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,
}

impl Filter {
    /// True if no flag is given.
    pub(crate) const fn is_empty(&self) -> bool {
        self.category.is_none() && self.types.is_empty() && self.tags.is_empty()
    }

    /// The same with more tags.
    pub(crate) fn with_tags(mut self, tags: Vec<Tag>) -> Self {
        self.tags.extend(tags);
        self
    }

    /// The query, limited to a stream if one is given.
    pub(crate) fn query(self, stream: Option<StreamName>) -> Query {
        let item =
            Item { stream, category: self.category, types: self.types, ids: Vec::new(), tags: self.tags };
        if item.is_empty() { Query::All } else { item.into() }
    }
}
