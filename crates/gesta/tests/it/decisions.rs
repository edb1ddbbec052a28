//! Decisions over entities and tags.

use std::sync::Arc;

use gesta::testing::{block_on, given_facts, memory, store};
use gesta::*;
use gesta_conformance::sample::{self, Sample as _};

use crate::domain::*;

fn move_of(from: &str, to: &str, amount: u64) -> Transfer {
    Transfer { from: id(from), to: id(to), amount }
}

async fn balance(gesta: &Gesta, name: &str) -> u64 {
    gesta.load::<Account>(&id(name)).await.unwrap().balance
}

#[test]
fn a_transfer_is_one_batch() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 10).await;
        funded(&gesta, "ben", 1).await;
        let committed = gesta.execute(move_of("ann", "ben", 4)).await.unwrap();
        let streams = committed.versions.iter().map(|(stream, version)| (stream.as_str(), version.get()));
        assert_eq!(streams.collect::<Vec<_>>(), [("account-ann", 2), ("account-ben", 2)]);
        assert_eq!(committed.places[1].position.sequence, committed.places[0].position.sequence + 1);
        assert_eq!((balance(&gesta, "ann").await, balance(&gesta, "ben").await), (6, 5));
        let refused = gesta.execute(move_of("ann", "ben", 7)).await.unwrap_err();
        assert!(matches!(refused, SendError::Refused(Refused::InsufficientFunds { .. })), "{refused}");
    });
}

#[test]
fn a_transfer_to_oneself_changes_nothing() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 10).await;
        gesta.execute(move_of("ann", "ann", 4)).await.unwrap();
        assert_eq!(balance(&gesta, "ann").await, 10);
    });
}

#[test]
fn transfers_from_many_threads_never_lose_money() {
    const NAMES: [&str; 3] = ["ann", "ben", "cem"];
    let store: Arc<dyn EventStore> = Arc::new(memory());
    let gesta = Gesta::new(store);
    block_on(async {
        for name in NAMES {
            funded(&gesta, name, 100).await;
        }
    });
    let done = std::thread::scope(|scope| {
        let threads = (0..4_usize).map(|thread| {
            let gesta = gesta.clone();
            scope.spawn(move || (0..50_usize).filter(|round| moves(&gesta, thread + round)).count())
        });
        let threads = threads.collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert!(done > 0, "some transfers get through");
    block_on(async {
        let mut sum = 0;
        for name in NAMES {
            sum += balance(&gesta, name).await;
        }
        assert_eq!(sum, 300);
        let page = gesta.event_store().read(Read::log(query::<AccountEvent>())).await.unwrap();
        assert_eq!(page.events.len(), 6 + 2 * done, "each transfer is two events");
    });

    /// True if the transfer got through. The domain may refuse it.
    fn moves(gesta: &Gesta, round: usize) -> bool {
        let (from, to) = (NAMES[round % 3], NAMES[(round + 1) % 3]);
        match block_on(gesta.execute(move_of(from, to, 40))) {
            Ok(_) => true,
            Err(SendError::Refused(_) | SendError::Contended { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

#[derive(Debug, Clone, Key, serde::Deserialize)]
#[key("customer")]
struct CustomerId(u64);

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "shop.customer")]
enum CustomerEvent {
    Registered {
        #[tag]
        email: String,
    },
}

#[derive(Debug, Clone, Default)]
struct Taken(bool);

impl State for Taken {
    type Event = CustomerEvent;

    fn evolve(&mut self, _: CustomerEvent) {
        self.0 = true;
    }
}

#[derive(Debug, PartialEq, Refusal)]
enum NotRegistered {
    EmailTaken,
}

#[derive(Debug, Clone)]
struct Register {
    id: CustomerId,
    email: String,
}

impl Decision for Register {
    type State = At<Taken>;
    type Error = NotRegistered;

    fn boundary(&self) -> At<Taken> {
        At::tagged("email", &self.email)
    }

    fn decide(self, taken: &At<Taken>) -> Result<Vec<NewFact>, NotRegistered> {
        if taken.0 {
            return Err(NotRegistered::EmailTaken);
        }
        Ok(vec![NewFact::new(&self.id, CustomerEvent::Registered { email: self.email })])
    }
}

fn register(number: u64, email: &str) -> Register {
    Register { id: CustomerId(number), email: email.to_owned() }
}

#[test]
fn an_address_is_taken_once() {
    let registered = |number, email: &str| {
        NewFact::new(&CustomerId(number), CustomerEvent::Registered { email: email.to_owned() })
    };
    given_facts([registered(1, "a@b")]).when(register(2, "a@b")).then_refused(NotRegistered::EmailTaken);
    given_facts([registered(1, "a@b")]).when(register(2, "c@d")).then([registered(2, "c@d")]);
}

#[test]
fn an_address_is_taken_once_even_if_two_want_it_at_once() {
    block_on(async {
        let store = Interposed::new(|number, inner, batch| {
            if number == 1 {
                let other = Gesta::new(Arc::new(memory()));
                block_on(other.execute(register(2, "a@b"))).unwrap();
                let mut intruder = batch.clone();
                intruder.conditions.clear();
                intruder.events[0].id = EventId::from_u128(77);
                intruder.events[0].stream = "customer-2".parse().unwrap();
                inner.append_now(intruder).unwrap();
            }
            inner.append_now(batch)
        });
        let (gesta, _) = store.handles();
        let refused = gesta.execute(register(1, "a@b")).await.unwrap_err();
        assert!(matches!(refused, SendError::Refused(NotRegistered::EmailTaken)), "{refused}");
        gesta.execute(register(3, "other@b")).await.unwrap();
    });
}

/// Closes a day: reads many accounts and records in none of them.
#[derive(Debug, Clone)]
struct CloseDay {
    accounts: Vec<AccountId>,
}

impl Decision for CloseDay {
    type State = Vec<At<Account>>;
    type Error = Refused;

    fn boundary(&self) -> Vec<At<Account>> {
        self.accounts.iter().map(Account::at).collect()
    }

    fn decide(self, accounts: &Vec<At<Account>>) -> Result<Vec<NewFact>, Refused> {
        let amount = accounts.iter().map(|account| account.balance).sum();
        Ok(vec![NewFact::new(&id("sum"), AccountEvent::Deposited { amount })])
    }
}

#[test]
fn an_entity_that_is_only_read_must_not_change_either() {
    block_on(async {
        let store = Interposed::new(|number, inner, batch| {
            if number == 1 {
                assert_eq!(batch.expect.len(), 2);
                let event = sample::event("account-ben", 77_u8).of_type("bank.account.deposited");
                inner.append_now(Batch::new([event.with_data(r#"{"amount":100}"#)])).unwrap();
            }
            inner.append_now(batch)
        });
        let (gesta, beneath) = store.handles();
        funded(&beneath, "ann", 1).await;
        funded(&beneath, "ben", 2).await;
        gesta.execute(CloseDay { accounts: vec![id("ann"), id("ben")] }).await.unwrap();
        assert_eq!(balance(&beneath, "sum").await, 103);
    });
}

#[test]
fn several_parts_are_read_at_one_place_in_the_log() {
    block_on(async {
        // Money moves after one account is read and before the other is.
        let store = Interposed::reading(|number, inner| {
            if number == 2 {
                let moved =
                    [("account-ann", "bank.account.withdrawn"), ("account-ben", "bank.account.deposited")];
                let moved = (77_u8..).zip(moved).map(|(id, (stream, event_type))| {
                    sample::event(stream, id).of_type(event_type).with_data(r#"{"amount":10}"#)
                });
                inner.append_now(Batch::new(moved)).unwrap();
            }
        });
        let (gesta, beneath) = store.handles();
        funded(&beneath, "ann", 10).await;
        funded(&beneath, "ben", 0).await;
        let (ann, ben) = gesta.look((Account::at(&id("ann")), Account::at(&id("ben")))).await.unwrap();
        assert_eq!((ann.balance, ben.balance), (10, 0));
        assert_eq!(balance(&beneath, "ben").await, 10);
    });
}

#[test]
fn a_repeated_decision_gets_the_first_answer() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 10).await;
        funded(&gesta, "ben", 0).await;
        let key = || Idempotency::new("ann", "transfer").command_key("1", [b"x".as_slice()]);
        let first = gesta.command_key(key()).execute(move_of("ann", "ben", 10)).await.unwrap();
        let second = gesta.command_key(key()).execute(move_of("ann", "ben", 10)).await.unwrap();
        assert_eq!(Committed { repeated: true, ..first }, second);
        assert_eq!(second.events.len(), 2);
    });
}

/// Registers a customer if no event of its stream says that it is registered: a boundary of a query that names the stream.
#[derive(Debug, Clone)]
struct RegisterOnce {
    id: CustomerId,
}

impl Decision for RegisterOnce {
    type State = At<Taken>;
    type Error = NotRegistered;

    fn boundary(&self) -> At<Taken> {
        At::matching(Item { stream: Some(self.id.stream().unwrap()), ..Item::default() })
    }

    fn decide(self, taken: &At<Taken>) -> Result<Vec<NewFact>, NotRegistered> {
        if taken.0 {
            return Err(NotRegistered::EmailTaken);
        }
        Ok(vec![NewFact::new(&self.id, CustomerEvent::Registered { email: "a@b".to_owned() })])
    }
}

#[test]
fn a_command_key_is_found_in_the_partition_of_the_stream_that_a_query_names() {
    block_on(async {
        let clock = || Timestamp::from_nanos(1);
        let gesta = Gesta::new(Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 3, clock)));
        for number in 0..8 {
            let key =
                || Idempotency::new("ann", "register").command_key(&number.to_string(), [b"x".as_slice()]);
            let command = RegisterOnce { id: CustomerId(number) };
            let first = gesta.command_key(key()).execute(command.clone()).await.unwrap();
            let second = gesta.command_key(key()).execute(command).await.unwrap();
            assert_eq!((first.repeated, second.repeated), (false, true));
            assert_eq!(first.versions, second.versions);
        }
    });
}

#[test]
fn a_decision_takes_no_expected_version() {
    block_on(async {
        let call = store().expect_version(Version::FIRST);
        let error = call.execute(move_of("ann", "ben", 1)).await.unwrap_err();
        assert!(matches!(error, SendError::Invalid { .. }), "{error}");
    });
}

/// The number of customers with an address, and whether it is blocked.
#[decision]
fn sign_up(
    id: CustomerId,
    #[tag(email)] taken: &At<Taken>,
    #[tag(email = blocked_by)] blocked: &At<Taken>,
    email: String,
    blocked_by: Option<String>,
) -> Result<Vec<NewFact>, NotRegistered> {
    if taken.0 || blocked.0 {
        return Err(NotRegistered::EmailTaken);
    }
    Ok(vec![NewFact::new(&id, CustomerEvent::Registered { email })])
}

fn sign_up_of(number: u64, email: &str, blocked_by: Option<&str>) -> SignUp {
    SignUp { id: CustomerId(number), email: email.to_owned(), blocked_by: blocked_by.map(str::to_owned) }
}

#[test]
fn a_decision_function_reads_states_over_tags() {
    let registered = |number, email: &str| {
        NewFact::new(&CustomerId(number), CustomerEvent::Registered { email: email.to_owned() })
    };
    let given = || given_facts([registered(1, "a@b")]);
    given().when(sign_up_of(2, "a@b", Some("x@y"))).then_refused(NotRegistered::EmailTaken);
    given().when(sign_up_of(2, "c@d", Some("a@b"))).then_refused(NotRegistered::EmailTaken);
    given().when(sign_up_of(2, "c@d", Some("x@y"))).then([registered(2, "c@d")]);
    assert_eq!(
        SignUp::FIELDS.iter().map(|field| field.name).collect::<Vec<_>>(),
        ["id", "email", "blocked_by"]
    );
}

#[test]
fn a_boundary_over_a_tag_without_a_value_is_refused() {
    block_on(async {
        let error = store().execute(sign_up_of(1, "a@b", None)).await.unwrap_err();
        let SendError::Load(LoadError::EmptyBoundary { tag }) = &error else { panic!("{error}") };
        assert_eq!(tag.as_deref(), Some("email"));
        assert!(
            error.to_string().contains("tag `email` has no value, which would select every event"),
            "{error}"
        );
        let empty = store().look(At::<Taken>::tagged("email", Vec::<String>::new())).await;
        assert!(matches!(empty, Err(LoadError::EmptyBoundary { .. })));
    });
}

#[test]
fn a_decision_that_reads_nothing_is_refused() {
    block_on(async {
        let error = store().execute(CloseDay { accounts: vec![] }).await.unwrap_err();
        assert!(matches!(error, SendError::Load(LoadError::EmptyBoundary { tag: None })), "{error}");
        let error = store().execute(CollectFees { accounts: vec![], fee: 1 }).await.unwrap_err();
        assert!(matches!(error, SendError::Load(LoadError::EmptyBoundary { tag: None })), "{error}");
    });
}

/// Withdraws a fee from every account.
#[decision]
fn collect_fees(accounts: &[At<Account>], fee: u64) -> Result<Vec<NewFact>, Refused> {
    let facts = accounts.iter().map(|account| account.ask(AccountCommand::Withdraw { amount: fee }));
    Ok(facts.collect::<Result<Vec<_>, _>>()?.concat())
}

#[test]
fn a_decision_function_reads_a_list_of_entities() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 10).await;
        funded(&gesta, "ben", 1).await;
        let decision = |fee| CollectFees { accounts: vec![id("ann"), id("ben")], fee };
        gesta.execute(decision(1)).await.unwrap();
        assert_eq!((balance(&gesta, "ann").await, balance(&gesta, "ben").await), (9, 0));
        let refused = gesta.execute(decision(1)).await.unwrap_err();
        assert!(matches!(refused, SendError::Refused(Refused::InsufficientFunds { .. })), "{refused}");
    });
}

/// Pays an amount from one account to each of several, unless an address is taken.
#[decision]
fn share_out(
    from: &At<Account>,
    to: &[At<Account>],
    #[tag(email)] taken: &At<Taken>,
    amount: u64,
    email: String,
) -> Result<Vec<NewFact>, Refused> {
    if taken.0 {
        return Err(Refused::NotOpen);
    }
    let mut facts = Vec::new();
    for account in to {
        facts.extend(from.ask(AccountCommand::Withdraw { amount })?);
        facts.extend(account.ask(AccountCommand::Deposit { amount })?);
    }
    Ok(facts)
}

#[test]
fn a_decision_function_mixes_an_entity_a_list_and_a_tag() {
    block_on(async {
        let gesta = store();
        for (name, amount) in [("ann", 10), ("ben", 1), ("cem", 1)] {
            funded(&gesta, name, amount).await;
        }
        let decision = || ShareOut {
            from: id("ann"),
            to: vec![id("ben"), id("cem")],
            amount: 3,
            email: "a@b".to_owned(),
        };
        gesta.execute(decision()).await.unwrap();
        assert_eq!((balance(&gesta, "ann").await, balance(&gesta, "cem").await), (4, 4));
        gesta.execute(Register { id: CustomerId(1), email: "a@b".to_owned() }).await.unwrap();
        let refused = gesta.execute(decision()).await.unwrap_err();
        assert!(matches!(refused, SendError::Refused(Refused::NotOpen)), "{refused}");
    });
}

#[test]
fn boundaries_nest() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 10).await;
        funded(&gesta, "ben", 1).await;
        let others = vec![Account::at(&id("ben")), Account::at(&id("cem"))];
        let (ann, others, taken) =
            gesta.look((Account::at(&id("ann")), others, At::<Taken>::tagged("email", "a@b"))).await.unwrap();
        assert_eq!((ann.balance, others[0].balance, others[1].open, taken.0), (10, 1, false, false));
    });
}

#[test]
fn an_id_is_checked_wherever_it_becomes_a_stream() {
    block_on(async {
        let gesta = store();
        for wrong in ["", "a\nb", &"x".repeat(600)] {
            let transfer = gesta.execute(move_of(wrong, "ben", 1)).await.unwrap_err();
            assert!(matches!(transfer, SendError::Load(LoadError::Key(_))), "{transfer}");
            let emitted = gesta.execute(OpenFor { id: id(wrong) }).await.unwrap_err();
            assert!(matches!(emitted, SendError::Encode(EncodeError::Key(_))), "{emitted}");
            assert!(matches!(gesta.load::<Account>(&id(wrong)).await, Err(LoadError::Key(_))));
            let sent = gesta.send::<Account>(&id(wrong), open()).await.unwrap_err();
            assert!(matches!(sent, SendError::Load(LoadError::Key(_))), "{sent}");
        }
        assert!(gesta.event_store().read(Read::log(Query::All)).await.unwrap().events.is_empty());
    });
}

/// Opens an account that it does not read.
#[derive(Debug, Clone)]
struct OpenFor {
    id: AccountId,
}

impl Decision for OpenFor {
    type State = At<Taken>;
    type Error = Refused;

    fn boundary(&self) -> At<Taken> {
        At::tagged("email", "a@b")
    }

    fn decide(self, _: &At<Taken>) -> Result<Vec<NewFact>, Refused> {
        Ok(vec![NewFact::new(&self.id, AccountEvent::Opened { owner: "ann".to_owned() })])
    }
}
