//! The servers that the tests share: those that `cargo run -p test-servers -- with nats nats-cluster -- COMMAND` starts.

/// The address in a variable; `None`, which the test then says, if there is none.
pub(crate) fn shared(variable: &str, server: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        let is_required = std::env::var("GESTA_SERVERS").is_ok_and(|value| value == "required");
        assert!(!is_required, "`{variable}` names no server");
        println!(
            "skipped: run it by `cargo run -p test-servers -- with {server} -- cargo test -p gesta-jetstream --test it`"
        );
    }
    url
}
