//! The dialects of SQL in which a view can be defined.

use std::fmt;

/// The dialect of a definition's SQL. It decides which database holds the view's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// `-- dialect: sqlite`: a file beside the log.
    Sqlite,
    /// `-- dialect: postgres`: a schema in a PostgreSQL database.
    Postgres,
}

impl Dialect {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        [Self::Sqlite, Self::Postgres].into_iter().find(|dialect| dialect.name() == name)
    }

    /// The name in the line `-- dialect:`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
