//! How a receiver knows an event again, by one rule at every target: `source` and `id` of the CloudEvent, or the message id.

use gesta_core::EventId;

use crate::bench::{Bench, STORE};
use crate::judge::Arrival;

const ID: EventId = EventId::from_u128(0x1234);

/// Streams with an event of that id: an id is unique only within its stream.
const STREAMS: [&str; 2] = ["order-1", "order-2"];

/// Publishes both events, and then once more.
pub(crate) fn publish_twice(bench: &Bench) {
    bench.append_with_id(ID, STREAMS);
    bench.until_done();
    bench.repeat_all();
    bench.until_done();
}

/// Checks that each event came that number of times, always with its ids.
#[track_caller]
pub(crate) fn check(arrivals: &[Arrival], times: usize) {
    let of_stream = |stream| {
        let expected = Arrival {
            stream: String::from(stream),
            version: 0,
            message_id: gesta_publish::message_id(STORE, stream, ID).to_string(),
            source_and_id: (format!("urn:gesta:store:{STORE}/{stream}"), ID.to_string()),
        };
        vec![expected; times]
    };
    let mut arrived = arrivals.to_vec();
    arrived.sort_by(|one, other| one.stream.cmp(&other.stream));
    assert_eq!(arrived, STREAMS.map(of_stream).concat());
}
