//! Asks the monitors of servers for their settings and their health. NATS tells nowhere else if it syncs each message.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::OpenError;
use crate::limits::ANSWER_TIME;

/// Bytes of an answer. One of a server with thousands of connections has some KiB.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The settings of a server, as its monitor tells them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    /// The name of the server.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Bytes of the largest message.
    pub(crate) max_payload: usize,
    /// True if it syncs each message.
    pub(crate) syncs: bool,
}

/// Checks that each server behind a monitor syncs each message. `monitors` are addresses, as `HOST:8222`.
///
/// # Errors
/// [`OpenError::Unreachable`] if one does not answer, [`OpenError::Refused`] if one does not sync.
pub(super) async fn check_sync(monitors: &[String]) -> Result<(), OpenError> {
    for monitor in monitors {
        let settings = settings_of(monitor).await;
        let unreachable =
            |reason| OpenError::Unreachable { reason: format!("the monitor at `{monitor}`: {reason}") };
        if !settings.map_err(unreachable)?.syncs {
            return Err(OpenError::Refused {
                reason: format!(
                    "the server with the monitor at `{monitor}` does not sync each message: set `sync_interval: always` in its `jetstream`"
                ),
            });
        }
    }
    Ok(())
}

/// Asks the monitor at an address.
pub(crate) async fn settings_of(monitor: &str) -> Result<Settings, String> {
    Ok(read(&ask_soon(monitor, "/varz").await?))
}

/// Asks the monitor at an address if its server is healthy: if it takes part in JetStream, and has what the leaders of its streams have.
///
/// # Errors
/// What is wrong, or that it does not answer.
pub(crate) async fn health_of(monitor: &str) -> Result<(), String> {
    read_health(&ask_soon(monitor, "/healthz").await?)
}

async fn ask_soon(monitor: &str, path: &str) -> Result<String, String> {
    let asked = tokio::time::timeout(ANSWER_TIME, ask(monitor, path)).await;
    let answer = asked.map_err(|_| "no answer in time".to_owned())?;
    answer.map_err(|error| error.to_string())
}

async fn ask(monitor: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(monitor).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The health in an answer of a monitor.
fn read_health(answer: &str) -> Result<(), String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or("no status");
    if status == "200" {
        return Ok(());
    }
    let told = serde_json::from_str::<Value>(body).unwrap_or_default();
    let told = ["error", "status"].iter().find_map(|name| told[name].as_str());
    Err(told.map_or_else(|| format!("status {status}"), str::to_owned))
}

/// The settings in an answer of a monitor. What it does not say is empty.
fn read(answer: &str) -> Settings {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let settings = serde_json::from_str::<Value>(body).unwrap_or_default();
    let text = |name: &str| settings[name].as_str().unwrap_or_default().to_owned();
    let max_payload = settings["max_payload"].as_u64().and_then(|bytes| usize::try_from(bytes).ok());
    Settings {
        name: text("server_name"),
        version: text("version"),
        max_payload: max_payload.unwrap_or(0),
        syncs: settings["jetstream"]["config"]["sync_always"] == true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_200_is_one_of_a_healthy_server() {
        let answer =
            |status: &str, body: &str| read_health(&format!("HTTP/1.0 {status}\r\nA: b\r\n\r\n{body}"));
        assert_eq!(answer("200 OK", r#"{"status":"ok"}"#), Ok(()));
        for (body, told) in [
            (r#"{"status":"unavailable","error":"no leader"}"#, "no leader"),
            (r#"{"status":"unavailable"}"#, "unavailable"),
            ("", "status 503"),
        ] {
            assert_eq!(answer("503 Service Unavailable", body), Err(told.to_owned()), "{body}");
        }
        assert_eq!(read_health(""), Err("status no status".to_owned()));
    }

    #[test]
    fn only_an_answer_that_says_so_is_one_of_a_server_that_syncs() {
        let answer = |body: &str| format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
        let good = r#"{"server_name":"n0","version":"2.15.1","max_payload":8000000,"jetstream":{"config":{"sync_always":true}}}"#;
        let (name, version) = ("n0".to_owned(), "2.15.1".to_owned());
        assert_eq!(read(&answer(good)), Settings { name, version, max_payload: 8_000_000, syncs: true });
        for body in
            ["", "{", "[]", "{}", r#"{"jetstream":{}}"#, r#"{"jetstream":{"config":{"sync_interval":120}}}"#]
        {
            assert_eq!(read(&answer(body)), Settings::default(), "{body}");
        }
        assert!(!read("HTTP/1.0 404 Not Found\r\n").syncs);
    }
}
