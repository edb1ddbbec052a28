//! Why a text is no definition of a view: the line, what is wrong there, and what helps.

use crate::envelope::Envelope;
use crate::limits::VIEW_NAME_BYTES_MAX;

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
