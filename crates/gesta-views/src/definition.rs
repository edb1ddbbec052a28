//! Definitions of views: what a `.sql` file says, checked.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::{Category, EventType, Item, Query};
use sha2::{Digest, Sha256};

use crate::check::check;
use crate::envelope::Envelope;
use crate::limits::VIEW_NAME_BYTES_MAX;
use crate::parse;
use crate::statements::Statement;

/// A view as a `.sql` file defines it: its schema and its handlers, parsed and checked against SQLite.
///
/// A clone shares its parts.
#[derive(Clone)]
pub struct Definition(Arc<Parts>);

/// The parts of a definition.
pub(crate) struct Parts {
    pub(crate) name: String,
    /// What messages call the file.
    pub(crate) file: String,
    pub(crate) version: u32,
    /// Only streams of these categories; empty means all.
    pub(crate) categories: Vec<Category>,
    pub(crate) schema: Vec<Statement>,
    pub(crate) handlers: Vec<Handler>,
}

/// What a view does with some types of events.
pub(crate) struct Handler {
    pub(crate) line: u32,
    pub(crate) accepts: Vec<Accepts>,
    /// The fields to take out of an event's data, sorted.
    pub(crate) fields: Vec<String>,
    /// Indices of those fields that must be there.
    pub(crate) required: Vec<usize>,
    /// The statements, each with what to bind to its parameters.
    pub(crate) statements: Vec<(Statement, Vec<Parameter>)>,
}

/// A type of events and the versions of its schema that a handler reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepts {
    /// `None` for every type.
    pub(crate) event_type: Option<EventType>,
    pub(crate) versions: Vec<RangeInclusive<u16>>,
}

/// What to bind to a parameter of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    Envelope(Envelope),
    /// An index into the handler's fields.
    Field(usize),
}

impl Definition {
    /// Reads a definition from its text, and checks all of its SQL against an empty database.
    ///
    /// `name` is the view's name unless the text has a line `-- view: name`.
    ///
    /// # Errors
    /// [`DefinitionError`] with the line and what to do about it.
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

    /// Reads a definition from a file. The view's name is the file's, without `.sql`, unless the text names it.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(io)?;
        let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::parse_file(&part(path.file_stem()), &part(path.file_name()), &text)?)
    }

    /// Reads every `.sql` file of a folder, in the order of their names. Folders inside it are not looked into.
    ///
    /// # Errors
    /// [`LoadError`] for the first file that is no definition, and for two that define the same view.
    pub fn load_folder(folder: &Path) -> Result<Vec<Self>, LoadError> {
        let io = |source| LoadError::Io { path: folder.to_owned(), source };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == "sql") && path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        let mut definitions: Vec<Self> = Vec::new();
        for path in paths {
            let definition = Self::load(&path)?;
            if let Some(first) = definitions.iter().find(|first| first.name() == definition.name()) {
                return Err(LoadError::Duplicate {
                    name: definition.name().to_owned(),
                    first: first.0.file.clone(),
                    second: definition.0.file.clone(),
                });
            }
            definitions.push(definition);
        }
        Ok(definitions)
    }

    fn parse_file(name: &str, file: &str, text: &str) -> Result<Self, DefinitionError> {
        let parts = parse::parse(name, file, text)?;
        check(&parts)?;
        Ok(Self(Arc::new(parts)))
    }

    /// The view's name: 1 to 64 of `a-z`, `0-9` and `_`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The version that the definition gives itself, 1 unless it says otherwise. It is a part of the hash: raising it
    /// rebuilds the view.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// The SHA-256 of what the definition says, in hexadecimal. Comments and blanks do not count; whatever else changes,
    /// changes it, and the view is rebuilt from the log.
    #[must_use]
    pub fn hash(&self) -> String {
        use fmt::Write;
        self.0.digest().iter().fold(String::with_capacity(64), |mut hash, byte| {
            write!(hash, "{byte:02x}").expect("a text takes everything");
            hash
        })
    }

    /// The types of events that the view's handlers name, each once. One that takes every type names none.
    #[must_use]
    pub fn event_types(&self) -> Vec<&EventType> {
        let accepts = self.0.handlers.iter().flat_map(|handler| &handler.accepts);
        let mut types = accepts.filter_map(|accepts| accepts.event_type.as_ref()).collect::<Vec<_>>();
        types.sort();
        types.dedup();
        types
    }

    /// The events that the view is made of: the handled types, in the categories if it names any.
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
            .handlers
            .iter()
            .flat_map(|handler| &handler.accepts)
            .any(|accepts| accepts.event_type.is_none())
    }

    /// The name of the view's database in the folder of the views.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.{}.db", self.name(), &self.hash()[..8])
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

impl Parts {
    /// Each part with its length before it, so that no two definitions give the same bytes.
    fn digest(&self) -> [u8; 32] {
        /// Raised when the same definition would give other rows than before.
        const RUNTIME: &str = "gesta view 1";
        let mut hasher = Sha256::new();
        let mut add = |part: &str| {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        [RUNTIME, "sqlite", &self.version.to_string()].into_iter().for_each(&mut add);
        add(&self.categories.len().to_string());
        self.categories.iter().for_each(|category| add(category.as_str()));
        add(&self.schema.len().to_string());
        self.schema.iter().for_each(|statement| add(&statement.normal));
        for handler in &self.handlers {
            add(&format!("{:?}", handler.accepts));
            add(&format!("{:?}", handler.required.iter().map(|at| &handler.fields[*at]).collect::<Vec<_>>()));
            add(&handler.statements.len().to_string());
            handler.statements.iter().for_each(|(statement, _)| add(&statement.normal));
        }
        hasher.finalize().into()
    }
}

/// Whether a text can be a view's name. It becomes a part of a file's name, so nothing else is let in.
pub(crate) fn is_view_name(name: &str) -> bool {
    (1..=VIEW_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
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
    /// A file is no definition.
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

/// Why a text is no definition of a view, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct DefinitionError {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u32,
    /// What is wrong there.
    pub problem: DefinitionProblem,
}

/// What is wrong in a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionProblem {
    /// The view's name cannot be one.
    #[error(
        "`{name}` is no name for a view: use 1 to {VIEW_NAME_BYTES_MAX} of a-z, 0-9 and _, in the file's name or in a line `-- view: name`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The dialect is not said.
    #[error("the dialect is missing: begin the file with the line `-- dialect: sqlite`")]
    NoDialect,
    /// The dialect is one that views cannot be written in.
    #[error("the dialect `{dialect}` is not supported: write `-- dialect: sqlite`")]
    Dialect {
        /// What the file says.
        dialect: String,
    },
    /// A line of the header says something that it cannot.
    #[error("`{value}` is no {key}: {wanted}")]
    HeaderValue {
        /// What the line is about.
        key: &'static str,
        /// What it says.
        value: String,
        /// What it could say.
        wanted: &'static str,
    },
    /// A line of the header stands twice.
    #[error("`-- {key}:` stands twice: keep one of them")]
    HeaderTwice {
        /// What the line is about.
        key: &'static str,
    },
    /// A line of the header stands after the first statement.
    #[error("`-- {key}:` belongs before the first statement: move it to the top of the file")]
    HeaderLate {
        /// What the line is about.
        key: &'static str,
    },
    /// A line of a handler stands outside of one.
    #[error("`-- {key}` belongs under a line `-- on <type>`")]
    OutsideHandler {
        /// The line's first word.
        key: &'static str,
    },
    /// A line `-- on` cannot be read.
    #[error(
        "`{text}` {reason}: write `-- on <type>[@<versions>], …`, such as `-- on order.placed@1-3,5, order.paid` (a comment that begins with the word `on` needs another first word)"
    )]
    HandlerLine {
        /// The part that cannot be read.
        text: String,
        /// Why not.
        reason: String,
    },
    /// There is nothing to follow.
    #[error("the file has no handler: add a line `-- on <type>` and a statement under it")]
    NoHandler,
    /// A handler without statements.
    #[error("the handler has no statement: add one, or the line `-- ignore` if nothing is to be done")]
    EmptyHandler,
    /// A handler that is to do nothing and does something.
    #[error("the handler has both `-- ignore` and statements: remove one of them")]
    IgnoreWithStatements,
    /// A comment, a text or a name has no end.
    #[error("{what} begins here and is not closed")]
    Unclosed {
        /// What it is.
        what: &'static str,
    },
    /// A `$` parameter that is not there.
    #[error(
        "`{parameter}` is not known: the parameters of an event are {}; a field of its data is written `:{}`",
        Envelope::names(),
        parameter.trim_start_matches('$')
    )]
    UnknownParameter {
        /// The parameter.
        parameter: String,
    },
    /// A parameter that has no name, or begins with `@`.
    #[error(
        "`{parameter}` has nothing to stand for: write `$name` for the event's envelope and `:name` for its data"
    )]
    Positional {
        /// The parameter.
        parameter: String,
    },
    /// A parameter outside of a handler.
    #[error("`{parameter}` stands in the schema, where there is no event: parameters belong into handlers")]
    ParameterInSchema {
        /// The parameter.
        parameter: String,
    },
    /// SQLite refuses a statement.
    #[error("SQLite refuses `{statement}`: {message}")]
    Sql {
        /// How the statement begins.
        statement: String,
        /// What SQLite says.
        message: String,
    },
    /// A statement that a definition may not have.
    #[error("`{statement}` is not allowed: {reason}")]
    Denied {
        /// How the statement begins.
        statement: String,
        /// What it must not do, and what to do instead.
        reason: String,
    },
    /// A statement of a handler that writes nothing, or gives rows that nobody takes.
    #[error(
        "`{statement}` gives rows, but nobody takes them: a handler inserts, updates or deletes, without `returning`"
    )]
    GivesRows {
        /// How the statement begins.
        statement: String,
    },
}
