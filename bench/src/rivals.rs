//! Engines used as raw logs with an index per stream, with durable settings, compared with Gesta in the same run.
//!
//! Each append writes its events at the next positions, and an index entry (stream, version) for each, in one
//! transaction that is synced before it returns. The rivals check nothing and store no ids, types, tags or checksums
//! of events; Gesta does all of that. PostgreSQL alone also checks that versions of a stream are unique.

mod bare;
mod fjall;
pub mod postgres;
mod raw;
mod redb;
mod sqlite;

use bench_core::{Call, Contender, Events, Gesta, Guard, Load, Streams, Work, compare};

use crate::asked::Asked;
pub use bare::Bare;
use postgres::{CommitDelay, Postgres};
use raw::Raw;

/// Clients and events in a batch, for the rows that every store runs.
pub const APPENDS: [(u64, u64); 7] = [(1, 1), (8, 1), (64, 1), (1, 100), (1, 1_000), (8, 100), (8, 1_000)];

/// Events in a store before appends are measured, so that no store is measured in its first file.
pub const WARM_UP: u64 = 60_000;

/// The number of streams in logs that are read.
const STREAMS: u64 = 1_000;

/// All contenders, Gesta first.
pub fn all() -> Vec<Contender> {
    let mut all = vec![
        gesta("Gesta"),
        Contender::new("fjall 3", Raw::<fjall::Fjall>::open),
        Contender::new("redb 4", Raw::<redb::Redb>::open),
        Contender::new("SQLite", Raw::<sqlite::Sqlite>::open),
    ];
    if postgres::is_installed() {
        let open = |delay| move |folder: &std::path::Path| Postgres::start(folder, delay);
        all.push(Contender::new("PostgreSQL 15", open(CommitDelay::None)));
        all.push(Contender::new("PostgreSQL 15 (commit_delay)", open(CommitDelay::Tuned)));
    } else {
        println!("PostgreSQL: not measured, `initdb` and `pg_ctl` are not on the path");
    }
    all
}

/// Gesta, with blocking calls.
pub fn gesta(name: &'static str) -> Contender {
    Contender::new(name, |folder| Gesta::open(folder, Call::Blocking))
}

/// The bare work: the bytes of one append of each client, written and synced together.
pub fn bare() -> Contender {
    let together = |load: Load| match load.work {
        Work::Append { batch, guard } => {
            let work = Work::Append { batch: batch * load.clients, guard };
            Load { clients: 1, work, ..load }
        }
        Work::ReadAll | Work::ReadStream { .. } => load,
    };
    Contender { load: together, ..Contender::new("the bare work", Bare::open) }
}

/// `rivals`: every store in every row of appends.
pub fn appends(asked: &Asked) {
    let (sheet, all) = (asked.sheet("rivals"), all());
    for (clients, batch) in APPENDS {
        let work = Work::Append { batch, guard: Guard::None };
        let name = append_name(clients, batch);
        compare(&sheet, &name, &all, asked.load(clients, work), &|| Events::new(Streams::OfClient), WARM_UP);
    }
}

/// `clients`: single events by the number of clients.
pub fn clients(asked: &Asked) {
    let (sheet, all) = (asked.sheet("clients"), all());
    for clients in [1, 2, 4, 8, 16, 32, 64, 128] {
        let work = Work::Append { batch: 1, guard: Guard::None };
        let name = append_name(clients, 1);
        compare(&sheet, &name, &all, asked.load(clients, work), &|| Events::new(Streams::OfClient), WARM_UP);
    }
}

/// `reads`: every store read whole and by stream, from the page cache.
pub fn reads(asked: &Asked) {
    let sheet = asked.sheet("reads");
    let mut all = all();
    all.pop_if(|last| last.name.ends_with("(commit_delay)"));
    let newest_first = |folder: &std::path::Path| Gesta::open(folder, Call::Blocking).newest_first();
    all.insert(1, Contender::new("Gesta, newest first", newest_first));
    let events = asked.events.unwrap_or(1_000_000);
    for clients in [1, 2] {
        for (what, work) in [("all", Work::ReadAll), ("streams", Work::ReadStream { streams: STREAMS })] {
            let name = format!("read {what}, {events} events in {STREAMS} streams, {clients} readers");
            let made = || Events::new(Streams::Turns(STREAMS));
            compare(&sheet, &name, &all, asked.load(clients, work), &made, events);
        }
    }
}

/// The name of a row of appends.
pub fn append_name(clients: u64, batch: u64) -> String {
    format!("append, {clients} × {batch}")
}
