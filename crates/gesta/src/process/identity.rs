//! The identity of inputs and effects, and the keys that make each of them happen once.
//!
//! An event id is unique only within its stream, so an input is a stream and an event id. Where a recorded event is read as
//! several, each of them is an input: the first as if it were alone, the others with their index. Every key is a SHA-256 over parts
//! with their lengths, so that no two lists of parts look the same.
//!
//! | key | parts |
//! | --- | --- |
//! | input | NAME, process id, stream, event id, the index of a piece but the first |
//! | effect | those of its input, `effect`, its path |
//! | outcome | those of its input, `outcome`, the path of its effect |

use bytes::Bytes;
use gesta_core::{CommandKey, EventId, RecordedEvent, StreamName};
use serde::{Deserialize, Serialize};

use super::planted::{Bug, planted};
use crate::idempotency::digest;

/// An input: an event that a process takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputId {
    pub(crate) stream: String,
    #[serde(with = "as_text")]
    pub(crate) id: EventId,
    /// Its index among the events that the recorded one is read as.
    #[serde(default, skip_serializing_if = "is_first")]
    pub(crate) piece: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
const fn is_first(piece: &u32) -> bool {
    *piece == 0
}

/// An effect of a process: the input that it came of, and its path.
///
/// The path has one number for a direct effect of the input: its index in the reaction. An effect that followed from an
/// outcome has the path of the effect before, and its index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EffectId {
    pub(crate) input: InputId,
    pub(crate) path: Vec<u32>,
}

impl InputId {
    /// The event, or its piece of that index.
    pub(crate) fn of(event: &RecordedEvent, piece: u32) -> Self {
        Self { stream: event.stream().to_owned(), id: event.id(), piece }
    }
}

impl EffectId {
    /// The effect of that index that followed from the outcome of this one.
    pub(crate) fn child(&self, index: usize) -> Self {
        let mut path = self.path.clone();
        path.push(number(index));
        Self { input: self.input.clone(), path }
    }

    /// The effect of that index in the reaction to an input.
    pub(crate) fn first(input: InputId, index: usize) -> Self {
        Self { input, path: vec![number(index)] }
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a reaction with four billion effects does not fit into memory")
}

/// The keys of one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// The name of the process.
    pub(crate) name: &'static str,
    /// The id of the process, as text.
    pub(crate) id: &'a str,
}

impl Keys<'_> {
    /// The key under which an input is taken.
    pub(crate) fn input(&self, input: &InputId) -> CommandKey {
        command_key(digest(self.parts(input, &input.piece.to_le_bytes())))
    }

    /// The key of an effect, which its target gets.
    pub(crate) fn effect(&self, effect: &EffectId) -> [u8; 32] {
        self.of_effect(b"effect", effect)
    }

    /// The key under which the outcome of an effect is recorded.
    pub(crate) fn outcome(&self, effect: &EffectId) -> CommandKey {
        command_key(self.of_effect(b"outcome", effect))
    }

    fn of_effect(&self, kind: &'static [u8], effect: &EffectId) -> [u8; 32] {
        let path = effect.path.iter().flat_map(|index| index.to_le_bytes()).collect::<Vec<_>>();
        let piece = effect.input.piece.to_le_bytes();
        digest(self.parts(&effect.input, &piece).chain([kind, &path]))
    }

    fn parts<'p>(&'p self, input: &'p InputId, piece: &'p [u8]) -> impl Iterator<Item = &'p [u8]> {
        let stream = if planted(Bug::BareId) { "" } else { &input.stream };
        let whole = [self.name.as_bytes(), self.id.as_bytes(), stream.as_bytes(), input.id.as_bytes()];
        whole.into_iter().chain((input.piece > 0).then_some(piece))
    }
}

/// A key whose request is the key itself: nothing else is ever sent under it.
fn command_key(key: [u8; 32]) -> CommandKey {
    CommandKey { key: Bytes::copy_from_slice(&key), request: key }
}

/// The command key of an effect that sends a command to a stream of the same store. The same effect never sends to two.
pub(crate) fn effect_command_key(effect: &[u8; 32], target: &[u8]) -> CommandKey {
    CommandKey { key: Bytes::copy_from_slice(effect), request: digest([effect.as_slice(), target]) }
}

/// The stream of a process.
pub(crate) fn stream_text(name: &str, id: &str) -> String {
    format!("{name}-{id}")
}

/// The id in the name of a process's stream; `None` for a stream of another category.
pub(crate) fn id_in<'a>(name: &str, stream: &'a str) -> Option<&'a str> {
    (StreamName::category_of(stream) == name).then(|| stream.get(name.len() + 1..)).flatten()
}

/// An event id as the text of a UUID.
mod as_text {
    use gesta_core::EventId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &EventId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<EventId, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn input(stream: &str, id: u128) -> InputId {
        InputId { stream: stream.to_owned(), id: EventId::from_u128(id), piece: 0 }
    }

    #[test]
    fn every_part_of_an_identity_is_part_of_its_key() {
        let keys = [
            ("p", "1", "a-1", 1),
            ("p1", "", "a-1", 1),
            ("q", "1", "a-1", 1),
            ("p", "2", "a-1", 1),
            ("p", "1", "a-2", 1),
            ("p", "1a-1", "", 1),
            ("p", "1", "a-1", 2),
        ];
        let keys = keys.map(|(name, id, stream, event)| (Keys { name, id }, input(stream, event)));
        let mut all = HashSet::new();
        let second = |input: &InputId| InputId { piece: 1, ..input.clone() };
        for (keys, input) in
            keys.iter().flat_map(|(keys, input)| [(*keys, input.clone()), (*keys, second(input))])
        {
            assert_eq!(keys.input(&input), keys.input(&input));
            assert!(all.insert(keys.input(&input).key), "{keys:?} {input:?}");
            for path in [vec![0], vec![1], vec![0, 1], vec![0, 0, 1], vec![256]] {
                let effect = EffectId { input: input.clone(), path };
                assert!(all.insert(Bytes::copy_from_slice(&keys.effect(&effect))), "{effect:?}");
                assert!(all.insert(keys.outcome(&effect).key), "{effect:?}");
            }
        }
    }

    #[test]
    fn the_key_of_an_input_is_fixed() {
        // SHA-256 over four parts, each behind its length in eight little-endian bytes, from another implementation.
        let key = Keys { name: "fulfilment", id: "42" }.input(&input("order-42", 7));
        assert_eq!(
            crate::hex::hex(&key.key),
            "500edd638bf07587a13bd8b624e6c6d278253bb6ee14cc3f51daecc311bbe5c9"
        );
    }

    #[test]
    fn the_id_is_what_follows_the_name_in_a_stream() {
        assert_eq!(id_in("p", "p-1-2"), Some("1-2"));
        assert_eq!(id_in("p", "pq-1"), None);
        assert_eq!(id_in("p", "p"), None);
    }
}
