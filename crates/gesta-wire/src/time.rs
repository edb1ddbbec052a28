//! Times as RFC 3339 writes them. The log stores integers.

use gesta_core::Timestamp;

/// The text is not a time that the log can store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The text is not a time in the form of RFC 3339.
    #[error("`{text}` is not a time: write it as RFC 3339, such as `2012-03-14T15:04:54.681Z`")]
    Form {
        /// The text, cut to its first 80 characters.
        text: String,
    },
    /// The time is outside the range of the log: 64 bits of nanoseconds.
    #[error("the time `{text}` is out of range: the log stores times from 1677-09-21 to 2262-04-11")]
    OutOfRange {
        /// The text, cut to its first 80 characters.
        text: String,
    },
}

/// Reads a time in the form of RFC 3339, with `Z` or any offset. Digits beyond nanoseconds are cut off.
///
/// # Errors
/// [`TimeError`] for another form, for a time without an offset, and for a time outside 1677 to 2262.
pub fn parse_time(text: &str) -> Result<Timestamp, TimeError> {
    let shown = || text.chars().take(80).collect::<String>();
    let in_nanos = to_nanosecond_digits(text).ok_or_else(|| TimeError::Form { text: shown() })?;
    let time = in_nanos.parse::<jiff::Timestamp>().map_err(|_| TimeError::Form { text: shown() })?;
    let nanos = i64::try_from(time.as_nanosecond()).map_err(|_| TimeError::OutOfRange { text: shown() })?;
    Ok(Timestamp::from_nanos(nanos))
}

/// The same time with at most nine digits after the point, if the text has the form of RFC 3339. The calendar, such as the 30th of
/// February, is the parser's to check.
fn to_nanosecond_digits(text: &str) -> Option<String> {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let (seconds, rest) = text.split_at_checked(FORM.len())?;
    let fits = |(form, byte): (&u8, u8)| match form {
        b'd' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        other => byte == *other,
    };
    if !FORM.iter().zip(seconds.bytes()).all(fits) {
        return None;
    }
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            (&rest[..digits], &rest[digits..])
        }
        None => ("0", rest),
    };
    if fraction.is_empty() || !is_offset(offset) {
        return None;
    }
    Some(format!("{seconds}.{}{offset}", &fraction[..fraction.len().min(9)]))
}

/// `Z`, or a sign with hours to 23 and minutes to 59.
fn is_offset(text: &str) -> bool {
    if text.eq_ignore_ascii_case("z") {
        return true;
    }
    let Some((hours, minutes)) = text.strip_prefix(['+', '-']).and_then(|text| text.split_once(':')) else {
        return false;
    };
    let below = |text: &str, end: u8| {
        text.len() == 2
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|number| number < end)
    };
    below(hours, 24) && below(minutes, 60)
}

/// Writes a time in UTC, with 0, 3, 6 or 9 digits below the second: as few as lose nothing.
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
    fn every_form_of_rfc_3339_is_read() {
        for (text, nanos) in [
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1970-01-01t00:00:00z", 0),
            ("1970-01-01 00:00:00Z", 0),
            ("1970-01-01T23:59:00+23:59", 0),
            ("1970-01-01T00:00:00.000000001999Z", 1),
            ("1970-01-01T00:00:00.5Z", 500_000_000),
        ] {
            assert_eq!(parse_time(text), Ok(Timestamp::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused_and_a_time_out_of_range_is_named_so() {
        for wrong in [
            "",
            "yesterday",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00Z",
            "1970-01-01T00:00:00,5Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00+01:60",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00:00+01",
            "1970-02-30T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00Z[UTC]",
            "+001970-01-01T00:00:00Z",
            "1970-01-01T00:00:00é",
        ] {
            assert!(matches!(parse_time(wrong), Err(TimeError::Form { .. })), "{wrong}");
        }
        for far in ["1600-01-01T00:00:00Z", "2300-01-01T00:00:00Z"] {
            assert!(matches!(parse_time(far), Err(TimeError::OutOfRange { .. })), "{far}");
        }
    }
}
