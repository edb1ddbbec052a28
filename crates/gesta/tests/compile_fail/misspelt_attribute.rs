//! An attribute that does not exist.

use gesta::Event;

#[derive(Event)]
#[event(prefix = "bank.account")]
enum AccountEvent {
    #[event(versoin = 2)]
    Deposited { amount: u64 },
}

fn main() {}
