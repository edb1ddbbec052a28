//! Appends whose answer is lost: one effect, or a doubt that the caller can settle.

use gesta::testing::block_on;
use gesta::*;

use crate::domain::*;

fn doubt<T>() -> Result<T, AppendError> {
    Err(AppendError::InDoubt { reason: "the answer was lost".into() })
}

/// Opens an account through a store. Returns the answer and the number of events.
async fn check(
    on_append: impl Fn(u32, &MemoryStore, Batch) -> Result<Appended, AppendError> + Send + Sync + 'static,
) -> (Result<Committed<AccountEvent>, SendError<Refused>>, usize) {
    let store = Interposed::new(on_append);
    let (gesta, beneath) = store.handles();
    let answer = gesta.send::<Account>(&id("ann"), open()).await;
    let page = beneath.event_store().read(Read::log(Query::All)).await.unwrap();
    (answer, page.events.len())
}

#[test]
fn an_append_that_happened_in_doubt_has_one_effect() {
    block_on(async {
        let (answer, events) = check(|number, inner, batch| {
            let answer = inner.append_now(batch);
            if number < 3 { doubt() } else { answer }
        })
        .await;
        let committed = answer.unwrap();
        assert!(!committed.repeated, "it is our own append that is answered");
        assert_eq!(committed.version(), Some(Version::FIRST));
        assert_eq!((committed.events.len(), events), (1, 1));
    });
}

#[test]
fn an_append_that_did_not_happen_in_doubt_has_one_effect() {
    block_on(async {
        let (answer, events) =
            check(|number, inner, batch| if number < 3 { doubt() } else { inner.append_now(batch) }).await;
        assert!(!answer.unwrap().repeated);
        assert_eq!(events, 1);
    });
}

#[test]
fn a_lasting_doubt_is_returned_with_the_batch_that_settles_it() {
    block_on(async {
        let store = Interposed::new(|_, inner, batch| {
            inner.append_now(batch).unwrap();
            doubt()
        });
        let (gesta, beneath) = store.handles();
        let error = gesta.send::<Account>(&id("ann"), open()).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Unknown);
        let SendError::InDoubt { batch, .. } = error else { panic!("{error}") };
        assert!(beneath.event_store().append(*batch).await.unwrap().repeated);
    });
}

#[test]
fn an_error_after_a_doubt_does_not_end_the_doubt() {
    block_on(async {
        let (answer, events) = check(|number, inner, batch| match number {
            1 => {
                inner.append_now(batch).unwrap();
                doubt()
            }
            _ => Err(AppendError::Unavailable { reason: "failing over".into() }),
        })
        .await;
        assert!(matches!(answer, Err(SendError::InDoubt { .. })));
        assert_eq!(events, 1);
    });
}

#[test]
fn a_conflict_after_a_doubt_ends_it() {
    block_on(async {
        let (answer, events) = check(|number, inner, batch| {
            if number > 1 {
                return inner.append_now(batch);
            }
            // This append was lost, and another writer came first.
            let mut other = batch;
            other.events[0].id = EventId::from_u128(77);
            inner.append_now(other).unwrap();
            doubt()
        })
        .await;
        assert!(matches!(answer, Err(SendError::Refused(Refused::AlreadyOpen))));
        assert_eq!(events, 1);
    });
}
