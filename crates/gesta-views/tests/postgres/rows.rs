//! Views in Rust in PostgreSQL: they agree with SQL, stop visibly, and are switched as others.

use std::sync::{Arc, Barrier};

use gesta::{Recorded, Row, RowView, ViewError, row_view};
use gesta_core::*;
use gesta_views::*;
use proptest::prelude::*;

use crate::bank;
use crate::support::*;

fn run(
    site: &Site,
    store: &Arc<MemoryStore>,
    folder: &std::path::Path,
    definition: Definition,
    page: u32,
) -> Views {
    Views::open_with(store.clone(), folder.to_owned(), vec![definition], &site.options(page)).unwrap()
}

/// All rows of the view of the bank, built in pages of a size.
fn outcome(
    site: &Site,
    store: &Arc<MemoryStore>,
    head: &Checkpoint,
    definition: Definition,
    page: u32,
) -> Vec<Rows> {
    let folder = tempfile::tempdir().unwrap();
    let (name, dialect) = (definition.name().to_owned(), definition.dialect());
    let views = run(site, store, folder.path(), definition, page);
    pollster::block_on(views.wait_for(&name, head)).unwrap();
    let ask = |sql: String| views.query(&name, &sql, &[], &QueryLimits::default()).unwrap();
    bank::tables(dialect).map(ask).to_vec()
}

fn append_some(store: &MemoryStore, number: &mut u64, entries: &[(u64, u8, i64, u8)]) -> Checkpoint {
    let events = entries.iter().map(|(account, kind, amount, note)| {
        *number += 1;
        let (event_type, data) = bank::event_of(*kind, *note, *amount);
        event(*number, &format!("account-{account}"), event_type, &data)
    });
    store.append_now(Batch::new(events.collect::<Vec<_>>())).unwrap().checkpoint
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rust_and_sql_give_the_same_rows_in_both_databases_with_pages_of_every_size(
        batches in prop::collection::vec(prop::collection::vec((0..5_u64, 0..20_u8, 1..100_i64, 0..4_u8), 1..5), 1..30)
    ) {
        let Some(site) = Site::shared() else { return Ok(()) };
        let (store, mut number) = (store_of(1), 0);
        let heads = batches.iter().map(|batch| append_some(&store, &mut number, batch)).collect::<Vec<_>>();
        let head = heads.last().unwrap();
        let expected = outcome(&site, &store, head, bank::in_sql(Dialect::Sqlite), 1_000);
        prop_assert_eq!(&outcome(&site, &store, head, bank::in_sql(Dialect::Postgres), 1_000), &expected);
        for page in [1, 7, 1_000] {
            // Each size in schemas of its own: the same ones would only be found up to date.
            let site = Site::shared().unwrap();
            let found = outcome(&site, &store, head, row_view(bank::Balances, Dialect::Postgres), page);
            prop_assert_eq!(&found, &expected, "pages of {}", page);
        }
    }
}

#[test]
fn a_view_goes_on_from_its_rows_after_a_restart() {
    let Some(site) = Site::shared() else { return };
    let (store, mut number) = (store_of(1), 0);
    let some = [(1, 0, 5, 2), (2, 0, 7, 0), (1, 15, 2, 0), (3, 0, 1, 3), (3, 19, 0, 0)];
    let mut last = None;
    for _ in 0..3 {
        // Each run begins without rows in memory.
        let head = append_some(&store, &mut number, &some);
        let answers = outcome(&site, &store, &head, row_view(bank::Balances, Dialect::Postgres), 2);
        last = Some((head, answers));
    }
    let (head, answers) = last.unwrap();
    assert_eq!(answers, outcome(&site, &store, &head, bank::in_sql(Dialect::Sqlite), 1_000));
}

/// The last note of each account and its bytes, in two versions.
struct Notes<const VERSION: u32>;

#[derive(Clone, Row)]
#[row("balances")]
struct Note {
    #[row(key)]
    account: String,
    #[row(key)]
    raw: Vec<u8>,
    note: String,
    version: u32,
}

impl<const V: u32> RowView for Notes<V> {
    const NAME: &'static str = "balances";
    const VERSION: u32 = V;
    type Event = bank::BankEvent;
    type Rows = Note;

    fn apply(
        &self,
        rows: &mut gesta::Rows<Note>,
        event: &Recorded<bank::BankEvent>,
    ) -> Result<(), ViewError> {
        let bank::BankEvent::Deposited { note: Some(note), .. } = &event.event else { return Ok(()) };
        let key = (event.stream().to_owned(), vec![0, 255]);
        let new = || Note { account: key.0.clone(), raw: key.1.clone(), note: String::new(), version: V };
        rows.get_or_put(&key, new)?.note.push_str(note);
        Ok(())
    }
}

#[test]
fn a_text_that_postgresql_does_not_hold_stops_the_view_at_its_event() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let deposit = |number, note: &str| {
        event(number, "account-1", "deposited", &format!(r#"{{"amount":1,"note":"{note}"}}"#))
    };
    let batch = |event| store.append_now(Batch::new([event])).unwrap().checkpoint;
    batch(deposit(1, "a"));
    batch(deposit(2, "b"));
    let head = batch(deposit(3, r"c\u0000"));
    let views = run(&site, &store, folder.path(), row_view(Notes::<1>, Dialect::Postgres), 100);
    assert!(pollster::block_on(views.wait_for("balances", &head)).is_err());
    assert_eq!(
        error_in(&views, "stopped"),
        "event `deposited`@1 at position 3 in stream `account-1`: the view `balances` cannot apply it: the row `account-1, \
         Blob([0, 255])` of the table `balances`: the column `note` has a character with the number 0, which PostgreSQL does not \
         store; correct the program, and start it again"
    );
    assert_eq!(rows(&views, "select note from balances"), [[SqlValue::from("ab")]]);
}

#[test]
fn a_changed_version_is_built_beside_the_old_one_and_takes_over() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let note = |number| {
        let event = event(number, "account-1", "deposited", r#"{"amount":1,"note":"n"}"#);
        store.append_now(Batch::new([event])).unwrap().checkpoint
    };
    let head = note(1);
    wait(&run(&site, &store, folder.path(), row_view(Notes::<1>, Dialect::Postgres), 100), &head);
    // Beyond the place of the old version, which serves until then.
    let head = note(2);
    let views = run(&site, &store, folder.path(), row_view(Notes::<2>, Dialect::Postgres), 100);
    wait(&views, &head);
    let answer = rows(&views, "select note, version from balances");
    assert_eq!(answer, [[SqlValue::from("nn"), SqlValue::from(2)]]);
    // Other programs read the same.
    assert_eq!(site.one(&format!("select note from \"{}_balances\".balances", site.prefix)), "nn");
}

/// The sum of the deposits with each note.
struct Named {
    /// The view waits here twice, while an event is applied.
    held: Option<Arc<Barrier>>,
}

#[derive(Clone, Row)]
#[row("sums")]
struct Sum {
    #[row(key)]
    note: String,
    amount: i64,
}

impl RowView for Named {
    const NAME: &'static str = "balances";
    type Event = bank::BankEvent;
    type Rows = Sum;

    fn apply(&self, rows: &mut gesta::Rows<Sum>, event: &Recorded<bank::BankEvent>) -> Result<(), ViewError> {
        let bank::BankEvent::Deposited { amount, note: Some(note), .. } = &event.event else { return Ok(()) };
        rows.get_or_put(note, || Sum { note: note.clone(), amount: 0 })?.amount += amount;
        if let Some(held) = &self.held {
            held.wait();
            held.wait();
        }
        Ok(())
    }
}

fn noted(number: u64, note: &str) -> NewEvent {
    event(number, "account-1", "deposited", &format!(r#"{{"amount":1,"note":"{note}"}}"#))
}

/// Why a view stops at a note, which comes among others in one batch after a good page.
fn stops_at(site: &Site, bad: &str) -> String {
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let append = |events: Vec<NewEvent>| store.append_now(Batch::new(events)).unwrap().checkpoint;
    append(vec![noted(1, "a"), noted(2, "b")]);
    let head = append(vec![noted(3, "c"), noted(4, bad), noted(5, "d")]);
    let views = run(site, &store, folder.path(), row_view(Named { held: None }, Dialect::Postgres), 100);
    assert!(pollster::block_on(views.wait_for("balances", &head)).is_err());
    assert_eq!(rows(&views, "select sum(amount) from sums"), [[SqlValue::from(2)]]);
    error_in(&views, "stopped")
}

#[test]
fn a_key_that_postgresql_does_not_hold_stops_the_view_at_its_event() {
    let Some(site) = Site::shared() else { return };
    assert_eq!(
        stops_at(&site, r"x\u0000"),
        "event `deposited`@1 at position 4 in stream `account-1`: the view `balances` cannot apply it: the row `x\0` of the table \
         `sums`: the column `note` has a character with the number 0, which PostgreSQL does not store; correct the program, and \
         start it again"
    );
}

#[test]
fn a_row_that_postgresql_refuses_stops_the_view_at_its_event() {
    let Some(site) = Site::shared() else { return };
    // Without repeats, which PostgreSQL would compress.
    let mut random = 1_u32;
    let letters = (0..4_000).map(|_| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + u8::try_from((random >> 16) % 26).unwrap())
    });
    let error = stops_at(&site, &letters.collect::<String>());
    let place = "event `deposited`@1 at position 4 in stream `account-1`: the view `balances` cannot apply it: the row `";
    assert!(error.starts_with(place), "{error}");
    assert!(error.contains("of the table `sums`: PostgreSQL refuses it: index row size"), "{error}");
}

#[test]
fn no_transaction_is_open_while_a_page_is_applied() {
    let Some(site) = Site::shared() else { return };
    let (store, folder, held) = (store_of(1), tempfile::tempdir().unwrap(), Arc::new(Barrier::new(2)));
    let head = store.append_now(Batch::new([noted(1, "a")])).unwrap().checkpoint;
    let view = row_view(Named { held: Some(Arc::clone(&held)) }, Dialect::Postgres);
    let views = run(&site, &store, folder.path(), view, 100);
    held.wait();
    // The row was read. A transaction would keep its lock on the table.
    let locks = site.one(&format!(
        "select count(*) from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
         where n.nspname like '{}_balances_%' and l.mode = 'AccessShareLock'",
        site.prefix
    ));
    held.wait();
    assert_eq!(locks, "0");
    wait(&views, &head);
}
