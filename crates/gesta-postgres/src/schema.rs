//! The tables of a store, and the step from an older format to this one.
//!
//! *Invariants:*
//! - No row of an event, stream, term, command or history is ever updated or deleted: triggers refuse it. So no dead
//!   rows stay under a long snapshot, and every place is found by an index.
//! - The row of `store` is the lock of the writers. It is selected `for update` and never updated.

use gesta_core::StoreId;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::OpenError;
use crate::fault::{Fault, describe};

/// The format that this program reads and writes.
pub(crate) const FORMAT: i32 = 1;

/// What the tables say of the store.
pub(crate) struct Found {
    pub(crate) id: [u8; 16],
    /// True if another store is being copied into the schema.
    pub(crate) is_unfinished: bool,
    has_floor: bool,
}

/// What a schema is opened for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// A store that must be there.
    Existing,
    /// A store, made if there is no such schema.
    Store,
    /// A copy of the store with this id, begun if there is no such schema.
    Copy([u8; 16]),
}

/// The table that a schema has while another store is being copied into it.
pub(crate) const COPYING: &str = "copying";
/// Makes that table, under the lock of the writers: what they append later is refused.
pub(crate) const BEGIN_COPY: &str = "select one from store for update; \
    create table if not exists copying (one bool primary key default true check (one))";
/// Removes it.
pub(crate) const END_COPY: &str = "drop table if exists copying";

/// The tables of format 1. They are made in the schema that `search_path` names.
const TABLES: &str = r#"
create table store (
    one    bool  primary key default true check (one),
    id     bytea not null check (octet_length(id) = 16),
    format int   not null
);
create table history (
    timeline      bigint      primary key,
    from_position bigint      not null,
    at            timestamptz not null default clock_timestamp()
);
create table stream (
    sid      bigint   primary key,
    name     text     collate "C" not null unique,
    category text     collate "C" not null,
    lane     smallint not null
);
create index stream_category on stream (category, sid);
create table event (
    position    bigint primary key,
    batch_end   bigint not null,
    sid         bigint not null,
    version     bigint not null,
    recorded_at bigint not null,
    id          bytea  not null,
    record      bytea  not null,
    unique (sid, version),
    unique (id, sid)
);
create table term (
    term     bigint not null,
    position bigint not null,
    primary key (term, position)
);
create table command (
    key     bytea  primary key,
    request bytea  not null,
    first   bigint not null,
    last    bigint not null
);
create table revision (
    one  bool   primary key default true check (one),
    last bigint not null
);
insert into revision (last) values (0);
create table value (
    name     text   collate "C" primary key,
    value    bytea  not null,
    revision bigint not null
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the table % of an event store is never changed: % refused', tg_table_name, tg_op
        using errcode = 'restrict_violation';
end $$;

-- The first version of a stream whose event lies after a place. Versions and positions grow together, so it bisects.
create function first_version_after(of_sid bigint, place bigint) returns bigint language plpgsql stable as $$
declare
    low  bigint := 0;
    high bigint;
    mid  bigint;
begin
    select version + 1 into high from event where sid = of_sid order by version desc limit 1;
    high := coalesce(high, 0);
    while low < high loop
        mid := (low + high) / 2;
        if (select position from event where sid = of_sid and version = mid) > place then
            high := mid;
        else
            low := mid + 1;
        end if;
    end loop;
    return low;
end $$;

-- The last position that was recorded at a time or earlier; 0 if there is none. Both grow together, so it bisects.
create function position_at(moment bigint) returns bigint language plpgsql stable as $$
declare
    low  bigint := 0;
    high bigint;
    mid  bigint;
begin
    select position into high from event order by position desc limit 1;
    high := coalesce(high, 0);
    while low < high loop
        mid := (low + high + 1) / 2;
        if (select recorded_at from event where position = mid) <= moment then
            low := mid;
        else
            high := mid - 1;
        end if;
    end loop;
    return low;
end $$;
"#;

/// The times that events have at least: each closed time has added one. It is no part of format 1, and every open makes it.
const FLOOR: &str = r#"
create table floor (recorded_at bigint primary key);
create trigger never_changes before update or delete or truncate on floor
    for each statement execute function refuse_change();
"#;

/// The table of snapshots. It is no part of the format.
const SNAPSHOTS: &str = r#"create unlogged table if not exists snapshot (
    store       bytea  not null,
    kind        bytea  not null,
    stream      text   collate "C" not null,
    version     bigint not null,
    state_bytes bigint not null,
    value       bytea  not null,
    primary key (store, kind, stream, version)
)"#;

/// Makes the table of snapshots, unless it is there.
pub(crate) async fn make_snapshots(client: &Client) -> Result<(), Fault> {
    let row = client.query_one("select to_regclass('snapshot') is not null", &[]).await?;
    if row.try_get(0)? {
        return Ok(());
    }
    match client.batch_execute(SNAPSHOTS).await {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let text = describe(&error);
            let help = "let the owner of the schema open its snapshots once, then grant `select`, `insert`, `update` and `delete` on the table `snapshot`";
            Err(Fault::Refused(format!("there is no table of snapshots ({text}): {help}")))
        }
        // Another process was faster.
        Err(error) if !is_there(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// The tables whose rows never change.
const FIXED: [&str; 6] = ["store", "history", "stream", "event", "term", "command"];

/// Makes the schema with what it is opened for, unless it is there; then reads what is there.
///
/// `search_path` must be the schema alone.
pub(crate) async fn open(client: &Client, schema: &str, purpose: Purpose) -> Result<Found, OpenError> {
    let found = match look(client, schema).await? {
        Some(found) => found,
        None => make_and_look(client, schema, purpose).await?,
    };
    if !found.has_floor {
        make_floor(client, schema).await?;
    }
    let refused = |reason: String| Err(OpenError::Refused { reason });
    match purpose {
        Purpose::Existing | Purpose::Store if found.is_unfinished => refused(format!(
            "the schema `{schema}` holds an unfinished copy: run `gesta copy` again, it goes on"
        )),
        Purpose::Copy(of) if found.id != of => refused(format!(
            "the schema `{schema}` holds the store {}: name another schema with `?schema=`",
            StoreId::from_bytes(found.id)
        )),
        _ => Ok(found),
    }
}

async fn make_floor(client: &Client, schema: &str) -> Result<(), OpenError> {
    match client.batch_execute(FLOOR).await {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Err(OpenError::Refused {
            reason: format!(
                "the store in schema `{schema}` is of an older release and has no table `floor` ({}): let the owner of the schema open the store once, then `grant select, insert on {schema}.floor`",
                describe(&error)
            ),
        }),
        // Another process was faster.
        Err(error) if !is_there(&error) => Err(refused(schema, &error)),
        _ => Ok(()),
    }
}

async fn make_and_look(client: &Client, schema: &str, purpose: Purpose) -> Result<Found, OpenError> {
    let (id, is_copy) = match purpose {
        Purpose::Existing => {
            return Err(OpenError::Refused { reason: format!("there is no store in the schema `{schema}`") });
        }
        Purpose::Store => (uuid::Uuid::now_v7().into_bytes(), false),
        Purpose::Copy(of) => (of, true),
    };
    match make(client, schema, id, is_copy).await {
        Ok(()) => {}
        // Another process was faster: what it made is read.
        Err(error) if is_there(&error) => drop(client.batch_execute("rollback").await),
        Err(error) => {
            drop(client.batch_execute("rollback").await);
            return Err(refused(schema, &error));
        }
    }
    look(client, schema).await?.ok_or_else(|| OpenError::Refused {
        reason: format!("the schema `{schema}` has no tables of a store, though they were made"),
    })
}

/// Are there tables or views in a schema, and which of those that are asked for?
const LOOK: &str = "with relation as (select relname::text as name from pg_class \
       where relnamespace = (select oid from pg_namespace where nspname = $1) and relkind in ('r', 'p', 'v', 'm')) \
     select exists (select from relation), array(select name from relation where name = any($2))";

/// Reads the store of a schema; `None` if the schema does not exist, or is empty.
async fn look(client: &Client, schema: &str) -> Result<Option<Found>, OpenError> {
    let failed = |error: tokio_postgres::Error| refused(schema, &error);
    let ours = FIXED.into_iter().chain([COPYING, "floor"]).collect::<Vec<_>>();
    let tables = client.query_one(LOOK, &[&schema, &ours]).await.map_err(failed)?;
    if !tables.get::<_, bool>(0) {
        return Ok(None);
    }
    let tables = tables.get::<_, Vec<&str>>(1);
    let has = |name: &str| tables.contains(&name);
    if !FIXED.iter().all(|name| has(name)) {
        return Err(OpenError::Refused {
            reason: format!(
                "the schema `{schema}` holds tables, and they are not those of a store: name another schema with `?schema=`"
            ),
        });
    }
    let row = client.query_one("select id, format from store", &[]).await.map_err(failed)?;
    let format = row.get::<_, i32>(1);
    if format != FORMAT {
        return Err(OpenError::Refused {
            reason: format!(
                "the store in schema `{schema}` has format {format}, and this program reads format {FORMAT}: use a newer release"
            ),
        });
    }
    let id = <[u8; 16]>::try_from(row.get::<_, &[u8]>(0));
    let id = id.map_err(|_| OpenError::Refused {
        reason: format!("the id of the store in `{schema}` is damaged"),
    })?;
    Ok(Some(Found { id, is_unfinished: has(COPYING), has_floor: has("floor") }))
}

async fn make(
    client: &Client,
    schema: &str,
    id: [u8; 16],
    is_copy: bool,
) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(&format!("begin; create schema if not exists \"{schema}\"")).await?;
    client.batch_execute(TABLES).await?;
    client.batch_execute(SNAPSHOTS).await?;
    client.batch_execute(FLOOR).await?;
    for table in FIXED {
        let trigger = format!(
            "create trigger never_changes before update or delete or truncate on {table} \
             for each statement execute function refuse_change()"
        );
        client.batch_execute(&trigger).await?;
    }
    if is_copy {
        client.batch_execute(BEGIN_COPY).await?;
    }
    let first = "insert into history (timeline, from_position) values (gesta_timeline(), 0)";
    client.batch_execute(&first.replace("gesta_timeline()", TIMELINE)).await?;
    client.execute("insert into store (id, format) values ($1, $2)", &[&&id[..], &FORMAT]).await?;
    client.batch_execute("commit").await
}

/// The timeline of the server: the first eight digits of the name of its WAL file.
pub(crate) const TIMELINE: &str =
    "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint";

/// True if the tables, the schema or one of their types exist already.
fn is_there(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [
            &SqlState::DUPLICATE_SCHEMA,
            &SqlState::DUPLICATE_TABLE,
            &SqlState::DUPLICATE_OBJECT,
            &SqlState::DUPLICATE_FUNCTION,
            &SqlState::UNIQUE_VIOLATION,
        ]
        .contains(&code)
    })
}

fn refused(schema: &str, error: &tokio_postgres::Error) -> OpenError {
    match error.code() {
        // A role without any right on the schema does not even see its tables.
        Some(code) if [&SqlState::INSUFFICIENT_PRIVILEGE, &SqlState::UNDEFINED_TABLE].contains(&code) => {
            OpenError::Refused {
                reason: format!(
                    "the role may not use the store in schema `{schema}` ({}): let its owner `grant usage on schema {schema}`, \
                 `grant select, insert on all tables in schema {schema}`, `grant update (one) on {schema}.store`, and \
                 `grant update, delete on {schema}.value, {schema}.revision, {schema}.snapshot`",
                    describe(error)
                ),
            }
        }
        Some(_) => OpenError::Refused { reason: describe(error) },
        None => OpenError::Unreachable { reason: describe(error) },
    }
}
