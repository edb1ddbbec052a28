//! Laws of stream information and of listings of streams.

use std::num::NonZeroU32;

use gesta_core::{ListToken, Listing, ReadError, StreamInfo};
use pollster::block_on;

use crate::given::{A, B, batch, category, name};
use crate::world::World;

fn limit(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("a limit is at least 1")
}

/// Lists names and last versions page by page, sorted, because a listing has no defined order.
fn list(world: &World<'_>, of: Option<&str>, count: u32) -> Vec<(String, u64)> {
    let mut listing = Listing { category: of.map(category), after: None, limit: limit(count) };
    let mut found = Vec::new();
    loop {
        let page = block_on(world.store.streams(listing.clone())).expect("a page of streams");
        assert!(page.streams.len() <= count as usize, "{page:?}");
        found.extend(page.streams.into_iter().map(|info| (info.name.to_string(), info.version.get())));
        assert!(found.len() < 1_000, "a listing must reach its end");
        match page.next {
            Some(token) => listing.after = Some(token),
            None => break,
        }
    }
    found.sort();
    found
}

/// Streams of several categories and partitions, with their last versions, sorted.
fn streams(world: &World<'_>) -> Vec<(String, u64)> {
    let names = ["home-1", "home-2", "home-{k}", "homes-1", "home", "shop-1", "-", "shop-{k}"];
    for (count, stream) in (1_u32..).zip(names) {
        let of_stream = (0..count).map(|number| (stream, number)).collect::<Vec<_>>();
        world.append(batch(&of_stream[..1]));
        world.append(batch(&[of_stream.as_slice(), &[(stream, 100)]].concat()[1..]));
    }
    let mut expected = (1..).zip(names).map(|(last, name)| (name.to_owned(), last)).collect::<Vec<_>>();
    expected.sort();
    expected
}

pub(crate) fn a_stream_with_events_has_information_with_its_last_version(world: &World<'_>) {
    let known =
        |stream: &str| block_on(world.store.stream(name(stream))).expect("the information on the stream");
    assert_eq!(known(A), None);
    for last in 0..3_u32 {
        world.append(batch(&[(A, 2 * last)]));
        assert_eq!(known(A), Some(StreamInfo::new(name(A), gesta_core::Version::new(last.into()))));
    }
    world.append(batch(&[(B, 10), (A, 11), (B, 12)]));
    assert_eq!([A, B].map(|stream| known(stream).expect("a stream").version.get()), [3, 1]);
    assert_eq!(known("a-{k}1"), None);
}

pub(crate) fn every_stream_is_listed_once_page_by_page(world: &World<'_>) {
    assert_eq!(list(world, None, 1), []);
    let expected = streams(world);
    for count in [1, 2, 3, 7, 8, 9, 1_000] {
        assert_eq!(list(world, None, count), expected, "by {count}");
    }
}

pub(crate) fn a_listing_of_a_category_contains_only_its_streams(world: &World<'_>) {
    let expected = streams(world);
    for of in ["home", "homes", "shop", "", "hom", "never"] {
        let in_category = |(name, _): &&(String, u64)| name.split('-').next() == Some(of);
        let expected = expected.iter().filter(in_category).cloned().collect::<Vec<_>>();
        for count in [1, 2, 1_000] {
            assert_eq!(list(world, Some(of), count), expected, "category `{of}` by {count}");
        }
    }
}

pub(crate) fn a_stream_that_exists_throughout_a_listing_is_listed_once_while_others_begin(world: &World<'_>) {
    let expected = streams(world);
    let mut listing = Listing { category: None, after: None, limit: limit(2) };
    let mut found = Vec::new();
    for number in 0..100 {
        let page = block_on(world.store.streams(listing.clone())).expect("a page of streams");
        found.extend(page.streams.into_iter().map(|info| info.name.to_string()));
        let Some(token) = page.next else { break };
        listing.after = Some(token);
        if number < 20 {
            world.append(batch(&[
                (&format!("aaa-{number}"), number),
                (&format!("aaa-{number}"), number + 1_000),
            ]));
            world.append(batch(&[(&format!("zzz-{number}"), number)]));
            world.append(batch(&[("home-1", 1_000 + number)]));
        }
    }
    found.sort();
    let distinct = found.iter().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(found.len(), distinct.len(), "a listing must not repeat a stream: {found:?}");
    assert!(expected.iter().all(|(name, _)| distinct.contains(name)), "{found:?}");
}

pub(crate) fn an_unknown_listing_token_is_refused(world: &World<'_>) {
    streams(world);
    for token in
        ["", "no token", "-1", "1e3", "\u{0}", "99999999999999999999999999", "ä".repeat(300).as_str()]
    {
        let listing = Listing { category: None, after: Some(ListToken(token.into())), limit: limit(10) };
        let refused = block_on(world.store.streams(listing));
        assert!(matches!(refused, Err(ReadError::Invalid { .. })), "`{token}`: {refused:?}");
    }
}
