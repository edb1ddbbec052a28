//! Two variants under one name.

use gesta::Event;

#[derive(Event)]
#[event(prefix = "bank.account")]
enum AccountEvent {
    Frozen,
    #[event(alias = "bank.account.frozen")]
    Blocked,
}

fn main() {}
