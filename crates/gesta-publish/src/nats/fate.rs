//! What the answers of NATS mean.

use async_nats::{ConnectError, ConnectErrorKind};

use crate::fault::Fault;

/// Codes of JetStream's errors, as the server defines them.
mod code {
    /// JetStream is not enabled for the account.
    pub(super) const NOT_ENABLED_FOR_ACCOUNT: u64 = 10_039;
    /// JetStream is not enabled in the server.
    pub(super) const NOT_ENABLED: u64 = 10_076;
    /// The message is larger than the stream allows.
    pub(super) const MESSAGE_TOO_LARGE: u64 = 10_054;
    /// The headers of the message are larger than JetStream takes.
    pub(super) const HEADER_TOO_LARGE: u64 = 10_097;
    /// There is no stream of that name.
    pub(super) const STREAM_NOT_FOUND: u64 = 10_059;
    /// The message came to another stream than it expects.
    pub(super) const STREAM_NOT_MATCH: u64 = 10_060;
    /// The stream is sealed.
    pub(super) const STREAM_SEALED: u64 = 10_109;
}

/// Why a server cannot be reached.
pub(super) fn of_connect(error: &ConnectError) -> Fault {
    let reason = format!("cannot connect to NATS: {error}");
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            Fault::Misdirected { reason: format!("{reason}: check the secret, then start the server again") }
        }
        ConnectErrorKind::Tls => Fault::Misdirected {
            reason: format!(
                "{reason}: write `tls://` for a server with TLS, and `ca_file` for its authority"
            ),
        },
        _ => Fault::Broken { reason },
    }
}

/// Why a stream cannot be looked up, from the code of JetStream's error, if it gave one.
pub(super) fn of_lookup(stream: &str, code: Option<u64>, error: &str) -> Fault {
    match code {
        Some(code::STREAM_NOT_FOUND) => Fault::Misdirected {
            reason: format!("there is no stream `{stream}`: create it, then resume the group"),
        },
        Some(code::NOT_ENABLED | code::NOT_ENABLED_FOR_ACCOUNT) => Fault::Misdirected {
            reason: "the server has no JetStream: start it with `--jetstream`, then resume the group"
                .to_owned(),
        },
        _ => Fault::Broken { reason: format!("cannot look up the stream `{stream}`: {error}") },
    }
}

/// Why a stream refused a message, from the code of its error.
pub(super) fn of_refusal(stream: &str, code: u64, error: &str) -> Fault {
    let reason = format!("the stream `{stream}` refuses the message: {error}");
    match code {
        code::MESSAGE_TOO_LARGE | code::HEADER_TOO_LARGE => Fault::Unfit { reason },
        code::STREAM_NOT_MATCH => Fault::Misdirected {
            reason: format!(
                "{reason}: another stream takes this subject. Give `subject` one of `{stream}`, then start the server again"
            ),
        },
        code::STREAM_SEALED => Fault::Misdirected { reason },
        _ => Fault::Away { after: None, reason },
    }
}

/// Nobody took a message: the stream does not take its subject, or it is away.
pub(super) fn of_no_responders(stream: &str, subjects: &[String], subject: &str) -> Fault {
    match subjects.iter().any(|filter| covers(filter, subject)) {
        // The next connection looks the stream up.
        true => Fault::Broken { reason: format!("the stream `{stream}` does not answer") },
        false => Fault::Misdirected {
            reason: format!(
                "the stream `{stream}` takes no subject such as `{subject}`: add one to it, then resume the group"
            ),
        },
    }
}

/// True if a subject with wildcards covers another one.
fn covers(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in filter.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_subjects() {
        for (filter, subject, is_covered) in [
            ("shop.>", "shop.order.placed", true),
            ("shop.>", "shop", false),
            (">", "shop", true),
            ("shop.*", "shop.order", true),
            ("shop.*", "shop.order.placed", false),
            ("shop.*.placed", "shop.order.placed", true),
            ("shop", "shop", true),
            ("shop", "shop.order", false),
            ("shop.order", "shop", false),
            ("shops.>", "shop.order", false),
        ] {
            assert_eq!(covers(filter, subject), is_covered, "{filter} {subject}");
        }
    }

    #[test]
    fn each_answer_has_one_fate() {
        let is_stop = |fault: &Fault| matches!(fault, Fault::Misdirected { .. });
        assert!([10_059, 10_039, 10_076].iter().all(|code| is_stop(&of_lookup("S", Some(*code), ""))));
        assert!(matches!(of_lookup("S", Some(10_008), ""), Fault::Broken { .. }));
        assert!(matches!(of_lookup("S", None, "timed out"), Fault::Broken { .. }));
        assert!(
            [10_054, 10_097].iter().all(|code| matches!(of_refusal("S", *code, ""), Fault::Unfit { .. }))
        );
        assert!([10_060, 10_109].iter().all(|code| is_stop(&of_refusal("S", *code, ""))));
        assert!(matches!(of_refusal("S", 10_077, ""), Fault::Away { after: None, .. }));
        let subjects = ["shop.>".to_owned()];
        assert!(matches!(of_no_responders("S", &subjects, "shop.a"), Fault::Broken { .. }));
        assert!(is_stop(&of_no_responders("S", &subjects, "bank.a")));
    }
}
