//! How far the log is durable and visible to readers. Only this module changes it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock};

use event_listener::{Event, EventListener};

use crate::format::DurableMark;
use crate::locks;

/// The end of the durable part: the position of the last event, and its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) position: u64,
    /// `None` for an empty log, and if the last event is unreadable.
    pub(crate) mark: Option<u32>,
}

/// The durable position, and the threads that wait for it to move.
///
/// *Invariant*: the index holds everything up to a position before the position is published here. A reader loads the
/// position first and the index second, so it never misses an event below it.
pub(crate) struct Published {
    position: AtomicU64,
    /// The same position with its mark, for readers that need a consistent pair.
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
        *locks::read(&self.head)
    }

    /// Makes everything up to that event visible to readers. It must be synced.
    pub(crate) fn publish(&self, head: Head) {
        *locks::write(&self.head) = head;
        let before = self.position.swap(head.position, Ordering::Release);
        assert!(before <= head.position, "the durable position never goes back");
        self.changed.notify(usize::MAX);
    }

    /// Wakes all waiters, now and from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify(usize::MAX);
    }

    /// Wakes all waiters although the position did not move.
    pub(crate) fn wake(&self) {
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Returns a listener for the next change. Listen first, then check.
    pub(crate) fn listen(&self) -> EventListener {
        self.changed.listen()
    }
}

/// The newest synced frame. Every manifest records it.
///
/// *Invariant*: number, checksum and position are set together, after the sync of their frame.
#[derive(Default)]
pub(crate) struct Synced(Mutex<DurableMark>);

impl Synced {
    pub(crate) fn newest(&self) -> DurableMark {
        *self.lock()
    }

    /// Records a synced frame.
    pub(crate) fn note(&self, frame: DurableMark) {
        let mut newest = self.lock();
        assert!(newest.number <= frame.number, "frames are synced in their order");
        assert!(newest.position <= frame.position, "positions of synced frames never go back");
        *newest = frame;
    }

    fn lock(&self) -> MutexGuard<'_, DurableMark> {
        locks::lock(&self.0)
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

    /// Whether a change wakes a listener that existed before it.
    fn wakes(published: &Published, change: impl FnOnce(&Published)) -> bool {
        let mut listener = pin!(published.listen());
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(listener.as_mut().poll(&mut nobody).is_pending(), "nothing has changed yet");
        change(published);
        listener.poll(&mut nobody).is_ready()
    }

    #[test]
    fn every_change_is_visible_and_wakes_earlier_listeners() {
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
