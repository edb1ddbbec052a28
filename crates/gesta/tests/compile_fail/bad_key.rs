//! A category that could not be told from an id.

use gesta::Key;

#[derive(Clone, Key)]
#[key("bank-account")]
struct AccountId(String);

fn main() {}
