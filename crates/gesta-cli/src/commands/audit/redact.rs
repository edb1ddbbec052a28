//! Replaces parts of an event's data by their digests. All other bytes stay as they are.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::line::hex;

/// A JSON pointer (RFC 6901) into the data of an event, such as `/owner/name`. The empty one points to all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// True if it points to all of the data.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// True if it points to what `outer` points to, or to a part of that.
    pub(super) fn is_within(&self, outer: &Self) -> bool {
        self.0.starts_with(&outer.0)
    }
}

impl FromStr for Pointer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let steps = text.strip_prefix('/').ok_or("a JSON pointer begins with `/`, such as `/owner/name`")?;
        if steps.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
            return Err("in a JSON pointer `~` is written `~0`, and `/` in a name `~1`");
        }
        Ok(Self(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()))
    }
}

impl TryFrom<String> for Pointer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.0.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
    }
}

/// The event with what the pointers name replaced, and the pointers that named something.
///
/// Data that is not written as JSON is replaced as a whole: nobody can tell what is in it.
pub(super) fn redact(event: String, pointers: &[Pointer]) -> (String, Vec<Pointer>) {
    if pointers.is_empty() {
        return (event, Vec::new());
    }
    let mut members = Members::of(&event).0;
    let mut redacted = Vec::new();
    for (name, value) in &mut members {
        match name.as_str() {
            "data" => {
                for pointer in pointers {
                    if let Some(replaced) = replace(value, &pointer.0) {
                        *value = replaced;
                        redacted.push(pointer.clone());
                    }
                }
            }
            "dataText" | "dataBase64" => {
                *value = digest_of(value);
                redacted.push(Pointer(Vec::new()));
            }
            _ => {}
        }
    }
    (write(&members), redacted)
}

/// A value with the part at the end of the steps replaced; `None` if there is none.
fn replace(value: &str, steps: &[String]) -> Option<String> {
    let Some((step, rest)) = steps.split_first() else { return Some(digest_of(value)) };
    match value.trim_start().as_bytes().first()? {
        b'{' => {
            let mut members = Members::of(value).0;
            let mut is_found = false;
            // A name may stand there twice.
            for (_, inner) in members.iter_mut().filter(|(name, _)| name == step) {
                if let Some(replaced) = replace(inner, rest) {
                    *inner = replaced;
                    is_found = true;
                }
            }
            is_found.then(|| write(&members))
        }
        b'[' => {
            let items = serde_json::from_str::<Vec<&RawValue>>(value).ok()?;
            let at = step.parse::<usize>().ok()?;
            let inner = replace(items.get(at)?.get(), rest)?;
            let items = items.iter().enumerate();
            let items = items.map(|(index, item)| if index == at { &inner } else { item.get() });
            Some(format!("[{}]", items.collect::<Vec<_>>().join(",")))
        }
        _ => None,
    }
}

/// The JSON that replaces a value: the digest of its bytes.
fn digest_of(value: &str) -> String {
    format!("{{\"$redacted\":\"sha256:{}\"}}", hex(&Sha256::digest(value.trim())))
}

fn write(members: &[(String, String)]) -> String {
    let members =
        members.iter().map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name.as_str())));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// The members of an object in their order, each value as it is written.
struct Members(Vec<(String, String)>);

impl Members {
    fn of(object: &str) -> Self {
        serde_json::from_str(object).unwrap_or(Self(Vec::new()))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(event: &str, pointers: &[&str]) -> (String, Vec<String>) {
        let pointers = pointers.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let (event, redacted) = redact(event.to_owned(), &pointers);
        (event, redacted.into_iter().map(String::from).collect())
    }

    #[test]
    fn only_what_is_named_is_replaced() {
        let event =
            r#"{"type":"t","data":{"z":1.50,"a/b":{"name":"Ann","~":[1, 2]}},"metadata":{"name":"Ann"}}"#;
        let ann = digest_of("\"Ann\"");
        let expected = event.replacen("\"Ann\"", &ann, 1);
        assert_eq!(redacted(event, &["/a~1b/name", "/nothing"]), (expected, vec!["/a~1b/name".to_owned()]));
        let two = event.replacen(", 2", &format!(",{}", digest_of("2")), 1);
        assert_eq!(redacted(event, &["/a~1b/~0/1"]), (two, vec!["/a~1b/~0/1".to_owned()]));
        assert_eq!(redacted(event, &["/z/1", "/a~1b/~0/2", "/a~1b/~0/x"]), (event.to_owned(), vec![]));
    }

    #[test]
    fn a_name_that_stands_twice_is_replaced_twice() {
        let one = digest_of("1");
        let (event, _) = redacted(r#"{"data":{"a":1,"a":1}}"#, &["/a"]);
        assert_eq!(event, format!(r#"{{"data":{{"a":{one},"a":{one}}}}}"#));
    }

    #[test]
    fn data_that_is_no_json_goes_as_a_whole() {
        let (event, pointers) = redacted(r#"{"dataBase64":"AAAA","kind":"octets"}"#, &["/name"]);
        assert_eq!(event, format!(r#"{{"dataBase64":{},"kind":"octets"}}"#, digest_of("\"AAAA\"")));
        assert_eq!(pointers, [""]);
        let (event, _) = redacted(r#"{"data":[1]}"#, &[""]);
        assert_eq!(event, format!(r#"{{"data":{}}}"#, digest_of("[1]")));
    }

    #[test]
    fn a_pointer_begins_with_a_slash_and_escapes_with_a_tilde() {
        for wrong in ["name", "/~", "/~2", "/a~/b", "/~01~"] {
            assert!(wrong.parse::<Pointer>().is_err(), "{wrong}");
        }
        assert_eq!("/~0~1".parse(), Ok(Pointer(vec!["~/".to_owned()])));
        assert_eq!("/~01".parse(), Ok(Pointer(vec!["~1".to_owned()])));
    }
}
