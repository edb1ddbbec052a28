//! What a cluster guarantees for a store: settings of its servers, and the state of its streams.

use async_nats::ServerInfo;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, Info, PeerInfo};
use tokio::runtime::Builder;

use crate::address::JetStreamUrl;
use crate::error::OpenError;
use crate::limits::ANSWER_TIME;
use crate::link::{
    COPYING, Settings, check_server, health_of, is_begun, join, partitions_of, settings_of, why,
};

/// Servers that keep a stream.
const SERVERS: usize = 3;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// It is as it should be.
    Good,
    /// It cannot be known with this address, or passes by itself.
    Unsure,
    /// A promise of the store does not hold.
    Bad,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it is to be taken.
    pub grade: Grade,
    /// What was found, and what helps.
    pub text: String,
}

/// Examines the cluster of a store: the servers, by their monitors if the address names them, and the streams. Changes nothing.
///
/// # Errors
/// [`OpenError::Unreachable`] if no server answers.
pub fn examine(url: &JetStreamUrl) -> Result<Vec<Finding>, OpenError> {
    let runtime =
        Builder::new_current_thread().enable_io().enable_time().build().map_err(OpenError::Thread)?;
    runtime.block_on(async {
        let client = join(url).await?.client;
        let mut findings = Vec::new();
        let mut watched = Vec::new();
        for monitor in url.monitors() {
            let settings = settings_of(monitor).await;
            findings.push(of_server(monitor, settings.as_ref()));
            if let Ok(settings) = settings {
                findings.extend(of_health(&settings.name, health_of(monitor).await));
                watched.push(settings.name);
            }
        }
        if watched.is_empty() {
            findings.push(of_connected(&client.server_info()));
        }
        let context = ContextBuilder::new().timeout(ANSWER_TIME).build(client);
        for number in 0..partitions(&context, url).await {
            findings.extend(of_stream(&context, &url.stream(number), true, &watched).await);
        }
        for bucket in ["values", "snapshots"] {
            let bucket = format!("KV_gesta-{}-{bucket}", url.name());
            findings.extend(of_stream(&context, &bucket, false, &watched).await);
        }
        Ok(findings)
    })
}

/// The partitions that the first stream of a store names; 1 if it does not answer.
async fn partitions(context: &Context, url: &JetStreamUrl) -> u16 {
    let stream = context.get_stream(url.stream(0)).await;
    stream.ok().and_then(|stream| partitions_of(&stream.cached_info().config)).unwrap_or(1)
}

/// What is wrong with a server, without the words of an open.
fn reason(error: OpenError) -> String {
    match error {
        OpenError::Refused { reason } => reason,
        error => error.to_string(),
    }
}

fn finding(grade: Grade, text: impl Into<String>) -> Finding {
    Finding { grade, text: text.into() }
}

/// A server, as its monitor tells.
fn of_server(monitor: &str, settings: Result<&Settings, &String>) -> Finding {
    let settings = match settings {
        Ok(settings) => settings,
        Err(reason) => {
            let text = format!("the monitor at `{monitor}` does not answer ({reason}): is its server down?");
            return finding(Grade::Bad, text);
        }
    };
    let Settings { name, version, max_payload, syncs } = settings;
    let info = ServerInfo {
        server_name: name.clone(),
        version: version.clone(),
        max_payload: *max_payload,
        ..ServerInfo::default()
    };
    match (check_server(&info), syncs) {
        (Err(error), _) => finding(Grade::Bad, reason(error)),
        (Ok(()), false) => finding(
            Grade::Bad,
            format!(
                "the server `{name}` does not sync each message, so a power cut may lose acknowledged events: set `sync_interval: always` in its `jetstream`"
            ),
        ),
        (Ok(()), true) => finding(
            Grade::Good,
            format!(
                "the server `{name}` is NATS {version}, syncs each message, and takes messages of {max_payload} bytes"
            ),
        ),
    }
}

/// The health of a server, if it is bad. A server that has just started is not healthy until it has what the others have.
fn of_health(name: &str, health: Result<(), String>) -> Option<Finding> {
    let reason = health.err()?;
    let text = format!(
        "the server `{name}` is not healthy ({reason}): it may have no vote, so appends wait if another server is lost; look at its log, and start it again if it stays so"
    );
    Some(finding(Grade::Unsure, text))
}

/// The server that the connection leads to. It does not tell if it syncs.
fn of_connected(info: &ServerInfo) -> Finding {
    match check_server(info) {
        Err(error) => finding(Grade::Bad, reason(error)),
        Ok(()) => finding(
            Grade::Unsure,
            format!(
                "the server `{}` is NATS {}; only the monitors tell if it and the others sync each message: add `monitor=HOST:8222,HOST:8222,HOST:8222` to the address",
                info.server_name, info.version
            ),
        ),
    }
}

async fn of_stream(context: &Context, name: &str, is_needed: bool, watched: &[String]) -> Vec<Finding> {
    match context.get_stream(name).await {
        Ok(stream) => of_info(stream.cached_info(), watched),
        Err(_) if !is_needed => Vec::new(),
        Err(error) => {
            let text = format!(
                "the stream `{name}` does not answer ({}): check the name of the store, and that two of three servers run",
                why(&error)
            );
            vec![finding(Grade::Bad, text)]
        }
    }
}

fn of_info(info: &Info, watched: &[String]) -> Vec<Finding> {
    let (name, last) = (&info.config.name, info.state.last_sequence);
    let mut findings = Vec::new();
    let replicas = info.config.num_replicas;
    if replicas < SERVERS {
        let text = format!(
            "the stream `{name}` is kept by {replicas} server: acknowledged messages are lost with its disk; it needs three"
        );
        findings.push(finding(Grade::Bad, text));
    }
    findings.extend(of_metadata(&info.config));
    let cluster = info.cluster.as_ref();
    let peers = cluster.map_or(&[][..], |cluster| &cluster.replicas);
    let behind = peers.iter().filter(|peer| peer.offline || !peer.current || peer.lag.unwrap_or(0) > 0);
    let behind = behind.map(describe).collect::<Vec<_>>();
    if !behind.is_empty() {
        let text = format!(
            "the stream `{name}`: {}; if another server is lost before it is back, appends wait",
            behind.join(", ")
        );
        findings.push(finding(Grade::Unsure, text));
    }
    let leader = cluster.and_then(|cluster| cluster.leader.clone());
    let keepers = leader.iter().chain(peers.iter().map(|peer| &peer.name));
    let unwatched = keepers.filter(|server| !watched.contains(server)).cloned().collect::<Vec<_>>();
    if !watched.is_empty() && !unwatched.is_empty() {
        let text = format!(
            "no monitor of {} has answered: the stream `{name}` is kept there too",
            unwatched.join(", ")
        );
        findings.push(finding(Grade::Unsure, text));
    }
    if findings.is_empty() {
        let leader = leader.unwrap_or_default();
        let text = format!(
            "the stream `{name}` is kept by {replicas} servers, led by `{leader}`, up to message {last}; none is behind"
        );
        findings.push(finding(Grade::Good, text));
    }
    findings
}

/// The findings on the state of the store, from the metadata of a stream.
fn of_metadata(config: &Config) -> Vec<Finding> {
    let name = &config.name;
    let mut findings = Vec::new();
    if config.metadata.contains_key(COPYING) {
        let text = format!("the stream `{name}` is an unfinished copy: run `gesta copy` again");
        findings.push(finding(Grade::Bad, text));
    }
    if is_begun(config) {
        let text = format!(
            "the store of the stream `{name}` was begun, and not all of its streams were made: open it, that makes them"
        );
        findings.push(finding(Grade::Unsure, text));
    }
    findings
}

fn describe(peer: &PeerInfo) -> String {
    match (peer.offline, peer.lag) {
        (true, _) => format!("`{}` is away", peer.name),
        (false, Some(lag)) if lag > 0 => format!("`{}` is {lag} messages behind", peer.name),
        (false, _) => format!("`{}` is catching up", peer.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(version: &str, max_payload: usize, syncs: bool) -> Settings {
        Settings { name: "n0".to_owned(), version: version.to_owned(), max_payload, syncs }
    }

    #[test]
    fn a_server_is_good_if_it_is_new_syncs_and_takes_large_messages() {
        let grade = |settings: Settings| of_server("a:8222", Ok(&settings));
        assert_eq!(grade(settings("2.15.1", 8_000_000, true)).grade, Grade::Good);
        for (settings, part) in [
            (settings("2.14.9", 8_000_000, true), "2.15.1 or newer"),
            (settings("2.15.1", 1_000_000, true), "max_payload"),
            (settings("2.15.1", 8_000_000, false), "sync_interval: always"),
        ] {
            let found = grade(settings);
            assert!(found.grade == Grade::Bad && found.text.contains(part), "{found:?}");
        }
        let silent = of_server("a:8222", Err(&"refused".to_owned()));
        assert!(silent.grade == Grade::Bad && silent.text.contains("a:8222"), "{silent:?}");
    }
}
