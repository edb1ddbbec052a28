//! Listings of streams over several partitions, one after the other.

use std::num::NonZeroU32;

use gesta_core::{ListToken, Listing, ReadError, StreamPage};

use crate::partition::Partition;

/// Separates the number of a partition from the token of its log.
const SEPARATOR: char = '/';

/// Returns one page of streams.
pub(crate) async fn page(partitions: &[Partition], listing: Listing) -> Result<StreamPage, ReadError> {
    if let [only] = partitions {
        return only.streams(listing).await;
    }
    let (mut number, mut after) = match &listing.after {
        None => (0, None),
        Some(token) => place_of(token, partitions.len()).ok_or_else(|| not_ours(token))?,
    };
    let mut streams = Vec::new();
    loop {
        let taken = u32::try_from(streams.len()).unwrap_or(u32::MAX);
        let Some(limit) = NonZeroU32::new(listing.limit.get().saturating_sub(taken)) else {
            // It is not known if there is more: the next page may be empty.
            return Ok(StreamPage { streams, next: Some(token_of(number, after.as_ref())) });
        };
        let part = Listing { after: after.take(), limit, ..listing.clone() };
        let page = partitions[number].streams(part).await?;
        streams.extend(page.streams);
        match page.next {
            Some(next) => return Ok(StreamPage { streams, next: Some(token_of(number, Some(&next))) }),
            None if number + 1 == partitions.len() => return Ok(StreamPage { streams, next: None }),
            None => number += 1,
        }
    }
}

fn token_of(number: usize, after: Option<&ListToken>) -> ListToken {
    let after = after.map_or("", |token| &token.0);
    ListToken(format!("{number}{SEPARATOR}{after}").into())
}

/// The partition that a token goes on in, and the token of its log; `None` if it is not one of this listing.
fn place_of(token: &ListToken, partitions: usize) -> Option<(usize, Option<ListToken>)> {
    let (number, after) = token.0.split_once(SEPARATOR)?;
    let number = number.parse::<usize>().ok().filter(|number| *number < partitions)?;
    Some((number, (!after.is_empty()).then(|| ListToken(after.into()))))
}

fn not_ours(token: &ListToken) -> ReadError {
    let reason = format!("`{}` is not a token of this listing: use the `next` of its last page", token.0);
    ReadError::Invalid { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_partition_and_the_token_of_its_log() {
        let inner = ListToken("a/b.7".into());
        for (number, after) in [(0, None), (2, Some(inner))] {
            assert_eq!(place_of(&token_of(number, after.as_ref()), 3), Some((number, after)));
        }
        for text in ["", "7", "3/", "-1/", "x/a"] {
            assert_eq!(place_of(&ListToken(text.into()), 3), None, "{text}");
        }
    }
}
