//! The parked streams of a version, in its database.

use gesta_core::{Position, Version};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, Row};

use crate::parked::{ParkedChange, ParkedStream, ParkedStreams};

/// The table of the parked streams. A file of an older release gets it when its runner opens it.
pub(crate) const PARKED_TABLE: &str = "
    create table if not exists gesta_parked (stream text primary key, version integer not null, partition integer not null,
        sequence integer not null, error text not null);";

/// Reads all parked streams.
pub(crate) fn read_parked(connection: &Connection) -> rusqlite::Result<ParkedStreams> {
    let mut select =
        connection.prepare("select stream, version, partition, sequence, error from gesta_parked")?;
    select.query_map([], parked_stream)?.collect()
}

fn parked_stream(row: &Row<'_>) -> rusqlite::Result<ParkedStream> {
    let number = |at| unsigned(at, row.get::<_, i64>(at)?);
    Ok(ParkedStream {
        stream: row.get(0)?,
        version: Version::new(number(1)?),
        position: Position { partition: row.get(2)?, sequence: number(3)? },
        error: row.get(4)?,
    })
}

fn unsigned(at: usize, number: i64) -> rusqlite::Result<u64> {
    u64::try_from(number).map_err(|error| Error::FromSqlConversionFailure(at, Type::Integer, Box::new(error)))
}

/// Writes changes of the parked streams, within a transaction of the caller.
pub(crate) fn write_parked(connection: &Connection, changes: &[ParkedChange]) -> rusqlite::Result<()> {
    for change in changes {
        match change {
            ParkedChange::Put(parked) => {
                let ParkedStream { stream, version, position, error } = &**parked;
                let put = "insert or replace into gesta_parked values (?1, ?2, ?3, ?4, ?5)";
                let values = (
                    stream,
                    version.get().cast_signed(),
                    position.partition,
                    position.sequence.cast_signed(),
                    error,
                );
                connection.prepare_cached(put)?.execute(values)?;
            }
            ParkedChange::Remove(stream) => {
                connection.prepare_cached("delete from gesta_parked where stream = ?1")?.execute([stream])?;
            }
        }
    }
    Ok(())
}
