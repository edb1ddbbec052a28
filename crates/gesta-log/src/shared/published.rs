//! How far the log is durable: what readers may see, and the one place where that changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use event_listener::{Event, EventListener};

use crate::folder::DurableMark;

/// The end of what is durable: the position of the last event, and its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) position: u64,
    /// `None` for an empty log, and where the last event cannot be read.
    pub(crate) mark: Option<u32>,
}

/// The durable position, and who waits for it to move.
///
/// *Invariant*: the index holds everything up to the position before it is published here, so a reader that loads the position
/// first and looks into the index second never misses an event below it.
pub(crate) struct Published {
    position: AtomicU64,
    /// That position with its mark, for readers that need both of one moment.
    head: RwLock<Head>,
    closed: AtomicBool,
    changed: Event,
}

impl Published {
    pub(crate) const fn new(position: u64) -> Self {
        Self {
            position: AtomicU64::new(position),
            head: RwLock::new(Head { position, mark: None }),
            closed: AtomicBool::new(false),
            changed: Event::new(),
        }
    }

    /// The position of the last durable event.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// The last durable event, with its mark.
    pub(crate) fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets readers see everything up to that event. It has been synced.
    pub(crate) fn publish(&self, head: Head) {
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        let before = self.position.swap(head.position, Ordering::Release);
        assert!(before <= head.position, "the durable position never goes back");
        self.changed.notify(usize::MAX);
    }

    /// Wakes everybody for good.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify(usize::MAX);
    }

    /// Wakes everybody to look again, though the position did not move.
    pub(crate) fn wake(&self) {
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Is woken by the next change. Listen first, look second.
    pub(crate) fn listen(&self) -> EventListener {
        self.changed.listen()
    }
}

/// The newest frame that was synced. Every manifest that is written records it.
///
/// *Invariant*: number, checksum and position are set together, after the sync of the frame that they name.
#[derive(Default)]
pub(crate) struct Synced(Mutex<DurableMark>);

impl Synced {
    pub(crate) fn newest(&self) -> DurableMark {
        *self.lock()
    }

    /// Remembers a frame that was synced.
    pub(crate) fn note(&self, frame: DurableMark) {
        let mut newest = self.lock();
        assert!(newest.number <= frame.number, "frames are synced in their order");
        assert!(newest.position <= frame.position, "positions of synced frames never go back");
        *newest = frame;
    }

    fn lock(&self) -> MutexGuard<'_, DurableMark> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::Context;
    use std::task::Waker;

    use super::*;

    const fn at(position: u64) -> Head {
        Head { position, mark: Some(5) }
    }

    /// Whether a change wakes who listened before it.
    fn wakes(published: &Published, change: impl FnOnce(&Published)) -> bool {
        let mut listener = pin!(published.listen());
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(listener.as_mut().poll(&mut nobody).is_pending(), "nothing has changed yet");
        change(published);
        listener.poll(&mut nobody).is_ready()
    }

    #[test]
    fn every_change_is_seen_and_wakes_whoever_listened_before_it() {
        let published = Published::new(7);
        assert_eq!((published.position(), published.is_closed()), (7, false));
        assert!(wakes(&published, |published| published.publish(at(9))));
        assert_eq!(published.head(), at(9));
        assert_eq!((published.position(), published.is_closed()), (9, false));
        assert!(wakes(&published, Published::wake));
        assert_eq!((published.position(), published.is_closed()), (9, false));
        assert!(wakes(&published, Published::close));
        assert_eq!((published.position(), published.is_closed()), (9, true));
    }

    #[test]
    #[should_panic(expected = "the durable position never goes back")]
    fn the_position_never_goes_back() {
        Published::new(7).publish(at(6));
    }
}
