//! What the answers to a publish mean.

use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::{Message, RequestError, RequestErrorKind};

use crate::machine::Refusal;

/// Codes of JetStream's errors, as the server defines them.
mod code {
    pub(super) const UNAVAILABLE: u64 = 10_008;
    pub(super) const NO_RESOURCES: [u64; 3] = [10_023, 10_047, 10_077];
    pub(super) const OTHER_DIGEST: u64 = 10_070;
    pub(super) const OTHER_NUMBER: u64 = 10_071;
    pub(super) const BUSY: u64 = 10_164;
    /// Too large, no such stream, another stream, sealed.
    pub(super) const NEVER: [u64; 4] = [10_054, 10_059, 10_060, 10_109];
}

/// The number of the message, or the refusal; `None` if the answer tells nothing, so that the message may be written.
pub(crate) fn outcome_of(answer: Result<Message, RequestError>) -> Option<Result<u64, Refusal>> {
    let message = match answer {
        Ok(message) => message,
        Err(error) => {
            return match error.kind() {
                RequestErrorKind::NoResponders => Some(Err(Refusal::Unreached)),
                RequestErrorKind::MaxPayloadExceeded => Some(Err(Refusal::Never(
                    "the message is larger than `max_payload` of the servers: set it to 8 MB".to_owned(),
                ))),
                _ => None,
            };
        }
    };
    match serde_json::from_slice::<Response<PublishAck>>(&message.payload) {
        Ok(Response::Ok(ack)) => Some(Ok(ack.sequence)),
        Ok(Response::Err { error }) => refusal_of(error.error_code().0, &error.to_string()).map(Err),
        Err(_) => None,
    }
}

/// What a code means; `None` for one that leaves it open if the message is written.
fn refusal_of(code: u64, text: &str) -> Option<Refusal> {
    match code {
        code::OTHER_NUMBER => Some(Refusal::OtherNumber),
        code::OTHER_DIGEST => Some(Refusal::OtherDigest),
        code::BUSY => Some(Refusal::Busy),
        code::UNAVAILABLE => Some(Refusal::Unreached),
        code if code::NO_RESOURCES.contains(&code) => Some(Refusal::Full),
        code if code::NEVER.contains(&code) => Some(Refusal::Never(text.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_is_not_known_leaves_the_message_in_doubt() {
        for (code, refusal) in [
            (10_071, Some(Refusal::OtherNumber)),
            (10_070, Some(Refusal::OtherDigest)),
            (10_164, Some(Refusal::Busy)),
            (10_008, Some(Refusal::Unreached)),
            (10_077, Some(Refusal::Full)),
            (10_060, Some(Refusal::Never("text".to_owned()))),
            (10_001, None),
        ] {
            assert_eq!(refusal_of(code, "text"), refusal, "{code}");
        }
    }
}
