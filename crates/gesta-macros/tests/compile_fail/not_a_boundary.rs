//! A decision whose state is not a boundary.

use gesta::{Decision, NewFact};

struct Account;

#[derive(Clone)]
struct Transfer;

impl Decision for Transfer {
    type State = Account;
    type Error = std::fmt::Error;

    fn boundary(&self) -> Account {
        Account
    }

    fn decide(self, _: &Account) -> Result<Vec<NewFact>, std::fmt::Error> {
        Ok(vec![])
    }
}

fn main() {}
