//! The look-up of a batch before its decision. The caller reads everything that lies on the disk, so that the writer
//! never waits for a cold page.
//!
//! *How the race is closed.* The look-up takes a snapshot of the index. It searches the part of the snapshot that
//! never changes: the runs and the full tables. The decision later searches the active table of that snapshot and all
//! tables begun since. Together they cover every event without a gap. Conditions are checked up to the durable
//! position, or to the end of the full tables if that is further: a table may have become full after the position was
//! read and before the snapshot was taken, and the decision does not search it. All events in runs and full tables
//! are durable. The decision checks what is newer.

use std::sync::Arc;

use gesta_core::{Batch, CommandKey, Condition, EventId, Expected, StreamName};

use crate::bugs::{Bug, planted};
use crate::index::{
    CommandEntry, FoundId, IndexSnapshot, Key, Kind, LookupError, MemTable, PartRef, ReadMode,
};
use crate::read::command_of;

/// What a batch is looked up in: a snapshot of the index that holds everything up to a durable position.
#[derive(Clone)]
pub(crate) struct DurablePart {
    pub(crate) snapshot: Arc<IndexSnapshot>,
    pub(crate) durable: u64,
    /// The partition of the store that the log holds: the places of conditions have a sequence for each.
    pub(crate) partition: u16,
}

/// The result of looking up a batch.
pub(crate) struct Lookup {
    /// The snapshot that was searched.
    pub(crate) snapshot: Arc<IndexSnapshot>,
    partition: u16,
    /// The version and position of the last event of each event's stream. The list is empty if there are no runs or
    /// full tables. An entry is `None` also if the active table has a newer head, or if the preceding event is of the
    /// same stream.
    heads: Vec<Option<(u64, u64)>>,
    /// The same for each stream that the batch has an expectation for.
    expected_heads: Vec<Option<(u64, u64)>>,
    /// The version and position at which each event was recorded before; empty if none was.
    found: Vec<Option<(u64, u64)>>,
    /// The end of the batch that holds the last one found.
    found_end: u64,
    command: Option<CommandEntry>,
    /// The last match of each condition up to [`Self::checked_to`]. A match after the condition's `after` fails it.
    matches: Vec<Option<u64>>,
    checked_to: u64,
    /// The version and position of the event that each [`Expected::Event`] names, if the stream's head lies in runs
    /// or full tables.
    anchors: Vec<Option<(u64, u64)>>,
    /// The place of each condition; empty if no condition has a mark.
    places: Vec<ConditionPlace>,
}

/// Where the place of a condition lies, according to its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConditionPlace {
    /// In this history, or there is no mark.
    Here,
    /// Beyond this durable position, so its mark could not be checked.
    Ahead(u64),
    /// In another history: here the event has this mark.
    Elsewhere(u32),
}

impl Lookup {
    /// Looks up a batch.
    pub(crate) fn of(part: DurablePart, batch: &Batch, mode: ReadMode) -> Result<Self, LookupError> {
        let DurablePart { snapshot, durable, partition } = part;
        let ended = snapshot.active().first - 1;
        let mut lookup = Self {
            snapshot,
            partition,
            heads: Vec::new(),
            expected_heads: Vec::new(),
            found: Vec::new(),
            found_end: 0,
            command: None,
            matches: Vec::new(),
            checked_to: durable.max(ended),
            anchors: Vec::new(),
            places: Vec::new(),
        };
        if ended > 0 {
            lookup.look_into_ended(batch, mode)?;
        }
        if !lookup.is_repeat() {
            lookup.look_at_conditions(batch, mode)?;
        }
        Ok(lookup)
    }

    fn look_into_ended(&mut self, batch: &Batch, mode: ReadMode) -> Result<(), LookupError> {
        if let Some(command) = &batch.command {
            let mut ended = self.snapshot.ended().iter().rev();
            self.command = match ended.find_map(|table| table.read().command(&command.key).cloned()) {
                None => command_in_runs(&self.snapshot, command, mode)?,
                found => found,
            };
        }
        self.look_for_ids(batch, mode)?;
        self.heads = self.heads_of(batch.events.iter().map(|event| &event.stream), mode)?;
        self.expected_heads = self.heads_of(batch.expect.iter().map(|(stream, _)| stream), mode)?;
        self.look_for_anchors(batch, mode)
    }

    /// Looks up the events that are expected as the last ones of their streams, if the stream's head has the expected
    /// version and lies in runs or full tables. Otherwise the active table or a newer one has the event, or the
    /// expectation fails anyway.
    fn look_for_anchors(&mut self, batch: &Batch, mode: ReadMode) -> Result<(), LookupError> {
        for (at, (stream, expected)) in batch.expect.iter().enumerate() {
            let Expected::Event { version, id } = expected else { continue };
            let is_ended = self.expected_head(at).is_some_and(|(head, _)| head == version.get());
            if is_ended && self.snapshot.active().read().head(stream.as_str()).is_none() {
                self.anchors.resize(batch.expect.len(), None);
                self.anchors[at] = self.find_in_ended(stream, *id, mode)?;
            }
        }
        Ok(())
    }

    fn find_in_ended(
        &self,
        stream: &StreamName,
        id: EventId,
        mode: ReadMode,
    ) -> Result<Option<(u64, u64)>, LookupError> {
        let in_table = |table: &Arc<MemTable>| table.read().find_id(stream.as_str(), id);
        if let Some(place) = self.snapshot.ended().iter().rev().find_map(in_table) {
            return Ok(Some(place));
        }
        let found = self.snapshot.find_in_runs(&[(stream.as_str(), id)], mode)?;
        Ok(found.first().map(|found| found.place))
    }

    /// Checks the places of conditions against the marks of this log, up to `durable`.
    pub(crate) fn check_places(
        &mut self,
        batch: &Batch,
        durable: u64,
        mark_at: impl Fn(u64) -> Result<Option<u32>, LookupError>,
    ) -> Result<(), LookupError> {
        if self.is_repeat() || batch.conditions.iter().all(|condition| self.mark_of(condition).is_none()) {
            return Ok(());
        }
        for condition in &batch.conditions {
            let place = match self.mark_of(condition) {
                None => ConditionPlace::Here,
                Some((after, _)) if after > durable => ConditionPlace::Ahead(durable),
                Some((after, mark)) => match mark_at(after)? {
                    Some(found) if found != mark => ConditionPlace::Elsewhere(found),
                    _ => ConditionPlace::Here,
                },
            };
            self.places.push(place);
        }
        Ok(())
    }

    fn look_for_ids(&mut self, batch: &Batch, mode: ReadMode) -> Result<(), LookupError> {
        let events = batch.events.iter().map(|event| (event.stream.as_str(), event.id)).collect::<Vec<_>>();
        let mut found = self.snapshot.find_in_runs(&events, mode)?;
        for table in self.snapshot.ended() {
            let table = table.read();
            let find = |(at, (stream, id)): (usize, &(&str, _))| {
                table.find_id(stream, *id).map(|place| FoundId { at, place })
            };
            found.extend(events.iter().enumerate().filter_map(find));
        }
        for FoundId { at, place } in found {
            self.found.resize(batch.events.len(), None);
            self.found[at] = Some(place);
        }
        if let Some(last) = self.found.iter().flatten().map(|(_, position)| *position).max() {
            self.found_end = self.snapshot.batch_end(last, mode)?;
        }
        Ok(())
    }

    /// The last events of streams: first from memory, then from runs for those not found. `None` if the stream is the
    /// same as the preceding one.
    fn heads_of<'b>(
        &self,
        streams: impl Iterator<Item = &'b StreamName>,
        mode: ReadMode,
    ) -> Result<Vec<Option<(u64, u64)>>, LookupError> {
        let mut asked = streams.map(StreamName::as_str).enumerate().collect::<Vec<_>>();
        let mut heads = vec![None; asked.len()];
        // Most events of a batch share the stream of the preceding event, and each version follows from the one
        // before.
        asked.dedup_by_key(|(_, stream)| *stream);
        let (known_from, tables) = {
            let known = self.snapshot.heads.read();
            for &(at, stream) in &asked {
                heads[at] = known.find(stream.as_bytes());
            }
            let unknown = self.snapshot.ended().iter().filter(|table| !known.covers(table.first));
            (known.from, unknown.collect::<Vec<_>>())
        };
        for table in tables {
            let table = table.read();
            for &(at, stream) in &asked {
                // Either may be newer. The head map covers newer tables than this one if it has evicted it, and older ones if it
                // has not learned it yet.
                heads[at] = table.head(stream).max(heads[at]);
            }
        }
        for (at, stream) in asked {
            if heads[at].is_none() {
                heads[at] = self.head_in_runs(stream, known_from, mode)?;
            }
        }
        Ok(heads)
    }

    /// The last event of a stream in runs that begin before `begin_before`. `None` also if the active table has a
    /// newer head: the result is not needed then, and the search may be long.
    fn head_in_runs(
        &self,
        stream: &str,
        begin_before: u64,
        mode: ReadMode,
    ) -> Result<Option<(u64, u64)>, LookupError> {
        if self.snapshot.active().read().head(stream).is_some() {
            return Ok(None);
        }
        self.snapshot.head_in_runs(&Key::stream(stream), u64::MAX, begin_before, mode)
    }

    /// Position and mark of a condition's `after`, if it has a mark.
    fn mark_of(&self, condition: &Condition) -> Option<(u64, u32)> {
        let after = condition.after.as_ref()?;
        Some((after.sequence(self.partition), after.mark(self.partition)?))
    }

    fn is_repeat(&self) -> bool {
        self.command.is_some() || !self.found.is_empty()
    }

    fn look_at_conditions(&mut self, batch: &Batch, mode: ReadMode) -> Result<(), LookupError> {
        for condition in &batch.conditions {
            let after = condition.after.as_ref().map_or(0, |after| after.sequence(self.partition));
            let found = last_match(&self.snapshot, condition, after, self.checked_to, mode)?;
            self.matches.push(found);
        }
        Ok(())
    }

    /// The next version of the stream, if the active table has no entry for it. `ended_since` are the tables that
    /// became full after the look-up, oldest first.
    pub(crate) fn next_version(
        &self,
        event: usize,
        stream: &StreamName,
        ended_since: &[Arc<MemTable>],
    ) -> u64 {
        let in_tables = ended_since.iter().rev().find_map(|table| table.read().head(stream.as_str()));
        let in_ended = || self.heads.get(event).copied().flatten();
        in_tables.or_else(in_ended).map_or(0, |(version, _)| version + 1)
    }

    /// The version and position of the last event, in runs and full tables, of a stream that the batch has an
    /// expectation for.
    pub(crate) fn expected_head(&self, at: usize) -> Option<(u64, u64)> {
        self.expected_heads.get(at).copied().flatten()
    }

    /// The version and position, in runs and full tables, of the event that the batch expects as the last one of a
    /// stream.
    pub(crate) fn anchor(&self, at: usize) -> Option<(u64, u64)> {
        self.anchors.get(at).copied().flatten()
    }

    /// Where the place of a condition lies.
    pub(crate) fn place_of(&self, condition: usize) -> ConditionPlace {
        self.places.get(condition).copied().unwrap_or(ConditionPlace::Here)
    }

    /// The version and position at which an event of the batch was found in runs or full tables.
    pub(crate) fn found(&self, event: usize) -> Option<(u64, u64)> {
        self.found.get(event).copied().flatten()
    }

    /// The end of the batch that holds the last one found.
    pub(crate) const fn found_end(&self) -> u64 {
        self.found_end
    }

    /// The entry of the batch's command key in runs or full tables.
    pub(crate) const fn command(&self) -> Option<&CommandEntry> {
        self.command.as_ref()
    }

    /// The last match of a condition, and the position up to which the look-up checked.
    pub(crate) fn match_of(&self, condition: usize) -> (Option<u64>, u64) {
        let checked_to = match planted(Bug::PriorTakenForNew) {
            true => self.snapshot.growing().last().map_or(0, |newest| newest.read().last()),
            false => self.checked_to,
        };
        (self.matches.get(condition).copied().flatten(), checked_to)
    }
}

/// The entry of a command in the runs. Its key is compared with the record in the log.
pub(crate) fn command_in_runs(
    snapshot: &IndexSnapshot,
    command: &CommandKey,
    mode: ReadMode,
) -> Result<Option<CommandEntry>, LookupError> {
    let key = Key::new(Kind::Command, &command.key);
    for run in snapshot.runs.iter().rev() {
        let part = PartRef::Run(run, mode);
        let Some((mut list, _)) = part.list(&key)? else { continue };
        if mode == ReadMode::Memory {
            return Err(LookupError::NotInMemory);
        }
        let first = list.at(0)?;
        let location = part.locator().location(first)?;
        let last = part.batch_end(location.position)?;
        let mut entry = command_of(&location, last)?;
        if planted(Bug::CommandNotProven) {
            entry.request = command.request;
        }
        return Ok(Some(entry));
    }
    Ok(None)
}

/// The last match of a condition up to a position. Skips parts that end at `after` or earlier.
fn last_match(
    snapshot: &IndexSnapshot,
    condition: &Condition,
    after: u64,
    up_to: u64,
    mode: ReadMode,
) -> Result<Option<u64>, LookupError> {
    for part in snapshot.parts().iter().rev() {
        let held = part.look(mode);
        let part = held.part();
        if part.first() > up_to {
            continue;
        }
        if part.last() <= after {
            break;
        }
        let found = part.plan(&condition.fail_if_any)?.previous(part.relative(up_to))?;
        if let Some(found) = found {
            return Ok(Some(part.first() + u64::from(found)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use gesta_conformance::sample::{self};
    use gesta_core::Checkpoint;
    use gesta_core::EventId;

    use gesta_core::Query;
    use gesta_core::StoreId;

    use super::*;
    use crate::index::Index;
    use crate::index::IndexedEvent;

    /// The streams of a log's events, from position 1 on: two full tables, then the active one, each with one batch.
    const TABLES: [&[&str]; 3] = [&["a", "b", "a"], &["d", "a", "d"], &["b", "e"]];
    const ENDED: u64 = 6;
    const LAST: u64 = 8;

    /// The first `count` tables of that log; if these are not all, an empty active table follows. The head map has
    /// the streams of the first.
    fn snapshot(count: usize) -> Arc<IndexSnapshot> {
        let (mut log, mut tables) = (Vec::new(), Vec::<Arc<MemTable>>::new());
        let growing = (count < TABLES.len()).then_some(&[][..]);
        for (number, streams) in TABLES.into_iter().take(count).chain(growing).enumerate() {
            let table = MemTable::new(log.len() as u64 + 1);
            if let Some(before) = tables.last() {
                before.end_with(Arc::clone(&table));
            }
            let mut state = table.write();
            let mut versions = Vec::new();
            for stream in streams {
                let version = log.iter().filter(|own| *own == stream).count() as u64;
                versions.push(version);
                log.push(*stream);
                let id = EventId::from_u128(log.len() as u128);
                let event = IndexedEvent { stream, event_type: "x", id };
                state.insert(&event, std::iter::empty(), 8, versions.len() == 1, || version);
            }
            if !versions.is_empty() {
                state.end_batch(1, 100);
                assert!(state.insert_command(&command(number).key, command(number).request, &versions));
            }
            drop(state);
            tables.push(table);
        }
        let index = Index::in_part(Vec::new(), 1);
        index.fill(IndexSnapshot { tables, ..IndexSnapshot::default() }, Vec::new(), 1 << 20);
        let snapshot = index.snapshot();
        snapshot.heads.learn(&snapshot.tables[0].read());
        snapshot
    }

    /// The command of a table's batch.
    fn command(table: usize) -> CommandKey {
        CommandKey { key: format!("key-{table}").into_bytes().into(), request: [7; 32] }
    }

    /// The position of the last event of a stream up to another position.
    fn last_of(stream: &str, up_to: u64) -> Option<u64> {
        let log = (1..=up_to).zip(TABLES.concat());
        log.filter(|(_, own)| *own == stream).map(|(position, _)| position).last()
    }

    /// A batch of events with consecutive ids from `first_id` on.
    fn batch(first_id: u128, streams: &[&str]) -> Batch {
        Batch::new((first_id..).zip(streams).map(|(id, stream)| sample::event(stream, id)))
    }

    fn look_up(snapshot: Arc<IndexSnapshot>, durable: u64, batch: &Batch) -> Lookup {
        Lookup::of(DurablePart { snapshot, durable, partition: 0 }, batch, ReadMode::Disk).unwrap()
    }

    #[test]
    fn conditions_are_looked_up_to_the_durable_position() {
        let places = (ENDED..=LAST).flat_map(|durable| (0..=LAST).map(move |after| (durable, after)));
        for (durable, after) in places {
            for stream in ["a", "b", "c", "d", "e"] {
                let checkpoint = (after > 0).then(|| Checkpoint::new(StoreId::from_bytes([1; 16]), [after]));
                let own = batch(100, &["c"]).fail_if(Query::stream(stream.parse().unwrap()), checkpoint);
                let (found, checked_to) = look_up(snapshot(3), durable, &own).match_of(0);
                assert_eq!(checked_to, durable);
                let counts = |found: &u64| *found > after;
                let expected = last_of(stream, durable).filter(counts);
                assert_eq!(found.filter(counts), expected, "{stream} from {after} to {durable}");
            }
        }
    }

    #[test]
    fn an_empty_active_table_ends_the_look_up_at_the_last_full_table() {
        for (tables, last) in [(0, 0), (2, ENDED)] {
            let own = batch(100, &["c"]).fail_if(Query::All, None);
            let found = look_up(snapshot(tables), last, &own).match_of(0);
            assert_eq!(found, ((last > 0).then_some(last), last));
        }
    }

    #[test]
    fn the_head_of_a_stream_is_found_in_memory_and_in_tables_not_yet_learned() {
        let mut own = batch(100, &["d", "d", "a", "a", "c", "a"]);
        for stream in ["d", "a", "c"] {
            own = own.expect(stream.parse().unwrap(), gesta_core::Expected::Any);
        }
        let lookup = look_up(snapshot(3), LAST, &own);
        let expected = [0, 1, 2].map(|at| lookup.expected_head(at));
        assert_eq!(expected, [Some((1, 6)), Some((2, 5)), None]);
        let next = [0, 2, 4].map(|at| lookup.next_version(at, &own.events[at].stream, &[]));
        assert_eq!(next, [2, 3, 0]);
        let one = look_up(snapshot(1), 3, &own);
        let next = [0, 2, 4].map(|at| one.next_version(at, &own.events[at].stream, &[]));
        assert_eq!(next, [0, 2, 0]);
    }

    #[test]
    fn a_repeat_is_found_in_full_tables_by_its_ids_or_command_and_its_conditions_are_skipped() {
        let with_condition = |batch: Batch| batch.fail_if(Query::All, None);
        let by_ids = look_up(snapshot(3), LAST, &with_condition(batch(4, &["d", "a", "a"])));
        let found = [0, 1, 2].map(|at| by_ids.found(at));
        assert_eq!((found, by_ids.found_end()), ([Some((0, 4)), Some((2, 5)), None], ENDED));
        let sent = with_condition(batch(100, &["c"])).with_command(command(1));
        let by_command = look_up(snapshot(3), LAST, &sent);
        let entry = by_command.command().unwrap();
        assert_eq!((entry.first, entry.last(), entry.request), (4, ENDED, sent.command.unwrap().request));
        let new = look_up(snapshot(3), LAST, &with_condition(batch(7, &["b"])).with_command(command(2)));
        assert!(
            new.command().is_none() && new.found(0).is_none(),
            "the look-up does not search the active table"
        );
        let matches = [by_ids, by_command, new].map(|lookup| lookup.match_of(0).0);
        assert_eq!(matches, [None, None, Some(LAST)]);
    }
}
