//! A group that delivers: its state, and what it does after each step.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use gesta_core::{Retry, StoreId};

use super::apart::ApartCounts;
use super::bounds::Bounds;
use super::deadlines::{Deadlines, Due};
use super::deliveries::Deliveries;
use super::members::Members;
use super::message::{CallId, Ended, Input, MoveTo, Output};
use super::progress::Progress;
use super::refill::Refilling;
use super::row::{Paused, Row};
use super::scan::Scan;
use super::selection::Selection;
use super::streams::{Slot, Streams};
use super::window::Window;
use crate::bugs::{Bug, planted};
use crate::group::name::GroupName;
use crate::group::settings::{GroupSettings, SettingsVersion};
use crate::group::status::Settled;

/// A group whose dealer owns its row.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) name: GroupName,
    pub(super) bounds: Bounds,
    pub(super) partitions: u16,
    pub(super) store: StoreId,
    pub(super) settings: GroupSettings,
    pub(super) settings_version: SettingsVersion,
    pub(super) selection: Selection,
    pub(super) paused: Option<Paused>,
    /// The reason of a stop that only an operator ends.
    pub(super) stopped: Option<String>,
    /// The reason why the log cannot be read and will not be without an operator. It is found again after a restart.
    pub(super) halted: Option<String>,
    /// The error of a read that is tried again.
    pub(super) unreadable: Option<String>,
    pub(super) scan: Scan,
    pub(super) streams: Streams,
    pub(super) refilling: Refilling,
    pub(super) deliveries: Deliveries,
    pub(super) members: Members,
    pub(super) progress: Progress,
    /// Streams that failed since an event was last handled, up to the number that makes an outage.
    pub(super) failing: HashSet<Slot>,
    pub(super) apart_counts: ApartCounts,
    pub(super) settled: Settled,
    /// A reset that waits for the operation on the row under way.
    pub(super) reset: Option<(CallId, MoveTo)>,
    /// Operators that wait for the removal.
    pub(super) removing: Vec<CallId>,
    pub(super) deadlines: Deadlines,
    /// The dealer's time.
    pub(super) now: Duration,
    pub(super) out: Vec<Output>,
}

impl Live {
    /// Starts from the row that this dealer has put.
    pub(super) fn new(
        name: GroupName,
        bounds: Bounds,
        row: Row,
        progress: Progress,
        deadlines: Deadlines,
        now: Duration,
    ) -> Self {
        let partitions =
            u16::try_from(row.scanned.sequences().len()).expect("a checkpoint has at most 1,024 places");
        let window = Window::new(bounds.window_events_max, bounds.window_bytes_max);
        let order = row.settings.order;
        let scan = Scan::new(&row.scanned, &row.behind, order);
        let mut live = Self {
            name,
            partitions,
            store: row.store,
            deliveries: Deliveries::new(row.store, row.epoch),
            streams: Streams::new(order, partitions, bounds.stream_events_max, window),
            bounds,
            selection: Selection::new(row.items),
            settings: row.settings,
            settings_version: row.settings_version,
            paused: row.paused,
            stopped: row.stopped,
            halted: None,
            unreadable: None,
            scan,
            refilling: Refilling { by_number: HashMap::new(), number: 0, failures: 0, pauses_until: None },
            members: Members::default(),
            progress,
            failing: HashSet::new(),
            apart_counts: ApartCounts::default(),
            settled: Settled::default(),
            reset: None,
            removing: Vec::new(),
            deadlines,
            now,
            out: Vec::new(),
        };
        live.streams.scanned = live.scan.at().sequences().collect();
        live.set_apart(&row.apart);
        live
    }

    /// Takes what happened. Returns why the dealer ends, if it does.
    pub(super) fn take_input(&mut self, input: Input) -> Option<Ended> {
        match input {
            Input::Got(result) => return self.got(result),
            Input::Put(result) => return self.put_done(result),
            Input::Deleted(result) => return self.deleted(result),
            Input::Page(number, result) => self.page(number, result),
            Input::Refilled(number, result) => self.refilled(number, result),
            Input::Grown(number, result) => self.grown(number, result),
            Input::Take(call, take) => self.take(call, take),
            Input::Cancel(call) => self.cancel(call),
            Input::Unwritten(ids) => self.unwritten(&ids),
            Input::Change(call, change) => self.change(call, change),
            Input::Window(bytes) => self.streams.window.bytes_max = bytes,
            Input::Stop => self.end(false),
            Input::Tick => self.tick(),
        }
        None
    }

    /// Returns true if a reset can be put now.
    pub(super) const fn is_reset_due(&self) -> bool {
        self.reset.is_some() && self.progress.is_free()
    }

    /// Does what can be done now: deals, reads, puts.
    pub(super) fn pump(&mut self) {
        self.serve();
        self.refill();
        self.scan_on();
        self.put_if_due();
    }

    /// Does what has become due.
    pub(super) fn tick(&mut self) {
        while let Some(due) = self.deadlines.next_due(self.now) {
            match due {
                Due::Delivery(number) => self.expire(number),
                Due::Stream(slot) => self.wait_is_over(slot),
                Due::Call(call) => self.end_call(call),
                Due::Put => self.put_is_due(),
                Due::Scan => self.scan_again(),
                Due::Refills => self.refilling.pauses_until = None,
            }
        }
        self.members.forget_dead(self.now, self.settings.ack_time);
    }

    /// Returns true if members may get deliveries.
    pub(super) fn can_deal(&self) -> bool {
        (self.can_read() || (planted(Bug::PauseDeals) && self.paused.is_some()))
            && !self.progress.is_late(self.now)
            && self.progress.is_selection_durable()
    }

    /// Returns true if events may be read into the window.
    pub(super) fn can_read(&self) -> bool {
        self.paused.is_none() && self.stopped.is_none() && self.halted.is_none() && !self.progress.is_ending()
    }

    /// Stops the group until an operator resumes it.
    pub(super) fn stop(&mut self, reason: String) {
        if self.stopped.is_none() {
            self.stopped = Some(reason);
        }
        self.progress.change_at_once(self.now);
        self.refuse_calls();
    }

    /// Stops the group because the log cannot be read. A restart or a resume tries again.
    pub(super) fn halt(&mut self, reason: String) {
        self.halted = Some(reason);
        self.refuse_calls();
    }

    /// Ends all calls that wait, without deliveries.
    pub(super) fn refuse_calls(&mut self) {
        let calls = self.members.calls().keys().copied().collect::<Vec<CallId>>();
        calls.into_iter().for_each(|call| self.end_call(call));
    }
}

/// Returns true if an error passes by itself.
pub(super) const fn passes(retry: Retry) -> bool {
    matches!(retry, Retry::Now | Retry::AfterPause | Retry::Unknown)
}
