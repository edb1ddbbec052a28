//! Views as of earlier moments, kept for the next query at the same one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gesta_views::{Definition, EvaluateError, Evaluation, Moment, OnError, ViewAsOf};

/// How many are kept. Each is a temporary database, or schemas in PostgreSQL with the connections that keep and read them.
const KEPT: usize = 8;

/// The last views as of earlier moments, the newest first.
#[derive(Default)]
pub(crate) struct Evaluations(Mutex<VecDeque<(Key, Arc<ViewAsOf>)>>);

/// The definition, by its hash and by what it does at an event that cannot be applied, and the moment.
type Key = (String, OnError, Moment);

fn key(definition: &Definition, moment: &Moment) -> Key {
    (definition.hash(), definition.on_error(), moment.clone())
}

impl Evaluations {
    /// The view at a moment, if it is kept.
    pub(crate) fn kept(&self, definition: &Definition, moment: &Moment) -> Option<Arc<ViewAsOf>> {
        self.take(&key(definition, moment))
    }

    /// The view at a moment: a kept one, or a new one.
    pub(crate) fn get(
        &self,
        evaluation: &Evaluation<'_>,
        moment: Moment,
    ) -> Result<Arc<ViewAsOf>, EvaluateError> {
        let key = key(evaluation.definition(), &moment);
        if let Some(kept) = self.take(&key) {
            return Ok(kept);
        }
        let view = Arc::new(evaluation.at(&moment)?);
        let mut views = self.views();
        views.push_front((key, Arc::clone(&view)));
        let evicted = (views.len() > KEPT).then(|| views.pop_back());
        // Its database may take a moment to go.
        drop(views);
        drop(evicted);
        Ok(view)
    }

    /// Forgets all of them. Blocks its thread until their databases are gone, all at once.
    pub(crate) fn clear(&self) {
        let views = std::mem::take(&mut *self.views());
        std::thread::scope(|scope| {
            for view in views {
                scope.spawn(|| drop(view));
            }
        });
    }

    /// A kept view, which becomes the newest.
    fn take(&self, key: &Key) -> Option<Arc<ViewAsOf>> {
        let mut views = self.views();
        let at = views.iter().position(|(kept, _)| kept == key)?;
        let found = views.remove(at)?;
        if found.1.is_lost() {
            // It is dropped without the lock: that closes connections.
            drop(views);
            return None;
        }
        let view = Arc::clone(&found.1);
        views.push_front(found);
        Some(view)
    }

    fn views(&self) -> MutexGuard<'_, VecDeque<(Key, Arc<ViewAsOf>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::{Checkpoint, MemoryStore, StoreId, Timestamp};

    use super::*;

    #[test]
    fn the_last_eight_are_kept() {
        let id = StoreId::from_bytes([7; 16]);
        let store = MemoryStore::new(id, 1, || Timestamp::from_nanos(1));
        let text = "-- dialect: sqlite\ncreate table t (n integer);\n-- on x\ninsert into t values (1);";
        let definition = Definition::parse("v", text).unwrap();
        let views = Evaluations::default();
        let get = |second: i64| {
            let happened_by = Some(Timestamp::from_nanos(second));
            let moment = Moment { until: Checkpoint::start(id, 1), happened_by };
            views.get(&Evaluation::new(&store, &definition), moment).unwrap()
        };
        let first = get(0);
        (1..8).for_each(|second| drop(get(second)));
        assert!(Arc::ptr_eq(&first, &get(0)));
        let second = get(1);
        (8..15).for_each(|second| drop(get(second)));
        assert!(Arc::ptr_eq(&second, &get(1)));
        assert!(!Arc::ptr_eq(&first, &get(0)));
    }

    #[test]
    fn a_definition_that_parks_is_another_one() {
        let id = StoreId::from_bytes([7; 16]);
        let store = MemoryStore::new(id, 1, || Timestamp::from_nanos(1));
        let text = "-- dialect: sqlite\n-- on-error: stop\ncreate table t (n integer);\n-- on x\n-- ignore";
        let views = Evaluations::default();
        let get = |text: &str| {
            let definition = Definition::parse("v", text).unwrap();
            views.get(&Evaluation::new(&store, &definition), Checkpoint::start(id, 1).into()).unwrap()
        };
        let stops = get(text);
        assert!(!Arc::ptr_eq(&stops, &get(&text.replace("stop", "park"))));
        assert!(Arc::ptr_eq(&stops, &get(text)));
    }
}
