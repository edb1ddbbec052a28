//! What the answer of a webhook means.

use std::time::{Duration, SystemTime};

use jiff::fmt::rfc2822::DateTimeParser;

use crate::fault::Fault;
use crate::limits::WORDS_CHARACTERS_MAX;

/// The longest pause that an answer may ask for. A target that names a later time is asked again before it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) location: Option<String>,
    /// The beginning of the body.
    pub(super) body: String,
}

/// Takes a 2xx for a confirmation, and anything else for a fault.
pub(super) fn classify(answer: &Answer, now: SystemTime) -> Result<(), Fault> {
    let Answer { status, retry_after, location, body } = answer;
    let words = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = words.chars().take(WORDS_CHARACTERS_MAX).collect::<String>();
    let said = if words.is_empty() {
        format!("it answered {status}")
    } else {
        format!("it answered {status}: {words}")
    };
    Err(match status {
        200..=299 => return Ok(()),
        // 409: a request with the same `Idempotency-Key` is under way.
        408 | 409 | 425 | 429 | 500..=599 => {
            let after = retry_after.as_deref().and_then(|text| pause_of(text, now));
            Fault::Away { after, reason: said }
        }
        400 | 413 | 414 | 422 | 431 => Fault::Unfit { reason: said },
        300..=399 => {
            let place = location.as_deref().unwrap_or("another address");
            Fault::Misdirected {
                reason: format!(
                    "{said}; it redirects to {place}: redirects are not followed, so write that into `to`"
                ),
            }
        }
        401 | 403 => Fault::Misdirected {
            reason: format!("{said}; check the secret and the rights at the target, then resume the group"),
        },
        _ => {
            Fault::Misdirected { reason: format!("{said}; check the address in `to`, then resume the group") }
        }
    })
}

/// The pause that `Retry-After` asks for, as seconds or as a date.
fn pause_of(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = DateTimeParser::new().parse_timestamp(text).ok()?;
            SystemTime::from(date).duration_since(now).unwrap_or_default()
        }
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &Answer) -> Result<(), Fault> {
        // Sun, 06 Nov 1994 08:49:37 GMT
        classify(answer, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    fn status(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    #[test]
    fn each_status_has_one_fate() {
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(check(&status(code)), Ok(()));
        }
        for code in [408, 409, 425, 429, 500, 501, 502, 503, 504, 599] {
            assert!(matches!(check(&status(code)), Err(Fault::Away { after: None, .. })), "{code}");
        }
        for code in [400, 413, 414, 422, 431] {
            assert!(matches!(check(&status(code)), Err(Fault::Unfit { .. })), "{code}");
        }
        for code in [101, 301, 302, 304, 307, 308, 401, 402, 403, 404, 405, 406, 410, 415, 451, 600] {
            assert!(matches!(check(&status(code)), Err(Fault::Misdirected { .. })), "{code}");
        }
    }

    #[test]
    fn retry_after_is_honoured_as_seconds_and_as_a_date_up_to_an_hour() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (text, pause) in [
            ("7", seconds(7)),
            (" 0 ", seconds(0)),
            ("86400", seconds(3_600)),
            ("99999999999999999999999", None),
            ("Sun, 06 Nov 1994 08:50:37 GMT", seconds(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", seconds(0)),
            ("Sun, 06 Nov 2094 08:00:00 GMT", None),
            ("Sat, 06 Nov 2094 08:00:00 GMT", seconds(3_600)),
            ("soon", None),
            ("-1", None),
        ] {
            let answer = Answer { retry_after: Some(text.to_owned()), ..status(503) };
            let Err(Fault::Away { after, .. }) = check(&answer) else { panic!("503 is no confirmation") };
            assert_eq!(after, pause, "{text}");
        }
    }

    #[test]
    fn a_fault_repeats_the_first_words_of_the_target_and_says_what_helps() {
        let answer = Answer { body: format!("no\n  such {}", "x".repeat(500)), ..status(404) };
        let reason = check(&answer).unwrap_err().reason().to_owned();
        assert!(
            reason.starts_with("it answered 404: no such xxx") && reason.contains("check the address"),
            "{reason}"
        );
        assert!(reason.len() < 400);
        let answer = Answer { location: Some("https://new/".to_owned()), ..status(308) };
        assert!(
            check(&answer).unwrap_err().reason().contains("redirects to https://new/: redirects are not")
        );
    }
}
