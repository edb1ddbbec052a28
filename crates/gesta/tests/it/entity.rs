//! Kept states and commands in line, through the public interface. The rules are simulated in `src/entity/simulation`.

use std::sync::Arc;

use gesta::testing::{block_on, memory, store};
use gesta::*;
use gesta_log::{LogStore, Options};

use crate::domain::*;

fn deposit(amount: u64) -> AccountCommand {
    AccountCommand::Deposit { amount }
}

/// The reads of three deposits to one account, by the bounds of the cache.
fn reads_of_three_deposits(cache: Cache) -> (u64, u64) {
    block_on(async {
        let store = Interposed::reading(|_, _| {});
        let gesta = store.handles().0.cache(cache);
        funded(&gesta, "ann", 1).await;
        let before = gesta.cache_metrics();
        for _ in 0..3 {
            gesta.send::<Account>(&id("ann"), deposit(1)).await.unwrap();
        }
        let after = gesta.cache_metrics();
        (after.loads - before.loads, after.hits - before.hits)
    })
}

#[test]
fn a_kept_state_spares_the_read_of_the_history() {
    assert_eq!(reads_of_three_deposits(Cache::default()), (0, 3));
    assert_eq!(reads_of_three_deposits(Cache { entities_max: 0, bytes_max: 1 }), (3, 0));
}

#[test]
fn clones_share_kept_states_and_a_handle_with_another_cache_does_not() {
    block_on(async {
        let gesta = store();
        funded(&gesta, "ann", 1).await;
        gesta.with(Meta::new().actor("ben")).send::<Account>(&id("ann"), deposit(1)).await.unwrap();
        assert_eq!(gesta.cache_metrics().loads, 1);
        let other = gesta.cache(Cache::default());
        other.send::<Account>(&id("ann"), deposit(1)).await.unwrap();
        assert_eq!((gesta.cache_metrics().loads, other.cache_metrics().loads), (1, 1));
    });
}

#[test]
fn an_inspected_state_shows_what_others_wrote() {
    block_on(async {
        let store: Arc<dyn EventStore> = Arc::new(memory());
        let (gesta, other) = (Gesta::new(Arc::clone(&store)), Gesta::new(store));
        funded(&gesta, "ann", 1).await;
        other.send::<Account>(&id("ann"), deposit(10)).await.unwrap();
        let seen = gesta.inspect(&id("ann"), |account: &Account, version| (account.balance, version)).await;
        let seen = seen.unwrap();
        assert_eq!(seen.state, (11, Some(Version::new(2))));
        assert_eq!(seen.version, Some(Version::new(2)));
        assert_eq!(seen.checkpoint, gesta.event_store().head_now().await.unwrap());
        let nothing = gesta.inspect(&id("ben"), |account: &Account, _| account.open).await.unwrap();
        assert_eq!((nothing.state, nothing.version), (false, None));
    });
}

#[test]
fn a_refusal_is_not_decided_on_a_kept_state_that_others_have_changed() {
    block_on(async {
        let store: Arc<dyn EventStore> = Arc::new(memory());
        let (gesta, other) = (Gesta::new(Arc::clone(&store)), Gesta::new(store));
        funded(&gesta, "ann", 1).await;
        other.send::<Account>(&id("ann"), deposit(10)).await.unwrap();
        let withdrawn = gesta.send::<Account>(&id("ann"), AccountCommand::Withdraw { amount: 11 }).await;
        assert_eq!(withdrawn.unwrap().version(), Some(Version::new(3)));
        assert_eq!(gesta.cache_metrics().wrong_answers, 1);
    });
}

/// Two handles with two threads each write to one account of that store.
fn check_two_handles(store: Arc<dyn EventStore>) {
    const DEPOSITS: u64 = 200;
    let handles = [Gesta::new(Arc::clone(&store)), Gesta::new(store)];
    block_on(funded(&handles[0], "ann", 1));
    std::thread::scope(|scope| {
        for gesta in handles.iter().flat_map(|gesta| [gesta.clone(), gesta.clone()]) {
            scope.spawn(move || {
                let mut left = DEPOSITS;
                while left > 0 {
                    match block_on(gesta.send::<Account>(&id("ann"), deposit(1))) {
                        Ok(_) => left -= 1,
                        // A handle with batches in flight all the time may win 32 races.
                        Err(SendError::Contended { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let ann = block_on(handles[0].load::<Account>(&id("ann"))).unwrap();
    assert_eq!(ann.balance, 1 + 4 * DEPOSITS);
}

#[test]
fn two_handles_that_write_to_one_entity_at_once_lose_nothing() {
    check_two_handles(Arc::new(memory()));
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(LogStore::open(folder.path(), &Options::default()).unwrap());
    check_two_handles(Arc::clone(&log) as _);
    log.close();
}

#[test]
fn a_refused_batch_fails_its_own_command_only() {
    const DEPOSITS: u64 = 100;
    let store = Interposed::new(|number, inner, batch| match number % 7 {
        0 => Err(AppendError::Overloaded),
        _ => inner.append_now(batch),
    });
    let (gesta, beneath) = store.handles();
    block_on(funded(&gesta, "ann", 1));
    let done = std::thread::scope(|scope| {
        let deposits = || {
            let sent = || block_on(gesta.send::<Account>(&id("ann"), deposit(1)));
            let sent = (0..DEPOSITS).map(|_| sent());
            sent.filter(|sent| match sent {
                Ok(_) => true,
                Err(SendError::Append(AppendError::Overloaded)) => false,
                Err(error) => panic!("{error}"),
            })
            .count()
        };
        let threads = [(); 8].map(|()| scope.spawn(deposits));
        threads.map(|thread| thread.join().unwrap()).into_iter().sum::<usize>()
    });
    let done = u64::try_from(done).unwrap();
    assert!(done < 8 * DEPOSITS && done > 4 * DEPOSITS, "{done}");
    let ann = block_on(beneath.load::<Account>(&id("ann"))).unwrap();
    assert_eq!(ann.balance, 1 + done);
}
