//! Definitions of views: parsed and checked `.sql` files, and views whose handlers are code.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::{EventType, Item, Query};

use crate::catalog::{DefinitionWarning, KnownEvent, warnings};
use crate::dialect::Dialect;
use crate::kept::Source;
use crate::parked::OnError;
use crate::parse;
use crate::parts::{Code, Parts, Work};
use crate::problem::DefinitionError;
use crate::rows::{self, RowDefinition, RowDefinitionError};
use crate::{postgres, sqlite};

/// The name of the built-in inventory.
const INVENTORY: &str = "gesta-inventory";

/// A view: its schema and its handlers, from a `.sql` file or [in code](Self::rows), checked.
///
/// A clone shares its parts.
#[derive(Clone)]
pub struct Definition(Arc<Parts>);

impl Definition {
    /// Reads a definition from its text. SQL for SQLite is checked against an empty database. For PostgreSQL only its form is
    /// checked, and the server checks the rest when the view is opened.
    ///
    /// `name` is the view's name, unless the text has a line `-- view: name`.
    ///
    /// # Errors
    /// [`DefinitionError`], with the line and what helps.
    ///
    /// # Example
    /// ```
    /// let definition = gesta_views::Definition::parse(
    ///     "balances",
    ///     "-- dialect: sqlite
    ///      create table balances (account text primary key, amount integer not null);
    ///      -- on account.deposited
    ///      -- require: amount
    ///      insert into balances values ($entity, :amount)
    ///      on conflict do update set amount = amount + excluded.amount;",
    /// )?;
    /// assert_eq!(definition.name(), "balances");
    /// # Ok::<(), gesta_views::DefinitionError>(())
    /// ```
    pub fn parse(name: &str, text: &str) -> Result<Self, DefinitionError> {
        Self::parse_file(name, &format!("{name}.sql"), text)
    }

    /// The built-in view `gesta-inventory`: the number of events of each type and schema version, and the positions of the first and the
    /// last one, in each partition. The table `inventory` has the columns `type`, `version`, `partition`, `count`, `first` and `last`.
    ///
    /// No file can define a view of that name.
    ///
    /// # Panics
    /// Never: the definition is tested.
    #[must_use]
    pub fn inventory() -> Self {
        let mut parts = parse::parse("inventory", "inventory.sql", include_str!("inventory.sql"))
            .expect("the built-in definition is well formed");
        INVENTORY.clone_into(&mut parts.name);
        Self(Arc::new(parts))
    }

    /// A view whose handlers are code, in the database of a dialect. `gesta::row_view` makes one of a Rust type.
    ///
    /// # Errors
    /// [`RowDefinitionError`].
    pub fn rows(view: RowDefinition, dialect: Dialect) -> Result<Self, RowDefinitionError> {
        rows::check(&view)?;
        let RowDefinition { name, version, on_error, mut event_types, tables, handler } = view;
        // Their order does not change the rows.
        event_types.sort();
        event_types.dedup();
        Ok(Self(Arc::new(Parts {
            file: name.clone(),
            text: None,
            name,
            dialect,
            version,
            on_error,
            categories: Vec::new(),
            schema: rows::schema(&tables, dialect),
            work: Work::Code(Code { event_types, tables, handler }),
        })))
    }

    /// Reads a definition from a file. The view's name is the file's without `.sql`, unless the text names it.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(io)?;
        let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::parse_file(&part(path.file_stem()), &part(path.file_name()), &text)?)
    }

    /// Reads every `.sql` file of a folder, in the order of their names, without its subfolders.
    ///
    /// # Errors
    /// [`LoadError`] for the first file that is not a definition, and for two files that define the same view.
    pub fn load_folder(folder: &Path) -> Result<Vec<Self>, LoadError> {
        Self::load_each(folder)?.into_iter().collect()
    }

    /// As [`Self::load_folder`], with the error of each file beside the definitions of the others.
    ///
    /// # Errors
    /// [`LoadError::Io`] if the folder cannot be read.
    pub fn load_each(folder: &Path) -> Result<Vec<Result<Self, LoadError>>, LoadError> {
        let io = |source| LoadError::Io { path: folder.to_owned(), source };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == "sql") && path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        let mut loaded: Vec<Result<Self, LoadError>> = Vec::new();
        for path in paths {
            let one = Self::load(&path).and_then(|definition| definition.unlike(&loaded));
            loaded.push(one);
        }
        Ok(loaded)
    }

    /// The definition, unless another one has its name.
    fn unlike(self, others: &[Result<Self, LoadError>]) -> Result<Self, LoadError> {
        match others.iter().flatten().find(|other| other.name() == self.name()) {
            None => Ok(self),
            Some(first) => Err(LoadError::Duplicate {
                name: self.name().to_owned(),
                first: first.0.file.clone(),
                second: self.0.file.clone(),
            }),
        }
    }

    /// Reads a definition from the text that a database has kept.
    pub(crate) fn of_source(name: &str, source: &Source) -> Result<Self, DefinitionError> {
        // The name was checked when the version was made. That of a built-in view is no name for a file.
        let parts = parse::parse("view", &source.file, &source.text)?;
        Self::checked(Parts { name: name.to_owned(), ..parts })
    }

    fn parse_file(name: &str, file: &str, text: &str) -> Result<Self, DefinitionError> {
        Self::checked(parse::parse(name, file, text)?)
    }

    fn checked(parts: Parts) -> Result<Self, DefinitionError> {
        match parts.dialect {
            Dialect::Sqlite => sqlite::check(&parts)?,
            Dialect::Postgres => postgres::check(&parts)?,
        }
        Ok(Self(Arc::new(parts)))
    }

    /// The view's name: 1 to 64 of `a-z`, `0-9` and `_`; `gesta-inventory` for the built-in one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The dialect of its SQL.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.0.dialect
    }

    /// The version that the definition declares, 1 by default. It is part of the hash: raising it rebuilds the view.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// What the view does at an event that it cannot apply. It is not part of the hash.
    #[must_use]
    pub fn on_error(&self) -> OnError {
        self.0.on_error
    }

    /// The SHA-256 of the definition without comments and blanks, in hexadecimal. If it changes, the view is rebuilt from
    /// the log.
    #[must_use]
    pub fn hash(&self) -> String {
        use fmt::Write;
        self.0.digest().iter().fold(String::with_capacity(64), |mut hash, byte| {
            write!(hash, "{byte:02x}").expect("writing to a string does not fail");
            hash
        })
    }

    /// The event types that the view takes, each once. `-- on *` names none.
    #[must_use]
    pub fn event_types(&self) -> Vec<&EventType> {
        let accepts = self.0.handlers().iter().flat_map(|handler| &handler.accepts);
        let named = accepts.filter_map(|accepts| accepts.event_type.as_ref());
        let of_code = self.0.code().into_iter().flat_map(|code| &code.event_types);
        let mut types = named.chain(of_code).collect::<Vec<_>>();
        types.sort();
        types.dedup();
        types
    }

    /// The types, versions and fields in the definition that a host with these events does not know, and so may be misspelt. Fields are
    /// compared for handlers that read the newest version of known types only.
    #[must_use]
    pub fn warnings(&self, known: &[KnownEvent]) -> Vec<DefinitionWarning> {
        warnings(&self.0, known)
    }

    /// The query for the view's events: the handled types, in the declared categories.
    #[must_use]
    pub fn query(&self) -> Query {
        let types = match self.takes_every_type() {
            true => Vec::new(),
            false => self.event_types().into_iter().cloned().collect::<Vec<_>>(),
        };
        if self.0.categories.is_empty() {
            return if types.is_empty() { Query::All } else { Query::types(types) };
        }
        let items = self.0.categories.iter().map(|category| Item {
            category: Some(category.clone()),
            types: types.clone(),
            ..Item::default()
        });
        Query::Any(items.collect())
    }

    fn takes_every_type(&self) -> bool {
        self.0
            .handlers()
            .iter()
            .flat_map(|handler| &handler.accepts)
            .any(|accepts| accepts.event_type.is_none())
    }

    /// The first 8 digits of the hash, which name a version.
    pub(crate) fn short_hash(&self) -> String {
        self.hash()[..8].to_owned()
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Definition({} v{} {})", self.name(), self.version(), &self.hash()[..8])
    }
}

/// Why a folder of definitions could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder could not be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not a valid definition.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Two files define the same view.
    #[error("`{first}` and `{second}` both define the view `{name}`: rename one of them")]
    Duplicate {
        /// The view.
        name: String,
        /// The first file.
        first: String,
        /// The second file.
        second: String,
    },
}
