//! Stores side by side: measured in turns, printed as a table, written to a file of figures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::event::Events;
use crate::load::{Load, Measured, Work, measure};
use crate::rival::Rival;
use crate::scratch::{append_line, folder};

/// Measurements of each figure. The median is printed.
pub const ROUNDS: usize = 3;

/// Opens a store on an empty folder.
pub type Open = Box<dyn Fn(&Path) -> Box<dyn Rival>>;

/// A store that takes part. The others are compared with the first one.
pub struct Contender {
    /// Its name in the table, without a comma.
    pub name: &'static str,
    /// Opens it on an empty folder.
    pub open: Open,
    /// Changes the load to a comparable one: the bare work does the work of all clients at once.
    pub load: fn(Load) -> Load,
}

impl Contender {
    /// A contender that takes every load unchanged.
    pub fn new<R: Rival + 'static>(name: &'static str, open: impl Fn(&Path) -> R + 'static) -> Self {
        Self { name, open: Box::new(move |folder| Box::new(open(folder))), load: |load| load }
    }
}

/// The output of a figure: rows on the terminal and in a file.
pub struct Sheet {
    /// The file of comma-separated figures, one line for each store and load.
    pub file: PathBuf,
    /// Measurements of each row.
    pub rounds: usize,
    /// Only rows whose name contains this.
    pub only: String,
    /// Only stores whose name contains this.
    pub store: String,
}

impl Sheet {
    const HEADING: &str = "load,store,clients,batch,events_per_second,p50_us,p99_us,cpu_us_per_event,bytes_per_event,write_calls_per_event,flushes_per_event,peak_mb,ratio,ratio_low,ratio_high";

    fn note(&self, name: &str, store: &str, load: &Load, row: &Row, ratio: [f64; 3]) {
        let batch = match load.work {
            Work::Append { batch, .. } => batch,
            Work::ReadAll | Work::ReadStream { .. } => 0,
        };
        let mut line = format!("{name},{store},{},{batch}", load.clients);
        for figure in row.figures().into_iter().chain(ratio) {
            write!(line, ",{figure:.4}").expect("a string takes everything");
        }
        append_line(&self.file, Self::HEADING, &line);
    }
}

/// Measures stores in turns under one load, and prints a row for each. For appends each round has a new store. For
/// reads each store is filled once with the events.
pub fn compare(
    sheet: &Sheet,
    name: &str,
    contenders: &[Contender],
    load: Load,
    events: &dyn Fn() -> Events,
    fill: u64,
) {
    if !name.contains(&sheet.only) {
        return;
    }
    let contenders: Vec<_> =
        contenders.iter().filter(|contender| contender.name.contains(&sheet.store)).collect();
    if contenders.is_empty() {
        return;
    }
    println!("\n### {name}\n");
    println!("{}", Row::HEADING);
    let reads = !matches!(load.work, Work::Append { .. });
    let mut kept: Vec<_> = contenders.iter().map(|_| None).collect();
    let mut rounds: Vec<Vec<Measured>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..sheet.rounds {
        for (at, contender) in contenders.iter().enumerate() {
            let events = Arc::new(events());
            let Some(opened) = kept[at].take().or_else(|| Opened::new(contender, &load, &events, fill))
            else {
                continue;
            };
            let load = (contender.load)(load);
            rounds[at].push(measure(&*opened.rival, opened.folder.path(), &load, &events));
            kept[at] = reads.then_some(opened);
        }
    }
    let ours: Vec<_> = rounds[0].iter().map(Measured::rate).collect();
    for (contender, measured) in contenders.iter().zip(&rounds).filter(|(_, measured)| !measured.is_empty()) {
        let ratios = ours.iter().zip(measured).map(|(ours, theirs)| ours / theirs.rate());
        let ratio = spread(ratios.collect());
        let median = median_by(measured, Measured::rate);
        let row = Row::of(median);
        // `docs/benchmarks.md` explains the star.
        let star = if median.disk_at_rest { "" } else { " *" };
        println!("{}", row.print(&format!("{}{star}", contender.name), ratio));
        sheet.note(name, contender.name, &load, &row, ratio);
    }
}

/// A store and its folder. The store is dropped first.
struct Opened {
    rival: Box<dyn Rival>,
    folder: TempDir,
}

impl Opened {
    /// Opens a store and fills it; `None` if it cannot do the load.
    fn new(contender: &Contender, load: &Load, events: &Arc<Events>, fill: u64) -> Option<Self> {
        let folder = folder();
        let rival = (contender.open)(folder.path());
        if !rival.takes(load.work.guard()) {
            return None;
        }
        append_all(&*rival, events, fill);
        Some(Self { rival, folder })
    }
}

/// Appends `count` events in batches of a thousand, from a client that is not measured.
fn append_all(rival: &dyn Rival, events: &Events, count: u64) {
    let mut client = rival.client(u64::from(u32::MAX));
    crate::rival::runtime().block_on(async {
        while events.taken() < count {
            let batch = events.take(u64::from(u32::MAX), 1_000.min(count - events.taken()));
            client.append(&batch, crate::rival::Guard::None).await;
        }
    });
}

/// The element with the median key.
///
/// # Panics
/// If there are no elements.
pub fn median_by<T>(all: &[T], key: impl Fn(&T) -> f64) -> &T {
    let mut order: Vec<_> = all.iter().collect();
    order.sort_by(|a, b| key(a).total_cmp(&key(b)));
    order[order.len() / 2]
}

/// Median, minimum and maximum.
fn spread(mut all: Vec<f64>) -> [f64; 3] {
    all.sort_by(f64::total_cmp);
    [all[all.len() / 2], all[0], all[all.len() - 1]]
}

/// The printed figures of one store under one load.
struct Row {
    rate: f64,
    p50: f64,
    p99: f64,
    processor: f64,
    bytes: f64,
    write_calls: f64,
    flushes: f64,
    peak: f64,
}

impl Row {
    const HEADING: &str = "| | events/s | p50 µs | p99 µs | CPU µs/event | bytes/event | write calls/event | flushes/event | peak MB | the first is |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

    fn of(measured: &Measured) -> Self {
        let (used, events) = (&measured.used, measured.events.max(1) as f64);
        let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
        Self {
            rate: measured.rate(),
            p50: microseconds(measured.calls.quantile(0.5)),
            p99: microseconds(measured.calls.quantile(0.99)),
            processor: microseconds(used.processor) / events,
            bytes: used.disk.map_or(f64::NAN, |disk| disk.written_bytes as f64 / events),
            write_calls: used.write_calls as f64 / events,
            flushes: used.disk.map_or(f64::NAN, |disk| disk.flushes as f64 / events),
            peak: used.peak_bytes.map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20)),
        }
    }

    const fn figures(&self) -> [f64; 8] {
        let Self { rate, p50, p99, processor, bytes, write_calls, flushes, peak } = *self;
        [rate, p50, p99, processor, bytes, write_calls, flushes, peak]
    }

    fn print(&self, name: &str, [ratio, low, high]: [f64; 3]) -> String {
        let Self { rate, p50, p99, processor, bytes, write_calls, flushes, peak } = self;
        let missing = |figure: String| if figure == "NaN" { "–".to_owned() } else { figure };
        let (bytes, flushes) = (missing(format!("{bytes:.0}")), missing(format!("{flushes:.3}")));
        let peak = missing(format!("{peak:.0}"));
        format!(
            "| {name} | {rate:.0} | {p50:.0} | {p99:.0} | {processor:.2} | {bytes} | {write_calls:.3} | {flushes} | {peak} | {ratio:.2}× ({low:.2} to {high:.2}) |"
        )
    }
}
