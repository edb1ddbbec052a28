//! A consumer group of a server: how fast it hands out what is in the log to members over HTTP.

use std::sync::Arc;

use bench_core::{Call, Gesta, GestaServer};
use gesta_client::{ClientOptions, RemoteStore};
use gesta_core::Place;

use crate::asked::Asked;
use crate::figure::{Round, compare};
use crate::group::{BATCH, create, fill, handle, is_done, read_in_pages};

/// Events in the log.
const EVENTS: u64 = 200_000;

pub fn run(asked: &Asked) {
    let events = asked.events.unwrap_or(EVENTS) / BATCH * BATCH;
    let folder = bench_core::folder();
    fill(Arc::clone(Gesta::open(folder.path(), Call::Blocking).log()).as_ref(), events);
    let server = GestaServer::start(folder.path());
    let reader = client(&server);
    for members in [1, 4] {
        let mut number = 0;
        let ours = || {
            number += 1;
            let name = format!("g-{members}-{number}");
            // Each member has a client with a thread and connections, as in a process of its own.
            let members = (0..members).map(|_| client(&server)).collect::<Vec<_>>();
            create(&reader.groups(), &name, Place::Start);
            Round::time(|| {
                std::thread::scope(|scope| {
                    for (member, client) in (0..).zip(&members) {
                        let (groups, name) = (client.groups(), &name);
                        scope.spawn(move || handle(&groups, name, member, || is_done(&groups, name, events)));
                    }
                });
                events
            })
        };
        let name = format!("members: {events} events, {members} over HTTP");
        compare(&name, "events/s", ours, || read_in_pages(&reader, events));
    }
}

fn client(server: &GestaServer) -> RemoteStore {
    RemoteStore::connect(&server.url(), &ClientOptions::default()).expect("a server")
}
