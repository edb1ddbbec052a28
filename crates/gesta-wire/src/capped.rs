//! Lists that stop at their limit while they are read, so that a small text never becomes a large structure.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// A JSON array of at most `MAX` elements. One more is an error, before it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capped<T, const MAX: usize>(pub Vec<T>);

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
                return Err(beyond("the array", MAX, "elements"));
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// How the error of a list beyond its limit begins, behind the name of the list.
const BEYOND: &str = " has more than ";
/// The names of such lists.
const LISTS: [&str; 2] = ["the array", "the event"];

/// The error of a list beyond its limit. [`limit_exceeded`] finds the limit in it.
pub(crate) fn beyond<E: Error>(list: &str, max: usize, elements: &str) -> E {
    debug_assert!(LISTS.contains(&list), "`{list}` is one of the lists that are looked for");
    E::custom(format_args!("{list}{BEYOND}{max} {elements}"))
}

/// The limit that a list exceeded, if that is why the JSON was refused. An error of serde carries nothing but its text.
#[must_use]
pub fn limit_exceeded(error: &serde_json::Error) -> Option<usize> {
    let text = error.to_string();
    let rest = LISTS.iter().find_map(|list| text.strip_prefix(list))?.strip_prefix(BEYOND)?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_up_to_its_limit_and_not_one_further() {
        assert_eq!(serde_json::from_str::<Capped<u8, 2>>("[1,2]").unwrap().0, [1, 2]);
        let error = serde_json::from_str::<Capped<u8, 2>>("[1,2,3]").unwrap_err();
        assert!(error.to_string().contains("more than 2 elements"), "{error}");
        assert_eq!(limit_exceeded(&error), Some(2));
        let other = serde_json::from_str::<Capped<u8, 2>>("[1,\"the array has more than 7 x\"]").unwrap_err();
        assert_eq!(limit_exceeded(&other), None, "{other}");
    }
}
