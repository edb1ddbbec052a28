//! Decisions: rules that span several entities, or all events with a tag.

use crate::boundary::Boundary;
use crate::command::FieldInfo;
use crate::fact::NewFact;
use crate::refusal::RefusalInfo;

/// A rule over several states that records its events atomically.
///
/// The boundary names the states: entities, and events that share a tag. All parts are read up to one place in the log.
/// The events are recorded only if no part has changed since; otherwise the rule is decided again. A boundary over tags
/// needs a store whose conditions can span the whole log.
///
/// An event can be recorded in a stream outside the boundary. The append then expects nothing of that stream.
///
/// [`macro@crate::decision`] turns a function into a decision. Write `impl Decision` by hand if the boundary depends on
/// the input in another way.
///
/// # Example
/// A rule over a tag, by hand: an e-mail address is taken once.
/// ```
/// # use gesta::*;
/// # #[derive(Debug, Clone, Key)] #[key("customer")] struct CustomerId(String);
/// #[derive(Debug, Event)]
/// #[event(prefix = "shop.customer")]
/// enum CustomerEvent {
///     Registered { #[tag] email: String },
/// }
///
/// /// True if the e-mail address is taken.
/// #[derive(Default)]
/// struct Taken(bool);
/// impl State for Taken {
///     type Event = CustomerEvent;
///     fn evolve(&mut self, _: CustomerEvent) {
///         self.0 = true;
///     }
/// }
///
/// #[derive(Debug, Refusal)]
/// enum Refused {
///     /// The e-mail address is taken.
///     EmailTaken,
/// }
///
/// #[derive(Clone)]
/// struct Register { id: CustomerId, email: String }
/// impl Decision for Register {
///     type State = At<Taken>;
///     type Error = Refused;
///     fn boundary(&self) -> At<Taken> {
///         At::tagged("email", &self.email)
///     }
///     fn decide(self, taken: &At<Taken>) -> Result<Vec<NewFact>, Refused> {
///         if taken.0 {
///             return Err(Refused::EmailTaken);
///         }
///         Ok(vec![NewFact::new(&self.id, CustomerEvent::Registered { email: self.email })])
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decision",
    label = "not a decision",
    note = "put `#[decision]` on a function, or implement `gesta::Decision`: `type State`, `type Error`, `fn boundary` and `fn decide`"
)]
pub trait Decision: Clone + Send + Sync + 'static {
    /// The states it reads: an [`At`](crate::At), a `Vec` of boundaries, or a tuple of up to eight.
    type State: Boundary;
    /// Why it refuses.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The inputs, as `GET /commands` lists them. [`macro@crate::decision`] fills them in; empty by default.
    const FIELDS: &'static [FieldInfo] = &[];

    /// The refusals, as the description of the API lists them. [`macro@crate::decision`] fills them in where the error has
    /// `#[derive(Refusal)]`; empty by default.
    const REFUSALS: &'static [RefusalInfo] = &[];

    /// The JSON Schema of the inputs. [`macro@crate::decision`] with the argument `schema` gives it.
    #[cfg(feature = "schema")]
    #[must_use]
    fn schema() -> Option<serde_json::Value> {
        None
    }

    /// The states to load, still empty.
    fn boundary(&self) -> Self::State;

    /// The events that follow. An empty list accepts the decision and records nothing.
    ///
    /// # Errors
    /// The domain's refusal. Nothing is recorded then.
    fn decide(self, state: &Self::State) -> Result<Vec<NewFact>, Self::Error>;
}
