//! The tables that all views of a prefix share.

use gesta_core::StoreId;

use crate::postgres::error::{failed, impossible, is_race};
use crate::postgres::names::{literal, quoted};
use crate::postgres::parked::create_table;
use crate::postgres::session::Session;
use crate::run_error::{DatabaseErrorKind, RunError};

/// The format of the tables. A release that cannot use older tables raises it.
const FORMAT: i32 = 3;

/// The format without the table of parked streams. A release that knows no later one must not write beside one that parks.
const FORMAT_WITHOUT_PARKED: i32 = 2;

/// Makes the shared tables of a prefix if they are missing, and checks that they belong to this store.
pub(crate) fn install(session: &Session, prefix: &str, store: StoreId) -> Result<(), RunError> {
    let client = &session.client;
    let exists = "select 1 from pg_namespace where nspname = $1";
    if session.run("look for the tables of views", client.query_opt(exists, &[&prefix]))?.is_none() {
        make(session, prefix, store)?;
    }
    let (mut format, found) = read_store(session, prefix)?;
    if format == FORMAT_WITHOUT_PARKED {
        add_parked(session, prefix)?;
        format = read_store(session, prefix)?.0;
    }
    if format != FORMAT {
        let message =
            format!("the tables of `{prefix}` have format {format}, and this release knows {FORMAT}");
        return Err(impossible("use the prefix", &session.database, message));
    }
    if found != store.to_string() {
        return Err(RunError::ForeignPrefix { prefix: prefix.to_owned(), store: store.to_string(), found });
    }
    Ok(())
}

/// The format of the tables, and the store whose views they have.
fn read_store(session: &Session, prefix: &str) -> Result<(i32, String), RunError> {
    let sql = format!("select format, id from {}.store", quoted(prefix));
    let row = session.wait(session.client.query_one(&sql, &[])).ok_or(RunError::ShutDown)?;
    let row = row.map_err(|error| match super::error::is_missing_object(&error) {
        true => impossible(
            "use the prefix",
            &session.database,
            format!("the schema `{prefix}` has other tables: choose another `prefix`"),
        ),
        false => failed("look for the tables of views", &session.database, &error),
    })?;
    Ok((row.get(0), row.get(1)))
}

/// Adds the table of parked streams to tables of an older release, unless another process just does.
fn add_parked(session: &Session, prefix: &str) -> Result<(), RunError> {
    let schema = quoted(prefix);
    let sql = format!(
        "begin;
         {}
         update {schema}.store set format = {FORMAT};
         commit",
        create_table(&schema)
    );
    run_once(session, &sql)
}

/// What the schema of a prefix says of itself.
const COMMENT: &str = "views of a Gesta store: do not edit";

/// Refuses a prefix whose schemas could have the names of another prefix's: view `a_b` of `shop`, and view `b` of `shop_a`.
fn check_is_apart(session: &Session, prefix: &str) -> Result<(), RunError> {
    let near = format!(
        "select nspname::text from pg_namespace where obj_description(oid, 'pg_namespace') = {}
             and (starts_with(nspname, $1 || '_') or starts_with($1, nspname || '_')) limit 1",
        literal(COMMENT)
    );
    let Some(row) =
        session.run("look for the tables of views", session.client.query_opt(&near, &[&prefix]))?
    else {
        return Ok(());
    };
    let other: String = row.get(0);
    let message = format!("the views of `{other}` could have the same names: choose another `prefix`");
    Err(impossible("use the prefix", &session.database, message))
}

/// Makes the tables in one transaction.
fn make(session: &Session, prefix: &str, store: StoreId) -> Result<(), RunError> {
    check_is_apart(session, prefix)?;
    let (schema, store, comment) = (quoted(prefix), literal(&store.to_string()), literal(COMMENT));
    let sql = format!(
        "begin;
         create schema {schema};
         comment on schema {schema} is {comment};
         create table {schema}.store (one boolean primary key default true check (one), id text not null, format int not null);
         create table {schema}.runner (id text primary key, heartbeat timestamptz not null);
         create table {schema}.view (
             name text not null, hash text not null, version int not null, at text not null,
             fence bigint not null, runner text, made bigint not null,
             serves boolean not null default false, served bigint not null default 0,
             instead_of text, since bigint, file text not null, definition text,
             primary key (name, hash));
         create unique index on {schema}.view (name) where serves;
         {parked}
         insert into {schema}.store (id, format) values ({store}, {FORMAT});
         commit",
        parked = create_table(&schema)
    );
    run_once(session, &sql)
}

/// Runs a transaction that makes tables. If another process was first, its tables are there in a moment.
fn run_once(session: &Session, sql: &str) -> Result<(), RunError> {
    match session.wait(session.client.batch_execute(sql)).ok_or(RunError::ShutDown)? {
        Ok(()) => Ok(()),
        Err(error) => {
            session.run("make the tables of views", session.client.batch_execute("rollback"))?;
            let failed = failed("make the tables of views", &session.database, &error);
            Err(match is_race(&error) {
                true => failed.of_kind(DatabaseErrorKind::Transient),
                false => failed,
            })
        }
    }
}
