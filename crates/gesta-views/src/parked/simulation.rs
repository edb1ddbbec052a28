//! A view that parks, against a model of its database: events fail and are mended, transactions and answers are lost, operators replay and
//! skip. Each seed is one order of events. Planted mistakes show that the checks find them.

use gesta_core::{EventId, NewEvent, Timestamp};

use super::*;

const STREAMS: u64 = 4;
const EVENTS: u64 = 60;
const STEPS: u32 = 200;

/// A way to break the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// Later events of a parked stream are applied.
    ForgetsHeld,
    /// Rows and parked streams are two transactions.
    ParkedApart,
    /// An error of a row is taken for one of the event that changed it last.
    TrustsLast,
}

/// Why an event fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It does not decode, which is seen before any event of the page is applied.
    Decode,
    /// It cannot be applied.
    Apply,
    /// Its row cannot be stored. In a whole page the last event is blamed.
    Row,
}

/// What is committed.
#[derive(Debug, Clone, Default)]
struct Database {
    at: usize,
    parked: ParkedStreams,
    /// The positions whose rows are there, in the order in which they were applied.
    rows: Vec<u64>,
}

struct Simulation {
    random: u64,
    mistake: Option<Mistake>,
    log: Vec<RecordedEvent>,
    faults: BTreeMap<u64, Fault>,
    skipped: Vec<u64>,
    database: Database,
}

impl Simulation {
    fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let (log, faults, skipped) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut simulation =
            Self { random: seed, mistake, log, faults, skipped, database: Database::default() };
        for sequence in 1..=EVENTS {
            let stream = format!("a-{}", simulation.next(STREAMS));
            let version = simulation.log.iter().filter(|event| event.stream() == stream).count() as u64;
            let name = stream.parse().unwrap();
            let event = NewEvent::json(
                EventId::from_u128(sequence.into()),
                name,
                "t".parse().unwrap(),
                Timestamp::from_nanos(0),
                "{}",
            );
            let position = Position { partition: 0, sequence };
            let (version, bytes) = (Version::new(version), event.to_bytes());
            simulation.log.push(RecordedEvent::new(position, version, Timestamp::from_nanos(0), bytes));
            if simulation.next(6) == 0 {
                let fault =
                    [Fault::Decode, Fault::Apply, Fault::Row][usize::try_from(simulation.next(3)).unwrap()];
                simulation.faults.insert(sequence, fault);
            }
        }
        simulation
    }

    /// splitmix64.
    fn next(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// The error of a page that is applied in these pieces.
    fn error(&self, events: &[RecordedEvent], pieces: Pieces) -> Option<RunError> {
        let message = String::new;
        let failing =
            |fault| events.iter().find(|event| self.faults.get(&event.position().sequence) == Some(&fault));
        let apply =
            |event| RunError::Apply { event: EventPlace::of(event), view: message(), message: message() };
        let row = |event| RunError::Unstorable {
            event: EventPlace::of(event),
            view: message(),
            message: message(),
        };
        match pieces {
            Pieces::Whole => {
                let blamed = if failing(Fault::Row).is_some() { events.last() } else { None };
                let exact = failing(Fault::Decode).or(failing(Fault::Apply));
                let of_row = |event| if self.is(Mistake::TrustsLast) { apply(event) } else { row(event) };
                exact.map(apply).or(blamed.map(of_row))
            }
            Pieces::Single => {
                let first =
                    events.iter().find(|event| self.faults.contains_key(&event.position().sequence))?;
                let is_row = self.faults[&first.position().sequence] == Fault::Row;
                Some(if is_row { row(first) } else { apply(first) })
            }
        }
    }

    /// Commits what is left of a page once its failures are parked. The transaction, or the answer, may be lost.
    fn commit(&mut self, mut parking: Parking<'_>, to: usize) {
        let (events, changes) = loop {
            match self.error(&parking.events(), parking.pieces()) {
                None => break (parking.events(), parking.changes()),
                Some(error) => match parking.failed(error) {
                    Then::Again => {}
                    Then::Fail(error) => panic!("{error}"),
                },
            }
        };
        if self.next(5) == 0 {
            return;
        }
        self.database.rows.extend(events.iter().map(|event| event.position().sequence));
        self.database.at = to;
        if !(self.is(Mistake::ParkedApart) && self.next(10) == 0) {
            self.database.parked.apply(&changes);
        }
    }

    fn follow(&mut self) {
        let length = usize::try_from(1 + self.next(15)).unwrap();
        let (from, to) = (self.database.at, (self.database.at + length).min(self.log.len()));
        let (events, parked) = (self.log[from..to].to_vec(), self.database.parked.clone());
        let held = if self.is(Mistake::ForgetsHeld) { ParkedStreams::default() } else { parked };
        self.commit(Parking::new("v", OnError::Park, &held, &events), to);
    }

    fn held(&self, parked: &ParkedStream) -> Vec<RecordedEvent> {
        let seen = self.log[..self.database.at].iter();
        let held = seen.filter(|event| event.stream() == parked.stream && event.version() >= parked.version);
        held.cloned().collect()
    }

    /// One page of a replay.
    fn replay(&mut self, parked: &ParkedStream) {
        let (mut events, length) = (self.held(parked), usize::try_from(1 + self.next(4)).unwrap());
        let rest = events.get(length).map(RecordedEvent::version);
        events.truncate(length);
        let released = match rest {
            Some(rest) => ParkedChange::Put(Arc::new(parked.moved(rest))),
            None => ParkedChange::Remove(parked.stream.clone()),
        };
        let (before, at) = (self.database.parked.clone(), self.database.at);
        self.commit(Parking::again("v", &before, &events, released), at);
    }

    fn skip(&mut self, parked: &ParkedStream) {
        let Some(first) = self.held(parked).first().cloned() else { return };
        self.skipped.push(first.position().sequence);
        self.database.parked.apply(&[ParkedChange::Put(Arc::new(parked.moved(first.version().next())))]);
    }

    fn any_parked(&mut self) -> Option<Arc<ParkedStream>> {
        let all = self.database.parked.all();
        let any = self.next(all.len().max(1) as u64);
        all.get(usize::try_from(any).unwrap()).cloned()
    }

    /// The rows are those of every event before the parked ones, each once and in the order of its stream.
    fn check(&self) -> Result<(), String> {
        for number in 0..STREAMS {
            let stream = format!("a-{number}");
            let held = self.database.parked.get(&stream).map(|parked| parked.version);
            let seen = self.log[..self.database.at].iter().filter(|event| event.stream() == stream);
            let shown = seen.filter(|event| held.is_none_or(|held| event.version() < held));
            let expected = shown.map(|event| event.position().sequence);
            let expected = expected.filter(|sequence| !self.skipped.contains(sequence)).collect::<Vec<_>>();
            let is_of_stream = |row: &&u64| {
                self.log.iter().any(|event| event.position().sequence == **row && event.stream() == stream)
            };
            let rows = self.database.rows.iter().filter(is_of_stream).copied().collect::<Vec<_>>();
            if rows != expected {
                return Err(format!("{stream}: rows {rows:?} in place of {expected:?}"));
            }
            let blamed = self.database.parked.get(&stream).map(|parked| parked.position.sequence);
            if let Some(blamed) = blamed.filter(|blamed| !self.faults.contains_key(blamed)) {
                return Err(format!("{stream} is parked for event {blamed}, which is right"));
            }
        }
        Ok(())
    }

    fn run(mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            match (self.next(4), self.any_parked()) {
                (1, Some(parked)) => self.replay(&parked),
                (2, Some(parked)) if self.next(4) == 0 => self.skip(&parked),
                _ => self.follow(),
            }
            self.check()?;
        }
        // All is mended: every event that was not skipped is shown at last.
        self.faults.clear();
        while self.database.at < self.log.len() {
            self.follow();
        }
        while let Some(parked) = self.any_parked() {
            self.replay(&parked);
        }
        let mut rows = self.database.rows.clone();
        rows.sort_unstable();
        let all = (1..=EVENTS).filter(|sequence| !self.skipped.contains(sequence)).collect::<Vec<_>>();
        if rows == all { Ok(()) } else { Err(format!("rows {rows:?} in place of {all:?}")) }
    }
}

fn seeds(mistake: Option<Mistake>) -> Result<(), String> {
    (0..300).try_for_each(|seed| {
        Simulation::new(seed, mistake).run().map_err(|error| format!("seed {seed}: {error}"))
    })
}

#[test]
fn every_event_is_applied_once_and_in_the_order_of_its_stream() {
    seeds(None).unwrap();
}

#[test]
fn a_planted_mistake_is_found() {
    for mistake in [Mistake::ForgetsHeld, Mistake::ParkedApart, Mistake::TrustsLast] {
        seeds(Some(mistake)).expect_err(&format!("{mistake:?} is not found"));
    }
}
