//! An event enum without a prefix.

use gesta::Event;

#[derive(Event)]
enum AccountEvent {
    Opened { owner: String },
}

fn main() {}
