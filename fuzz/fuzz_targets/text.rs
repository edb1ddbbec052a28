//! Checkpoint tokens, event ids and names: an accepted text is printed unchanged or in a canonical form that is
//! accepted too.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use gesta_core::{Category, Checkpoint, EventId, EventType, StreamName, Tag};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    printed_alike::<Checkpoint>(text);
    printed_alike::<StreamName>(text);
    printed_alike::<Category>(text);
    printed_alike::<EventType>(text);
    printed_alike::<Tag>(text);
    // A UUID may be written in capitals.
    if let Ok(id) = text.parse::<EventId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(time) = gesta_wire::parse_time(text) {
        let again = gesta_wire::parse_time(&gesta_wire::format_time(time));
        assert_eq!(again.ok(), Some(time), "a printed time is parsed to the same time");
    }
    let _ = (StreamName::category_of(text), gesta_core::Lane::of(text));
});

fn printed_alike<T: FromStr + Display>(text: &str)
where
    T::Err: Display + Debug,
{
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string(), text, "one value has one text"),
        Err(error) => assert!(error.to_string().len() < 2_000, "an error does not repeat all of its input"),
    }
}
