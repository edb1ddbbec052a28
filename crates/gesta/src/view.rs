//! Views in Rust: typed events change typed rows, which are queried with SQL.
//!
//! - [`Row`]: a struct whose fields are the columns of a table. Derive it.
//! - [`RowView`]: what an event does to the rows.
//! - [`Rows`]: the rows of one table, by key.
//! - [`row_view`]: the view as a definition for `gesta_views::Views`, in SQLite or PostgreSQL.

mod apply;
mod column;
mod error;
mod rows;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use gesta_views::{ColumnType, Definition, Dialect, OnError, SqlValue, Table};

use crate::event::{Event, Recorded, types};
use apply::Handler;
pub use column::{Column, Row};
pub use error::ViewError;
pub use rows::Rows;
pub use tables::Tables;

/// A view in Rust: events change the rows of its tables.
///
/// Events are decoded as everywhere: upcasters apply, and an event that does not decode stops the view, or parks its stream. Rows and the place
/// in the log are committed together, so each event counts once. Rows are kept in memory for a page of events at least: a
/// key that repeats in a page costs one read and one write.
///
/// `apply` depends on its arguments alone: no clock, no chance, nothing outside. It may be called for an event whose rows
/// are not in memory yet. The first access to a row returns an error then, and the event is applied again once the rows
/// are there. So pass errors of [`Rows`] on with `?`.
///
/// # Example
/// ```
/// # use gesta::*;
/// # #[derive(Debug, Clone, PartialEq, Eq, Hash, Key)] #[key("account")] struct AccountId(String);
/// # #[derive(Debug, Event)] #[event(prefix = "bank.account")]
/// # enum AccountEvent { Opened { owner: String }, Deposited { amount: i64 }, Withdrawn { amount: i64 } }
/// #[derive(Clone, Row)]
/// #[row("balances")]
/// struct Balance {
///     #[row(key)]
///     account: AccountId,
///     #[row(index)]
///     owner: String,
///     amount: i64,
/// }
///
/// struct Balances;
///
/// impl RowView for Balances {
///     const NAME: &'static str = "balances";
///     type Event = AccountEvent;
///     type Rows = Balance;
///
///     fn apply(&self, rows: &mut Rows<Balance>, event: &Recorded<AccountEvent>) -> Result<(), ViewError> {
///         let Some(account) = event.key::<AccountId>() else { return Ok(()) };
///         let change = match &event.event {
///             AccountEvent::Opened { owner } => {
///                 rows.put(Balance { account, owner: owner.clone(), amount: 0 });
///                 return Ok(());
///             }
///             AccountEvent::Deposited { amount } => *amount,
///             AccountEvent::Withdrawn { amount } => -amount,
///         };
///         rows.get_mut(&account)?.ok_or("the account was never opened")?.amount += change;
///         Ok(())
///     }
/// }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let store = std::sync::Arc::new(gesta::testing::memory());
/// # let event = |id, kind: &str, data: &str| NewEvent::json(EventId::from_u128(id), "account-42".parse().unwrap(), kind.parse().unwrap(), Timestamp::from_nanos(1), data.to_owned());
/// # let batch = Batch::new([event(1, "bank.account.opened", r#"{"owner":"ann"}"#), event(2, "bank.account.deposited", r#"{"amount":7}"#)]);
/// # let appended = store.append_now(batch)?;
/// use gesta_views::{Dialect, QueryLimits, SqlValue, Views};
///
/// let views = Views::open(store, folder.path().join("views"), vec![row_view(Balances, Dialect::Sqlite)])?;
/// # gesta::testing::block_on(views.wait_for("balances", &appended.checkpoint))?;
/// let answer = views.query("balances", "select owner, amount from balances", &[], &QueryLimits::default())?;
/// assert_eq!(answer.rows, [[SqlValue::from("ann"), SqlValue::from(7)]]);
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a view",
    label = "not a view",
    note = "implement `gesta::RowView`: `const NAME`, `type Event`, `type Rows` and `fn apply`"
)]
pub trait RowView: Send + Sync + 'static {
    /// Its name: 1 to 64 of `a-z`, `0-9` and `_`.
    const NAME: &'static str;

    /// Raise it when the same stored events give other rows: `apply` was changed, or an upcaster of the events, or a [`Column`]
    /// of your own. The view is then built anew beside the old one. Changed columns, and other types of events, do so by
    /// themselves.
    const VERSION: u32 = 1;

    /// What the view does at an event that it cannot apply: stop, or park the stream of the event and go on with the others.
    const ON_ERROR: OnError = OnError::Stop;

    /// The events that it takes. For a few types of a large enum, declare a smaller one with the same prefix.
    type Event: Event;

    /// Its table, as the type of its rows; or its tables, as a tuple of up to eight such types.
    type Rows: Tables;

    /// Applies one event to the rows: `&mut Rows<R>`, or a tuple of them.
    ///
    /// # Errors
    /// [`ViewError`], which stops the view at this event, or parks its stream: [`Self::ON_ERROR`]. `?` makes one of any error, and of a text.
    fn apply(&self, rows: RowsOf<'_, Self>, event: &Recorded<Self::Event>) -> Result<(), ViewError>;
}

/// What [`RowView::apply`] gets of the rows: `&mut Rows<R>`, or a tuple of them.
pub type RowsOf<'r, V> = <<V as RowView>::Rows as Tables>::Mut<'r>;

/// The definition of a view in Rust, with its tables in the database of a dialect. Views run it as they run one in SQL.
///
/// # Panics
/// If the name of the view is not allowed, or two of its tables have the same name.
#[must_use]
pub fn row_view<V: RowView>(view: V, dialect: Dialect) -> Definition {
    let definition = gesta_views::RowDefinition {
        name: V::NAME.to_owned(),
        version: V::VERSION,
        on_error: V::ON_ERROR,
        event_types: types::<V::Event>(),
        tables: V::Rows::tables(),
        handler: Arc::new(Handler::new(view)),
    };
    Definition::rows(definition, dialect).unwrap_or_else(|error| panic!("{error}"))
}
