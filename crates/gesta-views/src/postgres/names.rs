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
    /// The common beginning of the names of the view's schemas.
    stem: String,
    view: String,
}

impl Names {
    pub(crate) fn new(prefix: &str, definition: &Definition) -> Self {
        Self::with_stem(prefix, stem(prefix, definition), definition)
    }

    /// The schemas of a view that is alone in its prefix. They leave room for a name of any length.
    pub(crate) fn alone(prefix: &str, definition: &Definition) -> Self {
        Self::with_stem(prefix, format!("{prefix}_view"), definition)
    }

    fn with_stem(prefix: &str, stem: String, definition: &Definition) -> Self {
        let version = quoted(&version_name(&stem, &definition.hash()));
        let (shared, serving, view) = (quoted(prefix), quoted(&stem), definition.name().to_owned());
        Self { shared, serving, version, stem, view }
    }

    /// The name of the serving schema, without quotes.
    pub(crate) fn serving_plain(&self) -> &str {
        &self.stem
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
        version_name(&self.stem, hash)
    }
}

/// How many bytes the names of a view are too long for PostgreSQL.
pub(crate) fn excess_bytes(prefix: &str, definition: &Definition) -> usize {
    let name = version_name(&stem(prefix, definition), &definition.hash());
    name.len().saturating_sub(POSTGRES_NAME_BYTES_MAX)
}

fn stem(prefix: &str, definition: &Definition) -> String {
    format!("{prefix}_{}", definition.name())
}

fn version_name(stem: &str, hash: &str) -> String {
    format!("{stem}_{}", &hash[..8])
}

/// A name as SQL text.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as SQL text.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
