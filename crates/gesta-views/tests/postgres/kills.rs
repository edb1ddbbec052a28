//! Kills in the middle of a page: of the runner's process, of its backend, and of the whole server. Every one lands while a
//! transaction is open, because a row that the page needs is locked. The counts are exact at the end.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use gesta::{Recorded, Row, RowView, ViewError, row_view};
use gesta_core::*;
use gesta_views::*;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::bank::{AccountId, BankEvent};
use crate::support::*;

/// Events between two gates.
const STRIDE: u64 = 25;

/// A view with an entry for each event beside the sums: an event that counts twice would also have two entries.
const VIEW: &str = "-- dialect: postgres
create table balances (account text primary key, amount bigint not null, deposits bigint not null);
create table entries (position bigint not null);
-- on deposited
insert into entries values ($position);
insert into balances values ($entity, :amount, 1)
on conflict (account) do update set amount = balances.amount + excluded.amount, deposits = balances.deposits + 1;
insert into entries values ($position);
";

/// A log in which each account `gate-N` has one deposit, after `STRIDE` others.
fn log(gates: u64) -> (Arc<MemoryStore>, Checkpoint) {
    let store = store_of(1);
    let deposit = |number: u64| {
        let stream = match number % STRIDE {
            0 => format!("account-gate-{}", number / STRIDE),
            other => format!("account-{}", other % 7),
        };
        event(number, &stream, "deposited", r#"{"amount": 1}"#)
    };
    let numbers = (1..=gates * STRIDE + STRIDE - 1).collect::<Vec<_>>();
    let batches =
        numbers.chunks(3).map(|chunk| Batch::new(chunk.iter().map(|n| deposit(*n)).collect::<Vec<_>>()));
    let heads = batches.map(|batch| store.append_now(batch).unwrap().checkpoint).collect::<Vec<_>>();
    let head = heads.last().unwrap().clone();
    (store, head)
}

/// The view of a test: in SQL, or the same in Rust.
#[derive(Clone, Copy)]
enum Kind {
    Sql,
    Rust,
}

impl Kind {
    fn definition(self) -> Definition {
        match self {
            Self::Sql => Definition::parse("balances", VIEW).unwrap(),
            Self::Rust => row_view(Balances, Dialect::Postgres),
        }
    }
}

#[derive(Clone, Row)]
#[row("balances")]
struct Balance {
    #[row(key)]
    account: AccountId,
    amount: i64,
    deposits: i64,
}

#[derive(Clone, Row)]
#[row("entries")]
struct Entry {
    #[row(key)]
    position: u64,
    times: i64,
}

struct Balances;

impl RowView for Balances {
    const NAME: &'static str = "balances";
    type Event = BankEvent;
    type Rows = (Entry, Balance);

    fn apply(
        &self,
        (entries, balances): (&mut gesta::Rows<Entry>, &mut gesta::Rows<Balance>),
        event: &Recorded<BankEvent>,
    ) -> Result<(), ViewError> {
        let BankEvent::Deposited { amount, .. } = &event.event else { return Ok(()) };
        let position = event.position().sequence;
        entries.get_or_put(&position, || Entry { position, times: 0 })?.times += 1;
        let account = event.key::<AccountId>().ok_or("not an account")?;
        let new = || Balance { account: account.clone(), amount: 0, deposits: 0 };
        let row = balances.get_or_put(&account, new)?;
        (row.amount, row.deposits) = (row.amount + amount, row.deposits + 1);
        Ok(())
    }
}

fn open_at(kind: Kind, store: &Arc<MemoryStore>, folder: &std::path::Path, url: &PostgresUrl) -> Views {
    let page = Limit::events(10.try_into().unwrap());
    let options = Options { page, row_page: page, postgres: Some(url.clone()), ..Options::default() };
    Views::open_with(store.clone(), folder.to_owned(), vec![kind.definition()], &options).unwrap()
}

/// A transaction that holds a lock, such as that of one gate's row, so that a page waits.
pub(crate) struct Gate {
    runtime: Runtime,
    client: Client,
}

impl Gate {
    /// Closes a gate that no page has passed yet.
    fn close(kind: Kind, site: &Site, gate: u64) -> Self {
        Self::try_close(kind, site, gate).expect("no page has passed the gate")
    }

    /// Closes a gate from this one on. A runner that goes on meanwhile passes some.
    fn close_from(kind: Kind, site: &Site, gate: u64) -> (u64, Self) {
        let mut ahead = (gate..).step_by(5);
        ahead
            .find_map(|gate| Some((gate, Self::try_close(kind, site, gate)?)))
            .expect("a runner ends at the last gate")
    }

    /// Closes a gate, unless a page has passed it.
    fn try_close(kind: Kind, site: &Site, gate: u64) -> Option<Self> {
        let schema = format!("{}_balances_{}", site.prefix, &kind.definition().hash()[..8]);
        let insert = format!("insert into \"{schema}\".balances values ('gate-{gate}', 0, 0)");
        match Self::hold(site, &insert) {
            Ok(closed) => Some(closed),
            Err(error) => {
                assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION), "{error}");
                None
            }
        }
    }

    /// Holds what a statement locks.
    pub(crate) fn hold(site: &Site, statement: &str) -> Result<Self, tokio_postgres::Error> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(site.server.url(), NoTls).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            client.batch_execute(&format!("begin; {statement}")).await.map(|()| client)
        });
        Ok(Self { client: client?, runtime })
    }

    /// Waits until a page stands at a gate, with its transaction open.
    pub(crate) fn wait_for_page(site: &Site) {
        let sql = format!(
            "select count(*) from pg_stat_activity where usename = '{}' and wait_event_type = 'Lock' and xact_start is not null",
            site.runner()
        );
        site.until(&sql, |pages| pages != "0");
    }

    pub(crate) fn open(self) {
        drop(self.runtime.block_on(self.client.batch_execute("rollback")));
    }
}

fn check(kind: Kind, site: &Site, gates: u64) {
    let events = gates * STRIDE + STRIDE - 1;
    let schema = format!("\"{}_balances\"", site.prefix);
    let sums = format!("select count(*), sum(amount), sum(deposits) from {schema}.balances");
    assert_eq!(site.sql(&sums), [[(gates + 7).to_string(), events.to_string(), events.to_string()]]);
    let times = match kind {
        Kind::Sql => "count(*) / 2",
        Kind::Rust => "sum(times)",
    };
    let entries = format!("select {times}, count(distinct position), max(position) from {schema}.entries");
    assert_eq!(site.sql(&entries), [[events.to_string(), events.to_string(), events.to_string()]]);
}

/// The process that is killed: it follows the log until then.
#[test]
#[ignore = "only `counts_are_exact_after_kills_of_the_process` runs it"]
fn the_process_that_is_killed() {
    let variable = |name| std::env::var(name).unwrap();
    let (store, _) = log(variable("GESTA_TEST_GATES").parse().unwrap());
    let url = variable("GESTA_TEST_URL").parse::<PostgresUrl>().unwrap();
    let kind = if variable("GESTA_TEST_KIND") == "rust" { Kind::Rust } else { Kind::Sql };
    let _views = open_at(kind, &store, variable("GESTA_TEST_FOLDER").as_ref(), &url);
    loop {
        std::thread::park();
    }
}

fn start_process(kind: Kind, site: &Site, folder: &std::path::Path, gates: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::the_process_that_is_killed", "--ignored", "--nocapture"]);
    command.env("GESTA_TEST_GATES", gates.to_string()).env("GESTA_TEST_URL", site.url().to_string());
    let kind = if matches!(kind, Kind::Rust) { "rust" } else { "sql" };
    command.env("GESTA_TEST_FOLDER", folder).env("GESTA_TEST_KIND", kind);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lets the view begin, so that its tables are there.
fn begin(kind: Kind, site: &Site, folder: &std::path::Path) {
    let (store, head) = log(0);
    let views = open_at(kind, &store, folder, &site.url());
    wait(&views, &head);
}

#[test]
fn counts_are_exact_after_kills_of_the_process() {
    check_kills_of_the_process(Kind::Sql, 30);
}

#[test]
fn counts_of_a_view_in_rust_are_exact_after_kills_of_the_process() {
    check_kills_of_the_process(Kind::Rust, 10);
}

fn check_kills_of_the_process(kind: Kind, kills: u64) {
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    begin(kind, &site, folder.path());
    for gate in 1..=kills {
        let closed = Gate::close(kind, &site, gate);
        let mut process = start_process(kind, &site, folder.path(), kills);
        Gate::wait_for_page(&site);
        process.kill().unwrap();
        process.wait().unwrap();
        closed.open();
    }
    let (store, head) = log(kills);
    wait(&open_at(kind, &store, folder.path(), &site.url()), &head);
    check(kind, &site, kills);
}

#[test]
fn counts_are_exact_after_kills_of_the_backend() {
    check_kills_of_the_backend(Kind::Sql, 40);
}

#[test]
fn counts_of_a_view_in_rust_are_exact_after_kills_of_the_backend() {
    check_kills_of_the_backend(Kind::Rust, 20);
}

fn check_kills_of_the_backend(kind: Kind, kills: u64) {
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    begin(kind, &site, folder.path());
    let (store, head) = log(kills);
    let mut gate = Gate::close(kind, &site, 1);
    let views = open_at(kind, &store, folder.path(), &site.url());
    for next in 2..=kills + 1 {
        Gate::wait_for_page(&site);
        // The next gate closes before this one opens.
        let after = (next <= kills).then(|| Gate::close(kind, &site, next));
        site.sql(&format!(
            "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = '{}' and wait_event_type = 'Lock'",
            site.runner()
        ));
        gate.open();
        let Some(after) = after else { break };
        gate = after;
    }
    wait(&views, &head);
    check(kind, &site, kills);
}

#[test]
fn counts_are_exact_after_kills_of_the_server() {
    const KILLS: u64 = 30;
    // While the server starts, no gate is closed, and the runner passes some.
    const GATES: u64 = 20 * KILLS;
    let Some(mut site) = Site::own() else { return };
    let folder = tempfile::tempdir().unwrap();
    begin(Kind::Sql, &site, folder.path());
    let (store, head) = log(GATES);
    let (mut at, mut gate) = (1, Gate::close(Kind::Sql, &site, 1));
    let views = open_at(Kind::Sql, &store, folder.path(), &site.url());
    for kill in 1..=KILLS {
        Gate::wait_for_page(&site);
        // Pages that were committed a moment ago may be lost: the runner goes on from an earlier place then.
        if kill % 2 == 0 {
            site.server.kill()
        } else {
            site.server.stop()
        }
        site.server.start_again();
        drop(gate);
        (at, gate) = Gate::close_from(Kind::Sql, &site, at + 1);
        assert!(at <= GATES, "the runner was at the end after {kill} kills");
    }
    gate.open();
    wait(&views, &head);
    check(Kind::Sql, &site, GATES);
}

/// Without gates: the connection ends at any moment, between pages and in commits too.
#[test]
fn counts_are_exact_when_connections_end_at_any_moment() {
    const GATES: u64 = 15;
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    begin(Kind::Sql, &site, folder.path());
    let (store, head) = log(GATES);
    let views = open_at(Kind::Sql, &store, folder.path(), &site.url());
    let place = format!("select at from \"{}\".view", site.prefix);
    let end = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{}' and query <> ''",
        site.runner()
    );
    let mut last = String::new();
    while !last.contains(&format!(".{}-", head.sequence(0))) {
        site.until(&place, |now| now != last);
        last = site.one(&place);
        site.sql(&end);
    }
    wait(&views, &head);
    check(Kind::Sql, &site, GATES);
}
