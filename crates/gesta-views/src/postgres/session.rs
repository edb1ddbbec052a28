//! A connection of the runner.

use std::future::Future;
use std::pin::pin;

use gesta_consumer::Stop;
use gesta_postgres_connect::Address;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Client, Error};

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
    cancel: CancelToken,
    address: Address,
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
        let target = address.clone();
        let connecting = runtime.spawn(async move { target.connect().await });
        let connected = stop.or(connecting).ok_or(RunError::ShutDown)?;
        let connected = connected.expect("a connection does not panic");
        let (client, connection) = connected.map_err(|error| not_connected(&database, error))?;
        let connection = runtime.spawn(async move { drop(connection.await) }).abort_handle();
        let (cancel, runtime, stop) = (client.cancel_token(), runtime.clone(), stop.clone());
        let session = Self { client, connection, cancel, address, runtime, stop, database };
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
    /// Work that takes longer than any does gets the error of a lost connection: something between the server and this program is
    /// silent.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let _timers = self.runtime.enter();
        let done = self.stop.or(async {
            let mut work = pin!(work);
            match timeout(ANSWER_TIME_MAX, &mut work).await {
                Ok(done) => done,
                Err(_) => {
                    self.connection.abort();
                    work.await
                }
            }
        });
        if done.is_none() {
            let (address, request) = (self.address.clone(), self.cancel.clone());
            // Its outcome does not matter: the transaction ends with the connection.
            drop(self.runtime.spawn(async move { address.cancel(&request).await }));
        }
        done
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
