//! Rows, and the types that their fields may have.

use std::hash::Hash;
use std::num::{NonZeroU32, NonZeroU64};

use gesta_core::{EventId, Timestamp};
use gesta_views::{ColumnType, SqlValue, Table};
use uuid::Uuid;

use super::ViewError;
use crate::key::Key;

/// A row of a view: a struct whose fields are the columns of a table. Derive it.
///
/// `#[row("balances")]` names the table. `#[row(key)]` marks the fields of the key, which come first; `#[row(index)]` makes an
/// index on a field. The type of a field implements [`Column`]. A key has no `Option`: its columns are never null.
///
/// ```compile_fail
/// # use gesta::*;
/// #[derive(Clone, Row)]
/// #[row("balances")]
/// struct Balance {
///     #[row(key)]
///     account: Option<String>, // a column of the key cannot be an `Option`
///     amount: i64,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row of a view",
    label = "not a row",
    note = "put `#[derive(Clone, Row)] #[row(\"table\")]` on `{Self}`"
)]
pub trait Row: Clone + Send + Sync + 'static {
    /// The type of the key: that of the one field, or a tuple.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;

    /// Its table.
    fn table() -> Table;

    /// Its key.
    fn key(&self) -> Self::Key;

    /// The values of a key's columns.
    ///
    /// # Errors
    /// [`ViewError`] for a value that no database holds.
    fn key_values(key: &Self::Key) -> Result<Vec<SqlValue>, ViewError>;

    /// The key with these values: what [`Self::key_values`] took.
    ///
    /// # Errors
    /// [`ViewError`] for a value that does not fit its field.
    fn key_from_values(values: Vec<SqlValue>) -> Result<Self::Key, ViewError>;

    /// The values of all columns.
    ///
    /// # Errors
    /// [`ViewError`] for a value that no database holds.
    fn values(&self) -> Result<Vec<SqlValue>, ViewError>;

    /// The row with these values.
    ///
    /// # Errors
    /// [`ViewError`] for a value that does not fit its field.
    fn from_values(values: Vec<SqlValue>) -> Result<Self, ViewError>;
}

/// The type of a column: numbers, `bool`, `String`, `Vec<u8>`, [`Timestamp`], [`EventId`], [`Uuid`], every [`Key`], and options of
/// them. Implement it for a type of your own, such as an enum, on top of one of these.
///
/// **What [`Self::to_value`] takes, [`Self::from_value`] gives back.** Rows are kept in memory and read again at any time, so a
/// column that changes its value on the way, to lower case for example, would give rows that depend on chance. Normalise when a
/// value is made instead. In a key this is checked: an event with a key that comes back as another one stops the view.
///
/// A number has 64 bits with sign in both databases; a larger `u64` stops the view. A floating-point -0.0 is stored as 0.0, since
/// SQLite has no other. A [`Timestamp`] is a text as `$time` in views in SQL: RFC 3339 in UTC with nine decimals. A key is
/// checked as one in a URL is: an empty id stops the view.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a column of a view",
    note = "columns are numbers, `bool`, `String`, `Vec<u8>`, `Timestamp`, `EventId`, `Uuid`, keys, and options of them; implement `gesta::Column` for other types"
)]
pub trait Column: Sized {
    /// The type in the database.
    const TYPE: ColumnType;

    /// The column may be null.
    const IS_NULLABLE: bool = false;

    /// The value in the database.
    ///
    /// # Errors
    /// [`ViewError`] for a value that no database holds.
    fn to_value(&self) -> Result<SqlValue, ViewError>;

    /// The value of a row: what [`Self::to_value`] took.
    ///
    /// # Errors
    /// [`ViewError`] for a value that does not fit.
    fn from_value(value: SqlValue) -> Result<Self, ViewError>;
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Column for $number {
            const TYPE: ColumnType = ColumnType::Integer;

            fn to_value(&self) -> Result<SqlValue, ViewError> {
                let fits = i64::try_from(*self);
                fits.map(SqlValue::Integer).map_err(|_| format!("{self} needs more than 64 bits with sign").into())
            }

            fn from_value(value: SqlValue) -> Result<Self, ViewError> {
                match value {
                    SqlValue::Integer(number) => Self::try_from(number).map_err(|error| format!("{number}: {error}").into()),
                    other => Err(misfit(&other, "a whole number")),
                }
            }
        }
    )*};
}
whole_numbers!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

macro_rules! whole_numbers_but_zero {
    ($($number:ty: $plain:ty),*) => {$(
        impl Column for $number {
            const TYPE: ColumnType = ColumnType::Integer;

            fn to_value(&self) -> Result<SqlValue, ViewError> {
                self.get().to_value()
            }

            fn from_value(value: SqlValue) -> Result<Self, ViewError> {
                Self::new(<$plain>::from_value(value)?).ok_or_else(|| "0 is not a number above 0".into())
            }
        }
    )*};
}
whole_numbers_but_zero!(NonZeroU32: u32, NonZeroU64: u64);

impl Column for bool {
    const TYPE: ColumnType = ColumnType::Boolean;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        Ok(SqlValue::Integer((*self).into()))
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        match value {
            SqlValue::Integer(number @ 0..=1) => Ok(number == 1),
            other => Err(misfit(&other, "true or false")),
        }
    }
}

impl Column for f64 {
    const TYPE: ColumnType = ColumnType::Real;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        // 0.0 in place of -0.0.
        Ok(SqlValue::Real(*self + 0.0))
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        match value {
            SqlValue::Real(number) => Ok(number),
            other => Err(misfit(&other, "a floating-point number")),
        }
    }
}

impl Column for f32 {
    const TYPE: ColumnType = ColumnType::Real;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        f64::from(*self).to_value()
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        let wide = f64::from_value(value)?;
        #[expect(clippy::cast_possible_truncation, reason = "the next line checks it")]
        let number = wide as Self;
        match f64::from(number) == wide {
            true => Ok(number),
            false => Err(format!("{wide} is not a floating-point number of 32 bits").into()),
        }
    }
}

impl Column for String {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        Ok(SqlValue::Text(self.clone()))
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        match value {
            SqlValue::Text(text) => Ok(text),
            other => Err(misfit(&other, "a text")),
        }
    }
}

impl Column for Vec<u8> {
    const TYPE: ColumnType = ColumnType::Bytes;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        Ok(SqlValue::Blob(self.clone()))
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        match value {
            SqlValue::Blob(bytes) => Ok(bytes),
            other => Err(misfit(&other, "bytes")),
        }
    }
}

impl Column for Timestamp {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        let time = jiff::Timestamp::from_nanosecond(self.as_nanos().into())?;
        Ok(SqlValue::Text(format!("{time:.9}")))
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        let time = String::from_value(value)?.parse::<jiff::Timestamp>()?;
        Ok(Self::from_nanos(i64::try_from(time.as_nanosecond())?))
    }
}

impl Column for EventId {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        Ok(SqlValue::Text(self.to_string()))
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        Ok(String::from_value(value)?.parse()?)
    }
}

impl Column for Uuid {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        Ok(SqlValue::Text(self.to_string()))
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        Ok(String::from_value(value)?.parse()?)
    }
}

impl<K: Key> Column for K {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        let value = self.value();
        K::parse(&value)?;
        Ok(SqlValue::Text(value))
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        Ok(K::parse(&String::from_value(value)?)?)
    }
}

impl<C: Column> Column for Option<C> {
    const TYPE: ColumnType = C::TYPE;
    const IS_NULLABLE: bool = true;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        self.as_ref().map_or(Ok(SqlValue::Null), C::to_value)
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        match value {
            SqlValue::Null => Ok(None),
            value => C::from_value(value).map(Some),
        }
    }
}

fn misfit(value: &SqlValue, wanted: &str) -> ViewError {
    let found = match value {
        SqlValue::Null => "null".to_owned(),
        SqlValue::Integer(number) => number.to_string(),
        SqlValue::Real(number) => number.to_string(),
        SqlValue::Text(text) => format!("`{}`", text.chars().take(80).collect::<String>()),
        SqlValue::Blob(bytes) => format!("{} bytes", bytes.len()),
    };
    format!("{found} is not {wanted}").into()
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn check<C: Column + PartialEq + Debug>(value: &C, expected: &SqlValue) {
        assert_eq!(value.to_value().unwrap(), *expected);
        assert_eq!(C::from_value(expected.clone()).unwrap(), *value);
        assert!(*expected == SqlValue::Null || C::TYPE.holds(expected), "{expected:?}");
    }

    #[test]
    fn values_come_back_as_they_were() {
        check(&-3_i64, &SqlValue::Integer(-3));
        check(&7_u8, &SqlValue::Integer(7));
        check(&u64::from(u32::MAX), &SqlValue::Integer(u32::MAX.into()));
        check(&true, &SqlValue::Integer(1));
        check(&0.1, &SqlValue::Real(0.1));
        check(&"é".to_owned(), &SqlValue::from("é"));
        check(&vec![0_u8, 255], &SqlValue::Blob(vec![0, 255]));
        check(&EventId::from_u128(1), &SqlValue::from("00000000-0000-0000-0000-000000000001"));
        check(&Uuid::from_u128(1), &SqlValue::from("00000000-0000-0000-0000-000000000001"));
        check(&7_usize, &SqlValue::Integer(7));
        check(&NonZeroU64::MIN, &SqlValue::Integer(1));
        check(&0.1_f32, &SqlValue::Real(0.1_f32.into()));
        check(&f32::INFINITY, &SqlValue::Real(f64::INFINITY));
        check(&None::<String>, &SqlValue::Null);
        check(&Some(3_u16), &SqlValue::Integer(3));
    }

    #[test]
    fn zero_has_no_sign() {
        let SqlValue::Real(zero) = (-0.0_f64).to_value().unwrap() else { panic!("no number") };
        assert!(zero.is_sign_positive());
    }

    #[test]
    fn times_are_texts_that_sort_as_they_do() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            check(&Timestamp::from_nanos(nanos), &SqlValue::from(text));
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        let error = |error: ViewError| error.to_string();
        assert_eq!(
            error(u64::MAX.to_value().unwrap_err()),
            format!("{} needs more than 64 bits with sign", u64::MAX)
        );
        assert_eq!(error(bool::from_value(SqlValue::Integer(2)).unwrap_err()), "2 is not true or false");
        assert_eq!(error(String::from_value(SqlValue::Null).unwrap_err()), "null is not a text");
        assert_eq!(
            error(NonZeroU32::from_value(SqlValue::Integer(0)).unwrap_err()),
            "0 is not a number above 0"
        );
        assert_eq!(
            error(f32::from_value(SqlValue::Real(0.1)).unwrap_err()),
            "0.1 is not a floating-point number of 32 bits"
        );
        assert!(u8::from_value(SqlValue::Integer(256)).is_err());
        assert!(Timestamp::from_value(SqlValue::from("today")).is_err());
    }
}
