//! A connection of the runner.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use gesta_consumer::Stop;
use gesta_postgres_connect::{Address, Canceller, Connected};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_postgres::{Client, Error};

use crate::limits::ANSWER_TIME_MAX;
use crate::postgres::error::{failed, not_connected};
use crate::run_error::RunError;

/// What the rows of a view must not depend on, and what ends a transaction that was left alone.
///
/// `synchronous_commit` is off: after a crash of the server the last pages may be missing, rows and place together, and are
/// applied again.
const SETTINGS: &str = "
    set client_min_messages = warning; set client_encoding = 'UTF8'; set timezone = 'UTC'; set datestyle = 'ISO, MDY';
    set intervalstyle = 'postgres'; set bytea_output = 'hex'; set extra_float_digits = 1; set lc_monetary = 'C';
    set lc_numeric = 'C'; set lc_time = 'C'; set standard_conforming_strings = on; set synchronous_commit = off;
    set statement_timeout = 0; set lock_timeout = '5s'; set idle_in_transaction_session_timeout = '30s'; set jit = off";

/// A connection of the runner, for one try of one view. Dropping it ends the connection at once.
pub(crate) struct Session {
    pub(crate) client: Client,
    connection: AbortHandle,
    canceller: Canceller,
    runtime: Handle,
    /// The signal of the run, which ends every wait.
    stop: Stop,
    /// The name of the database, for messages.
    pub(crate) database: String,
}

impl Session {
    /// Connects, in the time that the address allows.
    pub(crate) fn connect(address: &Address, runtime: &Handle, stop: &Stop) -> Result<Self, RunError> {
        let (address, database) = (address.clone(), address.database().to_owned());
        let connecting = runtime.spawn(async move { address.connect().await });
        let connected = stop.or(connecting).ok_or(RunError::ShutDown)?;
        let connected = connected.expect("a connection does not panic");
        let connected = connected.map_err(|error| not_connected(&database, error))?;
        let Connected { client, connection, canceller } = connected;
        let connection = runtime.spawn(async move { drop(connection.await) }).abort_handle();
        let (runtime, stop) = (runtime.clone(), stop.clone());
        let session = Self { client, connection, canceller, runtime, stop, database };
        session.run("set up a connection", session.client.batch_execute(SETTINGS))?;
        session.check_server()?;
        Ok(session)
    }

    fn check_server(&self) -> Result<(), RunError> {
        let asked = "select current_setting('server_version_num')::int, current_setting('server_encoding')";
        let row = self.run("set up a connection", self.client.query_one(asked, &[]))?;
        let (version, encoding): (i32, String) = (row.get(0), row.get(1));
        if version < 150_000 {
            return Err(
                self.impossible(format!("the server has version {}, and views need 15", version / 10_000))
            );
        }
        if encoding != "UTF8" {
            return Err(self.impossible(format!(
                "the database has the encoding {encoding}, and views need UTF8: create one with `encoding 'UTF8' template template0`"
            )));
        }
        Ok(())
    }

    fn impossible(&self, message: String) -> RunError {
        super::error::impossible("use the server", &self.database, message)
    }

    /// Waits for an answer of the server, or for the signal.
    pub(crate) fn run<T>(
        &self,
        action: &'static str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, RunError> {
        let done = self.wait(work).ok_or(RunError::ShutDown)?;
        done.map_err(|error| failed(action, &self.database, &error))
    }

    /// Waits for work on this connection. `None`: the signal was raised, and what the server does for it is cancelled. The
    /// connection is of no more use then.
    ///
    /// Work that takes longer than any does is cancelled and gets the error of a lost connection: something between the server and
    /// this program is silent.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.wait_at_most(work, ANSWER_TIME_MAX)
    }

    /// As [`Self::wait`], with a time of the caller.
    pub(crate) fn wait_at_most<T>(&self, work: impl Future<Output = T>, most: Duration) -> Option<T> {
        let _timers = self.runtime.enter();
        self.wait_until(work, sleep(most))
    }

    /// Waits for work as long as it is not late.
    fn wait_until<T>(&self, work: impl Future<Output = T>, late: impl Future<Output = ()>) -> Option<T> {
        let done = self.stop.or(async {
            let mut work = pin!(work);
            match select(&mut work, pin!(late)).await {
                Either::Left((done, _)) => done,
                Either::Right(((), _)) => {
                    self.cancel();
                    self.connection.abort();
                    work.await
                }
            }
        });
        if done.is_none() {
            self.cancel();
        }
        done
    }

    /// Lets the server end what it does for this connection, so that its transaction keeps no locks. The outcome does not matter.
    fn cancel(&self) {
        let canceller = self.canceller.clone();
        drop(self.runtime.spawn(async move { canceller.cancel().await }));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[cfg(test)]
mod tests {
    use test_servers::Postgres;
    use tokio::runtime::Builder;
    use tokio::time::timeout;

    use super::*;

    fn server() -> Option<Postgres> {
        let names = [test_servers::POSTGRES_URL, "GESTA_SERVERS"];
        if names.iter().all(|name| std::env::var_os(name).is_none()) {
            println!("skipped: `cargo run -p test-servers -- with postgres -- cargo test …` gives a server");
            return None;
        }
        Postgres::shared()
    }

    /// Waits until the condition is true of `count` backends with this number.
    async fn see(client: &Client, backend: i32, condition: &str, count: i64) {
        let sql = format!("select count(*) from pg_stat_activity where pid = $1 and {condition}");
        while client.query_one(&sql, &[&backend]).await.unwrap().get::<_, i64>(0) != count {}
    }

    #[test]
    fn work_that_is_late_ends_at_the_server_too() {
        let Some(server) = server() else { return };
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = Address::parse(server.url(), |_, _| Ok(false)).unwrap();
        let connect = || Session::connect(&address, runtime.handle(), &Stop::new()).unwrap();
        let (session, other) = (connect(), connect());
        let backend = session.client.query_one("select pg_backend_pid()", &[]);
        let backend = session.run("test", backend).unwrap().get::<_, i32>(0);
        let at_work = see(&other.client, backend, "state = 'active' and query like '%pg_sleep%'", 1);
        let work = session.client.batch_execute("select pg_sleep(3600)");
        assert!(session.wait_until(work, at_work).unwrap().is_err());
        let gone = async { timeout(Duration::from_secs(180), see(&other.client, backend, "true", 0)).await };
        assert!(runtime.block_on(gone).is_ok(), "the server still works");
    }
}
