//! The macros of the `gesta` crate: `Event`, `Command`, `Key`, `Refusal`, `Row`, `decision` and `snapshot`. Use them through `gesta`.

mod attributes;
mod command;
mod decision;
mod event;
mod fields;
mod key;
mod refusal;
mod row;
mod snapshot;
#[cfg(test)]
mod tests;
mod versions;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `gesta::Event` for an enum: stable names, schema versions, upcasters, tags.
#[proc_macro_derive(Event, attributes(event, tag, serde, schemars))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `gesta::Command` for an enum: each variant is read from JSON by its name.
#[proc_macro_derive(Command, attributes(command, serde, schemars))]
pub fn derive_command(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    command::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `gesta::Key` for a struct of one field: the id of a kind of entity.
#[proc_macro_derive(Key, attributes(key))]
pub fn derive_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    key::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `Error` and `gesta::Refusal` for an enum: the documentation of a variant is its message.
#[proc_macro_derive(Refusal)]
pub fn derive_refusal(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    refusal::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `gesta::Row` for a struct: its fields are the columns of a table.
#[proc_macro_derive(Row, attributes(row))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    row::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Turns a function into a `gesta::Decision`. `fn transfer(from: &At<Account>, to: &At<Account>, amount: u64)` becomes
/// the struct `Transfer { from: AccountId, to: AccountId, amount: u64 }`.
///
/// A parameter is one of:
///
/// - `course: &At<Course>`: the state of an entity. The struct gets its id.
/// - `students: &[At<Student>]`: a list of entities. The struct gets their ids.
/// - `#[tag(email)] taken: &At<Taken>`: the state over all events with the tag `email:…`. The value is the struct's field
///   `email`. `#[tag(student = id)]` names the field or an expression; `#[tag(student, course)]` asks for both tags. The
///   struct gets no field.
/// - `amount: u64`: an input, by value. The struct gets it.
///
/// `#[decision(schema)]`, with the cargo feature `schema`, gives the JSON Schema of the inputs, for the description of the API. The inputs and
/// the ids need `JsonSchema`.
///
/// Up to eight states can be read. The events are recorded only if none of them has changed.
///
/// # Example
/// ```
/// # use gesta::*;
/// # #[derive(Debug, Clone, Key, serde::Deserialize)] #[key("course")] struct CourseId(String);
/// # #[derive(Debug, Event)] #[event(prefix = "course")]
/// # enum CourseEvent { Subscribed { #[tag] student: String } }
/// # #[derive(Debug, Clone, Command)] enum CourseCommand { Close }
/// # #[derive(Debug, Refusal)] enum Refused { Full, TooMany }
/// # #[derive(Default)] struct Course { students: u32 }
/// # impl State for Course { type Event = CourseEvent; fn evolve(&mut self, _: CourseEvent) { self.students += 1 } }
/// # impl Decider for Course {
/// #     type Id = CourseId; type Command = CourseCommand; type Error = Refused;
/// #     fn decide(&self, _: CourseCommand) -> Result<Vec<CourseEvent>, Refused> { Ok(vec![]) }
/// # }
/// /// The number of courses that one student has.
/// #[derive(Default)]
/// struct Courses(u32);
/// impl State for Courses {
///     type Event = CourseEvent;
///     fn evolve(&mut self, _: CourseEvent) {
///         self.0 += 1;
///     }
/// }
///
/// #[decision]
/// fn subscribe(
///     course: &At<Course>,
///     #[tag(student)] courses: &At<Courses>,
///     student: String,
/// ) -> Result<Vec<NewFact>, Refused> {
///     if course.students == 30 {
///         return Err(Refused::Full);
///     }
///     if courses.0 == 5 {
///         return Err(Refused::TooMany);
///     }
///     Ok(vec![course.emit(CourseEvent::Subscribed { student })])
/// }
///
/// let decision = Subscribe { course: CourseId("rust".into()), student: "ann".into() };
/// # gesta::testing::given_facts([]).when(decision).then([NewFact::new(&CourseId("rust".into()), CourseEvent::Subscribed { student: "ann".into() })]);
/// ```
#[proc_macro_attribute]
pub fn decision(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(attribute as decision::Arguments);
    let function = parse_macro_input!(item as syn::ItemFn);
    decision::expand(&arguments, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Declares that a state is kept as snapshots: put it on `impl State for …`. A load then begins from the newest snapshot
/// and folds only the events after it.
///
/// - `every = 500`: a snapshot is taken about every 500 events of a stream.
/// - `version = 2`: raise it when something else changes the state than the type, this block, or the versions of the
///   events: a helper function that `evolve` calls, how an older event is read, a default of serde. Snapshots of another
///   version are not used.
///
/// The state needs `Serialize`, `Deserialize` and `PartialEq`, and `JsonSchema` of the crate `schemars`, version 1.
/// Snapshots are kept once a handle has a snapshot store: `Gesta::snapshots`.
///
/// # Example
/// ```
/// # use gesta::*;
/// # #[derive(Debug, Event)] #[event(prefix = "bank.account")] enum AccountEvent { Deposited { amount: u64 } }
/// #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// struct Account { balance: u64 }
///
/// #[gesta::snapshot(every = 500)]
/// impl State for Account {
///     type Event = AccountEvent;
///     fn evolve(&mut self, AccountEvent::Deposited { amount }: AccountEvent) {
///         self.balance += amount;
///     }
/// }
/// assert!(Account::snapshots().is_some());
/// ```
#[proc_macro_attribute]
pub fn snapshot(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(attribute as snapshot::Arguments);
    let implementation = parse_macro_input!(item as syn::ItemImpl);
    snapshot::expand(&arguments, &implementation).unwrap_or_else(syn::Error::into_compile_error).into()
}
