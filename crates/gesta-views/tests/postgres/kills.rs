//! Kills in the middle of a page: of the runner's process, of its backend, and of the whole server. Every one lands while a
//! transaction is open, because a row that the page needs is locked. The counts are exact at the end.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use gesta_core::*;
use gesta_views::*;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

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

fn view() -> Definition {
    Definition::parse("balances", VIEW).unwrap()
}

fn open_at(store: &Arc<MemoryStore>, folder: &std::path::Path, url: &PostgresUrl) -> Views {
    let page = Limit::events(10.try_into().unwrap());
    let options = Options { page, postgres: Some(url.clone()), ..Options::default() };
    Views::open_with(store.clone(), folder.to_owned(), vec![view()], &options).unwrap()
}

/// A transaction that holds the row of one gate, so that the page with its event waits.
struct Gate {
    runtime: Runtime,
    client: Client,
}

impl Gate {
    /// Closes a gate that no page has passed yet.
    fn close(site: &Site, gate: u64) -> Self {
        Self::try_close(site, gate).expect("no page has passed the gate")
    }

    /// Closes a gate from this one on. A runner that goes on meanwhile passes some.
    fn close_from(site: &Site, gate: u64) -> (u64, Self) {
        let mut ahead = (gate..).step_by(5);
        ahead
            .find_map(|gate| Some((gate, Self::try_close(site, gate)?)))
            .expect("a runner ends at the last gate")
    }

    /// Closes a gate, unless a page has passed it.
    fn try_close(site: &Site, gate: u64) -> Option<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(site.server.url(), NoTls).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            let schema = format!("{}_balances_{}", site.prefix, &view().hash()[..8]);
            let hold = format!("begin; insert into \"{schema}\".balances values ('gate-{gate}', 0, 0)");
            match client.batch_execute(&hold).await {
                Ok(()) => Some(client),
                Err(error) => {
                    assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION), "{error}");
                    None
                }
            }
        });
        Some(Self { client: client?, runtime })
    }

    /// Waits until a page stands at a gate, with its transaction open.
    fn wait_for_page(site: &Site) {
        let sql = format!(
            "select count(*) from pg_stat_activity where usename = '{}' and wait_event_type = 'Lock' and xact_start is not null",
            site.runner()
        );
        site.until(&sql, |pages| pages != "0");
    }

    fn open(self) {
        drop(self.runtime.block_on(self.client.batch_execute("rollback")));
    }
}

fn check(site: &Site, gates: u64) {
    let events = gates * STRIDE + STRIDE - 1;
    let schema = format!("\"{}_balances\"", site.prefix);
    let sums = format!("select count(*), sum(amount), sum(deposits) from {schema}.balances");
    assert_eq!(site.sql(&sums), [[(gates + 7).to_string(), events.to_string(), events.to_string()]]);
    let entries = format!("select count(*), count(distinct position), max(position) from {schema}.entries");
    assert_eq!(site.sql(&entries), [[(2 * events).to_string(), events.to_string(), events.to_string()]]);
}

/// The process that is killed: it follows the log until then.
#[test]
#[ignore = "only `counts_are_exact_after_kills_of_the_process` runs it"]
fn the_process_that_is_killed() {
    let variable = |name| std::env::var(name).unwrap();
    let (store, _) = log(variable("GESTA_TEST_GATES").parse().unwrap());
    let url = variable("GESTA_TEST_URL").parse::<PostgresUrl>().unwrap();
    let _views = open_at(&store, variable("GESTA_TEST_FOLDER").as_ref(), &url);
    loop {
        std::thread::park();
    }
}

fn start_process(site: &Site, folder: &std::path::Path, gates: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::the_process_that_is_killed", "--ignored", "--nocapture"]);
    command.env("GESTA_TEST_GATES", gates.to_string()).env("GESTA_TEST_URL", site.url().to_string());
    command.env("GESTA_TEST_FOLDER", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lets the view begin, so that its tables are there.
fn begin(site: &Site, folder: &std::path::Path) {
    let (store, head) = log(0);
    let views = open_at(&store, folder, &site.url());
    wait(&views, &head);
}

#[test]
fn counts_are_exact_after_kills_of_the_process() {
    const KILLS: u64 = 30;
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    begin(&site, folder.path());
    for gate in 1..=KILLS {
        let closed = Gate::close(&site, gate);
        let mut process = start_process(&site, folder.path(), KILLS);
        Gate::wait_for_page(&site);
        process.kill().unwrap();
        process.wait().unwrap();
        closed.open();
    }
    let (store, head) = log(KILLS);
    wait(&open_at(&store, folder.path(), &site.url()), &head);
    check(&site, KILLS);
}

#[test]
fn counts_are_exact_after_kills_of_the_backend() {
    const KILLS: u64 = 40;
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    begin(&site, folder.path());
    let (store, head) = log(KILLS);
    let mut gate = Gate::close(&site, 1);
    let views = open_at(&store, folder.path(), &site.url());
    for next in 2..=KILLS + 1 {
        Gate::wait_for_page(&site);
        // The next gate closes before this one opens.
        let after = (next <= KILLS).then(|| Gate::close(&site, next));
        site.sql(&format!(
            "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = '{}' and wait_event_type = 'Lock'",
            site.runner()
        ));
        gate.open();
        let Some(after) = after else { break };
        gate = after;
    }
    wait(&views, &head);
    check(&site, KILLS);
}

#[test]
fn counts_are_exact_after_kills_of_the_server() {
    const KILLS: u64 = 30;
    // While the server starts, no gate is closed, and the runner passes some.
    const GATES: u64 = 20 * KILLS;
    let Some(mut site) = Site::own() else { return };
    let folder = tempfile::tempdir().unwrap();
    begin(&site, folder.path());
    let (store, head) = log(GATES);
    let (mut at, mut gate) = (1, Gate::close(&site, 1));
    let views = open_at(&store, folder.path(), &site.url());
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
        (at, gate) = Gate::close_from(&site, at + 1);
        assert!(at <= GATES, "the runner was at the end after {kill} kills");
    }
    gate.open();
    wait(&views, &head);
    check(&site, GATES);
}

/// Without gates: the connection ends at any moment, between pages and in commits too.
#[test]
fn counts_are_exact_when_connections_end_at_any_moment() {
    const GATES: u64 = 15;
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    begin(&site, folder.path());
    let (store, head) = log(GATES);
    let views = open_at(&store, folder.path(), &site.url());
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
    check(&site, GATES);
}
