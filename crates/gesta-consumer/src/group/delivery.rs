//! Deliveries: events of one stream in the hands of one member.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use gesta_core::{RecordedEvent, StoreId};

/// Events that a member has to handle, one after the other.
///
/// They belong to one stream. With [`Order::Log`](super::Order::Log) they belong to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The name to settle it by.
    pub id: DeliveryId,
    /// The number of the attempt to handle the first event, from 1.
    pub attempt: u32,
    /// The time within which it must be settled or renewed, from now on.
    pub ack_time: Duration,
    /// The events, at least one, in order.
    pub events: Vec<RecordedEvent>,
}

/// The name of a delivery. No group ever gives one twice, not after a crash, and not after a restore.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId([u8; 20]);

impl DeliveryId {
    /// Creates an id: the first 4 bytes of the store's id, the epoch of the dealer, and a number within the epoch.
    #[must_use]
    pub fn new(store: StoreId, epoch: u64, counter: u64) -> Self {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&store.as_bytes()[..4]);
        bytes[4..12].copy_from_slice(&epoch.to_be_bytes());
        bytes[12..].copy_from_slice(&counter.to_be_bytes());
        Self(bytes)
    }

    /// Creates an id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Returns the number within the epoch.
    pub(super) fn counter(self) -> u64 {
        let (_, counter) = self.0.split_last_chunk::<8>().expect("an id ends with a counter of 8 bytes");
        u64::from_be_bytes(*counter)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the id of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the id of a delivery: give one from a `take`, 40 hexadecimal digits in lower case")]
pub struct DeliveryIdParseError {
    /// The text, cut to its first 80 characters.
    pub text: String,
}

impl FromStr for DeliveryId {
    type Err = DeliveryIdParseError;

    /// Accepts exactly the output of `Display`, so that each id has one text.
    fn from_str(text: &str) -> Result<Self, DeliveryIdParseError> {
        parse(text.as_bytes())
            .map(Self)
            .ok_or_else(|| DeliveryIdParseError { text: text.chars().take(80).collect() })
    }
}

fn parse(text: &[u8]) -> Option<[u8; 20]> {
    let text: &[u8; 40] = text.try_into().ok()?;
    let digit = |at: usize| match text[at] {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 20];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = digit(2 * at)? << 4 | digit(2 * at + 1)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_exactly_one_text() {
        let id = DeliveryId::new(StoreId::from_bytes([0xab; 16]), 7, u64::MAX);
        assert_eq!(id.to_string(), "abababab0000000000000007ffffffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in
            ["", "7", &id.to_string().to_uppercase(), &format!("{id}0"), &format!("{}ä", "a".repeat(38))]
        {
            assert!(wrong.parse::<DeliveryId>().is_err(), "{wrong}");
        }
    }
}
