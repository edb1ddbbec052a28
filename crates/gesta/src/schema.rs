//! Events over years: the schemas of all released versions, their lock, and the proof that the code still reads them.
//!
//! An enum with `#[event(schema)]` owns its types and gives the schemas of all their versions. [`Lock`] is the file in which the
//! released ones are kept, [`prove`](fn@prove) checks the code against it. Hosts have both as commands, `lock` and `prove`.

mod catalog;
mod check;
mod compare;
mod deployed;
mod files;
mod finding;
mod lock;
mod prove;
mod smallest;
mod stored;
mod update;
mod validate;

use serde_json::Value;

/// JSON, as schemas are written.
pub use serde_json::Value as Json;

#[doc(inline)]
pub use crate::__private::schema_of;
pub use crate::canonical::canonical;
pub use catalog::{Catalog, EventEnum, TwoOwners};
pub use deployed::unreadable_by;
pub use files::{FileError, LockFiles};
pub use finding::{Finding, Severity};
pub use lock::{Lock, LockError, SchemaState};
pub use prove::{Proof, prove};
pub use stored::{Amount, Stored, StoredProof, StoredSamplesError, prove_stored, stored_samples};
pub use update::{LockOptions, Locked, lock};
pub use validate::misfit_within;

/// One schema version of an event type, as the code has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EventSchema {
    /// The name of the type.
    pub name: &'static str,
    /// Older names that are also read.
    pub aliases: &'static [&'static str],
    /// The schema version.
    pub version: u16,
    /// What the version is to the code.
    pub state: SchemaState,
    /// The keys of the tags that it is written with. Known of the current version only.
    pub tags: &'static [&'static str],
    /// Its schema, in [canonical form](fn@canonical). `None` where the code has no type of it: for a version that is read as the
    /// current fields or as nothing, and for a retired type.
    pub schema: Option<Value>,
}

impl EventSchema {
    /// A version of a type, without tags and schema.
    #[must_use]
    pub const fn new(
        name: &'static str,
        aliases: &'static [&'static str],
        version: u16,
        state: SchemaState,
    ) -> Self {
        Self { name, aliases, version, state, tags: &[], schema: None }
    }

    /// The same with the keys of its tags.
    #[must_use]
    pub const fn with_tags(mut self, tags: &'static [&'static str]) -> Self {
        self.tags = tags;
        self
    }

    /// The same with a schema, which is brought into canonical form.
    #[must_use]
    pub fn with_schema(mut self, schema: &Value) -> Self {
        self.schema = Some(canonical(schema));
        self
    }

    /// The keys of the tags, sorted.
    fn tags(&self) -> Vec<String> {
        let tags = self.tags.iter().map(|tag| (*tag).to_owned()).collect::<std::collections::BTreeSet<_>>();
        tags.into_iter().collect()
    }
}
