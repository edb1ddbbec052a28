//! `gesta bench`, with few clients and for a second.

use tempfile::TempDir;

use crate::harness::gesta;
use crate::readme::demo_with_introduction;

/// Runs the bench and checks that no command was refused and no deposit is missing.
fn check(place: &[&str]) {
    let said = gesta(["bench", "--hot", "2", "--clients", "4", "--seconds", "1"].iter().chain(place)).ok();
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("4 clients on 2 accounts: ") && first.contains(" p99 "), "{said}");
    assert!(first.ends_with(", 0 refusals"), "{said}");
    assert!(said.ends_with("the balances are exact\n"), "{said}");
}

#[test]
fn deposits_are_measured_in_this_process_also_on_long_histories() {
    check(&["--store", "memory:", "--history", "2500"]);
}

#[test]
fn deposits_are_measured_at_a_server_and_on_the_store_of_one() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().join("demo");
    // The bank of this process appends to the store of the server, which hosts a bank too.
    let (server, _) = demo_with_introduction(folder.to_str().unwrap(), &["--open-category", "account"]);
    check(&["--url", &server.url]);
    check(&["--store", &server.url]);
    assert_eq!(server.stop(), Some(0));
}
