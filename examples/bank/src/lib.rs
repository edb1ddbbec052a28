//! A bank on Gesta: accounts, and transfers between them that are atomic.

#[expect(missing_docs, reason = "the fields of its events and commands say what they are by their names")]
mod account;

pub use account::{Account, AccountCommand, AccountEvent, AccountId, Refused, Transfer, transfer};

use gesta::App;

/// The bank as an application: what a host serves.
#[must_use]
pub fn app() -> App {
    App::new("bank").decider::<Account>().decision::<Transfer>("transfer")
}

/// Its views, as names and definitions in SQL: the balance of every account, and how many events there are of each type.
pub const VIEWS: [(&str, &str); 2] = [
    ("balances", include_str!("../views/balances.sql")),
    ("events_by_type", include_str!("../views/events_by_type.sql")),
];
