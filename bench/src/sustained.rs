//! Appends with tags for a minute, to streams in random order: the rate that remains of the burst while the index is
//! merged.

use std::sync::Arc;

use bench_core::{Call, Events, Gesta, Guard, Load, Streams, Work, append_line, measure};

use crate::asked::Asked;

const STREAMS: u64 = 1_000_000;

pub fn run(asked: &Asked) {
    let lasts = asked.lasts(60.0);
    println!("\n### sustained for {} s, one tag each, streams in no order\n", lasts.as_secs_f64());
    println!(
        "| clients × batch | events/s | slowest second | p50 µs | p99 µs | p99.9 µs | longest ms | CPU µs/event | flushes/event | peak MB |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for batch in [100, 1_000] {
        let folder = bench_core::folder();
        let gesta = Gesta::open(folder.path(), Call::Blocking);
        let events = Arc::new(Events::new(Streams::Random(STREAMS)).tagged().with_ids(asked.ids));
        let load = Load { clients: 8, work: Work::Append { batch, guard: Guard::None }, lasts, rests: true };
        let pace = Pace::watch(Arc::clone(&events));
        let measured = measure(&gesta, folder.path(), &load, &events);
        let slowest = pace.slowest_second();
        let (calls, used) = (&measured.calls, &measured.used);
        let micros = |share| calls.quantile(share).as_secs_f64() * 1e6;
        let row = format!(
            "{:.0},{slowest},{:.0},{:.0},{:.0},{:.1},{:.2},{:.4},{:.0}",
            measured.rate(),
            micros(0.5),
            micros(0.99),
            micros(0.999),
            micros(1.0) / 1e3,
            used.processor.as_secs_f64() * 1e6 / measured.events as f64,
            used.disk.unwrap_or_default().flushes as f64 / measured.events as f64,
            used.peak_bytes.unwrap_or_default() as f64 / f64::from(1 << 20),
        );
        println!("| 8 × {batch} | {} |", row.replace(',', " | "));
        let heading = "batch,events_per_second,slowest_second,p50_us,p99_us,p999_us,longest_ms,cpu_us_per_event,flushes_per_event,peak_mb";
        append_line(&asked.out.join("sustained.csv"), heading, &format!("{batch},{row}"));
    }
}

/// Notes the number of appended events once a second.
struct Pace {
    stop: std::sync::mpsc::Sender<()>,
    watcher: std::thread::JoinHandle<Vec<u64>>,
}

impl Pace {
    fn watch(events: Arc<Events>) -> Self {
        let (stop, stopped) = std::sync::mpsc::channel();
        let watcher = std::thread::spawn(move || {
            let mut taken = vec![events.taken()];
            let second = std::time::Duration::from_secs(1);
            while stopped.recv_timeout(second) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                taken.push(events.taken());
            }
            taken
        });
        Self { stop, watcher }
    }

    /// The number of events in the slowest whole second.
    fn slowest_second(self) -> u64 {
        self.stop.send(()).expect("the watcher waits");
        let taken = self.watcher.join().expect("the watcher does not fail");
        taken.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or_default()
    }
}
