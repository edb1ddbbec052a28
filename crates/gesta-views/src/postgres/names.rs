//! The names of the schemas of a view.

use crate::definition::Definition;
use crate::limits::POSTGRES_NAME_BYTES_MAX;

/// The schemas of one view, as SQL text in double quotes.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The schema of the tables that all views share.
    pub(crate) shared: String,
    /// The schema with the views that queries read.
    pub(crate) serving: String,
    /// The schema of the version of this definition.
    pub(crate) version: String,
    prefix: String,
    view: String,
}

impl Names {
    pub(crate) fn new(prefix: &str, definition: &Definition) -> Self {
        let view = definition.name().to_owned();
        let version = quoted(&version_name(prefix, &view, &definition.hash()));
        let (shared, serving) = (quoted(prefix), quoted(&serving_name(prefix, &view)));
        Self { shared, serving, version, prefix: prefix.to_owned(), view }
    }

    /// The name of the serving schema, without quotes.
    pub(crate) fn serving_plain(&self) -> String {
        serving_name(&self.prefix, &self.view)
    }

    /// The name of the view.
    pub(crate) fn view(&self) -> &str {
        &self.view
    }

    /// The schema of the version with a hash.
    pub(crate) fn version_of(&self, hash: &str) -> String {
        quoted(&self.version_plain(hash))
    }

    /// The name of the schema of the version with a hash, without quotes.
    pub(crate) fn version_plain(&self, hash: &str) -> String {
        version_name(&self.prefix, &self.view, hash)
    }
}

/// How many bytes the names of a view are too long for PostgreSQL.
pub(crate) fn excess_bytes(prefix: &str, definition: &Definition) -> usize {
    let name = version_name(prefix, definition.name(), &definition.hash());
    name.len().saturating_sub(POSTGRES_NAME_BYTES_MAX)
}

fn serving_name(prefix: &str, view: &str) -> String {
    format!("{prefix}_{view}")
}

fn version_name(prefix: &str, view: &str, hash: &str) -> String {
    format!("{prefix}_{view}_{}", &hash[..8])
}

/// A name as SQL text.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as SQL text.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
