//! Asks the monitors of servers if they sync each message. NATS tells it nowhere else.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::OpenError;
use crate::limits::ANSWER_TIME;

/// Bytes of an answer. One of a server with thousands of connections has some KiB.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Checks that each server behind a monitor syncs each message. `monitors` are addresses, as `HOST:8222`.
///
/// # Errors
/// [`OpenError::Unreachable`] if one does not answer, [`OpenError::Refused`] if one does not sync.
pub(super) async fn check_sync(monitors: &[String]) -> Result<(), OpenError> {
    for monitor in monitors {
        let unreachable =
            |reason| OpenError::Unreachable { reason: format!("the monitor at `{monitor}`: {reason}") };
        let asked = tokio::time::timeout(ANSWER_TIME, ask(monitor)).await;
        let answer = asked.map_err(|_| unreachable("no answer in time".to_owned()))?;
        let answer = answer.map_err(|error| unreachable(error.to_string()))?;
        if !syncs(&answer) {
            return Err(OpenError::Refused {
                reason: format!(
                    "the server with the monitor at `{monitor}` does not sync each message: set `sync_interval: always` in its `jetstream`"
                ),
            });
        }
    }
    Ok(())
}

async fn ask(monitor: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(monitor).await?;
    stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// True if an answer of a monitor says so.
fn syncs(answer: &str) -> bool {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let settings = serde_json::from_str::<Value>(body).unwrap_or_default();
    settings["jetstream"]["config"]["sync_always"] == true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_says_so_is_one_of_a_server_that_syncs() {
        let answer = |body: &str| format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
        assert!(syncs(&answer(r#"{"jetstream":{"config":{"sync_always":true}}}"#)));
        for body in
            ["", "{", "[]", "{}", r#"{"jetstream":{}}"#, r#"{"jetstream":{"config":{"sync_interval":120}}}"#]
        {
            assert!(!syncs(&answer(body)), "{body}");
        }
        assert!(!syncs("HTTP/1.0 404 Not Found\r\n"));
    }
}
