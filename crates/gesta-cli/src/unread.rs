//! Flags whose values may hold a password.

use std::convert::Infallible;
use std::error::Error;
use std::marker::PhantomData;
use std::str::FromStr;

use crate::failure::{Failure, Outcome};

/// The value of a flag that may hold a password. It is read when the command runs: the parser of flags shows a value that it refuses.
#[derive(Clone)]
pub(crate) struct Unread<T>(String, PhantomData<fn() -> T>);

impl<T> FromStr for Unread<T> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned(), PhantomData))
    }
}

impl<T: FromStr<Err: Error + 'static>> Unread<T> {
    /// Reads the value of a flag.
    pub(crate) fn read(&self, flag: &str) -> Outcome<T> {
        let wrong =
            |error: T::Err| Failure::usage(format!("the value of `{flag}` cannot be used")).because(&error);
        self.0.parse().map_err(wrong)
    }
}
