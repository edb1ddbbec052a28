//! What statements may do: the authorizer of SQLite, asked while it prepares them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Whose statements are being prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Our own: everything is allowed.
    Own,
    /// The schema of a definition.
    Schema,
    /// A handler of a definition.
    Handler,
    /// A query of somebody who may only read.
    Query,
}

/// Functions that give something else each time, or somewhere else: a handler that used them could not be rebuilt from
/// the log with the same rows. The date functions stay, without the clock; see `purity`.
const NOT_OF_THE_LOG: [&str; 14] = [
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

/// Table modules that a schema may use: those that keep their data in the view's own database.
const MODULES: [&str; 3] = ["fts5", "rtree", "rtree_i32"];

/// The authorizer of one connection.
pub(crate) struct Gate {
    mode: Arc<AtomicU8>,
    denial: Arc<Mutex<Option<String>>>,
}

impl Gate {
    /// Puts the gate on a connection, open.
    pub(crate) fn install(connection: &mut Connection) -> rusqlite::Result<Self> {
        let gate = Self { mode: Arc::new(AtomicU8::new(Mode::Own as u8)), denial: Arc::default() };
        let (mode, denial) = (Arc::clone(&gate.mode), Arc::clone(&gate.denial));
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            let verdict = match mode.load(Ordering::SeqCst) {
                mode if mode == Mode::Own as u8 => Ok(()),
                mode if mode == Mode::Schema as u8 => schema(&context),
                mode if mode == Mode::Handler as u8 => handler(&context),
                _ => query(&context.action),
            };
            let Err(reason) = verdict else { return Authorization::Allow };
            denial.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
            Authorization::Deny
        }))?;
        Ok(gate)
    }

    /// Whose statements are prepared from now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Why the last statement was refused, if it was refused here.
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
            let known = MODULES.iter().any(|own| own.eq_ignore_ascii_case(module_name));
            known.then_some(()).ok_or_else(|| {
                format!("the table module `{module_name}` is not available: use {}", MODULES.join(", "))
            })?;
            not_ours(table_name)
        }
        AuthAction::Reindex { .. } => Ok(()),
        _ => shared(context),
    }
}

fn handler(context: &AuthContext<'_>) -> Verdict {
    match context.action {
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

/// What holds for the schema and for handlers.
fn shared(context: &AuthContext<'_>) -> Verdict {
    match context.action {
        AuthAction::Select | AuthAction::Recursive => Ok(()),
        AuthAction::Read { table_name, .. }
        | AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => not_ours(table_name),
        AuthAction::Function { function_name } => of_the_log(function_name),
        // The full-text and spatial indexes ask for these; a definition's own statement is refused by its first word.
        AuthAction::Pragma { pragma_name: "data_version" | "page_size", pragma_value: None } => Ok(()),
        AuthAction::Pragma { .. } => Err("`pragma` belongs to the runner, which sets up the database".to_owned()),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            Err("a view lives in one database of its own: `attach` and `detach` are not for it".to_owned())
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => Err(
            "the runner holds the transaction, so that rows and checkpoint commit together: remove the statement"
                .to_owned(),
        ),
        AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. } => {
            Err("what is temporary is gone after a restart: create it without `temp`".to_owned())
        }
        _ => Err("a definition creates its schema once and handlers change rows: to change a schema, \
             edit it, and the view is rebuilt"
            .to_owned()),
    }
}

fn of_the_log(function: &str) -> Verdict {
    if function.eq_ignore_ascii_case("load_extension") {
        return Err("extensions are not loaded".to_owned());
    }
    if NOT_OF_THE_LOG.iter().any(|own| own.eq_ignore_ascii_case(function)) {
        return Err(format!(
            "`{function}()` does not come from the log, and a rebuilt view would differ: use $time, $recorded_at, $id or $position"
        ));
    }
    Ok(())
}

fn not_ours(table: &str) -> Verdict {
    if table.get(..6).is_some_and(|prefix| prefix.eq_ignore_ascii_case("gesta_")) {
        return Err(format!("`{table}` is the runner's: choose a name that does not begin with `gesta_`"));
    }
    Ok(())
}

fn query(action: &AuthAction<'_>) -> Verdict {
    let what = match action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Read { .. } => return Ok(()),
        // The full-text index asks for it to see whether it must read its own tables again.
        AuthAction::Pragma { pragma_name: "data_version", pragma_value: None } => return Ok(()),
        AuthAction::Function { function_name } if !function_name.eq_ignore_ascii_case("load_extension") => {
            return Ok(());
        }
        AuthAction::Function { function_name } => format!("the function `{function_name}`"),
        AuthAction::Pragma { pragma_name, .. } => format!("`pragma {pragma_name}`"),
        AuthAction::Attach { .. } => "`attach`".to_owned(),
        AuthAction::Detach { .. } => "`detach`".to_owned(),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            "a transaction of its own".to_owned()
        }
        _ => "a change of the database".to_owned(),
    };
    Err(format!("{what} is not for queries, which only read: send one `select`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A newer SQLite may bring functions that give something else each time; this is where they are noticed.
    #[test]
    fn every_function_of_sqlite_that_is_not_deterministic_is_known() {
        const DETERMINISTIC: i64 = 0x800;
        // Those of the full-text and spatial indexes, which look at a row of theirs.
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
            let known = of_the_log(&name).is_err() || OF_AN_INDEX.contains(&name.as_str());
            assert!(known, "`{name}` is not deterministic: decide whether a handler may call it");
        }
    }
}
