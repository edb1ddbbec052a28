//! Values as PostgreSQL takes and gives them.
//!
//! *Choice:* parameters as text, not binary. The server reads them by the type that it inferred, so every type that it has can
//! be a column of a view, and a value that does not fit is the server's own message.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, Kind as TypeKind, ToSql, Type, to_sql_checked};

use crate::postgres::clock::has_clock_word;
use crate::query::SqlValue;
use crate::value::Value;

/// A parameter of a statement or query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Param {
    Null,
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Value<'_>> for Param {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::Text(number.to_string()),
            Value::Real(number) => Self::Text(number.to_string()),
            Value::Text(text) => Self::Text(text.into_owned()),
            Value::Blob(bytes) => Self::Bytes(bytes.to_owned()),
        }
    }
}

impl From<&SqlValue> for Param {
    fn from(value: &SqlValue) -> Self {
        match value {
            SqlValue::Null => Self::Null,
            SqlValue::Integer(number) => Self::Text(number.to_string()),
            SqlValue::Real(number) => Self::Text(number.to_string()),
            SqlValue::Text(text) => Self::Text(text.clone()),
            SqlValue::Blob(bytes) => Self::Bytes(bytes.clone()),
        }
    }
}

/// Why a value cannot be sent as a parameter of a type.
#[derive(Debug, thiserror::Error)]
#[error("{what} does not fit a parameter of the type `{type_name}`: {help}")]
pub(crate) struct DoesNotFit {
    what: &'static str,
    type_name: String,
    help: &'static str,
}

impl Param {
    fn text(&self, ty: &Type) -> Result<Option<String>, DoesNotFit> {
        let type_name = || ty.name().to_owned();
        match self {
            Self::Null => Ok(None),
            Self::Bytes(bytes) if *ty == Type::BYTEA => Ok(Some(hex(bytes))),
            Self::Bytes(_) => Err(DoesNotFit {
                what: "a value that is no text",
                type_name: type_name(),
                help: "store it in a column of the type `bytea`",
            }),
            Self::Text(text) if *ty == Type::BYTEA => Ok(Some(hex(text.as_bytes()))),
            Self::Text(text) if has_time(ty) && has_clock_word(text) => Err(DoesNotFit {
                what: "a word for the time of a clock",
                type_name: type_name(),
                help: "a rebuilt view would differ; use $time or $recorded_at",
            }),
            Self::Text(text) => Ok(Some(text.clone())),
        }
    }
}

/// Whether values of a type are dates or times, or have some.
fn has_time(ty: &Type) -> bool {
    match ty.kind() {
        TypeKind::Array(inner)
        | TypeKind::Range(inner)
        | TypeKind::Multirange(inner)
        | TypeKind::Domain(inner) => has_time(inner),
        TypeKind::Composite(fields) => fields.iter().any(|field| has_time(field.type_())),
        _ => [Type::TIMESTAMPTZ, Type::TIMESTAMP, Type::DATE, Type::TIME, Type::TIMETZ].contains(ty),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
    }
    text
}

impl ToSql for Param {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.text(ty)? {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// Whether values of a type are read as they are. All others are cast to text by the server.
pub(crate) fn is_read_as_it_is(ty: &Type) -> bool {
    [Type::BOOL, Type::INT2, Type::INT4, Type::INT8, Type::FLOAT4, Type::FLOAT8, Type::BYTEA].contains(ty)
        || [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME].contains(ty)
}

/// A value of a row: one that is read as it is, or a text of the server. A `numeric` that is whole and fits is an integer.
pub(crate) fn value(
    row: &tokio_postgres::Row,
    at: usize,
    original: &Type,
) -> Result<SqlValue, tokio_postgres::Error> {
    let ty = row.columns()[at].type_();
    let value = if *ty == Type::BOOL {
        row.try_get::<_, Option<bool>>(at)?.map(|value| SqlValue::Integer(value.into()))
    } else if *ty == Type::INT2 {
        row.try_get::<_, Option<i16>>(at)?.map(|value| SqlValue::Integer(value.into()))
    } else if *ty == Type::INT4 {
        row.try_get::<_, Option<i32>>(at)?.map(|value| SqlValue::Integer(value.into()))
    } else if *ty == Type::INT8 {
        row.try_get::<_, Option<i64>>(at)?.map(SqlValue::Integer)
    } else if *ty == Type::FLOAT4 {
        row.try_get::<_, Option<f32>>(at)?.map(|value| SqlValue::Real(value.into()))
    } else if *ty == Type::FLOAT8 {
        row.try_get::<_, Option<f64>>(at)?.map(SqlValue::Real)
    } else if *ty == Type::BYTEA {
        row.try_get::<_, Option<Vec<u8>>>(at)?.map(SqlValue::Blob)
    } else {
        let text = row.try_get::<_, Option<String>>(at)?;
        text.map(|text| match text.parse() {
            Ok(number) if *original == Type::NUMERIC => SqlValue::Integer(number),
            _ => SqlValue::Text(text),
        })
    };
    Ok(value.unwrap_or(SqlValue::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(param: &Param, ty: &Type, expected: Result<Option<&str>, &str>) {
        let text = param.text(ty).map_err(|error| error.to_string());
        let text = text.as_ref().map(Option::as_deref).map_err(String::as_str);
        assert_eq!(text, expected, "{param:?} as {ty}");
    }

    #[test]
    fn a_parameter_is_sent_as_the_text_of_its_type() {
        check(&Value::Integer(-3).into(), &Type::NUMERIC, Ok(Some("-3")));
        check(&Value::Real(40.0).into(), &Type::INT8, Ok(Some("40")));
        check(&Value::Real(0.1).into(), &Type::FLOAT8, Ok(Some("0.1")));
        check(&Value::Null.into(), &Type::TEXT, Ok(None));
        check(&Value::Blob(b"\x00\xff").into(), &Type::BYTEA, Ok(Some("\\x00ff")));
        check(&Param::Text("é".to_owned()), &Type::BYTEA, Ok(Some("\\xc3a9")));
        check(&Param::Text("now".to_owned()), &Type::TEXT, Ok(Some("now")));
        check(
            &Param::Text(" Today 10:00".to_owned()),
            &Type::TIMESTAMPTZ,
            Err(
                "a word for the time of a clock does not fit a parameter of the type `timestamptz`: a rebuilt view would differ; use $time or $recorded_at",
            ),
        );
        for ty in [Type::DATE, Type::TIMETZ_ARRAY, Type::TSTZ_RANGE, Type::DATEMULTI_RANGE] {
            assert!(Param::Text("{[now,infinity)}".to_owned()).text(&ty).is_err(), "{ty}");
        }
        check(&Param::Text("{now}".to_owned()), &Type::TEXT_ARRAY, Ok(Some("{now}")));
        check(
            &Param::Bytes(vec![0]),
            &Type::TEXT,
            Err(
                "a value that is no text does not fit a parameter of the type `text`: store it in a column of the type `bytea`",
            ),
        );
    }
}
