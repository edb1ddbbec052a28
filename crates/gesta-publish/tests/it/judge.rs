//! What must be true of the messages that arrived at a target. It knows nothing of publishers.

use std::collections::{BTreeMap, HashMap};

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Arrival {
    pub(crate) stream: String,
    pub(crate) version: u64,
    /// The id by which brokers drop repeats.
    pub(crate) message_id: String,
}

/// How many messages a target got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Events that arrived.
    pub(crate) events: usize,
    /// Messages whose event had arrived before.
    pub(crate) repeats: usize,
}

/// Checks the arrivals in their order, and counts them: in each stream events arrive for the first time one after the other, from
/// the first on, and equal ids belong to equal events.
#[track_caller]
pub(crate) fn judge<'a>(arrivals: impl IntoIterator<Item = &'a Arrival>) -> Counts {
    let mut next = BTreeMap::<&str, u64>::new();
    let mut ids = HashMap::<&str, (&str, u64)>::new();
    let mut counts = Counts::default();
    for Arrival { stream, version, message_id } in arrivals {
        let next = next.entry(stream).or_default();
        assert!(version <= next, "`{stream}` {version} arrived before `{stream}` {next}");
        let known = ids.insert(message_id, (stream, *version));
        assert!(known.is_none_or(|known| known == (stream, *version)), "two events have the id {message_id}");
        if version == next {
            assert!(known.is_none(), "`{stream}` {version} has the id of another event");
            *next += 1;
            counts.events += 1;
        } else {
            assert!(known.is_some(), "a repeat of `{stream}` {version} has another id");
            counts.repeats += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(list: &[(&str, u64, &str)]) -> Vec<Arrival> {
        let arrival = |(stream, version, id): &(&str, u64, &str)| Arrival {
            stream: (*stream).to_owned(),
            version: *version,
            message_id: (*id).to_owned(),
        };
        list.iter().map(arrival).collect()
    }

    #[test]
    fn repeats_are_counted() {
        let arrivals = arrivals(&[("a", 0, "1"), ("a", 0, "1"), ("b", 0, "2"), ("a", 1, "3"), ("a", 0, "1")]);
        assert_eq!(judge(&arrivals), Counts { events: 3, repeats: 2 });
    }

    #[test]
    #[should_panic(expected = "`a` 2 arrived before `a` 1")]
    fn a_gap_is_found() {
        judge(&arrivals(&[("a", 0, "1"), ("a", 2, "3"), ("a", 1, "2")]));
    }

    #[test]
    #[should_panic(expected = "two events have the id 1")]
    fn an_id_of_two_events_is_found() {
        judge(&arrivals(&[("a", 0, "1"), ("a", 1, "1")]));
    }

    #[test]
    #[should_panic(expected = "a repeat of `a` 0 has another id")]
    fn an_event_with_two_ids_is_found() {
        judge(&arrivals(&[("a", 0, "1"), ("a", 0, "2")]));
    }
}
