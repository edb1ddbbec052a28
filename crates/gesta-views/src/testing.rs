//! The test kit for views: a log is given, a query shows these rows.
//!
//! ```
//! use gesta_core::{Batch, EventId, MemoryStore, NewEvent, StoreId, Timestamp};
//! use gesta_views::testing::view;
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1));
//! let event = NewEvent::json(EventId::from_u128(1), "stock-pen".parse()?, "received".parse()?, Timestamp::from_nanos(1), r#"{"count": 5}"#);
//! store.append_now(Batch::new([event]))?;
//!
//! view("stock", "-- dialect: sqlite
//!     create table stock (article text primary key, count integer not null) strict;
//!     -- on received
//!     insert into stock values ($entity, :count) on conflict do update set count = count + :count;")
//!     .given(&store)
//!     .when("select article, count from stock")
//!     .then(json!([["pen", 5]]));
//! # Ok(())
//! # }
//! ```
//!
//! With a typed log, `gesta::testing::holding` makes the store.

use std::num::{NonZeroU32, NonZeroU64};

use gesta_core::{BoxFuture, EventStore, Limit, Page, Read, ReadError, StoreLayer, When, with_causes};
use serde_json::Value;

use crate::as_of::{Evaluation, Moment, ViewAsOf};
use crate::definition::Definition;
use crate::query::{QueryLimits, SqlValue};

/// Events in a page, for the law that pages make no difference: one batch at a time, few, and all.
const PAGES: [u32; 3] = [1, 7, u32::MAX];

/// Starts a test of a view, by its name and definition.
///
/// # Panics
/// If the definition is not valid. The message has the line.
#[must_use]
#[track_caller]
pub fn view(name: &str, sql: &str) -> ViewTest {
    let definition = Definition::parse(name, sql);
    ViewTest { definition: definition.unwrap_or_else(|error| panic!("{}", with_causes(&error))) }
}

/// A view without events.
pub struct ViewTest {
    definition: Definition,
}

impl ViewTest {
    /// Applies all events of a log: in pages of one batch, in small pages, and in one. The rows must not depend on it.
    ///
    /// # Panics
    /// If an event cannot be applied. The message has the event and the line.
    #[must_use]
    #[track_caller]
    pub fn given(self, store: &dyn EventStore) -> GivenView {
        let views = PAGES.map(|events| {
            let paged = Paged { store, events: NonZeroU32::new(events).expect("a page has an event") };
            let head = pollster::block_on(store.locate(When::Head));
            let head = head.unwrap_or_else(|error| panic!("the log cannot be read: {}", with_causes(&error)));
            let view = Evaluation::new(&paged, &self.definition).at(&Moment::from(head));
            view.unwrap_or_else(|error| panic!("{}", with_causes(&error)))
        });
        GivenView { views }
    }
}

/// A view with its events.
pub struct GivenView {
    /// The same view, its events applied in pages of different sizes.
    views: [ViewAsOf; PAGES.len()],
}

impl GivenView {
    /// Asks a query.
    ///
    /// # Panics
    /// If it is refused, or if its rows depend on how many events were applied at once: add `order by` if their order may differ.
    #[track_caller]
    pub fn when(&self, sql: &str) -> ViewRows {
        let [one, few, all] = self.views.each_ref().map(|view| rows(view, sql));
        for (other, events) in [(&few, PAGES[1]), (&one, PAGES[0])] {
            assert!(
                *other == all,
                "the rows depend on how many events are applied at once\nall at once\n    {all}\n{events} at a time\n    {other}"
            );
        }
        ViewRows { rows: all }
    }
}

/// The rows of a query.
#[must_use = "call `then`"]
pub struct ViewRows {
    rows: Value,
}

impl ViewRows {
    /// Expects these rows, each a list of values.
    ///
    /// # Panics
    /// If the rows are different.
    #[track_caller]
    pub fn then(self, rows: Value) {
        assert!(
            self.rows == rows,
            "the rows differ from the expected ones\nexpected\n    {rows}\nbut got\n    {}",
            self.rows
        );
    }
}

#[track_caller]
fn rows(view: &ViewAsOf, sql: &str) -> Value {
    let answer = view.query(sql, &[], &QueryLimits::default());
    let answer = answer.unwrap_or_else(|error| panic!("{}", with_causes(&error)));
    answer.rows.into_iter().map(|row| row.into_iter().map(value).collect::<Value>()).collect()
}

fn value(value: SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(number) => number.into(),
        SqlValue::Real(number) => number.into(),
        SqlValue::Text(text) => text.into(),
        SqlValue::Blob(bytes) => bytes.into(),
    }
}

/// A store whose pages have fewer events.
struct Paged<'a> {
    store: &'a dyn EventStore,
    events: NonZeroU32,
}

impl StoreLayer for Paged<'_> {
    fn inner(&self) -> &dyn EventStore {
        self.store
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        let limit = Limit { events: self.events, bytes: NonZeroU64::MAX, examined: NonZeroU64::MAX };
        self.store.read(read.limit(limit))
    }
}
