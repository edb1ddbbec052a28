//! An event's envelope as SQL parameters: `$stream`, `$position`, `$time` and the others.

use std::borrow::Cow;

use gesta_core::{ContentKind, RecordedEvent, Timestamp};

use crate::value::Value;

/// One `$` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Envelope {
    Stream,
    Category,
    Entity,
    Id,
    Type,
    Version,
    SchemaVersion,
    Position,
    Partition,
    Time,
    TimeNs,
    RecordedAt,
    RecordedAtNs,
    Actor,
    Correlation,
    Causation,
    Tags,
    Data,
    Metadata,
}

/// All `$` parameters.
const NAMES: [(&str, Envelope); 19] = [
    ("stream", Envelope::Stream),
    ("category", Envelope::Category),
    ("entity", Envelope::Entity),
    ("id", Envelope::Id),
    ("type", Envelope::Type),
    ("version", Envelope::Version),
    ("schema_version", Envelope::SchemaVersion),
    ("position", Envelope::Position),
    ("partition", Envelope::Partition),
    ("time", Envelope::Time),
    ("time_ns", Envelope::TimeNs),
    ("recorded_at", Envelope::RecordedAt),
    ("recorded_at_ns", Envelope::RecordedAtNs),
    ("actor", Envelope::Actor),
    ("correlation", Envelope::Correlation),
    ("causation", Envelope::Causation),
    ("tags", Envelope::Tags),
    ("data", Envelope::Data),
    ("metadata", Envelope::Metadata),
];

impl Envelope {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, envelope)| *envelope)
    }

    /// All names with their `$`, for messages.
    pub(crate) fn names() -> String {
        NAMES.map(|(name, _)| format!("${name}")).join(", ")
    }

    /// Its value for an event.
    pub(crate) fn of(self, event: &RecordedEvent) -> Value<'_> {
        match self {
            Self::Stream => text(event.stream()),
            Self::Category => text(gesta_core::StreamName::category_of(event.stream())),
            Self::Entity => optional(event.stream().split_once('-').map(|(_, entity)| entity)),
            Self::Id => owned(event.id().to_string()),
            Self::Type => text(event.event_type()),
            Self::Version => number(event.version().get()),
            Self::SchemaVersion => number(event.schema_version().into()),
            Self::Position => number(event.position().sequence),
            Self::Partition => number(event.position().partition.into()),
            Self::Time => owned(rfc3339(event.time())),
            Self::TimeNs => Value::Integer(event.time().as_nanos()),
            Self::RecordedAt => owned(rfc3339(event.recorded_at())),
            Self::RecordedAtNs => Value::Integer(event.recorded_at().as_nanos()),
            Self::Actor => optional(event.tag("$actor")),
            Self::Correlation => optional(event.tag("$correlation")),
            Self::Causation => optional(event.tag("$causation")),
            Self::Tags => owned(tags(event)),
            Self::Data => bytes(event.data_slice(), event.kind() == ContentKind::Octets),
            Self::Metadata if event.metadata_slice().is_empty() => Value::Null,
            Self::Metadata => bytes(event.metadata_slice(), false),
        }
    }
}

fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

fn optional(value: Option<&str>) -> Value<'_> {
    value.map_or(Value::Null, text)
}

fn owned(text: String) -> Value<'static> {
    Value::Text(Cow::Owned(text))
}

fn number(number: u64) -> Value<'static> {
    Value::Integer(i64::try_from(number).expect("a log has less than 2^63 events"))
}

/// A text, or a blob for octets and for bytes that are not UTF-8.
fn bytes(bytes: &[u8], octets: bool) -> Value<'_> {
    match std::str::from_utf8(bytes) {
        Ok(read) if !octets => text(read),
        _ => Value::Blob(bytes),
    }
}

fn tags(event: &RecordedEvent) -> String {
    let tags = event.tags().collect::<Vec<_>>();
    serde_json::to_string(&tags).expect("texts become JSON")
}

/// RFC 3339 in UTC, always with nine decimals, so that the texts sort like the times.
fn rfc3339(time: Timestamp) -> String {
    const NANOS_PER_SECOND: i64 = 1_000_000_000;
    let (seconds, nanos) =
        (time.as_nanos().div_euclid(NANOS_PER_SECOND), time.as_nanos().rem_euclid(NANOS_PER_SECOND));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Here a year begins in March,
/// so that the leap day is its last day, and an era is 400 years, after which the calendar repeats.
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (nanos, expected) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_827_696_000_000_007, "2000-02-29T12:34:56.000000007Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_nanos(nanos)), expected);
        }
    }

    #[test]
    fn every_day_agrees_with_sqlite() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare("select strftime('%Y-%m-%d', ?1, 'unixepoch')").unwrap();
        for days in (-106_000..106_000).step_by(17) {
            let expected: String = statement.query_row([days * 86_400_i64], |row| row.get(0)).unwrap();
            let (year, month, day) = civil_from_days(days);
            assert_eq!(format!("{year:04}-{month:02}-{day:02}"), expected);
        }
    }
}
