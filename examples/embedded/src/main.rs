//! A web program with Gesta inside: the log, typed commands and a view behind routes of its own.
//!
//! `cargo run -p gesta-embedded` serves it on port 3000. `docs/embedding.md` goes through it part by part.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as Segments, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use bank::{Account, AccountCommand, AccountId};
use gesta::{EventStore, Gesta, Retry, SendError};
use gesta_log::LogStore;
use gesta_views::{Definition, QueryLimits, SqlValue, Views};

/// An answer: a status and a line of text.
type Answer = (StatusCode, String);

/// What the routes share.
struct Service {
    log: Arc<LogStore>,
    gesta: Gesta,
    views: Arc<Views>,
}

impl Service {
    /// Opens the log in `folder`, or creates it, and starts its views. One process at a time can have a folder open.
    fn open(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let log = Arc::new(LogStore::open(folder, &gesta_log::Options::default())?);
        let store: Arc<dyn EventStore> = Arc::clone(&log) as _;
        let definitions = bank::VIEWS.map(|(name, sql)| Definition::parse(name, sql));
        let definitions = definitions.into_iter().collect::<Result<Vec<_>, _>>()?;
        let views = Views::open(Arc::clone(&store), folder.join("views"), definitions)?;
        Ok(Self { log, gesta: Gesta::new(store), views: Arc::new(views) })
    }

    /// Stops the views, writes what is queued, and closes the log. Without it the next open recovers, as after a crash.
    fn close(&self) {
        self.views.shut_down();
        self.log.close();
    }
}

/// The routes of this program, and below `/gesta` the whole HTTP interface of the store.
fn router(service: &Arc<Service>) -> Router {
    let server =
        gesta_server::Server::builder(Arc::clone(&service.log) as _).views(Arc::clone(&service.views));
    Router::new()
        .route("/accounts/{id}/open/{owner}", post(open_account))
        .route("/accounts/{id}/deposit/{amount}", post(deposit))
        .route("/accounts/{id}/balance", get(balance))
        .route("/rich/{least}", get(rich))
        .with_state(Arc::clone(service))
        .nest("/gesta", server.build().router())
}

async fn open_account(
    State(service): State<Arc<Service>>,
    Segments((id, owner)): Segments<(String, String)>,
) -> Answer {
    command(&service, id, AccountCommand::Open { owner }).await
}

async fn deposit(
    State(service): State<Arc<Service>>,
    Segments((id, amount)): Segments<(String, std::num::NonZeroU32)>,
) -> Answer {
    command(&service, id, AccountCommand::Deposit { amount }).await
}

/// Sends a command, and waits until the view shows its effect.
async fn command(service: &Service, id: String, command: AccountCommand) -> Answer {
    match service.gesta.send::<Account>(&AccountId(id), command).await {
        Ok(committed) => match service.views.wait_for("balances", &committed.checkpoint).await {
            Ok(_) => (StatusCode::OK, committed.checkpoint.to_string()),
            Err(error) => (StatusCode::ACCEPTED, format!("committed; the view lags: {error}")),
        },
        Err(SendError::Refused(reason)) => (StatusCode::UNPROCESSABLE_ENTITY, reason.to_string()),
        Err(error) if error.retry() == Retry::Never => (StatusCode::BAD_REQUEST, error.to_string()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// Folds one account from its events: always the newest state.
async fn balance(State(service): State<Arc<Service>>, Segments(id): Segments<String>) -> Answer {
    match service.gesta.load::<Account>(&AccountId(id)).await {
        Ok(account) => (StatusCode::OK, account.state.balance.to_string()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// Asks the view about all accounts. SQLite blocks its thread, so the query runs on a thread for that.
async fn rich(State(service): State<Arc<Service>>, Segments(least): Segments<i64>) -> Answer {
    let query = move || {
        let sql = "select group_concat(owner, ', ' order by owner) from balances where balance >= :least";
        let parameters = [("least".to_owned(), SqlValue::Integer(least))];
        service.views.query("balances", sql, &parameters, &QueryLimits::default())
    };
    match tokio::task::spawn_blocking(query).await {
        Ok(Ok(rows)) => match &rows.rows[0][0] {
            SqlValue::Text(owners) => (StatusCode::OK, owners.clone()),
            _ => (StatusCode::OK, String::new()),
        },
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Err(panic) => (StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = Arc::new(Service::open(Path::new("embedded-data"))?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    axum::serve(listener, router(&service)).with_graceful_shutdown(stop).await?;
    service.close();
    Ok(())
}

#[cfg(test)]
mod tests;
