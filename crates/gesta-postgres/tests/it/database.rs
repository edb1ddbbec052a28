//! The database of a test: a schema of a random name in the shared server, dropped afterwards.
//!
//! The shared server is the one that `cargo run -p test-servers -- with postgres -- COMMAND` starts.

use std::sync::Arc;

use gesta_conformance::Clock;
use gesta_postgres::{Options, PostgresStore, PostgresUrl};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The address of the shared server; `None`, which the test then says, if there is none.
pub(crate) fn shared() -> Option<String> {
    test_servers::given(test_servers::POSTGRES_URL)
}

/// A schema of a random name. Dropped, it is dropped in the database too.
pub(crate) struct Schema {
    server: String,
    pub(crate) name: String,
}

impl Schema {
    pub(crate) fn new(server: &str) -> Self {
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        Self { server: server.to_owned(), name }
    }

    pub(crate) fn url(&self) -> PostgresUrl {
        self.url_at(&self.server)
    }

    /// The address of the schema through another server or a proxy.
    pub(crate) fn url_at(&self, server: &str) -> PostgresUrl {
        format!("{server}?schema={}", self.name).parse().expect("an address")
    }

    pub(crate) fn open(&self, options: &Options) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::open(&self.url(), options).expect("the server is there"))
    }

    /// Runs statements. The search path is the schema.
    pub(crate) fn run(&self, sql: &str) -> Vec<Vec<String>> {
        Admin::connect(&self.server).run(&format!("set search_path to {}; {sql}", self.name))
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let drop_it =
            format!("set client_min_messages to error; drop schema if exists {} cascade", self.name);
        // The server may be down at the end of a test that has failed.
        if let Ok(admin) = Admin::try_connect(&self.server) {
            let _ = admin.try_run(&drop_it);
        }
    }
}

/// A connection of a superuser.
pub(crate) struct Admin {
    runtime: Runtime,
    client: Client,
}

impl Admin {
    pub(crate) fn connect(server: &str) -> Self {
        Self::try_connect(server).expect("the server is there")
    }

    fn try_connect(server: &str) -> Result<Self, tokio_postgres::Error> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(server, NoTls).await?;
            drop(tokio::spawn(connection));
            Ok::<_, tokio_postgres::Error>(client)
        })?;
        Ok(Self { runtime, client })
    }

    pub(crate) fn run(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_run(sql).unwrap_or_else(|error| panic!("{error:?}: {sql}"))
    }

    pub(crate) fn try_run(&self, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
        let rows = self.runtime.block_on(self.client.simple_query(sql))?;
        let rows = rows.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }
}

/// Options with the clock of a law.
pub(crate) fn with_clock(clock: &Clock) -> Options {
    let clock = clock.clone();
    let mut options = Options::default();
    options.clock = Some(Arc::new(move || clock.now()));
    options
}
