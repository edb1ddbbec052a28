//! An upcaster to many events without the `From` that it needs.

use gesta::Event;

#[derive(Event)]
#[event(prefix = "bank.account")]
enum AccountEvent {
    #[event(version = 2, upcast(1 = many DepositedV1))]
    Deposited { amount: u64 },
}

#[derive(serde::Deserialize)]
struct DepositedV1 {
    amount: u64,
}

impl From<DepositedV1> for AccountEvent {
    fn from(old: DepositedV1) -> Self {
        Self::Deposited { amount: old.amount }
    }
}

fn main() {}
