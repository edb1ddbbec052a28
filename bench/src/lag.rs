//! Appends at a fixed rate, beside groups and views in the process: how long it takes until each has an event.

use std::sync::Arc;
use std::time::Duration;

use bench_core::{Call, Gesta, Latencies, Meter, Process, append_line};
use gesta_consumer::group::{Groups, Settlement, Take};
use gesta_core::{EventStore, Place, When};
use gesta_views::{Definition, Views};

use crate::asked::Asked;
use crate::group::{create, group, local_groups};
use crate::paced::{Acknowledged, EVENTS_PER_SECOND, append_all, batches_in};

const GROUPS: u64 = 4;
const VIEWS: u64 = 4;
/// Counts the events of each stream.
const COUNTS: &str = "-- dialect: sqlite
create table counts (entity text primary key, events integer not null) strict, without rowid;
-- on bench.happened
insert into counts values ($entity, 1) on conflict do update set events = events + 1;
";

pub fn run(asked: &Asked) {
    let lasts = asked.lasts(5.0);
    println!(
        "\n### lag: {EVENTS_PER_SECOND} events/s, durable, {GROUPS} groups and {VIEWS} views in the process\n"
    );
    println!(
        "| events at once | appended/s | CPU µs/event | groups: p50 ms | p99 ms | views: p50 ms | p99 ms |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for batch in [1, 10] {
        let row = measure(batch, lasts);
        println!("| {} |", row.replace(',', " | "));
        let heading =
            "batch,events_per_second,cpu_us_per_event,groups_p50_ms,groups_p99_ms,views_p50_ms,views_p99_ms";
        append_line(&asked.out.join("lag.csv"), heading, &row);
    }
}

fn measure(batch: u64, lasts: Duration) -> String {
    let folder = bench_core::folder();
    let log = Arc::clone(Gesta::open(folder.path(), Call::Blocking).log());
    let groups = local_groups(&log, &folder.path().join("state.db"));
    let store = Arc::clone(&log) as Arc<dyn EventStore>;
    let definitions = (0..VIEWS)
        .map(|number| Definition::parse(&format!("counts_{number}"), COUNTS).expect("a definition"));
    let views =
        Views::open(Arc::clone(&store), folder.path().join("views"), definitions.collect()).expect("views");
    (0..GROUPS).for_each(|number| create(&*groups, &format!("g-{number}"), Place::End));
    let batches = batches_in(lasts, batch);
    let count = batches * batch;
    let acknowledged = Acknowledged::start(count);
    let meter = Meter::start(Process::Own, folder.path());
    let (given, seen, appended, used) = std::thread::scope(|scope| {
        let (groups, views, store) = (&groups, &views, &*store);
        let acknowledged = &acknowledged;
        let members = (0..GROUPS)
            .map(|number| scope.spawn(move || take_all(&**groups, number, acknowledged, count)))
            .collect::<Vec<_>>();
        let probes = (0..VIEWS)
            .map(|number| scope.spawn(move || probe(views, number, store, count)))
            .collect::<Vec<_>>();
        append_all(&log, acknowledged, batch, batches);
        let appended = Duration::from_nanos(acknowledged.now());
        let given = members.into_iter().map(|member| member.join().expect("no panic"));
        let given = given.flatten().collect::<Vec<_>>();
        let seen = Latencies::merge(probes.into_iter().map(|probe| probe.join().expect("no panic")));
        (given, seen, appended, meter.stop())
    });
    groups.close();
    let mut delays = Latencies::default();
    given.into_iter().for_each(|(position, at)| delays.note(acknowledged.delay(position, at)));
    let delays = Latencies::merge([delays]);
    let millis = |latencies: &Latencies, share| latencies.quantile(share).as_secs_f64() * 1e3;
    format!(
        "{batch},{:.0},{:.2},{:.2},{:.2},{:.2},{:.2}",
        count as f64 / appended.as_secs_f64(),
        used.processor.as_secs_f64() * 1e6 / count as f64,
        millis(&delays, 0.5),
        millis(&delays, 0.99),
        millis(&seen, 0.5),
        millis(&seen, 0.99),
    )
}

/// The only member of a group, with an empty handler. Returns the time at which it got each event.
fn take_all(groups: &dyn Groups, number: u64, acknowledged: &Acknowledged, count: u64) -> Vec<(u64, u64)> {
    let mut given = Vec::with_capacity(usize::try_from(count).expect("memory for it"));
    let mut settle = Vec::new();
    while (given.len() as u64) < count {
        let take = Take::new("m".parse().expect("a name"), 1_000, Duration::from_secs(1));
        let take = Take { settle: std::mem::take(&mut settle), ..take };
        let taken = pollster::block_on(groups.take(group(&format!("g-{number}")), take)).expect("deliveries");
        let now = acknowledged.now();
        let events = taken.deliveries.iter().flat_map(|delivery| &delivery.events);
        given.extend(events.map(|event| (event.position().sequence, now)));
        settle.extend(taken.deliveries.iter().map(|delivery| Settlement::handled(delivery.id)));
    }
    given
}

/// Waits until a view has what has become durable, again and again. Returns how long each wait took.
fn probe(views: &Views, number: u64, store: &dyn EventStore, count: u64) -> Latencies {
    let mut waits = Latencies::default();
    let mut head = pollster::block_on(store.locate(When::Head)).expect("the head");
    while head.sequence(0) < count {
        head = pollster::block_on(store.wait_past(head)).expect("the head");
        let view = format!("counts_{number}");
        waits.time(|| pollster::block_on(views.wait_for(&view, &head)).expect("it catches up"));
    }
    waits
}
