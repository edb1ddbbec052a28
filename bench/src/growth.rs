//! The cost of the same calls while the log grows from one million events to a hundred million.
//!
//! The log has a million streams in random order and a tag for each event. At each size all figures are measured:
//! appends by a single caller and at a fixed rate, reads of streams that are the same at every size, conditions,
//! heads, ids that do not exist, and the open of a log whose process was killed.

mod probes;
mod restart;
mod steady;

use std::sync::Arc;
use std::time::Duration;

use bench_core::{
    Call, Events, Gesta, Guard, Ids, Latencies, Load, Streams, Work, append_line, measure, resident_bytes,
};
use gesta_log::Options;
use tempfile::TempDir;

use crate::asked::Asked;
use crate::disk::{Held, own_bytes};
use crate::rivals::Bare;

pub use restart::hold;

/// The sizes at which the log is measured.
const SIZES: [u64; 5] = [1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000];

/// `growth`: one file of figures for each kind of event ids.
pub fn run(asked: &Asked) {
    let most = asked.events.unwrap_or(100_000_000);
    let kind = match asked.ids {
        Ids::V4 => "v4",
        Ids::V7 => "v7",
    };
    let file = asked.out.join(format!("growth-{kind}.csv"));
    let mut growing = GrowingLog::new(asked);
    let mut rows: Vec<Row> = Vec::new();
    for size in SIZES.into_iter().filter(|&size| size <= most.max(SIZES[0])) {
        let row = growing.look(size);
        let (names, figures): (Vec<_>, Vec<_>) = row.0.iter().copied().unzip();
        let figures: Vec<_> = figures.iter().map(|figure| format!("{figure:.3}")).collect();
        append_line(&file, &names.join(","), &figures.join(","));
        rows.push(row);
    }
    print(&rows, kind);
}

/// A log that is filled in steps.
struct GrowingLog {
    folder: TempDir,
    /// `None` while another process has the log open.
    gesta: Option<Gesta>,
    events: Arc<Events>,
    ids: Ids,
    /// The part of the index in memory, if not the default.
    memory: Option<u64>,
    lasts: Duration,
}

/// Figures by name, at one size of the log.
struct Row(Vec<(&'static str, f64)>);

impl Row {
    fn add(&mut self, name: &'static str, figure: f64) {
        eprintln!("  {name:<24} {figure:>14.2}");
        self.0.push((name, figure));
    }

    fn add_calls(&mut self, [p50, p99]: [&'static str; 2], calls: Latencies) {
        let calls = Latencies::merge([calls]);
        self.add(p50, calls.quantile(0.5).as_secs_f64() * 1e6);
        self.add(p99, calls.quantile(0.99).as_secs_f64() * 1e6);
    }
}

impl GrowingLog {
    fn new(asked: &Asked) -> Self {
        let (ids, lasts) = (asked.ids, asked.lasts(2.0));
        let events = Arc::new(events(ids));
        let mut growing =
            Self { folder: bench_core::folder(), gesta: None, events, ids, memory: asked.memory, lasts };
        growing.open();
        growing
    }

    fn open(&mut self) {
        let mut options = Options::default();
        options.index_cache_bytes = self.memory.unwrap_or(options.index_cache_bytes);
        self.gesta = Some(Gesta::open_with(self.folder.path(), Call::Blocking, &options));
    }

    fn gesta(&self) -> &Gesta {
        self.gesta.as_ref().expect("the log is open")
    }

    /// Fills the log to a size and measures all figures.
    fn look(&mut self, size: u64) -> Row {
        let mut row = Row(Vec::new());
        row.add("events", size as f64);
        row.add("fill_per_second", self.fill(size));
        self.appends(&mut row);
        probes::reads(&mut row, self.gesta().log());
        probes::decisions(&mut row, self.gesta().log(), &self.events);
        probes::scattered(&mut row, self.gesta(), self.folder.path());
        self.sizes(&mut row);
        restart::after_kill(&mut row, self);
        row
    }

    /// Appends until the log has `size` events. Returns events per second.
    fn fill(&self, size: u64) -> f64 {
        let work = Work::Append { batch: 1_000, guard: Guard::None };
        let load = Load { clients: 8, work, lasts: Duration::from_millis(250), rests: false };
        let (mut count, mut took) = (0, Duration::ZERO);
        while self.events.taken() < size {
            let measured = measure(self.gesta(), self.folder.path(), &load, &self.events);
            count += measured.events;
            took += measured.took;
        }
        count as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn appends(&self, row: &mut Row) {
        let work = Work::Append { batch: 1, guard: Guard::None };
        let load = Load { clients: 1, work, lasts: self.lasts, rests: true };
        let singles = measure(self.gesta(), self.folder.path(), &load, &self.events);
        // The speed of the disk changes within hours: appends are compared with its speed now.
        let beside = bench_core::folder();
        let bare = measure(&Bare::open(beside.path()), beside.path(), &load, &Arc::new(events(self.ids)));
        let [own, its] = [&singles, &bare].map(|measured| measured.calls.quantile(0.5).as_secs_f64());
        row.add("single_over_bare", own / its);
        row.add_calls(["single_p50_us", "single_p99_us"], singles.calls);
        steady::run(row, self.gesta().log(), &self.events, self.lasts * 2);
    }

    fn sizes(&self, row: &mut Row) {
        let held = Held::by(self.folder.path());
        let own = own_bytes(&events(self.ids)) * self.events.taken() as f64;
        row.add("disk_ratio", held.used as f64 / own);
        row.add("disk_ratio_with_room", held.allocated as f64 / own);
        row.add("resident_mb", resident_bytes() as f64 / f64::from(1 << 20));
    }
}

/// The events of the log, from the first one.
fn events(ids: Ids) -> Events {
    Events::new(Streams::Growing).tagged().with_ids(ids)
}

/// Prints all figures over all sizes, and the change from the first size to the last.
fn print(rows: &[Row], kind: &str) {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
    let sizes = rows.iter().map(|row| format!(" {:.0} M |", row.0[0].1 / 1e6));
    println!("\n### as the log grows, ids {kind}\n\n| |{} last/first |", sizes.collect::<String>());
    println!("| --- |{} ---: |", " ---: |".repeat(rows.len()));
    for (at, (name, figure)) in first.0.iter().enumerate().skip(1) {
        let figures = rows.iter().map(|row| format!(" {:.2} |", row.0[at].1)).collect::<String>();
        println!("| {name} |{figures} {:.2} |", last.0[at].1 / figure);
    }
}
