//! What the login that answers queries may do beyond reading, and the lines that take it away.

use tokio_postgres::{Client, Error};

use crate::postgres::error::{connect_message, message};
use crate::postgres::url::{Login, PostgresUrl};

/// Functions that a read-only transaction may call, and that do more than read.
const FUNCTIONS: [&str; 27] = [
    "lo_create",
    "lo_creat",
    "lo_from_bytea",
    "lo_import",
    "lo_export",
    "lo_open",
    "lo_put",
    "lo_truncate",
    "lo_unlink",
    "lowrite",
    "pg_notify",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "pg_cancel_backend",
    "pg_terminate_backend",
    "pg_export_snapshot",
    "pg_logical_emit_message",
    "pg_log_backend_memory_contexts",
    "set_config",
    "txid_current",
    "pg_current_xact_id",
];

/// Why the rights of the logins could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolesError {
    /// The database did not answer.
    #[error("cannot read the rights of the logins: {message}")]
    Database {
        /// What it said.
        message: String,
    },
    /// The login that answers queries does not exist.
    #[error("there is no login `{login}`: `create role {login} login` makes it")]
    NoReader {
        /// The login.
        login: String,
    },
}

/// The SQL lines for a superuser that leave the reader nothing but reading, with a comment line before what no `revoke` can
/// mend. Empty if there is nothing to do. Connects as the runner, and blocks its thread.
///
/// # Errors
/// [`RolesError`].
pub fn check_roles(url: &PostgresUrl) -> Result<Vec<String>, RolesError> {
    let failed = |message: String| RolesError::Database { message };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    runtime.block_on(async {
        let connected = url.address(Login::Runner).connect().await;
        let connected = connected.map_err(|error| failed(connect_message(&error)))?;
        let connection = tokio::spawn(connected.connection);
        let lines = lines(&connected.client, &url.reader).await.map_err(|error| failed(message(&error)))?;
        connection.abort();
        lines.ok_or_else(|| RolesError::NoReader { login: url.reader.clone() })
    })
}

/// The lines; `None` if there is no such login.
async fn lines(client: &Client, reader: &str) -> Result<Option<Vec<String>>, Error> {
    let attributes = "select rolsuper, rolcreatedb or rolcreaterole or rolreplication or rolbypassrls
        from pg_roles where rolname = $1";
    let Some(role) = client.query_opt(attributes, &[&reader]).await? else { return Ok(None) };
    let mut lines = Vec::new();
    if role.get(0) || role.get(1) {
        lines.push("-- The reader may do anything, or make roles and databases.".to_owned());
        let name = super::names::quoted(reader);
        lines.push(format!(
            "alter role {name} nosuperuser nocreatedb nocreaterole noreplication nobypassrls;"
        ));
    }
    let memberships = "select format('revoke %I from %I;', g.rolname, m.rolname) from pg_auth_members a
        join pg_roles g on g.oid = a.roleid join pg_roles m on m.oid = a.member where m.rolname = $1 order by 1";
    let schemas = "select format('revoke create on schema %I from public;', nspname) from pg_namespace
        where nspname !~ '^pg_' and has_schema_privilege($1, oid, 'create') order by 1";
    let database = "select format('revoke %s on database %I from public;', right_, current_database())
        from unnest(array['create', 'temporary']) as right_
        where has_database_privilege($1, current_database(), right_) order by 1";
    for sql in [memberships, schemas, database] {
        lines.extend(client.query(sql, &[&reader]).await?.iter().map(|row| row.get::<_, String>(0)));
    }
    let functions =
        "select format('revoke execute on function %s from public;', p.oid::regprocedure) from pg_proc p
        where has_function_privilege($1, p.oid, 'execute') and (
            p.proname = any ($2) and p.pronamespace = 'pg_catalog'::regnamespace
            or p.provolatile = 'v' and exists (select 1 from pg_depend d
                where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'))
        order by 1";
    let names = FUNCTIONS.map(str::to_owned).to_vec();
    let functions = client.query(functions, &[&reader, &names]).await?;
    lines.extend(functions.iter().map(|row| row.get::<_, String>(0)));
    Ok(Some(lines))
}
