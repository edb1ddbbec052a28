//! The parked streams of a version, in the table that all views of a prefix share.

use gesta_core::{Position, Version};
use tokio_postgres::{Client, Error, Row};

use crate::parked::{ParkedChange, ParkedStream, ParkedStreams};
use crate::postgres::error::impossible;
use crate::postgres::names::Names;
use crate::postgres::session::Session;
use crate::run_error::RunError;

const ACTION: &str = "read the parked streams";

/// The columns of the table. The row of a version takes its parked streams with it.
pub(crate) fn create_table(schema: &str) -> String {
    format!(
        "create table {schema}.parked (
             name text not null, hash text not null, stream text not null, version bigint not null,
             partition int not null, sequence bigint not null, error text not null,
             primary key (name, hash, stream),
             foreign key (name, hash) references {schema}.view on delete cascade);"
    )
}

/// Reads all parked streams of a version.
pub(crate) fn read_parked(
    session: &Session,
    names: &Names,
    version: (&str, &str),
) -> Result<ParkedStreams, RunError> {
    let sql = format!(
        "select stream, version, partition, sequence, error from {}.parked where name = $1 and hash = $2",
        names.shared
    );
    let rows = session.run(ACTION, session.client.query(&sql, &[&version.0, &version.1]))?;
    let read = rows.iter().map(|row| parked_stream(row).ok_or_else(|| unreadable(session, row)));
    read.collect()
}

fn parked_stream(row: &Row) -> Option<ParkedStream> {
    let number = |at| u64::try_from(row.get::<_, i64>(at)).ok();
    let partition = u16::try_from(row.get::<_, i32>(2)).ok()?;
    let (stream, error) = (row.get(0), row.get(4));
    let (version, position) = (Version::new(number(1)?), Position { partition, sequence: number(3)? });
    Some(ParkedStream { stream, version, position, error })
}

fn unreadable(session: &Session, row: &Row) -> RunError {
    let message = format!("the place of the parked stream `{}` was changed", row.get::<_, String>(0));
    impossible(ACTION, &session.database, message)
}

/// Writes changes of the parked streams of a version, within a transaction of the caller.
pub(crate) async fn write_parked(
    client: &Client,
    names: &Names,
    (name, hash): (&str, &str),
    changes: &[ParkedChange],
) -> Result<(), Error> {
    for change in changes {
        match change {
            ParkedChange::Put(parked) => {
                let put = format!(
                    "insert into {}.parked values ($1, $2, $3, $4, $5, $6, $7)
                     on conflict (name, hash, stream) do update set version = excluded.version,
                         partition = excluded.partition, sequence = excluded.sequence, error = excluded.error",
                    names.shared
                );
                let ParkedStream { stream, version, position, error } = &**parked;
                let (version, sequence) = (version.get().cast_signed(), position.sequence.cast_signed());
                // PostgreSQL stores no character with the number 0.
                let (partition, error) = (i32::from(position.partition), error.replace('\0', "\u{fffd}"));
                client
                    .execute(&put, &[&name, &hash, stream, &version, &partition, &sequence, &error])
                    .await?;
            }
            ParkedChange::Remove(stream) => {
                let remove = format!(
                    "delete from {}.parked where name = $1 and hash = $2 and stream = $3",
                    names.shared
                );
                client.execute(&remove, &[&name, &hash, stream]).await?;
            }
        }
    }
    Ok(())
}
