//! Which events a command is about: the flags that make up a query.

use gesta_core::{Category, EventType, Item, Query, StreamName, Tag};

/// Which events. Flags of different kinds must all match; a repeated `--type` is any of, a repeated `--tag` all of.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Filter {
    /// Events of streams of this category.
    #[arg(long, value_name = "CATEGORY")]
    category: Option<Category>,
    /// Events of this type; repeated: any of them.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<EventType>,
    /// Events with this tag, `key:value`; repeated: all of them.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,
}

impl Filter {
    /// Whether no flag was given.
    pub(crate) const fn is_empty(&self) -> bool {
        self.category.is_none() && self.types.is_empty() && self.tags.is_empty()
    }

    /// The query, limited to a stream where one is given.
    pub(crate) fn query(self, stream: Option<StreamName>) -> Query {
        let item =
            Item { stream, category: self.category, types: self.types, ids: Vec::new(), tags: self.tags };
        if item.is_empty() { Query::All } else { item.into() }
    }
}
