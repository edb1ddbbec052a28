//! The lock: every schema version that was ever released, as one JSON file that is committed with the code.
//!
//! ```json
//! {
//!   "events": [
//!     {
//!       "schema": {"type": "object"},
//!       "state": "current",
//!       "tags": [],
//!       "type": "bank.account.closed",
//!       "version": 1
//!     }
//!   ],
//!   "format": 1,
//!   "schemas": "schemars 1"
//! }
//! ```
//!
//! | member | meaning |
//! | --- | --- |
//! | `format` | the version of this format and of the [canonical form](fn@super::canonical); a reader refuses a later one |
//! | `schemas` | what made the schemas. Where it differs, schemas cannot be compared |
//! | `type`, `version` | the name of the event as stored, and its schema version; each pair once, in this order |
//! | `state` | `ahead`, `current`, `superseded` or `retired` |
//! | `tags` | the keys of the tags that the version is written with, sorted |
//! | `renamed_to` | the name that the type has now; left out for a type that has its name still |
//! | `schema` | the schema in canonical form; left out where the code that wrote the version never had it |
//!
//! *Invariant:* an entry is never removed, so the lock knows more than the code.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::sorted;

/// The version of the format.
const FORMAT: u32 = 1;

/// What makes the schemas. The number is that of the crate's interface, which changes when its schemas do.
pub(crate) const GENERATOR: &str = "schemars 1";

/// What a schema version is to the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaState {
    /// Read, and not written yet: the next release writes it.
    Ahead,
    /// Written.
    Current,
    /// Read through an upcaster.
    Superseded,
    /// Its type is not written any more, and read as nothing.
    Retired,
}

/// Every released schema version.
#[derive(Debug, Clone, PartialEq)]
pub struct Lock {
    /// What made the schemas.
    pub(crate) schemas: String,
    /// By type and version.
    pub(crate) entries: BTreeMap<(String, u16), Entry>,
}

/// One schema version of one type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) state: SchemaState,
    pub(crate) tags: Vec<String>,
    pub(crate) renamed_to: Option<String>,
    pub(crate) schema: Option<Value>,
}

/// The text of a lock cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It is not the JSON of a lock.
    #[error("the lock is not well formed: take the last one that was committed, and lock again")]
    Json(#[from] serde_json::Error),
    /// A later version of Gesta wrote it.
    #[error(
        "the lock has format {found}, and this program reads format {FORMAT}: use the version of Gesta that wrote it, or a later one"
    )]
    Format {
        /// The format.
        found: u32,
    },
    /// Two entries are of the same version of a type, as after a merge of two branches that both added it.
    #[error(
        "the lock has version {version} of `{event_type}` twice, as after a merge: take the one that was released, give the other one the next version, and lock again"
    )]
    Twice {
        /// The type.
        event_type: String,
        /// The version.
        version: u16,
    },
    /// A schema version is not a number from 1 on.
    #[error("the lock has version 0 of `{event_type}`: schema versions begin with 1")]
    Zero {
        /// The type.
        event_type: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockJson {
    events: Vec<EntryJson>,
    format: u32,
    schemas: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    renamed_to: Option<String>,
    // A schema may be `null` by no rule, so a missing one is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Value>,
    state: SchemaState,
    tags: Vec<String>,
    #[serde(rename = "type")]
    event_type: String,
    version: u16,
}

/// The member that every format has.
#[derive(Deserialize)]
struct FormatJson {
    format: u32,
}

impl Default for Lock {
    /// A lock without events.
    fn default() -> Self {
        Self { schemas: GENERATOR.to_owned(), entries: BTreeMap::new() }
    }
}

impl Lock {
    /// Reads the text of a lock.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let FormatJson { format: found } = serde_json::from_str(text)?;
        if found != FORMAT {
            return Err(LockError::Format { found });
        }
        let LockJson { events, schemas, .. } = serde_json::from_str(text)?;
        let mut entries = BTreeMap::new();
        for EntryJson { renamed_to, schema, state, tags, event_type, version } in events {
            if version == 0 {
                return Err(LockError::Zero { event_type });
            }
            let entry = Entry { state, tags, renamed_to, schema };
            if entries.insert((event_type.clone(), version), entry).is_some() {
                return Err(LockError::Twice { event_type, version });
            }
        }
        Ok(Self { schemas, entries })
    }

    /// The versions that the lock has, by type and version.
    pub fn versions(&self) -> impl Iterator<Item = (&str, u16, SchemaState)> {
        self.entries.iter().map(|((event_type, version), entry)| (event_type.as_str(), *version, entry.state))
    }

    /// The entry of a version.
    pub(crate) fn get(&self, event_type: &str, version: u16) -> Option<&Entry> {
        self.entries.get(&(event_type.to_owned(), version))
    }

    /// True if the schemas were made by what makes those of this program.
    pub(crate) fn is_comparable(&self) -> bool {
        self.schemas == GENERATOR
    }
}

/// The text of the lock: JSON with sorted members, indented by two spaces, one newline at the end.
impl std::fmt::Display for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let events = self.entries.iter().map(|((event_type, version), entry)| EntryJson {
            renamed_to: entry.renamed_to.clone(),
            schema: entry.schema.as_ref().map(sorted),
            state: entry.state,
            tags: entry.tags.clone(),
            event_type: event_type.clone(),
            version: *version,
        });
        let json = LockJson { events: events.collect(), format: FORMAT, schemas: self.schemas.clone() };
        writeln!(f, "{}", serde_json::to_string_pretty(&json).map_err(|_| std::fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(events: &Value) -> String {
        json!({"format": 1, "schemas": GENERATOR, "events": events}).to_string()
    }

    fn event(version: u32) -> Value {
        json!({"type": "a.b", "version": version, "state": "current", "tags": ["t"], "schema": {"type": "object", "a": 1}})
    }

    #[test]
    fn a_lock_is_printed_in_one_order_and_read_back() {
        let mut renamed = event(1);
        renamed["renamed_to"] = json!("a.c");
        renamed.as_object_mut().unwrap().remove("schema");
        let lock = Lock::parse(&text(&json!([event(10), event(2), renamed]))).unwrap();
        let printed = lock.to_string();
        expect_test::expect![[r#"
            {
              "events": [
                {
                  "renamed_to": "a.c",
                  "state": "current",
                  "tags": [
                    "t"
                  ],
                  "type": "a.b",
                  "version": 1
                },
                {
                  "schema": {
                    "a": 1,
                    "type": "object"
                  },
                  "state": "current",
                  "tags": [
                    "t"
                  ],
                  "type": "a.b",
                  "version": 2
                },
                {
                  "schema": {
                    "a": 1,
                    "type": "object"
                  },
                  "state": "current",
                  "tags": [
                    "t"
                  ],
                  "type": "a.b",
                  "version": 10
                }
              ],
              "format": 1,
              "schemas": "schemars 1"
            }
        "#]]
        .assert_eq(&printed);
        assert_eq!(Lock::parse(&printed).unwrap(), lock);
    }

    #[test]
    fn a_lock_that_was_merged_or_written_by_a_later_version_is_refused() {
        let mut unknown = event(1);
        unknown["more"] = json!(1);
        let later = json!({"format": 2, "anything": []}).to_string();
        let cases = [
            (text(&json!([event(1), event(2), event(1)])), "has version 1 of `a.b` twice"),
            (text(&json!([event(0)])), "has version 0 of `a.b`"),
            (text(&json!([unknown])), "is not well formed"),
            (later, "has format 2"),
            ("<<<<<<< HEAD".to_owned(), "is not well formed"),
        ];
        for (text, words) in cases {
            let error = Lock::parse(&text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
