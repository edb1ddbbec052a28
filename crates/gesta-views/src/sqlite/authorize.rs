//! What statements may do: SQLite asks this authorizer while it prepares them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::sqlite::purity::is_date_function;

/// The source of the statements that are being prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// This crate: everything is allowed.
    Runner,
    /// The schema of a definition.
    Schema,
    /// A handler of a definition.
    Handler,
    /// A query, which may only read.
    Query,
}

/// Functions whose result depends on more than their arguments. A view whose handlers use them could not be rebuilt with
/// the same rows. The date functions are allowed, without the clock; see `purity`.
const NOT_FROM_THE_LOG: [&str; 14] = [
    "random",
    "randomblob",
    "current_time",
    "current_date",
    "current_timestamp",
    "changes",
    "total_changes",
    "last_insert_rowid",
    "sqlite_version",
    "sqlite_source_id",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_log",
    "sqlite_offset",
];

/// Virtual table modules that a schema may use. They keep their data in the view's database.
const MODULES: [&str; 3] = ["fts5", "rtree", "rtree_i32"];

/// The authorizer of one connection.
pub(crate) struct Gate {
    mode: Arc<AtomicU8>,
    denial: Arc<Mutex<Option<String>>>,
    /// Views of the schema that read the clock.
    clock_views: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    /// Installs the authorizer on a connection. It allows everything until [`Self::set`].
    pub(crate) fn install(connection: &mut Connection) -> rusqlite::Result<Self> {
        let mode = Arc::new(AtomicU8::new(Mode::Runner as u8));
        let gate = Self { mode, denial: Arc::default(), clock_views: Arc::default() };
        let (mode, denial) = (Arc::clone(&gate.mode), Arc::clone(&gate.denial));
        let clock_views = Arc::clone(&gate.clock_views);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            let verdict = match mode.load(Ordering::SeqCst) {
                mode if mode == Mode::Runner as u8 => Ok(()),
                mode if mode == Mode::Schema as u8 => schema(&context),
                mode if mode == Mode::Handler as u8 => {
                    handler(&context, &clock_views.lock().unwrap_or_else(PoisonError::into_inner))
                }
                _ => query(&context.action),
            };
            let Err(reason) = verdict else { return Authorization::Allow };
            denial.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
            Authorization::Deny
        }))?;
        Ok(gate)
    }

    /// Keeps handlers from a view of the schema that reads the clock.
    pub(crate) fn keep_from_handlers(&self, view: String) {
        self.clock_views.lock().unwrap_or_else(PoisonError::into_inner).push(view);
    }

    /// Sets the source of the statements that are prepared from now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Why the authorizer refused the last statement, if it did.
    pub(crate) fn take_denial(&self) -> Option<String> {
        self.denial.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type Verdict = Result<(), String>;

fn schema(context: &AuthContext<'_>) -> Verdict {
    match context.action {
        AuthAction::CreateTable { table_name }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::CreateView { view_name: table_name } => not_ours(table_name),
        AuthAction::CreateVtable { table_name, module_name } => {
            let known = MODULES.iter().any(|known| known.eq_ignore_ascii_case(module_name));
            known.then_some(()).ok_or_else(|| {
                format!("the table module `{module_name}` is not available: use {}", MODULES.join(", "))
            })?;
            not_ours(table_name)
        }
        AuthAction::Reindex { .. } => Ok(()),
        _ => shared(context),
    }
}

fn handler(context: &AuthContext<'_>, clock_views: &[String]) -> Verdict {
    match context.action {
        AuthAction::Function { function_name } if is_date_function(&function_name.to_ascii_lowercase()) => {
            match context.accessor.filter(|accessor| clock_views.iter().any(|view| view == accessor)) {
                Some(view) => Err(format!(
                    "`{view}` reads the clock or the time zone of the machine, and a rebuilt view would differ: only queries may use it"
                )),
                None => Ok(()),
            }
        }
        AuthAction::CreateTable { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::CreateVtable { .. } => {
            Err("a handler changes rows, not the schema: create it before the first `-- on`".to_owned())
        }
        _ => shared(context),
    }
}

/// The rules that the schema and handlers share.
fn shared(context: &AuthContext<'_>) -> Verdict {
    match context.action {
        AuthAction::Select | AuthAction::Recursive => Ok(()),
        AuthAction::Read { table_name, .. }
        | AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => not_ours(table_name),
        AuthAction::Function { function_name } => from_the_log(function_name),
        // The full-text and spatial indexes ask for these. A definition's statement is refused by its first word.
        AuthAction::Pragma { pragma_name: "data_version" | "page_size", pragma_value: None } => Ok(()),
        AuthAction::Pragma { .. } => Err("`pragma` is not for definitions: the runner sets up the database".to_owned()),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            Err("a view is one database: `attach` and `detach` are not for definitions".to_owned())
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => Err(
            "the runner holds the transaction, so that rows and checkpoint commit together: remove the statement"
                .to_owned(),
        ),
        AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. } => {
            Err("temporary tables are gone after a restart: create it without `temp`".to_owned())
        }
        _ => Err("a definition creates its schema once, and handlers change rows: to change the schema, \
             edit it, and the view is rebuilt"
            .to_owned()),
    }
}

fn from_the_log(function: &str) -> Verdict {
    if function.eq_ignore_ascii_case("load_extension") {
        return Err("extensions are not loaded".to_owned());
    }
    if NOT_FROM_THE_LOG.iter().any(|name| name.eq_ignore_ascii_case(function)) {
        return Err(format!(
            "the result of `{function}()` does not come from the log, and a rebuilt view would differ: use $time, $recorded_at, $id or $position"
        ));
    }
    Ok(())
}

fn not_ours(table: &str) -> Verdict {
    if table.get(..6).is_some_and(|prefix| prefix.eq_ignore_ascii_case("gesta_")) {
        return Err(format!(
            "`{table}` is reserved for the runner: choose a name that does not begin with `gesta_`"
        ));
    }
    Ok(())
}

fn query(action: &AuthAction<'_>) -> Verdict {
    let what = match action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Read { .. } => return Ok(()),
        // The full-text index asks for it to see whether its tables have changed.
        AuthAction::Pragma { pragma_name: "data_version", pragma_value: None } => return Ok(()),
        AuthAction::Function { function_name } if !function_name.eq_ignore_ascii_case("load_extension") => {
            return Ok(());
        }
        AuthAction::Function { function_name } => format!("the function `{function_name}`"),
        AuthAction::Pragma { pragma_name, .. } => format!("`pragma {pragma_name}`"),
        AuthAction::Attach { .. } => "`attach`".to_owned(),
        AuthAction::Detach { .. } => "`detach`".to_owned(),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => "a transaction".to_owned(),
        _ => "a change of the database".to_owned(),
    };
    Err(format!("{what} is not for queries, which only read: send one `select`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notices functions of a newer SQLite that are not deterministic.
    #[test]
    fn every_function_of_sqlite_that_is_not_deterministic_is_known() {
        const DETERMINISTIC: i64 = 0x800;
        // Functions of the full-text and spatial indexes, which read their own rows.
        const OF_AN_INDEX: [&str; 16] = [
            "match",
            "bm25",
            "highlight",
            "snippet",
            "fts5",
            "fts5_source_id",
            "fts5_locale",
            "fts5_get_locale",
            "fts5_insttoken",
            "rtreenode",
            "rtreedepth",
            "rtreecheck",
            "offsets",
            "matchinfo",
            "optimize",
            "fts3_tokenizer",
        ];
        let connection = Connection::open_in_memory().unwrap();
        let mut statement = connection
            .prepare("select distinct name from pragma_function_list where type = 's' and flags & ?1 = 0")
            .unwrap();
        let names = statement.query_map([DETERMINISTIC], |row| row.get::<_, String>(0)).unwrap();
        for name in names.map(Result::unwrap) {
            let known = from_the_log(&name).is_err() || OF_AN_INDEX.contains(&name.as_str());
            assert!(known, "`{name}` is not deterministic: decide whether a handler may call it");
        }
    }
}
