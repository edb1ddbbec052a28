//! The scans of a query: for each item the index entries that lead to all its events.
//!
//! An item with several fields needs only one of them to find candidates, the *driver*: its stream, its ids, its rarest tag,
//! its types, or its category, the first that it has. Each candidate is then compared with the whole item.

use gesta_core::{Category, EventType, Item, Query, StreamName, Tag};
use sha2::{Digest, Sha256};

use super::Bounds;
use crate::limits::PROBED_POSTINGS;
use crate::pool::Unread;
use crate::session::Session;
use crate::shared::sequence_column;

/// What a statement scans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scans {
    /// True if the query selects every event.
    pub(super) all: bool,
    pub(super) terms: Vec<i64>,
    pub(super) streams: Vec<String>,
    pub(super) ids: Vec<Vec<u8>>,
}

impl Scans {
    /// The number of scans.
    pub(super) const fn count(&self) -> usize {
        self.all as usize + self.terms.len() + self.streams.len() + self.ids.len()
    }
}

/// What a term names.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Category = 1,
    Type = 2,
    Tag = 3,
}

/// A term: the first 8 bytes of the SHA-256 of its kind and value. Two values may share one, so an event that is found by
/// a term is compared with the item.
fn term(kind: Kind, value: &str) -> i64 {
    let digest: [u8; 32] = Sha256::new().chain_update([kind as u8]).chain_update(value).finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

/// All terms of an event, without duplicates.
pub(crate) fn terms_of<'a>(stream: &str, event_type: &str, tags: impl Iterator<Item = &'a str>) -> Vec<i64> {
    let fixed = [term(Kind::Category, StreamName::category_of(stream)), term(Kind::Type, event_type)];
    let mut terms = fixed.into_iter().chain(tags.map(|tag| term(Kind::Tag, tag))).collect::<Vec<_>>();
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// Chooses the scans of a query within bounds.
pub(super) async fn of(session: &Session, query: &Query, bounds: Bounds) -> Result<Scans, Unread> {
    let Query::Any(items) = query else { return Ok(Scans { all: true, ..Scans::default() }) };
    let mut scans = Scans::default();
    for item in items {
        match driver(item) {
            Driver::Stream(name) => scans.streams.push(name.as_str().to_owned()),
            Driver::Ids => scans.ids.extend(item.ids.iter().map(|id| id.as_bytes().to_vec())),
            Driver::Tags(tags) => scans.terms.push(rarest(session, tags, bounds).await?),
            Driver::Types(types) => {
                scans.terms.extend(types.iter().map(|own| term(Kind::Type, own.as_str())));
            }
            Driver::Category(category) => scans.terms.push(term(Kind::Category, category.as_str())),
        }
    }
    dedup(&mut scans.terms);
    dedup(&mut scans.streams);
    dedup(&mut scans.ids);
    Ok(scans)
}

fn dedup<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

/// The field that an item's candidates are found by.
enum Driver<'a> {
    Stream(&'a StreamName),
    Ids,
    Tags(&'a [Tag]),
    Types(&'a [EventType]),
    Category(&'a Category),
}

fn driver(item: &Item) -> Driver<'_> {
    match item {
        Item { stream: Some(name), .. } => Driver::Stream(name),
        Item { ids, .. } if !ids.is_empty() => Driver::Ids,
        Item { tags, .. } if !tags.is_empty() => Driver::Tags(tags),
        Item { category: Some(category), types, .. } if types.is_empty() => Driver::Category(category),
        Item { types, .. } => Driver::Types(types),
    }
}

/// The number of the first postings of each term, and the last one.
const PROBE: &str = "select t.n, count(p.position), coalesce(max(p.position), 0) \
     from unnest($1::bigint[]) with ordinality t(term, n) \
     left join lateral (select x.position from term x where x.term = t.term and x.position > $2 and x.position <= $3 \
                        order by x.position limit $4) p on true \
     group by t.n";

/// The term of the tag whose first postings end first, or else span the widest range.
async fn rarest(session: &Session, tags: &[Tag], bounds: Bounds) -> Result<i64, Unread> {
    let terms = tags.iter().map(|tag| term(Kind::Tag, tag.as_str())).collect::<Vec<_>>();
    let [first, _, ..] = terms[..] else { return Ok(terms.first().copied().unwrap_or_default()) };
    let probe = session.prepare(PROBE).await?;
    let (low, high) = (sequence_column(bounds.low), sequence_column(bounds.high));
    let rows = session.client().query(&probe, &[&terms, &low, &high, &PROBED_POSTINGS]).await?;
    let mut rarest = (i64::MAX, i64::MAX, first);
    for row in rows {
        let (number, count, last) =
            (row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?, row.try_get::<_, i64>(2)?);
        let own = usize::try_from(number - 1).ok().and_then(|at| terms.get(at)).copied().unwrap_or(first);
        // Fewer postings are rarer; of equally many, those that reach further.
        rarest = rarest.min((count, -last, own));
    }
    Ok(rarest.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_fixed_and_tell_kinds_apart() {
        // A change here would hide the events of existing stores. From another implementation of SHA-256.
        assert_eq!(term(Kind::Tag, "color:red"), KNOWN);
        assert_ne!(term(Kind::Type, "a"), term(Kind::Category, "a"));
        assert_eq!(terms_of("a-1", "b", ["x:1", "x:1"].into_iter()).len(), 3);
    }

    const KNOWN: i64 = -6_484_717_496_700_754_347;

    #[test]
    fn an_item_is_driven_by_the_first_field_that_finds_few() {
        let (stream, tags) = ("a-1".parse::<StreamName>().unwrap(), vec!["x:1".parse::<Tag>().unwrap()]);
        let types = vec!["t".parse::<EventType>().unwrap()];
        let all = Item { stream: Some(stream), category: None, types, ids: Vec::new(), tags };
        assert!(matches!(driver(&all), Driver::Stream(_)));
        let tagged = Item { stream: None, ..all };
        assert!(matches!(driver(&tagged), Driver::Tags(_)));
        assert!(matches!(driver(&Item { tags: Vec::new(), ..tagged }), Driver::Types(_)));
    }
}
