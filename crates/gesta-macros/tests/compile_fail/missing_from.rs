//! An upcaster without the `From` that it needs.

use gesta::Event;

#[derive(Event)]
#[event(prefix = "bank.account")]
enum AccountEvent {
    #[event(version = 2, upcast(1 = DepositedV1))]
    Deposited { amount: u64 },
}

#[derive(serde::Deserialize)]
struct DepositedV1 {
    amount: u64,
}

fn main() {}
