//! Roles, and servers and schemas that cannot be used: each is refused with the way out.

use bytes::Bytes;
use gesta_core::{
    AppendError, Batch, EventId, EventStore, KeyName, KeyValueStore, NewEvent, Retry, Timestamp,
};
use gesta_postgres::{OpenError, Options, PostgresStore, PostgresUrl};
use pollster::block_on;
use test_servers::{Authority, Postgres};

use crate::database::{Admin, Schema, shared};

fn batch(number: u128) -> Batch {
    let (stream, kind) = ("a-1".parse().unwrap(), "a.b".parse().unwrap());
    Batch::new([NewEvent::json(EventId::from_u128(number), stream, kind, Timestamp::from_nanos(0), "{}")])
}

/// The address of another database of a server.
fn in_database(server: &str, name: &str) -> String {
    format!("{}/{name}", server.rsplit_once('/').unwrap().0)
}

/// Opens an address that must be refused for good, and returns the words.
fn refusal(url: &PostgresUrl, options: &Options) -> String {
    let error = PostgresStore::open(url, options).expect_err("it is refused");
    assert!(matches!(error, OpenError::Refused { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    error.to_string()
}

#[test]
fn a_role_with_the_documented_rights_appends_and_cannot_change_events() {
    let Some(server) = shared() else { return };
    let schema = Schema::new(&server);
    let owner = schema.open(&Options::default());
    block_on(owner.append(batch(1))).unwrap();
    let (admin, name, role) = (Admin::connect(&server), &schema.name, format!("r{}", schema.name));
    admin.run(&format!("create role {role} login"));
    let as_role = server.replace("postgres@", &format!("{role}@"));
    let url = schema.url_at(&as_role);
    let said = refusal(&url, &Options::default());
    assert!(said.contains("grant usage"), "{said}");
    admin.run(&format!(
        "grant usage on schema {name} to {role}; grant select on all tables in schema {name} to {role}; \
         grant update (one) on {name}.store to {role}"
    ));
    let reader = PostgresStore::open(&url, &Options::default()).unwrap();
    let refused = block_on(reader.append(batch(2))).unwrap_err();
    assert!(
        matches!(&refused, AppendError::ReadOnly { reason } if reason.contains("permission")),
        "{refused}"
    );
    admin.run(&format!(
        "grant insert on all tables in schema {name} to {role}; grant update, delete on {name}.value, {name}.revision to {role}"
    ));
    assert!(!block_on(reader.append(batch(2))).unwrap().repeated);
    let (key, values) = (KeyName::new("a").unwrap(), reader.values());
    let first = block_on(values.put(key.clone(), Bytes::from_static(b"1"), None)).unwrap();
    block_on(values.delete(key, first)).unwrap();
    drop((values, reader));
    let error = Admin::connect(&as_role).try_run(&format!("delete from {name}.event")).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("42501"));
    admin.run(&format!("drop owned by {role}; drop role {role}"));
}

#[test]
fn what_is_no_store_is_refused_with_the_way_out() {
    let Some(server) = shared() else { return };
    let (schema, options) = (Schema::new(&server), Options::default());
    let mut reading = Options::default();
    reading.makes_store = false;
    assert!(refusal(&schema.url(), &reading).contains("there is no store"));
    schema.run(&format!("create schema {0}; create table {0}.letters (text text)", schema.name));
    assert!(refusal(&schema.url(), &options).contains("name another schema"));
    let newer = Schema::new(&server);
    drop(newer.open(&options));
    newer.run("alter table store disable trigger user; update store set format = 9");
    assert!(refusal(&newer.url(), &options).contains("use a newer release"));
    let missing = in_database(&server, "nowhere");
    assert!(refusal(&newer.url_at(&missing), &options).contains("createdb"));
}

#[test]
fn a_store_among_many_other_tables_is_found_and_so_is_an_unfinished_copy() {
    let Some(server) = shared() else { return };
    let (schema, elsewhere, options) = (Schema::new(&server), Schema::new(&server), Options::default());
    block_on(elsewhere.open(&options).append(batch(1))).unwrap();
    let (from, to) = (&elsewhere.name, &schema.name);
    schema.run(&format!("create schema {to}"));
    schema.run("do $$ begin for n in 1..150 loop execute format('create table a%s ()', n); end loop; end $$");
    // The tables of the store come after the others.
    schema.run(&format!(
        "do $$ declare name text; begin for name in select relname from pg_class \
           where relnamespace = '{from}'::regnamespace and relkind = 'r' loop \
           execute format('alter table {from}.%I set schema {to}', name); end loop; end $$"
    ));
    assert!(!block_on(schema.open(&options).append(batch(2))).unwrap().repeated);
    schema.run("create table copying ()");
    assert!(refusal(&schema.url(), &options).contains("unfinished copy"));
}

#[test]
fn a_database_in_another_encoding_is_refused() {
    let Some(server) = shared() else { return };
    let (schema, admin) = (Schema::new(&server), Admin::connect(&server));
    admin.run(&format!("create database {} encoding 'LATIN1' locale 'C' template template0", schema.name));
    let said = refusal(&schema.url_at(&in_database(&server, &schema.name)), &Options::default());
    assert!(said.contains("encoding 'UTF8'"), "{said}");
    admin.run(&format!("drop database {} with (force)", schema.name));
}

#[test]
fn a_server_that_does_not_sync_is_refused() {
    if shared().is_none() {
        return;
    }
    let Some(server) = Postgres::start(&["fsync=off"]) else { return };
    let said = refusal(&Schema::new(server.url()).url(), &Options::default());
    assert!(said.contains("set `fsync = on`"), "{said}");
}

#[test]
fn a_store_is_used_over_tls_and_a_server_of_another_authority_is_refused() {
    if shared().is_none() {
        return;
    }
    let authority = Authority::new();
    let own = authority.issue("db", &["IP:127.0.0.1"]);
    let files = [("server.crt", own.certificate.as_bytes()), ("server.key", own.key.as_bytes())];
    let Some(server) = Postgres::start_with(&files, &["ssl=on"]) else { return };
    let schema = Schema::new(server.url());
    let url = |authority: &Authority| {
        let url = schema.url().to_string();
        let url = format!("{url}&sslmode=verify-full&sslrootcert={}", authority.file().display());
        url.parse::<PostgresUrl>().unwrap()
    };
    let store = PostgresStore::open(&url(&authority), &Options::default()).unwrap();
    let place = block_on(store.append(batch(1))).unwrap().checkpoint;
    assert_eq!(block_on(store.head_now()).unwrap(), place);
    let plain = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'gesta' and not ssl";
    assert_eq!(Admin::connect(server.url()).run(plain), [["0"]]);
    let said = refusal(&url(&Authority::new()), &Options::default());
    assert!(said.contains("not signed by an authority of"), "{said}");
}
