//! What should have been decided: the domain once more, over the JSON of a log. It shares no code with the library.

use std::collections::BTreeMap;

use gesta_core::{RecordedEvent, StreamName};
use serde_json::{Value, json};

use super::domain::{Order, Want};

/// All states at one place in the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Truth {
    entities: BTreeMap<String, Entity>,
    big: u64,
}

#[derive(Debug, Clone, Default)]
struct Entity {
    events: u64,
    is_open: bool,
    balance: i64,
    moves: u64,
    held: i64,
}

/// The events of a decision as stream, type and data, or the text of a refusal.
pub(super) type Decided = Result<Vec<(String, &'static str, Value)>, String>;

impl Truth {
    pub(super) fn apply(&mut self, event: &RecordedEvent) {
        let data = serde_json::from_slice::<Value>(event.data_slice()).expect("it is JSON");
        let entity = self.entities.entry(event.stream().to_owned()).or_default();
        entity.events += 1;
        match event.event_type() {
            "sim.account.opened" => entity.is_open = true,
            "sim.account.held" => entity.held += data["amount"].as_i64().expect("a number"),
            moved => {
                entity.moves += 1;
                entity.balance += data["amount"].as_i64().expect("a number");
                self.big += u64::from(moved == "sim.account.grew");
            }
        }
    }

    /// The number of events of a stream.
    pub(super) fn events(&self, stream: &StreamName) -> u64 {
        self.entities.get(stream.as_str()).map_or(0, |entity| entity.events)
    }

    /// What an inspection of an account shows.
    pub(super) fn shown(&self, stream: &StreamName) -> (i64, u64) {
        let entity = self.entity(stream);
        (entity.balance, entity.moves)
    }

    fn entity(&self, stream: &StreamName) -> Entity {
        self.entities.get(stream.as_str()).cloned().unwrap_or_default()
    }

    pub(super) fn decide(&self, order: &Order) -> Decided {
        let (on, to) = (self.entity(&order.on), self.entity(&order.to));
        let refuse = |text: String| Err(text);
        let by = order.by;
        let moved = |stream: &StreamName, amount: i64, entity: &Entity| {
            let (after, stream) = (entity.balance + amount, stream.to_string());
            match amount >= 6 {
                true => (
                    stream,
                    "sim.account.grew",
                    json!({"by": by, "amount": amount, "after": after, "size": "big"}),
                ),
                false => (stream, "sim.account.moved", json!({"by": by, "amount": amount, "after": after})),
            }
        };
        match order.want {
            Want::Open if on.is_open => refuse(format!("open, {} moves", on.moves)),
            Want::Open => Ok(vec![(order.on.to_string(), "sim.account.opened", json!({"by": by}))]),
            Want::Transfer(_) if !on.is_open || !to.is_open => {
                refuse(format!("closed {} {}", on.is_open, to.is_open))
            }
            Want::Transfer(amount) if on.balance < amount => {
                refuse(format!("funds {}, other {}", on.balance, to.balance))
            }
            Want::Transfer(amount) => Ok(vec![moved(&order.on, -amount, &on), moved(&order.to, amount, &to)]),
            Want::Bonus if !on.is_open => refuse(format!("closed, {} big", self.big)),
            Want::Bonus if self.big % 2 == 1 => refuse(format!("{} big, balance {}", self.big, on.balance)),
            Want::Bonus => Ok(vec![moved(&order.on, 1, &on)]),
            _ if !on.is_open => refuse("closed".to_owned()),
            Want::Deposit(amount) => Ok(vec![moved(&order.on, amount, &on)]),
            Want::Withdraw(amount) if on.balance < amount => {
                refuse(format!("funds {} after {} moves", on.balance, on.moves))
            }
            Want::Withdraw(amount) => Ok(vec![moved(&order.on, -amount, &on)]),
            Want::Check => Ok(vec![]),
            Want::Hold(amount) if on.held + amount > 12 => refuse(format!("held {}", on.held)),
            Want::Hold(amount) => {
                let data = json!({"by": by, "amount": amount, "after": on.held + amount});
                Ok(vec![(order.on.to_string(), "sim.account.held", data)])
            }
            Want::WithdrawFree(amount) if on.balance - on.held < amount => {
                refuse(format!("free {} - {}", on.balance, on.held))
            }
            Want::WithdrawFree(amount) => Ok(vec![moved(&order.on, -amount, &on)]),
        }
    }
}
