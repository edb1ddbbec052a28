//! The tables of a view in code, checked and as statements of its database.

use std::collections::HashSet;

use super::{Column, ColumnType, RowDefinition, RowDefinitionError as Error, Table};
use crate::dialect::Dialect;
use crate::limits::TABLE_NAME_BYTES_MAX;
use crate::parts::is_view_name;
use crate::statements::Statement;

/// Names that a database uses itself: the row in an `on conflict`, and the system columns of PostgreSQL.
pub(super) const RESERVED: [&str; 7] = ["excluded", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// Checks names and keys.
pub(crate) fn check(view: &RowDefinition) -> Result<(), Error> {
    let name = || view.name.clone();
    if !is_view_name(&view.name) {
        return Err(Error::Name { name: name() });
    }
    if view.event_types.is_empty() {
        return Err(Error::NoEvents { name: name() });
    }
    if view.tables.is_empty() {
        return Err(Error::NoTable { name: name() });
    }
    check_names(view.tables.iter().map(|table| table.name.as_str()))?;
    view.tables.iter().try_for_each(check_table)
}

fn check_table(table: &Table) -> Result<(), Error> {
    check_names(table.columns.iter().map(|column| column.name.as_str()))?;
    let fits = |column: &Column| !column.is_nullable && column.column_type != ColumnType::Real;
    let is_key = (1..=table.columns.len()).contains(&table.key_columns) && table.key().iter().all(fits);
    if is_key { Ok(()) } else { Err(Error::Key { table: table.name.clone() }) }
}

fn check_names<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for name in names {
        if !is_table_name(name) {
            return Err(Error::TableName { name: name.to_owned() });
        }
        if !seen.insert(name) {
            return Err(Error::Duplicate { name: name.to_owned() });
        }
    }
    Ok(())
}

/// Whether a text can be the name of a table or column in both databases.
fn is_table_name(name: &str) -> bool {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=TABLE_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.as_bytes()[0].is_ascii_digit()
        && !["gesta_", "sqlite_", "pg_"].iter().any(|reserved| name.starts_with(reserved))
        && !RESERVED.contains(&name)
}

/// The statements that make the tables and their indexes.
pub(crate) fn schema(tables: &[Table], dialect: Dialect) -> Vec<Statement> {
    let mut statements = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        statements.push(statement(create(table, dialect)));
        let indexed = table.columns.iter().enumerate().filter(|(_, column)| column.is_indexed);
        statements.extend(indexed.map(|(at, column)| {
            let (table, column) = (quoted(&table.name), quoted(&column.name));
            statement(format!("create index gesta_index_{number}_{at} on {table} ({column})"))
        }));
    }
    statements
}

fn statement(sql: String) -> Statement {
    Statement { normal: sql.clone(), sql, line: 1, parameters: Vec::new() }
}

fn create(table: &Table, dialect: Dialect) -> String {
    let columns = table.columns.iter().map(|column| {
        let null = if column.is_nullable { "" } else { " not null" };
        format!("{} {}{null}", quoted(&column.name), type_name(column.column_type, dialect))
    });
    let (columns, key) = (columns.collect::<Vec<_>>().join(", "), names(table.key()));
    let end = match (dialect, table.key()) {
        (Dialect::Postgres, _) => "",
        // The key is the row's number then.
        (Dialect::Sqlite, [Column { column_type: ColumnType::Integer, .. }]) => " strict",
        (Dialect::Sqlite, _) => " strict, without rowid",
    };
    format!("create table {} ({columns}, primary key ({key})){end}", quoted(&table.name))
}

const fn type_name(column_type: ColumnType, dialect: Dialect) -> &'static str {
    match (column_type, dialect) {
        (ColumnType::Integer | ColumnType::Boolean, Dialect::Sqlite) => "integer",
        (ColumnType::Integer, Dialect::Postgres) => "bigint",
        (ColumnType::Boolean, Dialect::Postgres) => "boolean",
        (ColumnType::Real, Dialect::Sqlite) => "real",
        (ColumnType::Real, Dialect::Postgres) => "double precision",
        (ColumnType::Text, Dialect::Sqlite) => "text",
        (ColumnType::Text, Dialect::Postgres) => "text collate \"C\"",
        (ColumnType::Bytes, Dialect::Sqlite) => "blob",
        (ColumnType::Bytes, Dialect::Postgres) => "bytea",
    }
}

/// The names of columns, quoted, with commas.
pub(crate) fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
}

/// A checked name as SQL text: a word of SQL, such as `order`, is a name too.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

impl Table {
    /// The columns of the key.
    pub(crate) fn key(&self) -> &[Column] {
        &self.columns[..self.key_columns]
    }

    /// The end of an `insert` of rows: those that exist are replaced.
    pub(crate) fn on_conflict(&self) -> String {
        let set = self.columns[self.key_columns..].iter().map(|column| {
            let name = quoted(&column.name);
            format!("{name} = excluded.{name}")
        });
        let (key, set) = (names(self.key()), set.collect::<Vec<_>>().join(", "));
        match set.is_empty() {
            true => format!("on conflict ({key}) do nothing"),
            false => format!("on conflict ({key}) do update set {set}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn column(name: &str, column_type: ColumnType) -> Column {
        Column { name: name.to_owned(), column_type, is_nullable: false, is_indexed: false }
    }

    fn table(columns: Vec<Column>, key_columns: usize) -> Table {
        Table { name: "orders".to_owned(), columns, key_columns }
    }

    fn check_schema(tables: &[Table], dialect: Dialect, expected: &Expect) {
        let statements = schema(tables, dialect).into_iter().map(|statement| statement.sql);
        expected.assert_eq(&statements.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn tables_are_made_in_each_dialect() {
        let mut note = column("note", ColumnType::Text);
        (note.is_nullable, note.is_indexed) = (true, true);
        let columns = vec![
            column("day", ColumnType::Text),
            column("order", ColumnType::Integer),
            note,
            column("share", ColumnType::Real),
            column("raw", ColumnType::Bytes),
            column("is_open", ColumnType::Boolean),
        ];
        let tables = [table(columns, 2), table(vec![column("id", ColumnType::Integer)], 1)];
        check_schema(
            &tables,
            Dialect::Sqlite,
            &expect![[r#"
                create table "orders" ("day" text not null, "order" integer not null, "note" text, "share" real not null, "raw" blob not null, "is_open" integer not null, primary key ("day", "order")) strict, without rowid
                create index gesta_index_0_2 on "orders" ("note")
                create table "orders" ("id" integer not null, primary key ("id")) strict"#]],
        );
        check_schema(
            &tables,
            Dialect::Postgres,
            &expect![[r#"
                create table "orders" ("day" text collate "C" not null, "order" bigint not null, "note" text collate "C", "share" double precision not null, "raw" bytea not null, "is_open" boolean not null, primary key ("day", "order"))
                create index gesta_index_0_2 on "orders" ("note")
                create table "orders" ("id" bigint not null, primary key ("id"))"#]],
        );
        assert_eq!(tables[1].on_conflict(), r#"on conflict ("id") do nothing"#);
    }

    #[test]
    fn keys_have_columns_that_are_never_null_and_never_floating() {
        let id = || column("id", ColumnType::Text);
        let key = Error::Key { table: "orders".to_owned() };
        assert_eq!(check_table(&table(vec![id()], 1)), Ok(()));
        assert_eq!(check_table(&table(vec![id()], 0)), Err(key.clone()));
        assert_eq!(check_table(&table(vec![id()], 2)), Err(key.clone()));
        assert_eq!(check_table(&table(vec![column("id", ColumnType::Real)], 1)), Err(key.clone()));
        assert_eq!(check_table(&table(vec![Column { is_nullable: true, ..id() }], 1)), Err(key));
        let twice = check_table(&table(vec![id(), id()], 1));
        assert_eq!(twice, Err(Error::Duplicate { name: "id".to_owned() }));
    }

    #[test]
    fn names_are_plain_words_of_both_databases() {
        assert!(["a", "order", "a_1", &"a".repeat(TABLE_NAME_BYTES_MAX)].into_iter().all(is_table_name));
        let long = "a".repeat(TABLE_NAME_BYTES_MAX + 1);
        let bad = ["", "1a", "A", "a b", "é", "a\"b", "gesta_a", "sqlite_a", "pg_a", &long];
        assert!(!bad.into_iter().any(is_table_name));
        assert!(!RESERVED.into_iter().any(is_table_name));
    }
}
