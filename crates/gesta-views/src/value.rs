//! The values that an event gives to the parameters of a handler. Each database binds them in its own form.

use std::borrow::Cow;

/// The value of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'e> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'e, str>),
    Blob(&'e [u8]),
}
