//! Compensations: events that undo others, once or in parts.

use std::sync::Arc;

use gesta::http::router_on;
use gesta::testing::{block_on, json, memory, store};
use gesta::*;

use crate::domain::*;

/// The amount of one withdrawal.
#[derive(Debug, Default)]
struct Withdrawal(Option<u64>);

impl State for Withdrawal {
    type Event = AccountEvent;

    fn evolve(&mut self, event: AccountEvent) {
        if let AccountEvent::Withdrawn { amount } = event {
            self.0 = Some(amount);
        }
    }
}

/// Gives money of a withdrawal back.
#[derive(Debug, Clone)]
struct Refund {
    account: &'static str,
    withdrawal: EventId,
    amount: u64,
    /// A reversal gives back all, once. A refund may be one of several.
    is_reversal: bool,
}

impl Decision for Refund {
    type State = (At<Account>, At<Withdrawal>);
    type Error = Refused;

    fn boundary(&self) -> Self::State {
        let account = id(self.account);
        (At::entity(&account), At::event(&account, self.withdrawal))
    }

    fn decide(self, (account, withdrawal): &Self::State) -> Result<Vec<NewFact>, Refused> {
        let Some(withdrawn) = withdrawal.0.filter(|withdrawn| *withdrawn >= self.amount) else {
            return Err(Refused::InsufficientFunds {
                balance: withdrawal.0.unwrap_or(0),
                amount: self.amount,
            });
        };
        let event = EventRef { stream: id(self.account).stream().unwrap(), id: self.withdrawal };
        Ok(vec![match self.is_reversal {
            true => account.emit(AccountEvent::Deposited { amount: withdrawn }).reverses(event),
            false => account.emit(AccountEvent::Deposited { amount: self.amount }).compensates(&event),
        }])
    }
}

/// The recorded events of an account.
async fn events(gesta: &Gesta, name: &str) -> Vec<Recorded<AccountEvent>> {
    let stream = id(name).stream().unwrap();
    let page = gesta.event_store().read(Read::stream(stream)).await.unwrap();
    page.events.iter().flat_map(|event| Recorded::decode(event).unwrap().unwrap()).collect()
}

/// An account with a withdrawal of 4, and the id of that.
async fn withdrawn(gesta: &Gesta, name: &str) -> EventId {
    funded(gesta, name, 10).await;
    gesta.send::<Account>(&id(name), AccountCommand::Withdraw { amount: 4 }).await.unwrap();
    events(gesta, name).await[2].id()
}

async fn balance(gesta: &Gesta, name: &str) -> u64 {
    gesta.load::<Account>(&id(name)).await.unwrap().balance
}

const fn reversal(withdrawal: EventId) -> Refund {
    Refund { account: "ann", withdrawal, amount: 0, is_reversal: true }
}

#[test]
fn an_event_is_reversed_once() {
    block_on(async {
        let gesta = store();
        let withdrawal = withdrawn(&gesta, "ann").await;
        gesta.execute(reversal(withdrawal)).await.unwrap();
        let error = gesta.execute(reversal(withdrawal)).await.unwrap_err();
        let SendError::AlreadyCompensated { event, by } = &error else { panic!("{error}") };
        assert_eq!((event.stream.as_str(), event.id, by.sequence), ("account-ann", withdrawal, 4));
        assert_eq!((error.retry(), balance(&gesta, "ann").await), (Retry::Never, 10));

        let events = events(&gesta, "ann").await;
        let compensated = events[3].compensates().unwrap();
        assert!(compensated.is(&events[2].event_ref()) && compensated.id() == withdrawal);
        let elsewhere = EventRef { stream: "account-ben".parse().unwrap(), id: withdrawal };
        assert!(!compensated.is(&elsewhere), "an id is unique only within its stream");
        assert!(events[..3].iter().all(|event| event.compensates().is_none()));
    });
}

#[test]
fn a_reversal_under_a_key_is_answered_again() {
    block_on(async {
        let gesta = store();
        let withdrawal = withdrawn(&gesta, "ann").await;
        let key = || Idempotency::new("test", "reversal").command_key("k", [&b"request"[..]]);
        let first = gesta.command_key(key()).execute(reversal(withdrawal)).await.unwrap();
        let again = gesta.command_key(key()).execute(reversal(withdrawal)).await.unwrap();
        assert!(again.repeated && again.places == first.places);
    });
}

#[test]
fn reversals_of_many_at_once_leave_one() {
    let gesta = Gesta::new(Arc::new(memory()));
    let withdrawal = block_on(withdrawn(&gesta, "ann"));
    let done = std::thread::scope(|scope| {
        let threads = (0..8).map(|_| {
            let gesta = gesta.clone();
            scope.spawn(move || block_on(gesta.execute(reversal(withdrawal))))
        });
        let threads = threads.collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
    let refused = done.iter().filter(|done| matches!(done, Err(SendError::AlreadyCompensated { .. })));
    assert_eq!((refused.count(), block_on(balance(&gesta, "ann"))), (7, 10));
}

#[test]
fn an_event_is_refunded_in_parts_and_then_not_reversed() {
    block_on(async {
        let gesta = store();
        let withdrawal = withdrawn(&gesta, "ann").await;
        let part = Refund { account: "ann", withdrawal, amount: 1, is_reversal: false };
        gesta.execute(part.clone()).await.unwrap();
        gesta.execute(part.clone()).await.unwrap();
        assert_eq!(balance(&gesta, "ann").await, 8);
        let error = gesta.execute(reversal(withdrawal)).await.unwrap_err();
        assert!(matches!(error, SendError::AlreadyCompensated { .. }), "{error}");
    });
}

#[test]
fn an_event_that_is_not_there_or_of_another_type_gives_the_default_state() {
    block_on(async {
        let gesta = store();
        withdrawn(&gesta, "ann").await;
        let deposit = events(&gesta, "ann").await[1].id();
        for other in [EventId::from_u128(99), deposit] {
            let error = gesta.execute(reversal(other)).await.unwrap_err();
            assert!(matches!(error, SendError::Refused(Refused::InsufficientFunds { .. })), "{error}");
        }
    });
}

#[test]
fn a_history_shows_what_compensates_what() {
    let gesta = store();
    let (withdrawal, reversal) = block_on(async {
        let withdrawal = withdrawn(&gesta, "ann").await;
        gesta.execute(reversal(withdrawal)).await.unwrap();
        (withdrawal.to_string(), events(&gesta, "ann").await[3].id().to_string())
    });
    let router = router_on(Arc::new(crate::app::bank()), gesta);
    let history = crate::http::get(&router, "/histories/account/ann").body;
    let events = history["events"].as_array().unwrap();
    assert_eq!(events[2]["compensatedBy"], json!([{"stream": "account-ann", "id": reversal}]));
    assert_eq!(events[3]["compensates"], withdrawal);
    assert!(events[1].get("compensatedBy").is_none() && events[2].get("compensates").is_none());
}
