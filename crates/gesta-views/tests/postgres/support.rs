//! Shared by the tests: a server, a prefix with its two logins, a store with known events, the view of balances.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::*;
use gesta_views::*;
use test_servers::Postgres;
use tokio_postgres::{NoTls, SimpleQueryMessage};

pub(crate) const BALANCES: &str = "-- dialect: postgres
create table balances (account text primary key, amount bigint not null, deposits bigint not null);
-- on deposited
-- require: amount
insert into balances values ($entity, :amount, 1)
on conflict (account) do update set amount = balances.amount + excluded.amount, deposits = balances.deposits + 1;
-- on withdrawn
-- require: amount
update balances set amount = amount - :amount where account = $entity;
";

pub(crate) const TOTALS: &str = "select count(*), sum(amount), sum(deposits) from balances";

/// A server, and a prefix of this test with its two logins.
pub(crate) struct Site {
    pub(crate) server: Postgres,
    pub(crate) prefix: String,
}

impl Site {
    /// A prefix on the shared server. Returns `None`, and says so, without one.
    pub(crate) fn shared() -> Option<Self> {
        is_wanted().then(Postgres::shared)?.map(Self::on)
    }

    /// A prefix on a server of its own, which the test may harm.
    pub(crate) fn own() -> Option<Self> {
        is_wanted().then(|| Postgres::start(&["fsync=off"]))?.map(Self::on)
    }

    pub(crate) fn on(server: Postgres) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let site = Self { server, prefix };
        let (runner, reader) = (site.runner(), site.reader());
        site.sql(&format!("create role {runner} login; create role {reader} login"));
        // Other tests may change the rights of the database at the same moment, which PostgreSQL refuses.
        let grant = format!("grant create on database postgres to {runner}");
        wait_until(&grant, || site.sql_as("postgres", &grant).is_ok());
        site
    }

    pub(crate) fn runner(&self) -> String {
        format!("run_{}", self.prefix)
    }

    pub(crate) fn reader(&self) -> String {
        format!("ask_{}", self.prefix)
    }

    pub(crate) fn url(&self) -> PostgresUrl {
        let address = self.address_of(&self.runner());
        format!("{address}?prefix={}&reader={}", self.prefix, self.reader()).parse().unwrap()
    }

    pub(crate) fn address_of(&self, login: &str) -> String {
        self.server.url().replace("postgres@", &format!("{login}@"))
    }

    pub(crate) fn options(&self, page: u32) -> Options {
        let page = Limit::events(page.try_into().unwrap());
        Options { page, row_page: page, postgres: Some(self.url()), ..Options::default() }
    }

    /// Runs SQL as the superuser, and gives the rows of its last statement.
    pub(crate) fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        self.sql_as("postgres", sql).unwrap()
    }

    pub(crate) fn sql_as(&self, login: &str, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.address_of(login), NoTls).await?;
            tokio::spawn(async move { drop(connection.await) });
            let messages = client.simple_query(sql).await?;
            let mut rows = Vec::new();
            for message in messages {
                match message {
                    SimpleQueryMessage::RowDescription(_) => rows.clear(),
                    SimpleQueryMessage::Row(row) => rows.push(
                        (0..row.len()).map(|at| row.get(at).unwrap_or("null").to_owned()).collect::<Vec<_>>(),
                    ),
                    _ => {}
                }
            }
            Ok(rows)
        })
    }

    /// Does something while a connection of the superuser is open that has run SQL.
    pub(crate) fn sql_while(&self, sql: &str, work: impl FnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.address_of("postgres"), NoTls).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            client.batch_execute(sql).await.unwrap();
            work();
        });
    }

    /// The first value of a query of the superuser.
    pub(crate) fn one(&self, sql: &str) -> String {
        self.sql(sql).first().map(|row| row[0].clone()).unwrap_or_default()
    }

    /// Asks until the answer is the one that is wanted.
    pub(crate) fn until(&self, sql: &str, wanted: impl Fn(&str) -> bool) {
        wait_until(sql, || {
            self.sql_as("postgres", sql).is_ok_and(|rows| rows.first().is_some_and(|row| wanted(&row[0])))
        });
    }
}

/// Whether a server was given, or is required.
pub(crate) fn is_wanted() -> bool {
    let is_wanted =
        std::env::var_os(test_servers::POSTGRES_URL).is_some() || std::env::var_os("GESTA_SERVERS").is_some();
    if !is_wanted {
        println!(
            "skipped: no PostgreSQL was given; `cargo run -p test-servers -- with postgres -- cargo test …` gives one"
        );
    }
    is_wanted
}

/// Waits for something that nobody announces, such as what another process sees.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(180);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never came: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A store whose content depends on the number of events alone, so that several processes can have the same one.
pub(crate) fn store_of(id: u8) -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(StoreId::from_bytes([id; 16]), 1, || Timestamp::from_nanos(7)))
}

pub(crate) fn event(number: u64, stream: &str, event_type: &str, data: &str) -> NewEvent {
    let event = sample::event(stream, number);
    let time = Timestamp::from_nanos(86_400_000_000_000);
    NewEvent { time, ..event.of_type(event_type).with_data(data.to_owned()) }
}

/// Appends deposits of 1, spread over ten accounts, in batches of three.
pub(crate) fn append_deposits(store: &MemoryStore, numbers: std::ops::Range<u64>) -> Checkpoint {
    let numbers = numbers.collect::<Vec<_>>();
    let deposit = |number: &u64| {
        event(number + 1, &format!("account-{}", number % 10), "deposited", r#"{"amount": 1}"#)
    };
    let batches = numbers.chunks(3).map(|chunk| Batch::new(chunk.iter().map(deposit).collect::<Vec<_>>()));
    batches.map(|batch| store.append_now(batch).unwrap().checkpoint).last().unwrap()
}

pub(crate) fn definition(text: &str) -> Definition {
    Definition::parse("balances", text).unwrap()
}

pub(crate) fn open(site: &Site, store: &Arc<MemoryStore>, folder: &Path, text: &str) -> Views {
    Views::open_with(store.clone(), folder.to_owned(), vec![definition(text)], &site.options(100)).unwrap()
}

pub(crate) fn wait(views: &Views, checkpoint: &Checkpoint) {
    let reached = pollster::block_on(views.wait_for("balances", checkpoint)).unwrap();
    assert!(reached.at_least(checkpoint));
}

/// Waits until the view has this state, and gives the text of its error.
pub(crate) fn error_in(views: &Views, state: &str) -> String {
    wait_until(state, || views.state("balances").unwrap().name() == state);
    views.state("balances").unwrap().error().map(ToString::to_string).unwrap_or_default()
}

pub(crate) fn query(views: &Views, sql: &str) -> Result<Rows, QueryError> {
    let limits = QueryLimits { time: Duration::from_secs(60), ..QueryLimits::default() };
    views.query("balances", sql, &[], &limits)
}

pub(crate) fn rows(views: &Views, sql: &str) -> Vec<Vec<SqlValue>> {
    query(views, sql).unwrap().rows
}

pub(crate) fn integers(numbers: &[i64]) -> Vec<Vec<SqlValue>> {
    vec![numbers.iter().copied().map(SqlValue::Integer).collect()]
}
