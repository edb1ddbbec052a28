//! The connections that answer queries on one view.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::time::timeout_at;

use crate::limits::IDLE_READERS_MAX;
use crate::postgres::database::Database;
use crate::postgres::names::Names;
use crate::postgres::reader::{Reader, Request};
use crate::postgres::url::Login;
use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::target::Reads;

/// Connections of the reader. They see whichever version serves.
pub(crate) struct Pool {
    database: Arc<Database>,
    names: Names,
    idle: Mutex<Vec<Reader>>,
}

impl Pool {
    pub(crate) fn new(database: Arc<Database>, names: Names) -> Self {
        Self { database, names, idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a query. A connection that ended while it was idle is replaced once.
    async fn answer(&self, request: &Request, deadline: Instant) -> Result<Rows, QueryError> {
        let idle = self.idle().pop();
        if let Some(reader) = idle.filter(Reader::is_usable) {
            let (reader, answer) = self.answer_on(reader, request, deadline).await;
            match reader {
                None if matches!(answer, Err(QueryError::Busy { .. })) => {}
                reader => {
                    self.keep(reader);
                    return answer;
                }
            }
        }
        let address = self.database.url.address(Login::Reader);
        let connected = timeout_at(deadline.into(), Reader::connect(address)).await;
        let reader = connected.map_err(|_| QueryError::TimeLimit { time: request.limits.time })??;
        let (reader, answer) = self.answer_on(reader, request, deadline).await;
        self.keep(reader);
        answer
    }

    /// Answers a query, and gives the connection back if it can be used again.
    async fn answer_on(
        &self,
        mut reader: Reader,
        request: &Request,
        deadline: Instant,
    ) -> (Option<Reader>, Result<Rows, QueryError>) {
        let cancel = request.limits.cancel.clone().unwrap_or_default();
        let answer = tokio::select! {
            answered = timeout_at(deadline.into(), reader.query(&self.names, request)) => {
                answered.unwrap_or(Err(QueryError::TimeLimit { time: request.limits.time }))
            }
            () = cancel.cancelled() => Err(QueryError::Cancelled),
        };
        if matches!(answer, Err(QueryError::TimeLimit { .. } | QueryError::Cancelled)) {
            reader.cancel().await;
            return (None, answer);
        }
        let reader = Some(reader).filter(Reader::is_usable);
        (reader, answer)
    }

    fn keep(&self, reader: Option<Reader>) {
        let mut idle = self.idle();
        if idle.len() < IDLE_READERS_MAX {
            idle.extend(reader);
        }
    }
}

/// The pool, as the readers of one version.
pub(crate) struct Served {
    pool: Arc<Pool>,
    version: String,
}

impl Served {
    pub(crate) fn new(pool: Arc<Pool>, version: &str) -> Self {
        Self { pool, version: version.to_owned() }
    }
}

impl Reads for Served {
    fn version(&self) -> &str {
        &self.version
    }

    fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
        deadline: Instant,
    ) -> Result<Rows, QueryError> {
        let (sql, parameters, limits) = (sql.to_owned(), parameters.to_owned(), limits.clone());
        let request = Request { sql, parameters, limits };
        let pool = Arc::clone(&self.pool);
        let answer = async move { pool.answer(&request, deadline).await };
        let answered = pollster::block_on(self.pool.database.runtime().spawn(answer));
        answered.unwrap_or_else(|ended| match ended.try_into_panic() {
            // As in SQLite, where the caller's thread runs the query.
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(QueryError::Busy { message: "the views are shut down".to_owned() }),
        })
    }

    fn close_idle(&self) {
        self.pool.idle().clear();
    }
}
