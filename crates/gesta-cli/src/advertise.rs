//! `--advertise`: the address at which the other processes of a store reach this one.

use std::net::{IpAddr, SocketAddr};

use gesta_client::check_address;

use crate::failure::{Failure, Outcome};
use crate::store::StoreUrl;

/// Checks the address that was given, and that the store has use for it.
pub(crate) fn check(address: &str, store: &StoreUrl) -> Outcome {
    if !is_shared(store) {
        return Err(Failure::usage(format!(
            "`--advertise` is for a store that several processes have open, and `{store}` is none"
        ))
        .help("leave it out, or give a store that can be shared, with `--store postgres://…` or `--store nats://…`"));
    }
    let wrong = |failure: Failure| failure.help("write it like `--advertise http://10.0.0.7:2114`");
    check_address(address)
        .map_err(|error| wrong(Failure::usage("`--advertise` is no URL of a server").because(&error)))?;
    if is_for_listening(address) {
        let message = format!("no other process can connect to `{address}`: it is an address to listen on");
        return Err(wrong(Failure::usage(message)));
    }
    Ok(())
}

/// The address of a process to which none was given: that on which it listens. `None` if no other process can use that, or the store
/// has no other processes.
pub(crate) fn default(store: &StoreUrl, listens: SocketAddr) -> Option<String> {
    if !is_shared(store) {
        return None;
    }
    if listens.ip().is_unspecified() {
        tracing::warn!(
            "while this process deals the consumer groups, no other process of the store can use them: give `--advertise` with \
             an address that reaches this one"
        );
        return None;
    }
    Some(format!("http://{listens}"))
}

/// True for a store that several processes may have open.
const fn is_shared(store: &StoreUrl) -> bool {
    matches!(store, StoreUrl::Postgres(_) | StoreUrl::JetStream(_))
}

/// True for an address that is none to connect to: every address of a machine, or any free port.
fn is_for_listening(url: &str) -> bool {
    let authority = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, ""),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_any_port = !port.is_empty() && port.bytes().all(|digit| digit == b'0');
    is_any_port || host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(url: &str) -> StoreUrl {
        url.parse().unwrap()
    }

    #[test]
    fn an_address_is_one_that_others_can_connect_to() {
        let database = store("postgres://ann@db/shop");
        for good in ["http://10.0.0.7:2114", "http://[::1]:80", "http://gesta.example", "http://a/gesta/"] {
            assert!(check(good, &database).is_ok() && check(good, &store("nats://a/shop")).is_ok(), "{good}");
        }
        for bad in [
            "",
            "10.0.0.7:2114",
            "https://gesta.example",
            "http://0.0.0.0:2114",
            "http://[::]:2114/gesta",
            "http://0.0.0.0",
            "http://gesta.example:0",
        ] {
            assert!(check(bad, &database).is_err(), "{bad}");
        }
        for alone in ["data", "memory:", "http://127.0.0.1:2114"] {
            assert!(check("http://10.0.0.7:2114", &store(alone)).is_err(), "{alone}");
        }
    }

    #[test]
    fn the_default_is_the_address_to_listen_on_if_others_can_use_it() {
        let listens = |text: &str| default(&store("postgres://ann@db/shop"), text.parse().unwrap());
        assert_eq!(listens("127.0.0.1:2114").as_deref(), Some("http://127.0.0.1:2114"));
        assert_eq!(listens("[::1]:2114").as_deref(), Some("http://[::1]:2114"));
        assert_eq!(listens("0.0.0.0:2114"), None);
        assert_eq!(default(&store("data"), "127.0.0.1:2114".parse().unwrap()), None);
    }
}
