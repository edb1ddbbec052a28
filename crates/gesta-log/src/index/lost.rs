//! What damage has cost: exact where runs cover the damaged positions, elsewhere derived from the versions of
//! streams.
//!
//! *Invariant*: a run was written while the bytes it covers were valid, so it knows what stood at damaged positions.
//! Only positions outside all runs are in doubt.

use std::ops::RangeInclusive;

use gesta_core::Query;

use super::IndexSnapshot;
use super::key::{Key, Kind};
use super::lookup_error::{LookupError, ReadMode};
use super::part::PartRef;
use crate::damage::Damage;
use crate::limits::{DAMAGE_NAMED_MAX, LOST_STREAMS_NAMED_MAX};

impl IndexSnapshot {
    /// The first damaged position that no run covers; one past the damage if runs cover all of it.
    pub(crate) fn unknown_from(&self, damage: &Damage) -> u64 {
        let behind = self.runs.iter().fold(damage.from, |from, run| {
            let covers = (run.footer.first..=run.footer.last).contains(&from);
            if covers { run.footer.last + 1 } else { from }
        });
        behind.min(damage.to + 1)
    }

    /// Whether runs cover all positions that the damage lost.
    pub(crate) fn knows(&self, damage: &Damage) -> bool {
        damage.loses_events() && self.unknown_from(damage) > damage.to
    }

    /// Whether damaged positions within a range may hold an event that matches the query. Where no run covers them,
    /// only a stream whose versions continue without a gap across the damage is known to have lost nothing.
    pub(crate) fn may_have_lost(
        &self,
        damage: &Damage,
        query: &Query,
        within: RangeInclusive<u64>,
        mode: ReadMode,
    ) -> Result<bool, LookupError> {
        let (from, to) = (damage.from.max(*within.start()), damage.to.min(*within.end()));
        let unknown = self.unknown_from(damage);
        if self.runs_mean(query, from, to.min(unknown - 1), mode)? {
            return Ok(true);
        }
        if to < unknown {
            return Ok(false);
        }
        let Query::Any(items) = query else { return Ok(true) };
        for item in items {
            let Some(stream) = &item.stream else { return Ok(true) };
            if self.stream_may_have_lost(damage, stream.as_str(), mode)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether runs hold an event between two positions, both included, that matches the query.
    fn runs_mean(&self, query: &Query, from: u64, to: u64, mode: ReadMode) -> Result<bool, LookupError> {
        for run in self.runs.iter().filter(|run| run.footer.first <= to && run.footer.last >= from) {
            let part = PartRef::Run(run, mode);
            let found = part.plan(query)?.next(part.relative(from))?;
            if found.is_some_and(|found| found <= part.relative(to)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the damage lies after the last known event of a stream, so that the stream may end later than it
    /// seems.
    pub(crate) fn hides_end(
        &self,
        damage: &Damage,
        stream: &str,
        mode: ReadMode,
    ) -> Result<bool, LookupError> {
        let from = self.unknown_from(damage);
        Ok(from <= damage.to && self.head(stream, u64::MAX, mode)?.is_none_or(|(_, last)| last < from))
    }

    /// Whether damaged positions outside all runs may hold an event of the stream. They do not if its versions
    /// continue across them.
    pub(crate) fn stream_may_have_lost(
        &self,
        damage: &Damage,
        stream: &str,
        mode: ReadMode,
    ) -> Result<bool, LookupError> {
        let from = self.unknown_from(damage);
        if from > damage.to {
            return Ok(false);
        }
        let next = self.head(stream, from, mode)?.map_or(0, |(version, _)| version + 1);
        for part in self.parts() {
            let held = part.look(mode);
            let part = held.part();
            if part.first() <= damage.to {
                continue;
            }
            if let Some((_, base)) = part.list(&Key::stream(stream))? {
                return Ok(base != next);
            }
        }
        Ok(true)
    }

    /// Adds the names of a few streams that lost events to the first few damage reports. Scans the names of all
    /// streams in the runs that cover the damage.
    pub(crate) fn name_streams(&self, damage: &mut [Damage]) {
        let lost = damage.iter_mut().filter(|damage| damage.loses_events()).take(DAMAGE_NAMED_MAX);
        for damage in lost {
            // If the index cannot be read, the report only lacks the names.
            let Ok(mut names) = self.streams_within(damage.from, damage.to) else { continue };
            if names.is_empty() {
                continue;
            }
            let others = match names.len() > LOST_STREAMS_NAMED_MAX {
                true => " and others",
                false if self.knows(damage) => "",
                false => " and perhaps others",
            };
            names.truncate(LOST_STREAMS_NAMED_MAX);
            damage.what.push_str(&format!(", with events of `{}`{others}", names.join("`, `")));
        }
    }

    /// The names of streams with an event between two positions, both included, as far as runs know. Stops at one
    /// name more than a report shows.
    fn streams_within(&self, from: u64, to: u64) -> Result<Vec<String>, LookupError> {
        let mut names = Vec::<String>::new();
        for run in self.runs.iter().filter(|run| run.footer.first <= to && run.footer.last >= from) {
            let part = PartRef::Run(run, ReadMode::Disk);
            let (from, to) = (part.relative(from), part.relative(to));
            let mut entries = run.entries();
            // Streams are the first kind of key.
            while entries.next()? {
                if entries.key()[0] != Kind::Stream as u8 {
                    break;
                }
                let list = entries.list();
                if list.last < from {
                    continue;
                }
                let mut cursor = run.cursor(list.clone(), ReadMode::Disk);
                let at = cursor.lower_bound(from)?;
                let name = String::from_utf8_lossy(&entries.key()[1..]);
                if at < cursor.list.count && cursor.at(at)? <= to && !names.iter().any(|own| *own == name) {
                    names.push(name.into_owned());
                    if names.len() > LOST_STREAMS_NAMED_MAX {
                        return Ok(names);
                    }
                }
            }
        }
        Ok(names)
    }
}
