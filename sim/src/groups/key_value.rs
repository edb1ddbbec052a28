//! The row's store: it loses replies, writes late, and is away for some time.

use bytes::Bytes;
use gesta_core::{Entry, KeyValueError, Revision};

use crate::random::Random;

/// One key of a key-value store.
#[derive(Debug, Default)]
pub(super) struct KeyValue {
    row: Option<(Bytes, u64)>,
    /// The last revision of the store. Other keys use some, too.
    revision: u64,
    /// Puts in doubt that are still on their way.
    late: Vec<(Option<Bytes>, Option<u64>)>,
    /// True while nothing is answered.
    pub(super) is_away: bool,
}

/// What became of a write.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) answer: Result<Revision, KeyValueError>,
    /// True if the value is there now.
    pub(super) is_there: bool,
}

impl KeyValue {
    pub(super) fn get(&self) -> Result<Option<Entry>, KeyValueError> {
        if self.is_away {
            return Err(KeyValueError::Unavailable { reason: "away".into() });
        }
        Ok(self.row())
    }

    /// The row, whether the store is away or not.
    pub(super) fn row(&self) -> Option<Entry> {
        let (value, revision) = self.row.clone()?;
        Some(Entry { value, revision: Revision::new(revision) })
    }

    /// Writes a value, or `None` to delete it.
    pub(super) fn write(
        &mut self,
        value: Option<Bytes>,
        expect: Option<u64>,
        doubt: u64,
        random: &mut Random,
    ) -> Written {
        if self.is_away {
            let answer = Err(KeyValueError::Unavailable { reason: "away".into() });
            return Written { answer, is_there: false };
        }
        if !random.chance(doubt) {
            let answer = self.apply(value, expect);
            return Written { is_there: answer.is_ok(), answer };
        }
        let in_doubt = Err(KeyValueError::InDoubt { reason: "a lost reply".into() });
        if random.chance(50) {
            let is_there = self.apply(value, expect).is_ok();
            return Written { answer: in_doubt, is_there };
        }
        if random.chance(60) {
            self.late.push((value, expect));
        }
        Written { answer: in_doubt, is_there: false }
    }

    fn apply(&mut self, value: Option<Bytes>, expect: Option<u64>) -> Result<Revision, KeyValueError> {
        let actual = self.row.as_ref().map(|(_, revision)| *revision);
        if actual != expect {
            return Err(KeyValueError::Changed { actual: actual.map(Revision::new) });
        }
        self.revision += 1;
        self.row = value.map(|value| (value, self.revision));
        Ok(Revision::new(self.revision))
    }

    /// Lets a write in doubt arrive. Returns the value if it was written.
    pub(super) fn arrive_late(&mut self, random: &mut Random) -> Option<Bytes> {
        if self.late.is_empty() {
            return None;
        }
        let (value, expect) = self.late.remove(random.index(self.late.len()));
        self.apply(value.clone(), expect).ok()?;
        value
    }

    /// A put of a process that has ended is on its way.
    pub(super) fn sent(&mut self, value: Bytes, expect: u64) {
        self.late.push((Some(value), Some(expect)));
    }

    /// Another key is written.
    pub(super) const fn other_key(&mut self) {
        self.revision += 1;
    }

    /// The row as somebody else puts it.
    pub(super) fn set(&mut self, value: Bytes) {
        self.revision += 1;
        self.row = Some((value, self.revision));
        self.late.clear();
    }

    /// Everything is as it was at a revision, with another row. Nothing is on its way.
    pub(super) fn go_back(&mut self, revision: u64, row: Bytes) {
        *self = Self { revision, ..Self::default() };
        self.set(row);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.row.is_none()
    }
}
