//! How far a long command is: a bar on a terminal, a line now and then elsewhere. To the error output, never into the data.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far a command is. Its length is in bytes of a file or in events, whichever is known.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
    done: Arc<AtomicU64>,
    whole: Option<u64>,
    events: u64,
}

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

impl Progress {
    /// Begins. `whole` is how much there is to do, if that is known; what is done is added to [`Self::counter`].
    pub(crate) fn new(whole: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(whole));
        let now = Instant::now();
        Self { bar, started: now, last_line: now, done: Arc::default(), whole, events: 0 }
    }

    /// Counts what is done.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.done)
    }

    /// Says that so many more events are dealt with.
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

    /// Events a second so far.
    pub(crate) fn rate(&self) -> u64 {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate for people"
        )]
        let rate = (self.events as f64 / seconds) as u64;
        rate
    }

    /// Seconds so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Ends: the bar goes away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, done: u64) {
        let share = self.whole.filter(|whole| *whole > 0).map(|whole| 100 * done / whole);
        let share = share.map_or(String::new(), |percent| format!("{percent} %, "));
        // A closed error output is no reason to stop.
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
