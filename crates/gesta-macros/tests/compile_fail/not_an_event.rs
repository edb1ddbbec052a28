//! A state whose event type is not an event enum.

use gesta::State;

enum AccountEvent {
    Opened,
}

#[derive(Default)]
struct Account;

impl State for Account {
    type Event = AccountEvent;

    fn evolve(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened => {}
        }
    }
}

fn main() {}
