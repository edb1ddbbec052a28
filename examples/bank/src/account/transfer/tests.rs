//! Transfers, and reversals of them.

use gesta::testing::{block_on, given_facts, memory, store};
use gesta::{Gesta, Read, Recorded, SendError};

use super::*;
use AccountEvent::{Deposited, Opened, Withdrawn};

fn cents(amount: u32) -> NonZeroU32 {
    NonZeroU32::new(amount).expect("the amounts in tests are positive")
}

fn account(id: &str) -> AccountId {
    AccountId(id.to_owned())
}

fn transfer_of(amount: u32) -> Transfer {
    Transfer { from: account("ann"), to: account("ben"), amount: cents(amount) }
}

/// The events of an account with some money.
fn funded(id: &str, amount: u32) -> [NewFact; 2] {
    let (id, opened) = (account(id), Opened { owner: id.to_owned() });
    let deposited = Deposited { amount: cents(amount), half_of: None };
    [NewFact::new(&id, opened), NewFact::new(&id, deposited)]
}

#[test]
fn a_transfer_moves_money_between_two_accounts() {
    let transfer_with = |id| Some(HalfOf::Transfer(account(id)));
    given_facts([funded("ann", 10), funded("ben", 1)].concat()).when(transfer_of(10)).then([
        NewFact::new(&account("ann"), Withdrawn { amount: cents(10), half_of: transfer_with("ben") }),
        NewFact::new(&account("ben"), Deposited { amount: cents(10), half_of: transfer_with("ann") }),
    ]);
}

#[test]
fn a_transfer_needs_both_accounts_and_the_money() {
    given_facts(funded("ann", 10)).when(transfer_of(1)).then_refused(Refused::NotOpen);
    given_facts(funded("ben", 10)).when(transfer_of(1)).then_refused(Refused::NotOpen);
    let both = [funded("ann", 10), funded("ben", 1)].concat();
    given_facts(both).when(transfer_of(11)).then_refused(Refused::InsufficientFunds);
}

/// Opens accounts with 10 cents each.
async fn open(gesta: &Gesta, ids: &[&str]) {
    for id in ids {
        let open = AccountCommand::Open { owner: (*id).to_owned() };
        gesta.send::<Account>(&account(id), open).await.unwrap();
        gesta.send::<Account>(&account(id), AccountCommand::Deposit { amount: cents(10) }).await.unwrap();
    }
}

/// The id of the last event of an account.
async fn last(gesta: &Gesta, id: &str) -> EventId {
    let stream = account(id).stream().unwrap();
    let page = gesta.event_store().read(Read::stream(stream)).await.unwrap();
    page.events.last().unwrap().id()
}

/// The reversal of the last events of two accounts.
async fn reversal(gesta: &Gesta, from: &str, to: &str) -> Reverse {
    let (withdrawal, deposit) = (last(gesta, from).await, last(gesta, to).await);
    Reverse { from: account(from), withdrawal, to: account(to), deposit }
}

/// Transfers 4 cents from Ann to Ben, and returns the reversal of that.
async fn transferred(gesta: &Gesta) -> Reverse {
    gesta.execute(transfer_of(4)).await.unwrap();
    reversal(gesta, "ann", "ben").await
}

async fn balances(gesta: &Gesta) -> [i64; 2] {
    let balance = async |id| gesta.load::<Account>(&account(id)).await.unwrap().balance;
    [balance("ann").await, balance("ben").await]
}

#[track_caller]
fn check_refused(gesta: &Gesta, reversal: Reverse, expected: Refused) {
    match block_on(gesta.execute(reversal)) {
        Err(SendError::Refused(refused)) => assert_eq!(refused, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_transfer_is_reversed_once_and_both_halves_are_found() {
    block_on(async {
        let gesta = store();
        open(&gesta, &["ann", "ben"]).await;
        let reversal = transferred(&gesta).await;
        assert_eq!(balances(&gesta).await, [6, 14]);
        gesta.execute(reversal.clone()).await.unwrap();
        assert_eq!(balances(&gesta).await, [10, 10]);
        for id in ["ann", "ben"] {
            let stream = account(id).stream().unwrap();
            let page = gesta.event_store().read(Read::stream(stream)).await.unwrap();
            let events = page.events.iter().map(|event| Recorded::<AccountEvent>::decode(event).unwrap());
            let events = events.flat_map(Option::unwrap).collect::<Vec<_>>();
            assert!(events[3].compensates().unwrap().is(&events[2].event_ref()), "{id}");
        }
        let again = gesta.execute(reversal).await.unwrap_err();
        assert!(matches!(again, SendError::AlreadyCompensated { .. }), "{again}");
        assert_eq!(balances(&gesta).await, [10, 10]);
    });
}

#[test]
fn of_64_reversals_at_once_one_is_recorded() {
    let gesta = Gesta::new(std::sync::Arc::new(memory()));
    block_on(open(&gesta, &["ann", "ben"]));
    let reversal = block_on(transferred(&gesta));
    let done = std::thread::scope(|scope| {
        let reverse = || block_on(gesta.clone().execute(reversal.clone()));
        let threads = (0..64).map(|_| scope.spawn(reverse)).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
    let refused = done.iter().filter(|done| matches!(done, Err(SendError::AlreadyCompensated { .. })));
    assert_eq!(refused.count(), 63);
    assert_eq!(block_on(balances(&gesta)), [10, 10]);
}

#[test]
fn a_reversal_is_not_reversed() {
    let gesta = store();
    let of_reversal = block_on(async {
        open(&gesta, &["ann", "ben"]).await;
        let reversal_of_transfer = transferred(&gesta).await;
        gesta.execute(reversal_of_transfer).await.unwrap();
        // Its halves: Ben's withdrawal and Ann's deposit.
        reversal(&gesta, "ben", "ann").await
    });
    let with_half = Reverse { withdrawal: EventId::from_u128(99), ..of_reversal.clone() };
    check_refused(&gesta, of_reversal, Refused::IsReversal);
    check_refused(&gesta, with_half, Refused::IsReversal);
    assert_eq!(Refused::IsReversal.to_string(), "a reversal is not reversed: send the first command again");
    block_on(gesta.execute(transfer_of(4))).unwrap();
    assert_eq!(block_on(balances(&gesta)), [6, 14]);
}

#[test]
fn only_the_two_halves_of_one_transfer_are_reversed() {
    let gesta = store();
    let (reversal, deposits, of_cid) = block_on(async {
        open(&gesta, &["ann", "ben", "cid"]).await;
        let deposits = reversal(&gesta, "ann", "ben").await;
        gesta.execute(Transfer { from: account("cid"), ..transfer_of(4) }).await.unwrap();
        let of_cid = last(&gesta, "ben").await;
        (transferred(&gesta).await, deposits, of_cid)
    });
    let unknown = EventId::from_u128(99);
    let (withdrawal, deposit) = (reversal.withdrawal, reversal.deposit);
    for other in [
        Reverse { withdrawal: unknown, ..reversal.clone() },
        Reverse { deposit: unknown, ..reversal.clone() },
        Reverse { withdrawal: deposit, deposit: withdrawal, ..reversal.clone() },
        Reverse { to: account("ann"), deposit: withdrawal, ..reversal.clone() },
        Reverse { deposit: of_cid, ..reversal.clone() },
        Reverse { from: account("cid"), ..reversal.clone() },
        deposits,
    ] {
        check_refused(&gesta, other, Refused::NoTransfer);
    }
    let smaller = block_on(async {
        gesta.execute(transfer_of(1)).await.unwrap();
        last(&gesta, "ben").await
    });
    check_refused(&gesta, Reverse { deposit: smaller, ..reversal }, Refused::NoTransfer);
    assert_eq!(block_on(balances(&gesta)), [5, 19]);
}

#[test]
fn a_reversal_needs_the_money() {
    let gesta = store();
    let reversal = block_on(async {
        open(&gesta, &["ann", "ben"]).await;
        let reversal = transferred(&gesta).await;
        gesta.send::<Account>(&account("ben"), AccountCommand::Withdraw { amount: cents(11) }).await.unwrap();
        reversal
    });
    check_refused(&gesta, reversal, Refused::InsufficientFunds);
    assert_eq!(block_on(balances(&gesta)), [6, 3]);
}
