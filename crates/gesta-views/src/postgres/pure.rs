//! Refuses what a rebuilt view would answer differently: functions that PostgreSQL calls volatile, the clock, the login, and
//! other tables.
//!
//! *Choice:* the server's own analysis, not a reading of the text. A statement becomes the body of a function that is never
//! called; the catalog then has its parse tree, in which every call and every table is a number.

use tokio_postgres::Statement as Prepared;

use crate::postgres::clock::may_name_clock;
use crate::postgres::names::{Names, literal};
use crate::postgres::session::Session;
use crate::run_error::RunError;
use crate::statements::Statement;

/// What the trees `tree(what, t)` of the schema `$1` may not contain, with its owner.
///
/// `$2` is true if a text may name a time of the clock. Such a text is a value of its type already in the tree. So all values and casts in
/// it are of types without times then: PostgreSQL puts numbers, texts and the like in categories.
const FOUND: &str = r"
    called as (
        select what, (m[1])::oid as id from tree, regexp_matches(t, ':(?:funcid|aggfnoid|winfnoid) (\d+)', 'g') as m
        union
        select what, o.oprcode::oid from tree, regexp_matches(t, ':opno (\d+)', 'g') as m
          join pg_operator o on o.oid = (m[1])::oid)
    select what || format(' calls `%s()`, whose result is another one in a rebuilt view', p.proname)
      from called join pg_proc p on p.oid = called.id
     where p.provolatile = 'v' or p.provolatile = 's' and (
           p.pronargs = 0 or p.proname = 'current_setting' or p.proname = 'age' and p.pronargs = 1)
    union all
    select what || ' reads the clock, the login or a sequence, which is another one in a rebuilt view'
      from tree where t ~ '\{(SQLVALUEFUNCTION|NEXTVALUEEXPR) '
    union all
    select what || format(' names a time of the clock in a text, and has a value of the type `%s`, which may read it: use $time or $recorded_at', t.oid::regtype)
      from tree, regexp_matches(tree.t, '\{CONST :consttype (\d+) [^{}]*:constisnull false|:resulttype (\d+)', 'g') as m
      join pg_type t on t.oid = coalesce(m[1], m[2])::oid
      left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
     where $2 and coalesce(e.typcategory, t.typcategory) not in ('B', 'E', 'G', 'I', 'N', 'S', 'T', 'V')
    union all
    select what || format(' uses the table %s, which is not of this view', c.oid::regclass)
      from tree, regexp_matches(t, ':relid (\d+)', 'g') as m join pg_class c on c.oid = (m[1])::oid
     where c.relnamespace <> $1::text::regnamespace
     limit 1";

/// Defaults and constraints of the tables that exist.
const OF_TABLES: &str = "
    select format('the default of `%s.%s`', c.relname, a.attname), d.adbin::text
      from pg_attrdef d join pg_class c on c.oid = d.adrelid
      join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
     where c.relnamespace = $1::text::regnamespace
    union all
    select format('the constraint `%s`', k.conname), k.conbin::text
      from pg_constraint k where k.connamespace = $1::text::regnamespace and k.conbin is not null
    union all
    select format('the identity column `%s.%s`', c.relname, a.attname), '{NEXTVALUEEXPR '
      from pg_attribute a join pg_class c on c.oid = a.attrelid
     where c.relnamespace = $1::text::regnamespace and a.attidentity <> ''";

const OF_PROBE: &str = "
    select 'the statement', p.prosqlbody::text
      from pg_proc p where p.pronamespace = $1::text::regnamespace and p.proname = 'gesta_probe'";

/// Why the tables that exist cannot be those of a view.
pub(crate) fn impure_table(session: &Session, names: &Names) -> Result<Option<String>, RunError> {
    found(session, names, OF_TABLES, false)
}

/// Why a statement cannot be that of a handler. The error of the server is that of the statement.
pub(crate) fn impure_statement(
    session: &Session,
    names: &Names,
    statement: &Statement,
    prepared: &Prepared,
) -> Result<Result<Option<String>, tokio_postgres::Error>, RunError> {
    let quoted = super::names::quoted;
    let types = prepared.params().iter().map(|ty| format!("{}.{}", quoted(ty.schema()), quoted(ty.name())));
    let types = types.collect::<Vec<_>>().join(", ");
    let create = format!(
        "create function {}.gesta_probe({types}) returns void language sql begin atomic {}\n; end",
        names.version, statement.sql
    );
    if let Err(error) = session.wait(session.client.batch_execute(&create)).ok_or(RunError::ShutDown)? {
        return Ok(Err(error));
    }
    let reason = found(session, names, OF_PROBE, may_name_clock(statement))?;
    let drop = format!("drop function {}.gesta_probe", names.version);
    session.run("check the definition", session.client.batch_execute(&drop))?;
    Ok(Ok(reason))
}

fn found(
    session: &Session,
    names: &Names,
    trees: &str,
    may_name_clock: bool,
) -> Result<Option<String>, RunError> {
    let sql = format!("with tree(what, t) as ({trees}),{FOUND}");
    let schema = names.version.as_str();
    let row =
        session.run("check the definition", session.client.query_opt(&sql, &[&schema, &may_name_clock]))?;
    Ok(row.map(|row| row.get(0)))
}

/// The names of a schema's tables, as a query.
pub(crate) fn tables_of(schema: &str) -> String {
    format!(
        "select relname::text from pg_class where relnamespace = {}::regnamespace and relkind in ('r', 'p')
            and not relispartition order by relname",
        literal(schema)
    )
}
