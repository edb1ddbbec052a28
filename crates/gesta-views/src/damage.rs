//! Reports of damage in a view's database, from the threads that find it to the one that rebuilds it.

use std::sync::{Mutex, PoisonError};

use gesta_consumer::Stop;

/// The damage found during one run of a view. A report makes the view's thread leave what it is doing.
pub(crate) struct Damage {
    message: Mutex<Option<String>>,
    stop: Stop,
}

impl Damage {
    pub(crate) fn new(stop: Stop) -> Self {
        Self { message: Mutex::default(), stop }
    }

    /// The first report counts until it is taken.
    pub(crate) fn report(&self, message: &str) {
        let mut first = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| message.to_owned());
        self.stop.reopen();
    }

    pub(crate) fn take(&self) -> Option<String> {
        let mut message = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.clear_reopen();
        message.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_ends_waits_until_it_is_taken() {
        let stop = Stop::new();
        let damage = Damage::new(stop.clone());
        damage.report("first");
        damage.report("second");
        assert_eq!(stop.or(std::future::pending::<()>()), None);
        assert_eq!(damage.take().as_deref(), Some("first"));
        assert_eq!(stop.or(async { 1 }), Some(1));
    }
}
