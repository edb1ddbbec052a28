//! Why a text is not a valid definition of a view: the line, the problem, and what helps.

use crate::envelope::Envelope;
use crate::limits::VIEW_NAME_BYTES_MAX;

/// Why a text is not a valid definition of a view, and where.
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
    /// The view's name is not allowed.
    #[error(
        "`{name}` cannot be a view's name: use 1 to {VIEW_NAME_BYTES_MAX} of a-z, 0-9 and _, but not `reload`, in the file's name or in a line `-- view: name`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The dialect is missing.
    #[error("the dialect is missing: begin the file with the line `-- dialect: sqlite`")]
    NoDialect,
    /// The dialect is not supported.
    #[error("the dialect `{dialect}` is not supported: write `-- dialect: sqlite` or `-- dialect: postgres`")]
    Dialect {
        /// The dialect in the file.
        dialect: String,
    },
    /// A line of the header has a value that is not allowed.
    #[error("`{value}` is not a {key}: {wanted}")]
    HeaderValue {
        /// The line's keyword.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        wanted: &'static str,
    },
    /// A line of the header occurs twice.
    #[error("`-- {key}:` occurs twice: keep one of them")]
    HeaderTwice {
        /// The line's keyword.
        key: &'static str,
    },
    /// A line of the header comes after the first statement.
    #[error("`-- {key}:` belongs before the first statement: move it to the top of the file")]
    HeaderLate {
        /// The line's keyword.
        key: &'static str,
    },
    /// A line `-- require:` names no field.
    #[error("`-- require:` names no field: write `-- require: <field>, …`, or remove the line")]
    RequiresNothing,
    /// A line of a handler is outside of a handler.
    #[error("`-- {key}` belongs under a line `-- on <type>`")]
    OutsideHandler {
        /// The line's keyword.
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
    /// The file has no handler.
    #[error("the file has no handler: add a line `-- on <type>` and a statement under it")]
    NoHandler,
    /// A handler has no statement.
    #[error("the handler has no statement: add one, or the line `-- ignore` if there is nothing to do")]
    EmptyHandler,
    /// A handler has both `-- ignore` and statements.
    #[error("the handler has both `-- ignore` and statements: remove one of them")]
    IgnoreWithStatements,
    /// A comment, a string or a name has no end.
    #[error("{what} begins here and is not closed")]
    Unclosed {
        /// What it is.
        what: &'static str,
    },
    /// A `$` parameter does not exist.
    #[error(
        "`{parameter}` does not exist: the parameters of an event are {}; a field of its data is written `:{}`",
        Envelope::names(),
        parameter.trim_start_matches('$')
    )]
    UnknownParameter {
        /// The parameter.
        parameter: String,
    },
    /// A parameter has no name, or begins with `@`.
    #[error("`{parameter}` has no value: write `$name` for the event's envelope and `:name` for its data")]
    Positional {
        /// The parameter.
        parameter: String,
    },
    /// A parameter is outside of a handler.
    #[error("`{parameter}` is in the schema, where there is no event: use parameters in handlers")]
    ParameterInSchema {
        /// The parameter.
        parameter: String,
    },
    /// SQLite refuses a statement.
    #[error("SQLite refuses `{statement}`: {message}")]
    Sql {
        /// The beginning of the statement.
        statement: String,
        /// SQLite's message.
        message: String,
    },
    /// PostgreSQL refuses a statement.
    #[error("PostgreSQL refuses `{statement}`: {message}")]
    Postgres {
        /// The beginning of the statement.
        statement: String,
        /// PostgreSQL's message.
        message: String,
    },
    /// A statement is not allowed in a definition.
    #[error("`{statement}` is not allowed: {reason}")]
    Denied {
        /// The beginning of the statement.
        statement: String,
        /// Why not, and what to do instead.
        reason: String,
    },
    /// A statement writes nothing, or returns rows.
    #[error(
        "`{statement}` returns rows, which a definition has no use for: a handler inserts, updates or deletes, without `returning`"
    )]
    ReturnsRows {
        /// The beginning of the statement.
        statement: String,
    },
}
