//! The tables of a view: one type of rows, or a tuple of them.

use gesta_views::Table;

use super::rows::AnyRows;
use super::{Row, Rows};

/// The tables of a view: a [`Row`], or a tuple of up to eight.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the rows of a view",
    label = "not a row, nor a tuple of rows",
    note = "`type Rows` is a type with `#[derive(Clone, Row)] #[row(\"table\")]`, or a tuple of up to eight of them"
)]
pub trait Tables: 'static {
    /// What the code of the view gets: `&mut Rows<R>`, or a tuple of them.
    type Mut<'r>;

    /// The rows of all tables.
    #[doc(hidden)]
    type All: sealed::AllRows;

    /// Lends the rows to the code.
    #[doc(hidden)]
    fn lend(all: &mut Self::All) -> Self::Mut<'_>;

    /// The tables, in their order.
    #[doc(hidden)]
    fn tables() -> Vec<Table>;
}

/// The rows of all tables, without their types.
pub(super) mod sealed {
    use super::AnyRows;

    pub trait AllRows: Default + Send {
        /// Calls `each` with the rows of every table, in their order.
        fn each(&mut self, each: &mut dyn FnMut(&mut dyn AnyRows));
    }
}

impl<R: Row> sealed::AllRows for Rows<R> {
    fn each(&mut self, each: &mut dyn FnMut(&mut dyn AnyRows)) {
        each(self);
    }
}

impl<R: Row> Tables for R {
    type Mut<'r> = &'r mut Rows<R>;
    type All = Rows<R>;

    fn lend(all: &mut Rows<R>) -> &mut Rows<R> {
        all
    }

    fn tables() -> Vec<Table> {
        vec![R::table()]
    }
}

macro_rules! tuple_of_tables {
    ($($row:ident $at:tt),*) => {
        impl<$($row: Row),*> sealed::AllRows for ($(Rows<$row>,)*) {
            fn each(&mut self, each: &mut dyn FnMut(&mut dyn AnyRows)) {
                $(each(&mut self.$at);)*
            }
        }

        impl<$($row: Row),*> Tables for ($($row,)*) {
            type Mut<'r> = ($(&'r mut Rows<$row>,)*);
            type All = ($(Rows<$row>,)*);

            fn lend(all: &mut Self::All) -> Self::Mut<'_> {
                ($(&mut all.$at,)*)
            }

            fn tables() -> Vec<Table> {
                vec![$($row::table()),*]
            }
        }
    };
}
tuple_of_tables!(A 0);
tuple_of_tables!(A 0, B 1);
tuple_of_tables!(A 0, B 1, C 2);
tuple_of_tables!(A 0, B 1, C 2, D 3);
tuple_of_tables!(A 0, B 1, C 2, D 3, E 4);
tuple_of_tables!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple_of_tables!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_of_tables!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
