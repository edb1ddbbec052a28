//! What must be true of the messages that arrived at a target. It knows nothing of publishers.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::Hash;

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Arrival {
    pub(crate) stream: String,
    pub(crate) version: u64,
    /// The id by which brokers drop repeats.
    pub(crate) message_id: String,
    /// `source` and `id` of the CloudEvent.
    pub(crate) source_and_id: (String, String),
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
/// the first on, and equal ids belong to equal events, the message id as well as `source` and `id`.
#[track_caller]
pub(crate) fn judge<'a>(arrivals: impl IntoIterator<Item = &'a Arrival>) -> Counts {
    let mut next = BTreeMap::<&str, u64>::new();
    let (mut by_message, mut by_event) = (HashMap::new(), HashMap::new());
    let mut counts = Counts::default();
    for arrival in arrivals {
        let Arrival { stream, version, message_id, source_and_id } = arrival;
        let next = next.entry(stream).or_default();
        let is_repeat = version < next;
        assert!(version <= next, "`{stream}` {version} arrived before `{stream}` {next}");
        check_id(&mut by_message, message_id, arrival, is_repeat);
        check_id(&mut by_event, source_and_id, arrival, is_repeat);
        match is_repeat {
            true => counts.repeats += 1,
            false => (*next, counts.events) = (*next + 1, counts.events + 1),
        }
    }
    counts
}

/// Checks an id of a message beside the ids of those before.
#[track_caller]
fn check_id<'a, I: Debug + Eq + Hash>(
    known: &mut HashMap<&'a I, (&'a str, u64)>,
    id: &'a I,
    Arrival { stream, version, .. }: &'a Arrival,
    is_repeat: bool,
) {
    let before = known.insert(id, (stream, *version));
    assert!(before.is_none_or(|before| before == (stream, *version)), "two events have the id {id:?}");
    assert!(before.is_some() || !is_repeat, "a repeat of `{stream}` {version} has another id");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(list: &[(&str, u64, &str)]) -> Vec<Arrival> {
        let arrival = |(stream, version, id): &(&str, u64, &str)| Arrival {
            stream: (*stream).to_owned(),
            version: *version,
            message_id: (*id).to_owned(),
            source_and_id: ((*stream).to_owned(), version.to_string()),
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
    #[should_panic(expected = "two events have the id \"1\"")]
    fn an_id_of_two_events_is_found() {
        judge(&arrivals(&[("a", 0, "1"), ("a", 1, "1")]));
    }

    #[test]
    #[should_panic(expected = "a repeat of `a` 0 has another id")]
    fn an_event_with_two_ids_is_found() {
        judge(&arrivals(&[("a", 0, "1"), ("a", 0, "2")]));
    }

    #[test]
    #[should_panic(expected = "two events have the id (\"a\", \"0\")")]
    fn a_cloudevent_of_two_events_is_found() {
        let mut arrivals = arrivals(&[("a", 0, "1"), ("b", 0, "2")]);
        arrivals[1].source_and_id = arrivals[0].source_and_id.clone();
        judge(&arrivals);
    }
}
