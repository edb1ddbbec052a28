//! The moments of a series.

use std::num::NonZeroU64;

use gesta_core::{Checkpoint, EventStore, ReadError, Timestamp, When};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};

/// The moments at which a series shows a state: the ends of hours, days, weeks, months or years in a time zone, or a
/// number of events each.
///
/// A calendar cut is the last nanosecond before the next period begins, so an event at midnight belongs to the day that begins.
/// Every cut from the entity's first event on is given, also where nothing changed.
#[derive(Debug, Clone)]
pub struct Cuts {
    pub(super) grid: Grid,
    pub(super) by: By,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    is_closed: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Grid {
    Events(NonZeroU64),
    Calendar { step: Step, zone: TimeZone },
}

/// The time of an event that counts for a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// When it was recorded. A cut is final once the log has a later event.
    #[default]
    RecordedAt,
    /// When it happened, as its producer said. Such a cut can always change: an event may come late.
    Time,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day, which has 23 or 25 hours where the clocks change.
    Day,
    /// A week from Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// These cuts do not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CutsError {
    /// No time zone has this name.
    #[error("`{name}` is not a time zone: give a name such as `Europe/Prague` or `UTC`")]
    UnknownZone {
        /// The name.
        name: String,
    },
    /// A time zone was named for a number of events.
    #[error("a number of events has no time zone: leave it out")]
    ZoneOfEvents,
    /// It is neither a period nor a number of events.
    #[error("`{text}` is not a step: give `hour`, `day`, `week`, `month`, `year`, or a number of events")]
    UnknownStep {
        /// The text.
        text: String,
    },
}

impl Cuts {
    /// The ends of periods in a time zone, named as in the IANA database.
    ///
    /// # Errors
    /// [`CutsError::UnknownZone`].
    pub fn every(step: Step, zone: &str) -> Result<Self, CutsError> {
        let zone = TimeZone::get(zone).map_err(|_| CutsError::UnknownZone { name: zone.to_owned() })?;
        Ok(Self::on(Grid::Calendar { step, zone }))
    }

    /// After each run of that number of events, and after the last event.
    #[must_use]
    pub const fn every_events(count: NonZeroU64) -> Self {
        Self::on(Grid::Events(count))
    }

    /// The cuts of a step as it is written: `hour`, `day`, `week`, `month` or `year` in a time zone, which is UTC if none is given, or a number of events,
    /// which has none.
    ///
    /// # Errors
    /// [`CutsError`].
    pub fn parse(step: &str, zone: Option<&str>) -> Result<Self, CutsError> {
        let period = match step {
            "hour" => Step::Hour,
            "day" => Step::Day,
            "week" => Step::Week,
            "month" => Step::Month,
            "year" => Step::Year,
            events => {
                let count = events.parse().map_err(|_| CutsError::UnknownStep { text: events.to_owned() })?;
                return match zone {
                    None => Ok(Self::every_events(count)),
                    Some(_) => Err(CutsError::ZoneOfEvents),
                };
            }
        };
        Self::every(period, zone.unwrap_or("UTC"))
    }

    const fn on(grid: Grid) -> Self {
        Self { grid, by: By::RecordedAt, from: None, to: None, is_closed: false }
    }

    /// Counts this time of the events. Cuts by events have no time.
    #[must_use]
    pub const fn by(mut self, by: By) -> Self {
        self.by = by;
        self
    }

    /// Leaves out calendar cuts before this time.
    #[must_use]
    pub const fn from(mut self, from: Timestamp) -> Self {
        self.from = Some(from);
        self
    }

    /// Leaves out calendar cuts after this time. Without it, the last one is the end of the period of the last event.
    #[must_use]
    pub const fn to(mut self, to: Timestamp) -> Self {
        self.to = Some(to);
        self
    }

    /// Makes every cut final: the series ends with the last calendar cut that has passed, and the store records nothing at or before it
    /// from then on. Only times of recording can be closed; see [`Self::check`].
    ///
    /// This writes to the store, unless it has a later event. Ask for it where an answer must not change any more.
    #[must_use]
    pub const fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    /// The time of the events that counts.
    #[must_use]
    pub const fn counts(&self) -> By {
        self.by
    }

    /// The bounds that [`Self::from`] and [`Self::to`] have set.
    #[must_use]
    pub const fn bounds(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        (self.from, self.to)
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// The bounds leave no moment, or nothing can be done with them, or the cuts cannot be closed.
    pub fn check(&self) -> Result<(), &'static str> {
        match (&self.grid, self.from, self.to) {
            (Grid::Calendar { .. }, Some(from), Some(to)) if from > to => {
                Err("`from` is later than `to`: no moment lies between them")
            }
            (Grid::Calendar { .. }, ..) if self.is_closed && self.by == By::Time => Err(
                "cuts by `time` cannot be closed, since an event may come late: count when events were recorded",
            ),
            (Grid::Events(_), from, to) if from.or(to).is_some() || self.by == By::Time => Err(
                "a number of events counts them in the order of the log: bounds and the time of events belong to a step of the calendar, such as `day`",
            ),
            (Grid::Events(_), ..) if self.is_closed => {
                Err("cuts by a number of events are final already: leave `closed` out")
            }
            _ => Ok(()),
        }
    }

    /// Closes the time of the last cut that has passed, if [`Self::closed`] asked for that. Returns the cuts, which then end with that one,
    /// and the place up to which the log is read; `None` if nothing was closed.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Invalid`] for cuts that cannot be closed, see [`Self::check`].
    pub async fn close(
        &self,
        store: &dyn EventStore,
        now: Timestamp,
    ) -> Result<(Self, Option<Checkpoint>), ReadError> {
        if !self.is_closed {
            return Ok((self.clone(), None));
        }
        self.check().map_err(|reason| ReadError::Invalid { reason: reason.to_owned() })?;
        match self.close_passed(store, now).await {
            // The store's clock is behind, and it decides.
            Err(ReadError::NotYet { now }) => self.close_passed(store, now).await,
            closed => closed,
        }
    }

    async fn close_passed(
        &self,
        store: &dyn EventStore,
        now: Timestamp,
    ) -> Result<(Self, Option<Checkpoint>), ReadError> {
        let before_now = Timestamp::from_nanos(now.as_nanos().saturating_sub(1));
        let Some(last) = self.last_up_to(self.to.map_or(before_now, |to| to.min(before_now))) else {
            // Nothing has passed, so nothing is shown.
            return Ok((self.clone().to(Timestamp::MIN), None));
        };
        let place = store.locate(When::ClosedAt(last)).await?;
        Ok((self.clone().to(last), Some(place)))
    }

    /// The last calendar cut at or before a moment; `None` if the cuts count events.
    #[must_use]
    pub fn last_up_to(&self, moment: Timestamp) -> Option<Timestamp> {
        let Grid::Calendar { step, zone } = &self.grid else { return None };
        let before = jiff::Timestamp::from_nanosecond(moment.as_nanos().into()).ok()?.to_zoned(zone.clone());
        // Two periods before it, an earlier cut is surely found, also where the clocks change.
        let before = before.checked_sub(match step {
            Step::Hour => 2.hours(),
            Step::Day => 2.days(),
            Step::Week => 2.weeks(),
            Step::Month => 2.months(),
            Step::Year => 2.years(),
        });
        let before = i64::try_from(before.ok()?.timestamp().as_nanosecond()).ok()?;
        ends(*step, zone.clone(), Timestamp::from_nanos(before)).take_while(|cut| *cut <= moment).last()
    }

    /// The number of events in a run; `None` if the cuts are by the calendar.
    #[must_use]
    pub const fn run(&self) -> Option<NonZeroU64> {
        match &self.grid {
            Grid::Events(count) => Some(*count),
            Grid::Calendar { .. } => None,
        }
    }

    /// The ends of periods from that of a moment on, up to the last time that the log keeps; `None` if the cuts count events. The
    /// bounds leave out none of them.
    #[must_use]
    pub fn ends(&self, moment: Timestamp) -> Option<impl Iterator<Item = Timestamp> + use<>> {
        match &self.grid {
            Grid::Events(_) => None,
            Grid::Calendar { step, zone } => Some(ends(*step, zone.clone(), moment)),
        }
    }

    /// The calendar cuts of an entity whose events happened from `first` to `last`.
    pub(super) fn moments(
        &self,
        step: Step,
        zone: &TimeZone,
        (first, last): (Timestamp, Timestamp),
    ) -> impl Iterator<Item = Timestamp> + use<> {
        let begin = self.from.map_or(first, |from| from.max(first));
        let end = self.to.or_else(|| end_of_period(step, zone, last)).unwrap_or(Timestamp::MAX);
        ends(step, zone.clone(), begin).take_while(move |cut| *cut <= end)
    }
}

/// The ends of periods from that of a moment on.
fn ends(step: Step, zone: TimeZone, moment: Timestamp) -> impl Iterator<Item = Timestamp> {
    let first = end_of_period(step, &zone, moment);
    let next = move |cut: &Timestamp| {
        let after = cut.as_nanos().checked_add(1)?;
        end_of_period(step, &zone, Timestamp::from_nanos(after))
    };
    std::iter::successors(first, next)
}

/// The last nanosecond of the period that a moment lies in; `None` beyond the times that the log keeps.
fn end_of_period(step: Step, zone: &TimeZone, moment: Timestamp) -> Option<Timestamp> {
    let moment = jiff::Timestamp::from_nanosecond(moment.as_nanos().into()).ok()?;
    let next = next_period(step, &moment.to_zoned(zone.clone()))?;
    let last = next.timestamp().as_nanosecond().checked_sub(1)?;
    i64::try_from(last).ok().map(Timestamp::from_nanos)
}

fn next_period(step: Step, moment: &Zoned) -> Option<Zoned> {
    let date = moment.date();
    let next = match step {
        Step::Hour => return next_hour(moment),
        Step::Day => date.tomorrow(),
        Step::Week => date.checked_add((7 - i64::from(date.weekday().to_monday_zero_offset())).days()),
        Step::Month => date.last_of_month().tomorrow(),
        Step::Year => date.last_of_year().tomorrow(),
    };
    begin_of(next.ok()?, moment.time_zone())
}

fn begin_of(date: Date, zone: &TimeZone) -> Option<Zoned> {
    date.to_zoned(zone.clone()).ok()?.start_of_day().ok()
}

/// The next full hour on the clock of the zone.
fn next_hour(moment: &Zoned) -> Option<Zoned> {
    const HOUR: i64 = 3_600;
    // Down, also before 1970.
    let second = i64::try_from(moment.timestamp().as_nanosecond().div_euclid(1_000_000_000)).ok()?;
    let local = second + i64::from(moment.offset().seconds());
    let to_next = HOUR - local.rem_euclid(HOUR);
    let next = jiff::Timestamp::from_second(second + to_next).ok()?;
    Some(next.to_zoned(moment.time_zone().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let moment = text.parse::<jiff::Timestamp>().unwrap();
        Timestamp::from_nanos(moment.as_nanosecond().try_into().unwrap())
    }

    fn cuts(step: Step, from: &str, to: &str) -> Vec<String> {
        let cuts = Cuts::every(step, "Europe/Prague").unwrap();
        let Grid::Calendar { step, zone } = &cuts.grid else { unreachable!() };
        let moments = cuts.moments(*step, zone, (at(from), at(to)));
        let next = |cut: Timestamp| jiff::Timestamp::from_nanosecond(i128::from(cut.as_nanos()) + 1).unwrap();
        moments.map(|cut| next(cut).to_string()).collect()
    }

    #[test]
    fn the_last_cut_up_to_a_moment_is_the_one_before_the_next() {
        for step in [Step::Hour, Step::Day, Step::Week, Step::Month, Step::Year] {
            let cuts = Cuts::every(step, "Europe/Prague").unwrap();
            let ends = cuts.ends(at("2026-03-25T12:00:00Z")).unwrap().take(300).collect::<Vec<_>>();
            for pair in ends.windows(2) {
                let before_next = Timestamp::from_nanos(pair[1].as_nanos() - 1);
                for moment in [pair[0], pair[0].next().unwrap(), before_next] {
                    assert_eq!(cuts.last_up_to(moment), Some(pair[0]), "{step:?} {moment}");
                }
            }
        }
        assert_eq!(Cuts::every_events(NonZeroU64::MIN).last_up_to(at("2026-03-25T12:00:00Z")), None);
    }

    #[test]
    fn days_have_23_or_25_hours_where_the_clocks_change() {
        let spring = cuts(Step::Day, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
        assert_eq!(spring, ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]);
        let autumn = cuts(Step::Day, "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
        assert_eq!(autumn, ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]);
    }

    #[test]
    fn an_event_at_midnight_belongs_to_the_period_that_begins() {
        let midnight = "2026-01-31T23:00:00Z";
        assert_eq!(cuts(Step::Day, midnight, midnight), ["2026-02-01T23:00:00Z"]);
        assert_eq!(cuts(Step::Month, midnight, midnight), ["2026-02-28T23:00:00Z"]);
        assert_eq!(cuts(Step::Year, midnight, midnight), ["2026-12-31T23:00:00Z"]);
        assert_eq!(cuts(Step::Hour, midnight, midnight), ["2026-02-01T00:00:00Z"]);
        let before_1970 = "1969-12-31T22:59:59.5Z";
        assert_eq!(cuts(Step::Hour, before_1970, before_1970), ["1969-12-31T23:00:00Z"]);
    }

    #[test]
    fn a_week_begins_on_monday() {
        assert_eq!(
            cuts(Step::Week, "2026-11-29T12:00:00Z", "2026-11-30T12:00:00Z"),
            ["2026-11-29T23:00:00Z", "2026-12-06T23:00:00Z"]
        );
    }

    #[test]
    fn a_series_ends_with_the_times_that_the_log_keeps() {
        let cuts = Cuts::every(Step::Year, "UTC").unwrap();
        let Grid::Calendar { step, zone } = &cuts.grid else { unreachable!() };
        assert_eq!(cuts.moments(*step, zone, (Timestamp::MAX, Timestamp::MAX)).count(), 0);
        assert!(Cuts::every(Step::Day, "Europe/Atlantis").is_err());
    }
}
