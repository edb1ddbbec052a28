//! Lists that stop being read at their limit, so that a small text never becomes a large structure.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// A JSON array of at most `MAX` elements. One more is an error, before it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capped<T, const MAX: usize>(pub(crate) Vec<T>);

impl<T, const MAX: usize> Default for Capped<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Capped<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CappedVisitor::<T, MAX>(PhantomData)).map(Self)
    }
}

struct CappedVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for CappedVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::custom(format_args!("the array has more than {MAX} elements")));
            }
            list.push(element);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_up_to_its_limit_and_not_one_further() {
        assert_eq!(serde_json::from_str::<Capped<u8, 2>>("[1,2]").unwrap().0, [1, 2]);
        let error = serde_json::from_str::<Capped<u8, 2>>("[1,2,3]").unwrap_err().to_string();
        assert!(error.contains("more than 2 elements"), "{error}");
    }
}
