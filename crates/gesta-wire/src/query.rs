//! Queries in JSON: `"all"`, or an array of items.

use std::borrow::Cow;
use std::fmt;

use gesta_core::{EventIdParseError, Item, NameError, QUERY_ITEMS_MAX, QUERY_TERMS_MAX, Query};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde_json::{Map, Value, json};

use crate::capped::Capped;
use crate::schema::{about, items, named, nullable, one_of, request, terms};

/// A query in JSON: `"all"` or `[{"category": "account", "types": ["bank.account.opened"]}, …]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryJson<'a> {
    /// Every event.
    All,
    /// Events that match at least one item.
    Any(Vec<ItemJson<'a>>),
}

/// One item of a query: an event matches if it matches every field that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ItemJson<'a> {
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow)]
    category: Option<Cow<'a, str>>,
    #[serde(borrow)]
    types: Terms<'a>,
    #[serde(borrow)]
    ids: Terms<'a>,
    #[serde(borrow)]
    tags: Terms<'a>,
}

type Terms<'a> = Capped<Cow<'a, str>, QUERY_TERMS_MAX>;

/// Why JSON of the right shape is not a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryJsonError {
    /// A name is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An id is not a UUID.
    #[error(transparent)]
    Id(#[from] EventIdParseError),
}

impl QueryJson<'_> {
    /// The query, with its names checked.
    ///
    /// # Errors
    /// [`QueryJsonError`] names what is malformed.
    pub fn to_query(&self) -> Result<Query, QueryJsonError> {
        match self {
            Self::All => Ok(Query::All),
            Self::Any(items) => {
                Ok(Query::Any(items.iter().map(ItemJson::to_item).collect::<Result<_, QueryJsonError>>()?))
            }
        }
    }

    /// The JSON of a query.
    #[must_use]
    pub fn of(query: &Query) -> Value {
        match query {
            Query::All => "all".into(),
            Query::Any(items) => items.iter().map(item_json).collect(),
        }
    }
}

impl ItemJson<'_> {
    fn to_item(&self) -> Result<Item, QueryJsonError> {
        let item = Item {
            stream: self.stream.as_deref().map(str::parse).transpose()?,
            category: self.category.as_deref().map(str::parse).transpose()?,
            types: self.types.0.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            ids: self.ids.0.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            tags: self.tags.0.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
        };
        Ok(item)
    }
}

fn item_json(item: &Item) -> Value {
    let mut fields = Map::new();
    if let Some(stream) = &item.stream {
        fields.insert("stream".to_owned(), stream.as_str().into());
    }
    if let Some(category) = &item.category {
        fields.insert("category".to_owned(), category.as_str().into());
    }
    let types = item.types.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let ids = item.ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let tags = item.tags.iter().map(|tag| tag.as_str().to_owned()).collect::<Vec<_>>();
    for (name, terms) in [("types", types), ("ids", ids), ("tags", tags)] {
        if !terms.is_empty() {
            fields.insert(name.to_owned(), json!(terms));
        }
    }
    fields.into()
}

pub(crate) fn query_schema() -> Value {
    let query = json!({"anyOf": [one_of(&["all"]), items()]});
    about(query, "`all`, or items: an event matches if it matches one of them.")
}

pub(crate) fn item_schema() -> Value {
    let item = request(vec![
        ("stream?", nullable(named("StreamName"))),
        ("category?", nullable(named("Category"))),
        ("types?", about(terms("EventType"), "The event has one of these types.")),
        ("ids?", about(terms("EventId"), "The event has one of these ids.")),
        ("tags?", about(terms("Tag"), "The event has all of these tags.")),
    ]);
    about(item, "An event matches if it matches every member.")
}

impl<'de: 'a, 'a> Deserialize<'de> for QueryJson<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QueryVisitor)
    }
}

struct QueryVisitor;

impl<'de> Visitor<'de> for QueryVisitor {
    type Value = QueryJson<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`\"all\"` or an array of items")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<QueryJson<'de>, E> {
        match text {
            "all" => Ok(QueryJson::All),
            other => {
                Err(E::custom(format_args!("`{other}` is not a query: give `all` or an array of items")))
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<QueryJson<'de>, A::Error> {
        let items = Capped::<ItemJson<'de>, QUERY_ITEMS_MAX>::deserialize(SeqAccessDeserializer::new(items))?;
        Ok(QueryJson::Any(items.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_and_read_the_same() {
        let text = r#"[{"category":"account","tags":["a:b"],"types":["x","y"]},{"stream":"s-1"}]"#;
        let query = serde_json::from_str::<QueryJson<'_>>(text).unwrap().to_query().unwrap();
        assert_eq!(QueryJson::of(&query).to_string(), text);
        let all = serde_json::from_str::<QueryJson<'_>>("\"all\"").unwrap().to_query().unwrap();
        assert_eq!(all, Query::All);
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let error = serde_json::from_str::<QueryJson<'_>>(r#"[{"type":["x"]}]"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `type`"), "{error}");
    }
}
