//! The figures of consumer groups.

use gesta_consumer::group::{Dealer, GroupStatus};
use gesta_wire::group_state_name;

use super::text::{Labels, Text};

/// The states of a group, each a series of its own.
const STATES: [&str; 8] =
    ["starting", "running", "outage", "paused", "stopped", "unsaved", "unreadable", "taken-over"];

/// A gauge: its name, what it is, and its value.
type Gauge = (&'static str, &'static str, fn(&GroupStatus) -> Option<f64>);

const GAUGES: [Gauge; 7] = [
    (
        "gesta_group_lag_events",
        "Events of the log from the oldest one that is neither finished nor parked.",
        // A float is exact far beyond the events of any log.
        |status| status.lag_events.map(|events| events as f64),
    ),
    ("gesta_group_lag_seconds", "The age of that oldest event; 0 at the head.", |status| {
        Some(status.lag?.as_secs_f64())
    }),
    ("gesta_group_in_flight_events", "Events in deliveries that are not settled.", |status| {
        Some(status.in_flight_events.into())
    }),
    ("gesta_group_window_events", "Events in memory.", |status| Some(status.window_events.into())),
    ("gesta_group_members", "Members that called within the last time to acknowledge.", |status| {
        Some(status.members.len() as f64)
    }),
    ("gesta_group_parked_streams", "Streams that are parked.", |status| Some(status.parked.into())),
    ("gesta_group_waiting_streams", "Streams that wait for another attempt.", |status| {
        Some(status.waiting.into())
    }),
];

/// Where the groups are dealt, if several processes share them.
pub(super) fn dealer(dealer: Option<&Dealer>, text: &mut Text) {
    let help = "1 if this process deals the consumer groups of its store, 0 if another one does.";
    let here = dealer.map(|dealer| (Labels::new(), u8::from(dealer.is_here)));
    text.gauge("gesta_groups_dealt_here", help, here.into_iter());
}

/// The figures of all groups.
pub(super) fn groups(groups: &[GroupStatus], text: &mut Text) {
    for (name, help, value) in GAUGES {
        text.gauge(name, help, groups.iter().filter_map(|status| Some((of(status), value(status)?))));
    }
    let states = groups.iter().flat_map(|status| {
        let now = group_state_name(&status.state);
        STATES.map(|state| (with(status, "state", state), u8::from(state == now)))
    });
    text.gauge("gesta_group_state", "1 for the state of the group, 0 for the others.", states);
    let settled = groups
        .iter()
        .flat_map(|status| results(status).map(|(result, number)| (with(status, "result", result), number)));
    text.counter(
        "gesta_group_settled_total",
        "Ends of deliveries since the server started: events that were handled or skipped, and deliveries that ended otherwise.",
        settled,
    );
    text.summary(
        "gesta_group_put_seconds",
        "The time of the durable writes of the group's progress.",
        groups.iter().map(|status| (of(status), status.puts_time.as_secs_f64(), status.puts)),
    );
}

fn of(status: &GroupStatus) -> Labels {
    vec![("group", status.name.to_string())]
}

fn with(status: &GroupStatus, label: &'static str, value: &str) -> Labels {
    vec![("group", status.name.to_string()), (label, value.to_owned())]
}

fn results(status: &GroupStatus) -> [(&'static str, u64); 9] {
    let settled = &status.settled;
    [
        ("handled", settled.handled),
        ("retry", settled.retry),
        ("release", settled.release),
        ("park", settled.park),
        ("skip", settled.skip),
        ("expired", settled.expired),
        ("again", settled.again),
        ("unwritten", settled.unwritten),
        ("stale", settled.stale),
    ]
}
