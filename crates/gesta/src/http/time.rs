//! RFC 3339 at the edge: the log keeps integers.

use gesta_core::Timestamp;

/// Reads a time as RFC 3339 writes it, with any offset.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let time = text.parse::<jiff::Timestamp>().ok();
    let nanos = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    nanos.map(Timestamp::from_nanos).ok_or_else(|| {
        let text = text.chars().take(80).collect::<String>();
        format!("`{text}` is not a time: write it as RFC 3339, such as `2012-03-14T15:04:54.681Z`, between 1677 and 2262")
    })
}

/// Writes a time in UTC, with none, 3, 6 or 9 digits below the second: as few as lose nothing.
pub(super) fn format_time(time: Timestamp) -> String {
    let nanos = i128::from(time.as_nanos());
    let digits = match nanos.rem_euclid(1_000_000_000) {
        0 => 0,
        below if below % 1_000_000 == 0 => 3,
        below if below % 1_000 == 0 => 6,
        _ => 9,
    };
    let time = jiff::Timestamp::from_nanosecond(nanos).expect("64 bits of nanoseconds lie within a calendar");
    format!("{time:.digits$}")
}
