//! Requests that wait because too many are under way, in the order of their arrival.
//!
//! They wait here and not in their callers' futures: a future that is not polled would hold its place for ever.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ask::Ask;
use crate::limits::QUESTIONS_MAX;

/// Requests that wait, and the number of those that run.
#[derive(Default)]
pub(crate) struct Backlog(Mutex<State>);

#[derive(Default)]
struct State {
    running: usize,
    waiting: VecDeque<Ask>,
    /// The number of waiting requests at which those without a caller are removed.
    prune_at: usize,
}

impl Backlog {
    /// Takes a request. Returns it if it may run now.
    pub(crate) fn push(&self, ask: Ask) -> Option<Ask> {
        let mut state = self.lock();
        if state.running < QUESTIONS_MAX {
            state.running += 1;
            return Some(ask);
        }
        if state.waiting.len() >= state.prune_at {
            state.waiting.retain(|ask| !ask.reply.is_closed());
            state.prune_at = (2 * state.waiting.len()).max(QUESTIONS_MAX);
        }
        state.waiting.push_back(ask);
        None
    }

    /// Ends a request that ran. Returns the next one, which may run now.
    pub(crate) fn next(&self) -> Option<Ask> {
        let mut state = self.lock();
        let next = std::iter::from_fn(|| state.waiting.pop_front()).find(|ask| !ask.reply.is_closed());
        if next.is_none() {
            state.running -= 1;
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;
    use crate::request::Request;

    #[test]
    fn requests_beyond_the_limit_run_in_order_as_others_end_and_those_without_a_caller_go() {
        let backlog = Backlog::default();
        let mut callers = Vec::new();
        let mut ask = |name: usize| {
            let (reply, caller) = oneshot::channel();
            callers.push(Some(caller));
            let mut request = Request::store();
            request.path = name.to_string();
            Ask { request, deadline: Instant::now(), reply }
        };
        let running = (0..QUESTIONS_MAX).filter_map(|name| backlog.push(ask(name))).collect::<Vec<_>>();
        assert_eq!(running.len(), QUESTIONS_MAX);
        for name in 0..3 {
            assert!(backlog.push(ask(QUESTIONS_MAX + name)).is_none());
        }
        callers[QUESTIONS_MAX + 1] = None;
        let next = |backlog: &Backlog| backlog.next().map(|ask| ask.request.path);
        assert_eq!(next(&backlog), Some(QUESTIONS_MAX.to_string()));
        assert_eq!(next(&backlog), Some((QUESTIONS_MAX + 2).to_string()));
        assert_eq!(next(&backlog), None);
    }

    #[test]
    fn requests_whose_callers_are_gone_take_no_room() {
        let backlog = Backlog::default();
        for _ in 0..10 * QUESTIONS_MAX {
            let (reply, _) = oneshot::channel();
            drop(backlog.push(Ask { request: Request::store(), deadline: Instant::now(), reply }));
        }
        assert!(backlog.lock().waiting.len() <= QUESTIONS_MAX + 1);
    }
}
