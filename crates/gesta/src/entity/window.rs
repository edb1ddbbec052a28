//! How many batches an entity may have in flight: few after a conflict with another process, then more and more.

use super::limits::{BATCHES_IN_FLIGHT_MAX, WRITTEN_TO_WIDEN};

/// The batches that may be in flight at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    batches: usize,
    /// Batches written since the window was last changed.
    written: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self { batches: BATCHES_IN_FLIGHT_MAX, written: 0 }
    }
}

impl Window {
    pub(super) const fn batches(self) -> usize {
        self.batches
    }

    /// True after a conflict, until the window is open again.
    pub(super) const fn is_careful(self) -> bool {
        self.batches < BATCHES_IN_FLIGHT_MAX
    }

    /// Another process writes to the entity: what is decided ahead would mostly be decided in vain.
    pub(super) fn conflicted(&mut self) {
        *self = Self { batches: 1, written: 0 };
    }

    /// A batch was written without a conflict.
    pub(super) fn written(&mut self) {
        self.written += 1;
        if self.written >= WRITTEN_TO_WIDEN {
            *self = Self { batches: (self.batches * 2).min(BATCHES_IN_FLIGHT_MAX), written: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_leaves_one_batch_in_flight_and_eight_written_ones_double_it() {
        let mut window = Window::default();
        assert_eq!((window.batches(), window.is_careful()), (256, false));
        window.conflicted();
        let mut seen = Vec::new();
        for written in 1..=80 {
            window.written();
            if written % 8 == 0 {
                seen.push(window.batches());
            }
        }
        assert_eq!(seen, [2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
        assert!(!window.is_careful());
    }
}
