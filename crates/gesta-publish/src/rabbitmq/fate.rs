//! What the answers of RabbitMQ mean.

use lapin::protocol::AMQPErrorKind;
use lapin::{Error, ErrorKind};

use super::shared::Answer;
use crate::fault::Fault;

/// Reply codes of AMQP 0-9-1.
mod code {
    pub(super) const CONTENT_TOO_LARGE: u16 = 311;
    pub(super) const ACCESS_REFUSED: u16 = 403;
    pub(super) const NOT_FOUND: u16 = 404;
    pub(super) const PRECONDITION_FAILED: u16 = 406;
    pub(super) const NOT_ALLOWED: u16 = 530;
}

/// The code and the words of an error that the broker gave.
fn answer_of(error: &Error) -> Option<(u16, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().to_string())),
        _ => None,
    }
}

/// Why a broker cannot be reached.
pub(super) fn of_connect(error: &Error) -> Fault {
    let reason = format!("cannot connect to RabbitMQ: {error}");
    match answer_of(error) {
        Some((code::ACCESS_REFUSED, _)) => {
            Fault::Misdirected { reason: format!("{reason}: check the secret, then start the server again") }
        }
        Some((code::NOT_ALLOWED | code::NOT_FOUND, _)) => Fault::Misdirected {
            reason: format!("{reason}: check the virtual host in `to` and the rights of the user there"),
        },
        _ => Fault::Broken { reason },
    }
}

/// Why an exchange cannot be looked up.
pub(super) fn of_exchange(exchange: &str, error: &Error) -> Fault {
    match answer_of(error) {
        Some((code, words)) => of_answer(exchange, code, &words),
        None => of_connect(error),
    }
}

/// Why a message was not taken.
pub(super) fn of_publish(exchange: &str, error: &Error) -> Fault {
    match answer_of(error) {
        Some((code, words)) => of_answer(exchange, code, &words),
        None => Fault::Broken { reason: format!("the connection to RabbitMQ is lost: {error}") },
    }
}

/// The fate of a message whose channel the broker closed.
fn of_answer(exchange: &str, code: u16, words: &str) -> Fault {
    match code {
        code::NOT_FOUND => Fault::Misdirected {
            reason: format!(
                "there is no exchange `{exchange}`: create a topic exchange, then resume the group ({words})"
            ),
        },
        code::ACCESS_REFUSED => Fault::Misdirected {
            reason: format!(
                "the user may not publish to `{exchange}`: give it the right, then resume the group ({words})"
            ),
        },
        code::CONTENT_TOO_LARGE => Fault::Unfit { reason: words.to_owned() },
        code::PRECONDITION_FAILED if words.contains("size") => Fault::Unfit { reason: words.to_owned() },
        code::PRECONDITION_FAILED => Fault::Misdirected { reason: words.to_owned() },
        _ => Fault::Broken { reason: format!("RabbitMQ closed the channel: {words}") },
    }
}

/// Whether an error closed a channel and left the connection. It is about one of the messages that were in flight there.
pub(super) fn is_of_one_channel(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => matches!(error.kind(), AMQPErrorKind::Soft(_)),
        // A message that came after the error.
        ErrorKind::InvalidChannelState(..) => true,
        _ => false,
    }
}

/// The fate of a message that the broker confirmed, returned, or refused.
pub(super) fn of_answer_to(exchange: &str, subject: &str, answer: Answer) -> Result<(), Fault> {
    match answer {
        Answer::Confirmed => Ok(()),
        Answer::Returned(words) => Err(Fault::Misdirected {
            reason: format!(
                "no queue takes the routing key `{subject}` of the exchange `{exchange}` ({words}): bind one, then resume the group"
            ),
        }),
        Answer::Refused => {
            Err(Fault::Away { after: None, reason: "RabbitMQ could not keep the message".to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_one_fate() {
        for (code, words, is_stop, is_park) in [
            (404, "NOT_FOUND - no exchange 'shop' in vhost '/'", true, false),
            (403, "ACCESS_REFUSED", true, false),
            (
                406,
                "PRECONDITION_FAILED - message size 200000000 is larger than configured max size 134217728",
                false,
                true,
            ),
            (406, "PRECONDITION_FAILED - cannot publish to internal exchange", true, false),
            (311, "CONTENT_TOO_LARGE", false, true),
            (320, "CONNECTION_FORCED - broker forced connection closure", false, false),
            (541, "INTERNAL_ERROR", false, false),
        ] {
            let fault = of_answer("shop", code, words);
            assert_eq!(matches!(fault, Fault::Misdirected { .. }), is_stop, "{words}");
            assert_eq!(matches!(fault, Fault::Unfit { .. }), is_park, "{words}");
            assert!(is_stop || is_park || matches!(fault, Fault::Broken { .. }), "{words}");
        }
        assert_eq!(of_answer_to("shop", "a", Answer::Confirmed), Ok(()));
        assert!(matches!(of_answer_to("shop", "a", Answer::Refused), Err(Fault::Away { .. })));
        let returned = of_answer_to("shop", "a", Answer::Returned("NO_ROUTE".to_owned()));
        assert!(matches!(returned, Err(Fault::Misdirected { .. })));
    }
}
