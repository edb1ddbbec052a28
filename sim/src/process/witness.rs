//! Knows from the output of processes which events a log must hold, and checks the log.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use gesta_core::{Place, Query, Read, RecordedEvent};
use gesta_log::LogStore;

use super::said::{Acknowledged, Answer, Said, places};
use crate::model::Wrong;
use crate::workload::{batch, options, origin};

/// All acknowledgements of one log.
#[derive(Debug, Clone, Default)]
pub struct Witness {
    acknowledged: BTreeMap<(u64, u64), Vec<(u64, u64)>>,
    /// The next batch of each client, which may be in doubt.
    next: BTreeMap<u64, u64>,
    /// Acknowledgements since the last check.
    recent: Vec<Acknowledged>,
}

/// The findings of a check.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checked {
    /// The duration of the open.
    pub opening: Duration,
    /// Frames that recovery copied.
    pub rescued_frames: u64,
    /// Bytes that recovery quarantined.
    pub quarantined_bytes: u64,
    /// Batches that were not acknowledged and were found in the log.
    pub settled_in_doubt: u64,
    /// Flaws that the open found, without a loss.
    pub flaws: u64,
}

impl Witness {
    /// The witness of a new log with `clients` clients.
    #[must_use]
    pub fn new(clients: u64) -> Self {
        Self { next: (0..clients).map(|client| (client, 0)).collect(), ..Self::default() }
    }

    /// The next batch of each client.
    #[must_use]
    pub fn next(&self) -> Vec<u64> {
        self.next.values().copied().collect()
    }

    /// The number of acknowledged batches.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// The number of acknowledged events.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.acknowledged.values().map(|places| places.len() as u64).sum()
    }

    /// Records the output of a process.
    ///
    /// # Errors
    /// An output that no fault explains.
    pub fn hear(&mut self, said: &[Said]) -> Result<(), Wrong> {
        said.iter().try_for_each(|said| match said {
            Said::Acknowledged(acknowledged) => self.acknowledge(acknowledged.clone()),
            Said::Broken(why) => Err(why.clone()),
            Said::NotAcknowledged { answer: Answer::Other, why, .. } => {
                Err(format!("no fault explains the answer: {why}"))
            }
            _ => Ok(()),
        })
    }

    fn acknowledge(&mut self, line: Acknowledged) -> Result<(), Wrong> {
        let next =
            self.next.get_mut(&line.client).ok_or_else(|| format!("there is no client {}", line.client))?;
        if *next != line.count {
            return Err(format!(
                "client {} has batch {} acknowledged before batch {next}",
                line.client, line.count
            ));
        }
        *next += 1;
        self.acknowledged.insert((line.client, line.count), line.places.clone());
        self.recent.push(line);
        Ok(())
    }

    /// Opens the log and checks it: acknowledged batches are in it and their repeats get the first answers, and the
    /// log takes writes. After the close a full verification must pass.
    ///
    /// # Errors
    /// The first failed check.
    pub fn check(&mut self, folder: &Path) -> Result<Checked, Wrong> {
        let begun = Instant::now();
        let log = LogStore::open(folder, &options())
            .map_err(|error| format!("the log does not open: {error:?}"))?;
        let mut checked = Checked {
            opening: begun.elapsed(),
            rescued_frames: log.recovery().rescued_frames,
            quarantined_bytes: log.recovery().quarantined_bytes,
            settled_in_doubt: 0,
            flaws: log.recovery().flaws.len() as u64,
        };
        if let Some(reason) = log.read_only() {
            return Err(format!("the log takes no writes: {reason}"));
        }
        let in_doubt = self.check_events(&read_all(&log)?)?;
        checked.settled_in_doubt = in_doubt.len() as u64;
        for line in std::mem::take(&mut self.recent) {
            self.append_again(&log, &line)?;
        }
        self.append_on(&log, &in_doubt)?;
        drop(log);
        self.verify(folder)?;
        Ok(checked)
    }

    /// Reads a log that may take no writes, and checks that acknowledged batches are in it.
    ///
    /// # Errors
    /// The first failed check.
    pub fn check_shown(&self, log: &LogStore) -> Result<(), Wrong> {
        self.check_events(&read_all(log)?).map(drop)
    }

    /// Checks that every event belongs to a whole batch that is in the log once, as it was sent, and that
    /// acknowledged batches are at their acknowledged places. Returns the batches that were not acknowledged.
    fn check_events(&self, events: &[RecordedEvent]) -> Result<BTreeMap<u64, Vec<(u64, u64)>>, Wrong> {
        let mut versions = HashMap::new();
        for (event, position) in events.iter().zip(1..) {
            let version = versions.entry(event.stream()).or_insert(0);
            let stands_at = (event.position().sequence, event.version().get());
            if stands_at != (position, *version) {
                let stream = event.stream();
                return Err(format!(
                    "{stands_at:?} of `{stream}` is at the place of ({position}, {version})"
                ));
            }
            *version += 1;
        }
        let mut found = self.next.keys().map(|client| (*client, 0)).collect::<BTreeMap<_, u64>>();
        let mut in_doubt = BTreeMap::new();
        let mut rest = events;
        while let Some(first) = rest.first() {
            let (client, count, _) = origin(first.id()).ok_or("an event that was refused is recorded")?;
            let next = found.get_mut(&client).ok_or("an event of an unknown client is recorded")?;
            if count != *next {
                return Err(format!("batch {count} of client {client} is at the place of its batch {next}"));
            }
            *next += 1;
            let sent = batch(client, count).events;
            let batch =
                rest.get(..sent.len()).ok_or_else(|| format!("batch {count} of client {client} is cut"))?;
            let same = |(sent, own): (&gesta_core::NewEvent, &RecordedEvent)| {
                sent.to_bytes().as_bytes() == own.as_bytes()
            };
            if !sent.iter().zip(batch).all(same) {
                return Err(format!("batch {count} of client {client} differs from the one that was sent"));
            }
            let places = batch.iter().map(|own| (own.position().sequence, own.version().get()));
            let places = places.collect::<Vec<_>>();
            match self.acknowledged.get(&(client, count)) {
                Some(known) if *known != places => {
                    return Err(format!(
                        "batch {count} of client {client} is at {places:?}, not at {known:?}"
                    ));
                }
                Some(_) => {}
                None => drop(in_doubt.insert(client, places)),
            }
            rest = &rest[sent.len()..];
        }
        for (client, next) in &self.next {
            // A client has at most one batch in doubt.
            if found[client] != *next && found[client] != *next + 1 {
                let found = found[client];
                return Err(format!(
                    "the log has {found} batches of client {client}, {next} were acknowledged"
                ));
            }
        }
        Ok(in_doubt)
    }

    /// Checks that an acknowledged batch, sent again, is a repeat with the first answer.
    fn append_again(&self, log: &LogStore, line: &Acknowledged) -> Result<(), Wrong> {
        let Acknowledged { client, count, places: known, .. } = line;
        let again = log.append_blocking(batch(*client, *count));
        let again =
            again.map_err(|error| format!("batch {count} of client {client}, sent again: {error}"))?;
        if !again.repeated || places(&again) != *known {
            return Err(format!(
                "batch {count} of client {client}, sent again, did not get its first answer: {again:?}"
            ));
        }
        Ok(())
    }

    /// Each client sends its batch in doubt or its next one. It is a repeat exactly if the log holds it already.
    fn append_on(&mut self, log: &LogStore, in_doubt: &BTreeMap<u64, Vec<(u64, u64)>>) -> Result<(), Wrong> {
        for (client, count) in self.next.clone() {
            let appended = log.append_blocking(batch(client, count));
            let appended = appended.map_err(|error| format!("batch {count} of client {client}: {error}"))?;
            let known = in_doubt.get(&client);
            let places = places(&appended);
            if appended.repeated != known.is_some() || known.is_some_and(|known| *known != places) {
                return Err(format!(
                    "batch {count} of client {client} is at {known:?}, its repeat got {appended:?}"
                ));
            }
            self.acknowledge(Acknowledged { client, count, places, writes_bytes: None })?;
        }
        Ok(())
    }

    fn verify(&self, folder: &Path) -> Result<(), Wrong> {
        let report =
            gesta_log::verify(folder).map_err(|error| format!("the log cannot be verified: {error}"))?;
        if !report.is_sound() || report.events != self.events() {
            return Err(format!("{} events were acknowledged: {report:?}", self.events()));
        }
        Ok(())
    }
}

fn read_all(log: &LogStore) -> Result<Vec<RecordedEvent>, Wrong> {
    let mut events = Vec::new();
    let mut read = Read::log(Query::All);
    loop {
        let page = log.read_blocking(&read).map_err(|error| format!("the log cannot be read: {error}"))?;
        events.extend(page.events);
        if page.end {
            return Ok(events);
        }
        read = Read::log_from(Query::All, Place::At(page.scanned_to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::stale_batch;

    /// A log in which client 0 appended `batches` batches, and a witness of these batches.
    fn log_of(batches: u64) -> (tempfile::TempDir, Witness) {
        let folder = tempfile::tempdir().unwrap();
        let log = LogStore::open(folder.path(), &options()).unwrap();
        let mut witness = Witness::new(1);
        for count in 0..batches {
            let places = places(&log.append_blocking(batch(0, count)).unwrap());
            let said = Said::Acknowledged(Acknowledged { client: 0, count, places, writes_bytes: None });
            witness.hear(&[said]).unwrap();
        }
        (folder, witness)
    }

    fn append(folder: &tempfile::TempDir, batch: gesta_core::Batch) {
        LogStore::open(folder.path(), &options()).unwrap().append_blocking(batch).unwrap();
    }

    #[test]
    fn a_log_that_kept_its_promises_passes_repeatedly() {
        let (folder, mut witness) = log_of(20);
        for batches in 20..23 {
            assert_eq!(witness.batches(), batches);
            witness.check(folder.path()).unwrap();
        }
        append(&folder, batch(0, 23));
        assert_eq!(witness.check(folder.path()).unwrap().settled_in_doubt, 1, "it was not acknowledged");
    }

    #[test]
    fn a_missing_acknowledged_batch_is_detected() {
        let (folder, mut witness) = log_of(3);
        let places = batch(0, 3).events.iter().zip(100..).map(|(_, position)| (position, 0)).collect();
        witness
            .hear(&[Said::Acknowledged(Acknowledged { client: 0, count: 3, places, writes_bytes: None })])
            .unwrap();
        let wrong = witness.check(folder.path()).unwrap_err();
        assert_eq!(wrong, "the log has 3 batches of client 0, 4 were acknowledged");
    }

    #[test]
    fn a_batch_at_another_place_than_acknowledged_is_detected() {
        let (folder, mut witness) = log_of(3);
        witness.acknowledged.get_mut(&(0, 2)).unwrap()[0].0 += 1;
        let wrong = witness.check(folder.path()).unwrap_err();
        assert!(wrong.starts_with("batch 2 of client 0 is at "), "{wrong}");
    }

    #[test]
    fn refused_skipped_and_cut_batches_are_detected() {
        let first = || gesta_core::Batch::new(batch(0, 3).events.into_iter().take(1));
        let stale = || gesta_core::Batch::new(stale_batch(0, 3).events);
        let next_but_one = || gesta_core::Batch::new(batch(0, 4).events);
        let cases = [
            (stale(), "an event that was refused is recorded"),
            (next_but_one(), "batch 4 of client 0 is at the place of its batch 3"),
            (first(), "batch 3 of client 0 is cut"),
        ];
        for (batch, expected) in cases {
            let (folder, mut witness) = log_of(3);
            append(&folder, batch);
            assert_eq!(witness.check(folder.path()).unwrap_err(), expected);
        }
    }

    #[test]
    fn batches_are_acknowledged_in_order() {
        let mut witness = Witness::new(1);
        let said =
            Said::Acknowledged(Acknowledged { client: 0, count: 1, places: Vec::new(), writes_bytes: None });
        assert_eq!(witness.hear(&[said]).unwrap_err(), "client 0 has batch 1 acknowledged before batch 0");
    }
}
