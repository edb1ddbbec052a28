//! What readers see: the serving views, which a switch makes anew in one transaction, so that no statement sees a part of it.
//!
//! Programs read these views, and a switch waits for them. The queries of Gesta itself must neither hold up a switch nor wait for one, so they
//! look up which version serves and read its tables.

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::kept::{Kept, Rollback, Source};
use crate::postgres::database::is_alive;
use crate::postgres::error::failed;
use crate::postgres::names::{Names, literal, quoted};
use crate::postgres::parked::read_parked;
use crate::postgres::pure::tables_of;
use crate::postgres::session::Session;
use crate::run_error::{DatabaseErrorKind, RunError};

/// The name of the view with the place that all others show.
pub(crate) const CHECKPOINT: &str = "gesta_checkpoint";

const ACTION: &str = "switch the readers' views";

/// A right to select from a serving view, given by somebody.
pub(crate) struct Grant {
    view: String,
    /// The grantee as SQL text.
    grantee: String,
}

/// The hash of the version that serves.
pub(crate) fn serving_hash(session: &Session, names: &Names, view: &str) -> Result<Option<String>, RunError> {
    let sql = format!("select hash from {}.view where name = $1 and serves", names.shared);
    let row = session.run(ACTION, session.client.query_opt(&sql, &[&view]))?;
    Ok(row.map(|row| row.get(0)))
}

/// Drops the serving views, and gives the rights on them. Within a transaction.
///
/// The view of the checkpoint goes first: every query holds it, so the drop waits for queries before it locks anything else.
pub(crate) fn withdraw(session: &Session, names: &Names) -> Result<Vec<Grant>, RunError> {
    let schema = names.serving_plain();
    let rights =
        "select c.relname::text, coalesce(quote_ident(pg_get_userbyid(nullif(a.grantee, 0))), 'public')
        from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
        where n.nspname = $1 and c.relkind = 'v' and a.privilege_type = 'SELECT'";
    let grants = session.run(ACTION, session.client.query(rights, &[&schema]))?;
    let views = "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relkind = 'v' order by c.relname <> $2, c.relname";
    let views = session.run(ACTION, session.client.query(views, &[&schema, &CHECKPOINT]))?;
    for view in views {
        let drop = format!("drop view {}.{}", names.serving, quoted(view.get(0)));
        session.run(ACTION, session.client.batch_execute(&drop))?;
    }
    Ok(grants.into_iter().map(|row| Grant { view: row.get(0), grantee: row.get(1) }).collect())
}

/// Makes the serving views of a version, for the reader and for all who had rights on views of the same names. Within a
/// transaction.
pub(crate) fn publish(
    session: &Session,
    names: &Names,
    (view, hash): (&str, &str),
    reader: &str,
    grants: &[Grant],
) -> Result<(), RunError> {
    let (serving, version, shared) = (&names.serving, &names.version, &names.shared);
    let tables = session.run(ACTION, session.client.query(&tables_of(version), &[]))?;
    let tables = tables.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>();
    let mut sql = admission(names, (view, hash), reader, &tables);
    let (reader, name, hash) = (quoted(reader), literal(view), literal(hash));
    sql.push_str(&format!(
        "create schema if not exists {serving};
         create view {serving}.{CHECKPOINT} as select at from {shared}.view where name = {name} and hash = {hash};
         grant usage on schema {serving} to {reader};
         grant select on {serving}.{CHECKPOINT} to {reader};"
    ));
    for table in &tables {
        let table = quoted(table);
        sql.push_str(&format!(
            "create view {serving}.{table} as select * from {version}.{table};
             grant select on {serving}.{table} to {reader};"
        ));
    }
    for Grant { view, grantee } in grants.iter().filter(|grant| is_kept(grant, &tables)) {
        sql.push_str(&format!("grant select on {serving}.{} to {grantee};", quoted(view)));
    }
    sql.push_str(&format!(
        "update {shared}.view set serves = false where name = {name} and serves and hash <> {hash};
         update {shared}.view set serves = true,
             served = (select max(served) + 1 from {shared}.view where name = {name})
         where name = {name} and hash = {hash};"
    ));
    let done = session.wait(session.client.batch_execute(&sql)).ok_or(RunError::ShutDown)?;
    done.map_err(|error| {
        let failed = failed(ACTION, &session.database, &error);
        match error.code() == Some(&SqlState::UNDEFINED_OBJECT) {
            // The reader can be made while the view waits.
            true => failed.of_kind(DatabaseErrorKind::Transient),
            false => failed,
        }
    })
}

/// The SQL that lets the reader read a version without the serving views: which version serves, and its tables with their place.
fn admission(names: &Names, (name, hash): (&str, &str), reader: &str, tables: &[String]) -> String {
    let (name, hash, plain_reader, reader) = (literal(name), literal(hash), reader, quoted(reader));
    let Names { shared, version, .. } = names;
    let tables = tables.iter().map(|table| format!(", {version}.{}", quoted(table))).collect::<String>();
    // The rights on the shared table are given once, by one process at a time.
    format!(
        "do $do$ begin
             perform pg_advisory_xact_lock(hashtextextended({shared_name}, 0));
             if not has_column_privilege({reader_name}, {table_name}, 'hash', 'select') then
                 grant usage on schema {shared} to {reader};
                 grant select (name, hash, at, serves) on {shared}.view to {reader};
             end if;
         end $do$;
         create or replace view {version}.{CHECKPOINT} as select at from {shared}.view where name = {name} and hash = {hash};
         grant usage on schema {version} to {reader};
         grant select on {version}.{CHECKPOINT}{tables} to {reader};",
        shared_name = literal(shared),
        reader_name = literal(plain_reader),
        table_name = literal(&format!("{shared}.view")),
    )
}

/// Lets the reader read a version that serves already, if an older release has made it serve.
pub(crate) fn admit(
    session: &Session,
    names: &Names,
    (view, hash): (&str, &str),
    reader: &str,
) -> Result<(), RunError> {
    let lacking = "select 1 from pg_roles where rolname = $1 and not has_schema_privilege(oid, $2, 'usage')";
    let version = names.version_plain(hash);
    if session.run(ACTION, session.client.query_opt(lacking, &[&reader, &version]))?.is_none() {
        return Ok(());
    }
    let tables = session.run(ACTION, session.client.query(&tables_of(&names.version), &[]))?;
    let tables = tables.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>();
    let sql = admission(names, (view, hash), reader, &tables);
    session.run(ACTION, session.client.batch_execute(&sql))
}

fn is_kept(grant: &Grant, tables: &[String]) -> bool {
    grant.view == CHECKPOINT || tables.contains(&grant.view)
}

/// Drops the schemas and rows of all versions but `hash` and `old`. A newer one that a process is making stays.
pub(crate) fn drop_others(
    session: &Session,
    names: &Names,
    (view, hash): (&str, &str),
    old: Option<&str>,
) -> Result<(), RunError> {
    let sql = format!(
        "select hash from {0}.view v where name = $1 and hash <> $2 and hash is distinct from $3 and not serves
             and not (made > (select made from {0}.view where name = $1 and hash = $2) and {1})",
        names.shared,
        is_alive(&names.shared)
    );
    let others = session.run(ACTION, session.client.query(&sql, &[&view, &hash, &old]))?;
    for other in others {
        drop_version(session, names, view, other.get(0))?;
    }
    Ok(())
}

/// Drops the schema and the row of a version that does not serve.
pub(crate) fn drop_version(session: &Session, names: &Names, view: &str, hash: &str) -> Result<(), RunError> {
    let schema = quoted(&names.version_plain(hash));
    let sql = format!(
        "begin; set local lock_timeout = '1s'; drop schema if exists {schema} cascade;
         delete from {}.view where name = {} and hash = {} and not serves; commit",
        names.shared,
        literal(view),
        literal(hash)
    );
    if let Err(error) = session.wait(session.client.batch_execute(&sql)).ok_or(RunError::ShutDown)? {
        session.run(ACTION, session.client.batch_execute("rollback"))?;
        return Err(failed("drop an old version", &session.database, &error));
    }
    Ok(())
}

/// The versions that serve, or did before.
pub(crate) fn kept(session: &Session, names: &Names, view: &str) -> Result<Vec<Kept>, RunError> {
    let sql = format!(
        "select hash, served, at, file, definition, instead_of, since from {}.view where name = $1 and served > 0",
        names.shared
    );
    let rows = session.run("look for versions", session.client.query(&sql, &[&view]))?;
    let kept = |row: &Row| {
        Ok(Kept {
            hash: row.get(0),
            served: row.get(1),
            checkpoint: row.get::<_, String>(2).parse().ok(),
            parked: read_parked(session, names, (view, row.get(0)))?,
            rollback: rollback(row.get(5), row.get(6)),
            source: row.get::<_, Option<String>>(4).map(|text| Source { file: row.get(3), text }),
        })
    };
    rows.iter().map(kept).collect()
}

fn rollback(instead_of: Option<String>, since: Option<i64>) -> Option<Rollback> {
    instead_of.zip(since).map(|(instead_of, since)| Rollback { instead_of, since })
}

/// Records a rollback to a version, and takes any other one back.
pub(crate) fn roll_back(
    session: &Session,
    names: &Names,
    view: &str,
    to: Option<(&str, &Rollback)>,
) -> Result<(), RunError> {
    let value = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let hash = value(to.map(|(hash, _)| literal(hash)));
    let instead_of = value(to.map(|(_, rollback)| literal(&rollback.instead_of)));
    let since = value(to.map(|(_, rollback)| rollback.since.to_string()));
    let (shared, view) = (&names.shared, literal(view));
    let sql = format!(
        "begin; set local synchronous_commit = on;
         update {shared}.view set instead_of = null, since = null where name = {view} and instead_of is not null;
         update {shared}.view set instead_of = {instead_of}, since = {since} where name = {view} and hash = {hash};
         commit"
    );
    session.run("roll the view back", session.client.batch_execute(&sql))
}
