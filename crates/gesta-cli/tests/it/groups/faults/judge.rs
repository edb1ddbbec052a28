//! Judges what the members did, by the rows of their target.

use std::collections::BTreeMap;
use std::fmt;

use rusqlite::Connection;

/// The longest time from an acknowledgement to its durable write: 100 ms until it is written, and the write, which may stall on a busy
/// machine. Deliveries stop after 5 s without a durable write; the rest is room for the disk.
const DURABLE_MILLIS_MAX: i64 = 10_000;

/// Checks that the effects are the events, each once, in the order of its stream.
pub(super) fn check_effects(target: &Connection, events: u64) {
    let mut rows = target.prepare("select stream, version from effect order by at").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).unwrap();
    let mut streams = BTreeMap::<String, i64>::new();
    for row in rows {
        let (stream, version) = row.unwrap();
        let next = streams.entry(stream.clone()).or_default();
        assert_eq!(version, *next, "`{stream}` has an effect too many, too few, or out of order");
        *next += 1;
    }
    assert_eq!(streams.values().sum::<i64>().cast_unsigned(), events, "{streams:?}");
}

/// Events that were handled more than once, in all.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Times that an event was handled.
    handled: u64,
    /// Times without an acknowledgement: the event was in flight.
    in_flight: u64,
    /// Times with an acknowledgement that a kill of the server undid.
    undone: u64,
    /// The longest time from such an acknowledgement to the kill.
    undone_millis: i64,
}

impl Repeats {
    /// Checks that what was in flight explains the repeats without an acknowledgement. The others were checked one by one.
    pub(super) fn check(&self, in_flight_max: u64) {
        assert!(self.in_flight <= in_flight_max, "more than {in_flight_max} events in flight: {self}");
    }
}

impl fmt::Display for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handled, in_flight, undone, undone_millis } = self;
        write!(
            f,
            "{handled} times handled, {} of them repeats: {in_flight} were in flight, \
             {undone} were acknowledged at most {undone_millis} ms before a kill of the server",
            in_flight + undone
        )
    }
}

/// Counts what was handled again. An acknowledgement counts for good, unless the server was killed shortly after it.
pub(super) fn repeats(target: &Connection, server_kills: &[i64]) -> Repeats {
    let mut rows = target
        .prepare(
            "select stream, version, millis from handled left join acknowledged using (delivery)
             order by stream, version, millis nulls first",
        )
        .unwrap();
    let mut rows = rows.query([]).unwrap();
    let mut repeats = Repeats::default();
    let mut last: Option<(String, i64, Option<i64>)> = None;
    while let Some(row) = rows.next().unwrap() {
        let row = (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
        repeats.handled += 1;
        // All but the last acknowledgement of an event were without effect.
        if let Some((stream, version, acknowledged)) = last.replace(row.clone())
            && (&stream, version) == (&row.0, row.1)
        {
            match acknowledged {
                None => repeats.in_flight += 1,
                Some(at) => {
                    let kill = undone_by(at, server_kills);
                    let kill = kill.unwrap_or_else(|| {
                        panic!("`{stream}` version {version} was acknowledged at {at} and handled again")
                    });
                    repeats.undone += 1;
                    repeats.undone_millis = repeats.undone_millis.max(kill - at);
                }
            }
        }
    }
    repeats
}

/// The kill of the server that can have undone an acknowledgement. A member notes it a moment later than the server.
fn undone_by(acknowledged: i64, server_kills: &[i64]) -> Option<i64> {
    let near = |kill: &&i64| (**kill - acknowledged).abs() <= DURABLE_MILLIS_MAX;
    server_kills.iter().filter(near).min_by_key(|kill| (**kill - acknowledged).abs()).copied()
}

#[test]
fn an_acknowledgement_that_is_undone_long_before_a_kill_is_a_violation() {
    assert_eq!(undone_by(50_000, &[100, 50_090, 54_000]), Some(50_090));
    assert_eq!(undone_by(50_000, &[100, 60_001]), None);
}
