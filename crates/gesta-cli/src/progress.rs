//! Progress of a long command on the error output: a bar on a terminal, otherwise a line every few seconds.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The progress of a command, in bytes of a file or in events.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
    done: Arc<AtomicU64>,
    whole: Option<u64>,
    events: u64,
}

/// The time between two lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

impl Progress {
    /// Starts. `whole` is the total, if known. The finished part is added to [`Self::counter`].
    pub(crate) fn new(whole: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(whole));
        let now = Instant::now();
        Self { bar, started: now, last_line: now, done: Arc::default(), whole, events: 0 }
    }

    /// The counter of the finished part.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.done)
    }

    /// Counts `events` more.
    pub(crate) fn add(&mut self, events: u64) {
        self.events += events;
        let done = self.done.load(Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(format!("{} events, {}/s", self.events, self.rate()));
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            self.line(done);
        }
    }

    /// Events per second so far.
    pub(crate) fn rate(&self) -> u64 {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the rate is only displayed"
        )]
        let rate = (self.events as f64 / seconds) as u64;
        rate
    }

    /// Seconds so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, done: u64) {
        let share = self.whole.filter(|whole| *whole > 0).map(|whole| 100 * done / whole);
        let share = share.map_or(String::new(), |percent| format!("{percent} %, "));
        // A closed error output does not stop the command.
        let _ = writeln!(io::stderr(), "{share}{} events, {}/s", self.events, self.rate());
    }
}

fn bar(whole: Option<u64>) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(5);
    let bar = ProgressBar::with_draw_target(whole, target);
    let template = match whole {
        Some(_) => "{bar:30} {percent:>3} %  {msg}  {eta} left",
        None => "{spinner} {msg}",
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is well formed"))
}
