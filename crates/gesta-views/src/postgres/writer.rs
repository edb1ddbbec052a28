//! Pages: the statements of all handlers, pipelined in the order of the events, and one transaction of rows and place.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use gesta_consumer::{Reach, Stop};
use gesta_core::RecordedEvent;
use tokio_postgres::{Error, Statement};

use crate::limits::PIPELINE_STATEMENTS_MAX;
use crate::plan::Plan;
use crate::postgres::error::{is_missing_object, kind, message};
use crate::postgres::parked::write_parked;
use crate::postgres::rows::RowTables;
use crate::postgres::values::Param;
use crate::postgres::version::PostgresVersion;
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::target::{self, Durability, Outcome, PageWrite, Role, Version as _};

const ACTION: &str = "write to the view";

/// Writes pages to a version.
pub(crate) struct Writer<'v> {
    version: &'v PostgresVersion,
    plan: Plan<'v>,
    /// By handler, in the order of the file.
    statements: Vec<Vec<Statement>>,
    /// In place of statements, if the handlers are code.
    tables: Option<RowTables<'v>>,
    advance: Statement,
}

/// A statement that was sent.
struct Sent<F> {
    answer: Answer<F>,
    /// The index of its event in the page.
    event: usize,
    /// The indices of its handler and of the statement in it.
    place: (usize, usize),
}

enum Answer<F> {
    Waiting(Pin<Box<F>>),
    /// It was answered at once: it could not be sent.
    Done(Result<u64, Error>),
}

impl<'v> Writer<'v> {
    /// Prepares all statements on the version's connection.
    pub(crate) fn new(version: &'v PostgresVersion) -> Result<Self, RunError> {
        let (session, names) = (&version.session, &version.names);
        let path = format!("set search_path = {}", names.version);
        session.run(ACTION, session.client.batch_execute(&path))?;
        let plan = Plan::new(version.definition.parts());
        let mut statements = Vec::new();
        for handler in plan.parts.handlers() {
            let mut prepared = Vec::new();
            for (statement, _) in &handler.statements {
                let done = session.wait(session.client.prepare(&statement.sql)).ok_or(RunError::ShutDown)?;
                prepared.push(done.map_err(|error| version.unusable(&error))?);
            }
            statements.push(prepared);
        }
        // A version that another process replaced must not go on as the wanted one. As an older one it does.
        let is_wanted = match version.role {
            Role::Wanted => format!(
                "and not exists (select 1 from {}.view v where v.name = $1 and v.serves and v.made > this.made)",
                names.shared
            ),
            Role::Old => String::new(),
        };
        let advance = format!(
            "update {}.view as this set at = $4
             where name = $1 and hash = $2 and fence = $3 and at = $5 {is_wanted}",
            names.shared
        );
        let advance = session.run(ACTION, session.client.prepare(&advance))?;
        let tables = version.definition.page().map(|page| RowTables::new(version, page)).transpose()?;
        Ok(Self { version, plan, statements, tables, advance })
    }

    /// Applies a page. Everything that it sends is in one transaction.
    async fn page(&mut self, page: &PageWrite<'_>, stop: &Stop) -> Result<Outcome, RunError> {
        let PageWrite { events, pieces, from, to, parked, durability, .. } = page;
        let (version, client) = (self.version, &self.version.session.client);
        let failed = |error: Error| version.failed(ACTION, &error);
        let applied = match &mut self.tables {
            // It begins the transaction when it writes.
            Some(tables) => tables.apply(&pieces.of(events), stop).await?,
            None => {
                client.batch_execute("begin").await.map_err(failed)?;
                self.rows(events).await.map(|()| Outcome::Applied)?
            }
        };
        if applied == Outcome::Interrupted {
            return Ok(Outcome::Interrupted);
        }
        let (name, hash) = (version.definition.name(), version.definition.hash());
        write_parked(client, &version.names, (name, &hash), parked).await.map_err(failed)?;
        let (from, to) = (from.to_string(), to.to_string());
        // Compare and set, so that two runners of one view never both commit.
        let advanced = client.execute(&self.advance, &[&name, &hash, &version.fence, &to, &from]).await;
        if advanced.map_err(failed)? != 1 {
            return Err(version.fenced());
        }
        let commit = match durability {
            Durability::WithLater => "commit",
            Durability::Synced => "set local synchronous_commit = on; commit",
        };
        client.batch_execute(commit).await.map_err(failed)?;
        self.tables.iter_mut().for_each(RowTables::committed);
        Ok(Outcome::Applied)
    }

    /// Sends the statements of all handlers without waiting for each, and waits for all.
    async fn rows(&self, events: &[RecordedEvent]) -> Result<(), RunError> {
        let client = &self.version.session.client;
        let (mut fields, mut sent) = (Vec::new(), VecDeque::new());
        for (event, recorded) in events.iter().enumerate() {
            let mut fresh = Vec::new();
            let planned = self.plan.each_handler(recorded, &mut fields, |handler, parsed, fields| {
                for (at, (_, parameters)) in parsed.statements.iter().enumerate() {
                    let parameters = parameters.iter().map(|one| Param::from(one.value(recorded, fields)));
                    let parameters = parameters.collect::<Vec<_>>();
                    let execute = client.execute_raw(&self.statements[handler][at], parameters);
                    fresh.push((execute, (handler, at)));
                }
                Ok(Outcome::Applied)
            });
            for (execute, place) in fresh {
                sent.push_back(Sent { answer: send(execute).await, event, place });
            }
            // An earlier statement that failed is the reason to report.
            let keep = if planned.is_ok() { PIPELINE_STATEMENTS_MAX } else { 0 };
            self.receive(&mut sent, keep, events).await?;
            planned?;
        }
        self.receive(&mut sent, 0, events).await
    }

    /// Takes the answers of the oldest statements until `keep` are left.
    async fn receive<F: Future<Output = Result<u64, Error>>>(
        &self,
        sent: &mut VecDeque<Sent<F>>,
        keep: usize,
        events: &[RecordedEvent],
    ) -> Result<(), RunError> {
        while sent.len() > keep {
            let Some(Sent { answer, event, place }) = sent.pop_front() else { break };
            let done = match answer {
                Answer::Waiting(waiting) => waiting.await,
                Answer::Done(done) => done,
            };
            done.map_err(|error| self.statement_error(&events[event], place, &error))?;
        }
        Ok(())
    }

    /// The error of a statement. One that may pass is not that of the event: the disk is full, for example.
    fn statement_error(&self, event: &RecordedEvent, place: (usize, usize), error: &Error) -> RunError {
        if kind(error) == DatabaseErrorKind::Transient || is_missing_object(error) {
            return self.version.failed_to_write(error);
        }
        self.plan.statement_error(event, place, message(error), DatabaseErrorKind::Permanent)
    }
}

/// Starts a statement: the first poll of its future sends it.
async fn send<F: Future<Output = Result<u64, Error>>>(execute: F) -> Answer<F> {
    let mut waiting = Box::pin(execute);
    match poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await {
        Poll::Ready(done) => Answer::Done(done),
        Poll::Pending => Answer::Waiting(waiting),
    }
}

impl target::Writer for Writer<'_> {
    fn commit(&mut self, page: &PageWrite<'_>, stop: &Stop) -> Result<Outcome, RunError> {
        let session = &self.version.session;
        match session.wait(self.page(page, stop)) {
            None | Some(Ok(Outcome::Interrupted)) => return Ok(Outcome::Interrupted),
            Some(Ok(Outcome::Applied)) => {}
            Some(Err(error)) => {
                // If the connection is lost, the transaction ends with it.
                drop(session.wait(session.client.batch_execute("rollback")));
                return Err(self.version.unless_taken_over(error));
            }
        }
        if page.reach == Reach::Head {
            self.version.take_over()?;
        }
        Ok(Outcome::Applied)
    }
}
