//! Connects, and refuses servers that do not keep the promises.

use async_nats::{Client, ConnectOptions, Event, ServerInfo};
use tokio::sync::watch;

use super::monitor;
use crate::address::JetStreamUrl;
use crate::error::OpenError;
use crate::limits::{ANSWER_TIME, MAX_PAYLOAD_MIN, PING_TIME, SERVER_VERSION_MIN};

/// A connection to a cluster.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Changes each time the connection was lost.
    pub(crate) lost: watch::Receiver<()>,
}

/// Connects to a cluster whose servers keep the promises.
pub(crate) async fn connect(url: &JetStreamUrl) -> Result<Connection, OpenError> {
    let connection = join(url).await?;
    check_server(&connection.client.server_info())?;
    monitor::check_sync(url.monitors()).await?;
    Ok(connection)
}

/// Connects to a cluster without a look at its servers.
pub(crate) async fn join(url: &JetStreamUrl) -> Result<Connection, OpenError> {
    let (tell, lost) = watch::channel(());
    let options = ConnectOptions::new().name("gesta").connection_timeout(ANSWER_TIME);
    let options = options.ping_interval(PING_TIME);
    let options = options.event_callback(move |event| {
        if matches!(event, Event::Disconnected | Event::Closed) {
            tell.send_replace(());
        }
        std::future::ready(())
    });
    let connected = options.connect(url.servers()).await;
    let client = connected.map_err(|error| OpenError::Unreachable { reason: why(&error) })?;
    Ok(Connection { client, lost })
}

/// Checks the version of a server, and what it takes.
pub(crate) fn check_server(server: &ServerInfo) -> Result<(), OpenError> {
    let refused = |reason| Err(OpenError::Refused { reason });
    if version_of(&server.version) < SERVER_VERSION_MIN {
        let [major, minor, patch] = SERVER_VERSION_MIN;
        return refused(format!(
            "the server `{}` is NATS {}: {major}.{minor}.{patch} or newer is needed",
            server.server_name, server.version
        ));
    }
    if server.max_payload < MAX_PAYLOAD_MIN {
        return refused(format!(
            "the server `{}` takes messages of {} bytes: set `max_payload: 8MB` in its configuration",
            server.server_name, server.max_payload
        ));
    }
    Ok(())
}

/// The numbers of a version. A part that is no number counts as 0.
fn version_of(text: &str) -> [u64; 3] {
    let mut parts = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// An error with its causes.
pub(crate) fn why(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| match text.contains(&cause.to_string()) {
        true => text,
        false => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(version_of("2.15.1") >= SERVER_VERSION_MIN);
        assert!(version_of("2.16.0-RC.1") >= SERVER_VERSION_MIN);
        assert!(version_of("2.9.25") < SERVER_VERSION_MIN);
        assert!(version_of("") < SERVER_VERSION_MIN);
    }

    #[test]
    fn a_server_that_is_old_or_takes_small_messages_is_refused() {
        let server = |version: &str, max_payload| {
            let version = version.to_owned();
            check_server(&ServerInfo { version, max_payload, ..ServerInfo::default() })
        };
        assert!(server("2.15.1", 8 << 20).is_ok());
        assert!(server("2.14.9", 8 << 20).unwrap_err().to_string().contains("2.15.1 or newer"));
        assert!(server("2.15.1", 1 << 20).unwrap_err().to_string().contains("max_payload"));
    }
}
