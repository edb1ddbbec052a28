//! What operators ask for: pause, resume, replay, skip, new settings, removal.
//!
//! Each change has its effect at once, and is answered after its put.

use gesta_core::{Checkpoint, Position, StreamName, Timestamp, Version};

use super::live::Live;
use super::message::{CallId, Change, Changed, MoveTo, Output};
use super::row::{Paused, Row};
use super::selection::Selection;
use super::streams::Slot;
use crate::bugs::{Bug, planted};
use crate::group::error::{ChangeError, PutError};
use crate::group::limits::QUERY_BYTES_MAX;
use crate::group::settings::{GroupSettings, SettingsError, SettingsVersion};

impl Live {
    /// Makes a change, or refuses it. A reset is made by the dealer.
    pub(super) fn change(&mut self, call: CallId, change: Change) {
        let changed = match change {
            Change::Settings { settings, expect, head } => {
                let put = self.apply_settings(*settings, expect, &head);
                return self.answer_settings(call, put);
            }
            Change::Host { settings, head, is_alone } => {
                let put = self.host(*settings, &head, is_alone);
                return self.answer_settings(call, put);
            }
            Change::Narrow(settings) => self.narrow(&settings).map(Changed::Narrowed),
            Change::Replay(streams) => self.replay(&streams).map(Changed::Replayed),
            Change::Skip { stream, through, position } => {
                self.skip(&stream, through, position).map(|()| Changed::Done)
            }
            Change::Pause { by, at } => Ok(self.pause(by, at)),
            Change::Resume => Ok(self.resume()),
            Change::Remove => {
                self.removing.push(call);
                return self.end(true);
            }
            Change::Reset(reset) => match self.reset.replace((call, reset)) {
                None => return,
                Some((call, _)) => {
                    let reason = "another reset is under way".to_owned();
                    return self.out.push(Output::Changed(
                        call,
                        Err(ChangeError::Busy { group: self.name.clone(), reason }),
                    ));
                }
            },
        };
        match changed {
            Ok(changed) => self.progress.answer_after_put(Output::Changed(call, Ok(changed)), self.now),
            Err(error) => self.out.push(Output::Changed(call, Err(error))),
        }
    }

    fn pause(&mut self, by: String, since: Timestamp) -> Changed {
        self.paused.get_or_insert(Paused { by, since });
        // What is on its way is read again after the pause. So a quiet group stays quiet.
        self.scan.restart();
        Changed::Done
    }

    fn resume(&mut self) -> Changed {
        self.paused = None;
        self.halted = None;
        if self.stopped.take().is_some() {
            self.clear_attempts();
        }
        self.scan.restart();
        Changed::Done
    }

    fn replay(&mut self, streams: &[StreamName]) -> Result<u32, ChangeError> {
        let not_parked =
            |stream: &StreamName| ChangeError::NotParked { group: self.name.clone(), stream: stream.clone() };
        let parked = |slot: &Slot| self.streams.get(*slot).is_parked;
        let named = streams.iter().map(|stream| {
            self.streams.find(stream.as_str()).filter(parked).ok_or_else(|| not_parked(stream))
        });
        let mut slots = named.collect::<Result<Vec<Slot>, _>>()?;
        if streams.is_empty() {
            slots = self.streams.iter().map(|(slot, _)| slot).filter(parked).collect();
        }
        slots.sort_unstable();
        slots.dedup();
        slots.iter().for_each(|slot| self.unpark(*slot));
        Ok(u32::try_from(slots.len()).unwrap_or(u32::MAX))
    }

    fn skip(&mut self, name: &StreamName, through: Version, at: Position) -> Result<(), ChangeError> {
        let not_parked = || ChangeError::NotParked { group: self.name.clone(), stream: name.clone() };
        let not_reached = || ChangeError::NotReached { stream: name.clone(), through };
        let group = self.name.clone();
        let busy = |reason| ChangeError::Busy { group, reason };
        let slot = self.streams.find(name.as_str()).ok_or_else(not_parked)?;
        let stream = self.streams.get(slot);
        if stream.delivery.is_some() {
            return Err(busy(format!("stream `{name}` has a delivery in flight")));
        }
        let is_stuck = stream.is_parked || stream.waits_until.is_some() || stream.attempts > 0;
        let Some(low) = stream.low().filter(|_| is_stuck) else { return Err(not_parked()) };
        if at.partition != stream.partition || at.sequence > self.scan.horizon().sequence(stream.partition) {
            return Err(not_reached());
        }
        if at.sequence < low {
            // Everything up to there has passed already, for example by this call's first sending.
            return Ok(());
        }
        let is_parked = stream.is_parked;
        if !is_parked && !self.set_apart_if_room(slot) {
            return Err(busy("it has no room for another stream with a place of its own".to_owned()));
        }
        self.skip_to(slot, at.sequence, through);
        if is_parked {
            self.unpark(slot);
        }
        Ok(())
    }

    fn answer_settings(&mut self, call: CallId, put: Result<SettingsVersion, PutError>) {
        let is_put = put.is_ok();
        let answer = Output::SettingsPut(call, put);
        if is_put {
            self.progress.answer_after_put(answer, self.now);
        } else {
            self.out.push(answer);
        }
    }

    fn apply_settings(
        &mut self,
        mut settings: GroupSettings,
        expected: SettingsVersion,
        head: &Checkpoint,
    ) -> Result<SettingsVersion, PutError> {
        settings.check()?;
        let (group, actual) = (self.name.clone(), self.settings_version);
        if expected != actual {
            return Err(PutError::Changed { group, expected, actual });
        }
        let base = self.selection.narrowed(&settings.query);
        let needs_quiet = base.is_some() || settings.order != self.settings.order;
        if let Some(reason) = self.business().filter(|_| needs_quiet) {
            return Err(PutError::Busy { group, reason });
        }
        let base = base.unwrap_or_else(|| self.selection.clone());
        let selection = self.widened(&base, &settings, head)?;
        settings.from = self.settings.from.clone();
        self.select(settings, selection);
        Ok(self.settings_version)
    }

    /// Gives the group the settings of its host. The query only grows.
    fn host(
        &mut self,
        mut settings: GroupSettings,
        head: &Checkpoint,
        is_alone: bool,
    ) -> Result<SettingsVersion, PutError> {
        settings.check()?;
        if let Some(reason) = self.business().filter(|_| settings.order != self.settings.order) {
            return Err(PutError::Busy { group: self.name.clone(), reason });
        }
        let mut selection = self.selection.clone();
        if planted(Bug::HostNarrows) {
            selection = selection.narrowed(&settings.query).unwrap_or(selection);
        }
        if is_alone || planted(Bug::TakeoverWidens) {
            selection = self.widened(&selection, &settings, head)?;
        }
        settings.from = self.settings.from.clone();
        settings.query = selection.query();
        if settings != self.settings || selection != self.selection {
            self.select(settings, selection);
        }
        Ok(self.settings_version)
    }

    /// Returns a selection with the items of a query that it lacks.
    ///
    /// They count from where no event was dealt or kept, and not before the head. Otherwise a newer event of a stream could reach the target
    /// before an older one.
    fn widened(
        &self,
        selection: &Selection,
        settings: &GroupSettings,
        head: &Checkpoint,
    ) -> Result<Selection, PutError> {
        if !head.is_comparable(self.scan.horizon()) {
            let reason = "its places belong to another store".to_owned();
            return Err(PutError::Busy { group: self.name.clone(), reason });
        }
        let head = if planted(Bug::SinceScanned) { self.scan.horizon() } else { head };
        let since = head.join(self.scan.horizon());
        let widened = selection.widened(&settings.query, &since).unwrap_or_else(|| selection.clone());
        check_query_bytes(&widened, &self.settings, &since)?;
        Ok(widened)
    }

    fn narrow(&mut self, settings: &GroupSettings) -> Result<SettingsVersion, ChangeError> {
        let Some(narrowed) = self.selection.narrowed(&settings.query) else {
            return Ok(self.settings_version);
        };
        if let Some(reason) = self.business() {
            return Err(ChangeError::Busy { group: self.name.clone(), reason });
        }
        if !narrowed.items().is_empty() {
            self.select(self.settings.clone(), narrowed);
        }
        Ok(self.settings_version)
    }

    /// Changes what is selected, and the other settings.
    fn select(&mut self, mut settings: GroupSettings, selection: Selection) {
        settings.query = selection.query();
        self.streams.order = settings.order;
        self.settings = settings;
        self.selection = selection;
        self.settings_version = self.settings_version.next();
        self.progress.change_selection(self.now);
        // A page on its way was asked for with the old query.
        if !planted(Bug::OldPageKept) {
            self.scan.restart();
        }
    }

    /// Returns what a change has to wait for that needs a quiet group; `None` if it is quiet.
    fn business(&self) -> Option<String> {
        if planted(Bug::NarrowsBusy) {
            return None;
        }
        if self.paused.is_none() {
            return Some("it is not paused".to_owned());
        }
        let in_flight = self.deliveries.in_flight_events();
        if in_flight > 0 {
            return Some(format!("{in_flight} events are in flight"));
        }
        let unfinished =
            self.streams.iter().filter(|(_, stream)| stream.low().is_some() || stream.apart.is_some());
        let unfinished = unfinished.count();
        if unfinished > 0 {
            return Some(format!("{unfinished} streams have unfinished events"));
        }
        (self.scan.horizon() != self.scan.at()).then(|| "it has not caught up after its start".to_owned())
    }

    /// Returns the row of the group at another place, in the next epoch, or what a reset has to wait for.
    pub(super) fn reset_row(&mut self, reset: &MoveTo) -> Result<Row, ChangeError> {
        let MoveTo { to, head, at } = reset;
        let busy = |reason: String| Err(ChangeError::Busy { group: self.name.clone(), reason });
        if self.paused.is_none() && self.stopped.is_none() && self.halted.is_none() {
            return busy("it is not paused".to_owned());
        }
        match self.deliveries.in_flight_events() {
            0 => {}
            events => return busy(format!("{events} events are in flight")),
        }
        let paused = self.paused.clone().unwrap_or(Paused { by: "reset".to_owned(), since: *at });
        self.progress.attempts += 1;
        let mut row = Row::new(self.settings.clone(), to);
        row.epoch = self.progress.epoch + 1;
        row.put = self.progress.attempts;
        row.is_running = true;
        row.paused = Some(paused);
        row.settings_version = self.settings_version;
        // An item of another store, or of a history that is lost, would count from a place that is never reached.
        row.items = self.selection.items().to_vec();
        for selected in &mut row.items {
            selected.since = match selected.since.is_comparable(head) {
                true => selected.since.meet(head),
                false => Checkpoint::start(head.store(), u16::try_from(head.sequences().len()).unwrap_or(1)),
            };
        }
        Ok(row)
    }
}

/// Checks that the query of a new group leaves room in the row.
///
/// # Errors
/// [`SettingsError`] if it is too long.
pub(crate) fn check_query_len(settings: &GroupSettings, from: &Checkpoint) -> Result<(), SettingsError> {
    check_query_bytes(&Selection::of(&settings.query, from), settings, from)
}

/// Checks that the query leaves room in the row.
fn check_query_bytes(
    selection: &Selection,
    settings: &GroupSettings,
    at: &Checkpoint,
) -> Result<(), SettingsError> {
    let mut row = Row::new(settings.clone(), at);
    row.items = selection.items().to_vec();
    match row.settings_len() {
        bytes if bytes <= QUERY_BYTES_MAX => Ok(()),
        bytes => Err(SettingsError {
            setting: "query",
            given: format!("{bytes} bytes long with the places of its items"),
            allowed: format!(
                "at most {QUERY_BYTES_MAX} bytes are allowed: name fewer streams, types or tags"
            ),
        }),
    }
}
