//! The sandbox for queries: one statement of a login that can only select, in a read-only transaction that is rolled back,
//! within limits of time, rows and bytes.
//!
//! Walls: the login's rights, the read-only transaction, the extended protocol, which takes one statement, the first word of
//! the statement, and the rollback, which takes back what a read-only transaction of PostgreSQL still allows. What a session
//! keeps beyond that, such as advisory locks, is released after each query.

use futures_util::TryStreamExt;
use gesta_postgres_connect::{Address, Canceller, Connected};
use tokio::task::AbortHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, IsolationLevel, Portal, Statement, Transaction};

use crate::dialect::Dialect;
use crate::lexer::{Kind, tokens};
use crate::limits;
use crate::postgres::error::{connect_message, is_lost, is_missing_object, kind, message};
use crate::postgres::metered::Budget;
use crate::postgres::names::Names;
use crate::postgres::serve::CHECKPOINT;
use crate::postgres::values::{Param, is_read_as_it_is, value};
use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::run_error::DatabaseErrorKind;
use crate::statements::{self, split};

/// What a query must find as on any other machine.
const SETTINGS: &str = "set default_transaction_read_only = on; set client_encoding = 'UTF8'; set timezone = 'UTC';
    set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; set bytea_output = 'hex'; set extra_float_digits = 1;
    set lock_timeout = '5s'; set idle_in_transaction_session_timeout = '30s'";

/// Selects true if the login may read more than it was granted.
const READS_EVERYTHING: &str = "select exists (select from pg_roles where pg_has_role(oid, 'member') \
    and (rolsuper or rolname in ('pg_read_all_data', 'pg_read_server_files')))";

/// One query, as its caller asked it.
pub(crate) struct Request {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<(String, SqlValue)>,
    pub(crate) limits: QueryLimits,
}

/// A connection of the reader. Dropping it ends the connection at once.
pub(crate) struct Reader {
    client: Client,
    budget: Budget,
    connection: AbortHandle,
    canceller: Canceller,
    /// The last query left nothing behind.
    is_usable: bool,
}

impl Reader {
    pub(crate) async fn connect(address: &Address) -> Result<Self, QueryError> {
        let busy = |message: String| QueryError::Busy { message };
        let budget = Budget::new(limits::QUERY_OVERHEAD_BYTES);
        let connected = address.connect_over(&budget).await;
        let connected = connected.map_err(|error| busy(connect_message(&error)))?;
        let Connected { client, connection, canceller } = connected;
        let connection = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        let reader = Self { client, budget, connection, canceller, is_usable: true };
        reader.client.batch_execute(SETTINGS).await.map_err(|error| busy(message(&error)))?;
        let rights = reader.client.query_one(READS_EVERYTHING, &[]).await;
        match rights.map_err(|error| busy(message(&error)))?.get(0) {
            true => Err(QueryError::NotAllowed {
                reason: "the login of `reader=` may read every table or the files of the server, and so would every query: give it no rights, or name another login"
                    .to_owned(),
            }),
            false => Ok(reader),
        }
    }

    /// Asks the server to end the running query. Its outcome does not matter: the connection is dropped.
    pub(crate) async fn cancel(self) {
        self.canceller.cancel().await;
    }

    /// Whether another query can be asked.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_usable && !self.client.is_closed()
    }

    /// Answers one query on the version of a view that serves.
    pub(crate) async fn query(&mut self, names: &Names, request: &Request) -> Result<Rows, QueryError> {
        let query = Query::parse(request)?;
        self.budget.set((request.limits.bytes as u64).saturating_add(limits::QUERY_OVERHEAD_BYTES));
        let answer = self.query_within(names, &query, request).await;
        if self.budget.is_spent() {
            self.is_usable = false;
            return Err(QueryError::TooManyBytes { bytes: request.limits.bytes });
        }
        self.budget.set(limits::QUERY_OVERHEAD_BYTES);
        let ended = self.client.batch_execute("rollback; select pg_advisory_unlock_all()").await;
        self.is_usable = ended.is_ok();
        answer
    }

    async fn query_within(
        &mut self,
        names: &Names,
        query: &Query,
        request: &Request,
    ) -> Result<Rows, QueryError> {
        let refuse = |error: Error| refusal(&error, &request.limits);
        let transaction = self.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let transaction = transaction.read_only(true).start().await.map_err(refuse)?;
        // All that follows is of this moment: which version serves, its place, its rows.
        let serving = format!("select hash, at from {}.view where name = $1 and serves", names.shared);
        let serving = transaction.query_opt(&serving, &[&names.view()]).await.map_err(not_serving)?;
        let serving = serving.ok_or_else(|| busy("no version of it serves"))?;
        let (schema, at) = (names.version_of(serving.get(0)), serving.get::<_, String>(1));
        let checkpoint = at.parse().map_err(|_| busy("its place cannot be read"))?;
        // The server takes an `int4`. A deadline ends longer queries here.
        let time = i32::try_from(request.limits.time.as_millis()).unwrap_or(i32::MAX).max(1);
        // The version stays until this query has ended.
        let prepare = format!(
            "lock table {schema}.{CHECKPOINT} in access share mode; set local search_path = {schema};
             set local statement_timeout = {time}"
        );
        transaction.batch_execute(&prepare).await.map_err(not_serving)?;
        let statement = transaction.prepare(&query.sql).await.map_err(refuse)?;
        if statement.columns().is_empty() {
            return Err(QueryError::NotOneStatement { found: "empty" });
        }
        let columns = statement.columns().iter().map(|column| column.name().to_owned()).collect::<Vec<_>>();
        let types = statement.columns().iter().map(|column| column.type_().clone()).collect::<Vec<_>>();
        let statement = match types.iter().all(is_read_as_it_is) {
            true => statement,
            false => transaction.prepare(&as_text(&query.sql, &types)).await.map_err(refuse)?,
        };
        let portal = transaction.bind_raw(&statement, query.parameters.iter()).await.map_err(refuse)?;
        let rows = fetch(&transaction, &portal, &statement, &types, &request.limits).await?;
        Ok(Rows { columns, rows, checkpoint, parked: Vec::new() })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Fetches the rows in parts, so that the server does not go on after a limit was met.
async fn fetch(
    transaction: &Transaction<'_>,
    portal: &Portal,
    statement: &Statement,
    types: &[Type],
    limits: &QueryLimits,
) -> Result<Vec<Vec<SqlValue>>, QueryError> {
    let refuse = |error: Error| refusal(&error, limits);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    loop {
        let wanted = limits::PORTAL_ROWS.min((limits.rows - rows.len()).saturating_add(1));
        let count = i32::try_from(wanted).expect("a part has few rows");
        let part = transaction.query_portal_raw(portal, count).await.map_err(refuse)?;
        let mut part = std::pin::pin!(part);
        let before = rows.len();
        while let Some(row) = part.try_next().await.map_err(refuse)? {
            if rows.len() == limits.rows {
                return Err(QueryError::TooManyRows { rows: limits.rows });
            }
            let values = (0..statement.columns().len()).map(|at| value(&row, at, &types[at]));
            let values = values.collect::<Result<Vec<_>, _>>().map_err(refuse)?;
            bytes += values.iter().map(SqlValue::counted_bytes).sum::<usize>();
            if bytes > limits.bytes {
                return Err(QueryError::TooManyBytes { bytes: limits.bytes });
            }
            rows.push(values);
        }
        if rows.len() - before < wanted {
            return Ok(rows);
        }
    }
}

/// The same query with the columns of other types cast to text by the server. `sql` is one whole statement.
fn as_text(sql: &str, types: &[Type]) -> String {
    let names = (1..=types.len()).map(|at| format!("c{at}")).collect::<Vec<_>>();
    let column = |(name, ty): (&String, &Type)| match is_read_as_it_is(ty) {
        true => name.clone(),
        false => format!("{name}::text"),
    };
    let columns = names.iter().zip(types).map(column).collect::<Vec<_>>().join(", ");
    format!("select {columns} from ({sql}\n) as q({})", names.join(", "))
}

/// A query with numbers in place of the names of its parameters.
struct Query {
    sql: String,
    parameters: Vec<Param>,
}

impl Query {
    fn parse(request: &Request) -> Result<Self, QueryError> {
        let sql = |message: String| QueryError::Sql { database: "PostgreSQL", message };
        let tokens = tokens(&request.sql, Dialect::Postgres)
            .map_err(|unclosed| sql(format!("{} in line {} is not closed", unclosed.what, unclosed.line)))?;
        if request.sql.len() > limits::POSTGRES_QUERY_BYTES_MAX {
            return Err(sql(format!("it is longer than {} bytes", limits::POSTGRES_QUERY_BYTES_MAX)));
        }
        let mut statements = split(&tokens, Dialect::Postgres);
        let statement = match statements.len() {
            1 => statements.remove(0),
            0 => return Err(QueryError::NotOneStatement { found: "empty" }),
            _ => return Err(QueryError::NotOneStatement { found: "more than one statement" }),
        };
        let first = tokens.iter().find(|token| !token.is_blank() && token.text != "(");
        let reads = ["select", "with", "values", "table"];
        if !first
            .is_some_and(|first| first.kind == Kind::Word && reads.iter().any(|verb| first.is_word(verb)))
        {
            return Err(QueryError::NotAllowed { reason: "queries only read: send one `select`".to_owned() });
        }
        let parameters = bind(&statement, &request.parameters)?;
        Ok(Self { sql: statement.sql, parameters })
    }
}

/// The values of the parameters by name, with or without its leading sign. Every value is used.
fn bind(statement: &statements::Statement, given: &[(String, SqlValue)]) -> Result<Vec<Param>, QueryError> {
    let mut used = vec![false; given.len()];
    let mut bound = Vec::new();
    for (index, (name, _)) in statement.parameters.iter().enumerate() {
        if name[1..].starts_with(|first: char| first.is_ascii_digit()) {
            return Err(QueryError::UnnamedParameter { index: index + 1 });
        }
        let at = given.iter().position(|(given, _)| given == name || *given == name[1..]);
        let at = at.ok_or_else(|| QueryError::MissingParameter { name: name.clone() })?;
        used[at] = true;
        bound.push(Param::from(&given[at].1));
    }
    match used.iter().position(|used| !used) {
        Some(unused) => Err(QueryError::UnknownParameter { name: given[unused].0.clone() }),
        None => Ok(bound),
    }
}

fn busy(message: &str) -> QueryError {
    QueryError::Busy { message: message.to_owned() }
}

/// The version that serves could not be read: it is not there yet or was just replaced, or the connection ended.
fn not_serving(error: Error) -> QueryError {
    match is_missing_object(&error) {
        true => busy("its views are not there yet"),
        false => QueryError::Busy { message: message(&error) },
    }
}

fn refusal(error: &Error, limits: &QueryLimits) -> QueryError {
    let message = message(error);
    match error.code().map(|code| code.code()) {
        Some("57014") => QueryError::TimeLimit { time: limits.time },
        Some("25006") => QueryError::NotAllowed { reason: format!("queries only read: {message}") },
        Some("42501") => {
            QueryError::NotAllowed { reason: format!("{message}: query the tables of the view") }
        }
        Some("42601") if message.contains("multiple commands") => {
            QueryError::NotOneStatement { found: "more than one statement" }
        }
        None if !is_lost(error) => QueryError::Sql { database: "PostgreSQL", message },
        _ if kind(error) == DatabaseErrorKind::Transient => QueryError::Busy { message },
        _ => QueryError::Sql { database: "PostgreSQL", message },
    }
}
