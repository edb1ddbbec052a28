//! The store that a client talks to. Every answer names its store; an answer of another one ends the client.

use std::sync::OnceLock;

use event_listener::Event;
use gesta_core::StoreId;
use gesta_wire::{Problem, kinds};

use crate::exchange::Answer;

/// The store of a client, and what is known of another one in its place.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    store: OnceLock<StoreId>,
    /// Why the store cannot be reached any more.
    lost: OnceLock<String>,
    on_loss: Event,
}

/// What an answer is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An answer of the client's store.
    Ours(Answer),
    /// An answer of another store: the client has ended.
    Foreign,
    /// An answer that names no store, for example that of a proxy. It says nothing about the request.
    Strange(String),
}

impl Identity {
    /// The store, once it is known.
    pub(crate) fn store(&self) -> Option<StoreId> {
        self.store.get().copied()
    }

    /// Names the store that the server must have, before it was asked.
    pub(crate) fn expect(&self, store: StoreId) {
        self.store.get_or_init(|| store);
    }

    /// Judges an answer. The first store that is named is the client's.
    pub(crate) fn judge(&self, answer: Answer) -> Verdict {
        let problem = (!answer.status.is_success()).then(|| Problem::from_json(&answer.body).ok()).flatten();
        let is_refused = problem.as_ref().is_some_and(|problem| problem.kind == kinds::FOREIGN_STORE.name);
        let Some(named) = answer.store.filter(|_| !is_refused) else {
            if is_refused && let Some(ours) = self.store() {
                self.lose(format!("the server at this address refuses requests for store {ours}"));
                return Verdict::Foreign;
            }
            let detail = problem.map_or_else(
                || "it is not a Gesta server, or an older one".to_owned(),
                |problem| problem.detail,
            );
            return Verdict::Strange(format!(
                "the answer names no store (status {}): {detail}",
                answer.status
            ));
        };
        let ours = *self.store.get_or_init(|| named);
        if named == ours {
            return Verdict::Ours(answer);
        }
        self.lose(format!("the server at this address has store {named} now, not {ours}"));
        Verdict::Foreign
    }

    /// Why the store cannot be reached any more, if that is so.
    pub(crate) fn loss(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Waits until the store cannot be reached any more.
    pub(crate) async fn lost(&self) -> String {
        loop {
            let listener = self.on_loss.listen();
            if let Some(reason) = self.loss() {
                return reason.to_owned();
            }
            listener.await;
        }
    }

    fn lose(&self, reason: String) {
        tracing::error!("the client of an event store has ended: {reason}");
        self.lost.get_or_init(|| reason);
        self.on_loss.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn id(byte: u8) -> StoreId {
        StoreId::from_bytes([byte; 16])
    }

    fn answer(store: Option<u8>, status: StatusCode, body: &str) -> Answer {
        Answer { status, store: store.map(id), body: body.to_owned().into() }
    }

    fn problem(kind: gesta_wire::Kind) -> String {
        Problem::new(kind, "it has another store").to_json().to_string()
    }

    #[test]
    fn the_first_named_store_is_the_clients_and_another_one_ends_it() {
        let identity = Identity::default();
        let ours = answer(Some(1), StatusCode::OK, "{}");
        assert_eq!(identity.judge(ours.clone()), Verdict::Ours(ours.clone()));
        assert_eq!((identity.store(), identity.loss()), (Some(id(1)), None));
        assert_eq!(identity.judge(answer(Some(2), StatusCode::OK, "{}")), Verdict::Foreign);
        assert!(identity.loss().unwrap().contains(&id(2).to_string()));
        assert!(pollster::block_on(identity.lost()).contains(&id(2).to_string()));
    }

    #[test]
    fn a_refusal_for_another_store_ends_the_client_whatever_store_it_names() {
        for named in [None, Some(1), Some(2)] {
            let identity = Identity::default();
            identity.judge(answer(Some(1), StatusCode::OK, "{}"));
            let refusal = answer(named, StatusCode::MISDIRECTED_REQUEST, &problem(kinds::FOREIGN_STORE));
            assert_eq!(identity.judge(refusal), Verdict::Foreign, "{named:?}");
            assert!(identity.loss().is_some());
        }
    }

    #[test]
    fn an_answer_that_names_no_store_says_nothing_and_ends_nothing() {
        let identity = Identity::default();
        identity.judge(answer(Some(1), StatusCode::OK, "{}"));
        for (status, body) in [
            (StatusCode::BAD_GATEWAY, "<html>"),
            (StatusCode::OK, "{}"),
            (StatusCode::MISDIRECTED_REQUEST, &problem(kinds::UNAVAILABLE)),
        ] {
            assert!(matches!(identity.judge(answer(None, status, body)), Verdict::Strange(_)), "{status}");
        }
        assert_eq!(identity.loss(), None);
    }
}
