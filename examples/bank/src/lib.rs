//! A bank on Gesta: accounts, atomic transfers, and their reversals.

#[expect(missing_docs, reason = "the names of the fields of events and commands explain them")]
mod account;

pub use account::{
    Account, AccountCommand, AccountEvent, AccountId, HalfOf, Refused, Reverse, Transfer, transfer,
};

use gesta::App;

/// The bank as an application, ready to be served.
#[must_use]
pub fn app() -> App {
    App::new("bank").decider::<Account>().decision::<Transfer>("transfer").decision::<Reverse>("reverse")
}

/// The views of the bank, as names and SQL definitions: the balance of every account, and the number of events of each type.
pub const VIEWS: [(&str, &str); 2] = [
    ("balances", include_str!("../views/balances.sql")),
    ("events_by_type", include_str!("../views/events_by_type.sql")),
];
