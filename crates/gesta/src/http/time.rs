//! RFC 3339 at the edge: the log keeps integers.

use gesta_core::Timestamp;

/// The text is not a point in time that the log can keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a time: write it as RFC 3339, such as `2012-03-14T15:04:54.681Z`, between 1677 and 2262"
)]
pub struct TimeError {
    /// The text, cut to its first 80 characters.
    pub text: String,
}

/// Reads a time as RFC 3339 writes it, with any offset.
///
/// # Errors
/// [`TimeError`] for another form, for a time without an offset, and for one outside 1677 to 2262.
pub fn parse_time(text: &str) -> Result<Timestamp, TimeError> {
    let time = text.parse::<jiff::Timestamp>().ok();
    let nanos = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    nanos.map(Timestamp::from_nanos).ok_or_else(|| TimeError { text: text.chars().take(80).collect() })
}

/// Writes a time in UTC, with none, 3, 6 or 9 digits below the second: as few as lose nothing.
#[must_use]
pub fn format_time(time: Timestamp) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_as_few_digits_as_lose_nothing() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (1_317_422_324_880_000_000, "2011-09-30T22:38:44.880Z"),
            (1_001_000, "1970-01-01T00:00:00.001001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
        ];
        for (nanos, text) in cases {
            assert_eq!(format_time(Timestamp::from_nanos(nanos)), text);
            assert_eq!(parse_time(text), Ok(Timestamp::from_nanos(nanos)));
        }
    }

    #[test]
    fn a_time_may_have_an_offset_and_must_have_one() {
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Ok(Timestamp::from_nanos(0)));
        for wrong in ["", "yesterday", "1970-01-01T00:00:00", "1600-01-01T00:00:00Z", "2300-01-01T00:00:00Z"]
        {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
