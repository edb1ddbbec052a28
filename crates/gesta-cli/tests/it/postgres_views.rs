//! `--views-db`: a server whose view is in PostgreSQL, and what is refused.
//!
//! Where no PostgreSQL was given (`GESTA_POSTGRES`), the tests that need one say so and pass.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::data::file;
use crate::harness::{command, gesta, serve};

const OWNERS: &str = "-- dialect: postgres
create table owners (owner text primary key, times bigint not null);
-- on opened
insert into owners values (:owner, 1)
on conflict (owner) do update set times = owners.times + 1;";

/// The address of a database for views with logins and a prefix of this process, on the server that the step gives.
fn views_db() -> Option<String> {
    let url = test_servers::given(test_servers::POSTGRES_URL)?;
    let id = std::process::id();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let logins = format!(
            "create role run_c{id} login; create role ask_c{id} login; grant create on database postgres to run_c{id}"
        );
        client.batch_execute(&logins).await.unwrap();
    });
    let address = url.replace("postgres@", &format!("run_c{id}@"));
    Some(format!("{address}?prefix=c{id}&reader=ask_c{id}"))
}

#[test]
fn a_view_in_postgresql_is_served_queried_and_survives_a_kill() {
    let Some(db) = views_db() else { return };
    let folder = TempDir::new().unwrap();
    let (log, views) = (folder.path().join("log"), folder.path().join("views"));
    std::fs::create_dir(&views).unwrap();
    file(&views, "owners.sql", OWNERS);
    let paths = ["--dir", log.to_str().unwrap(), "--views", views.to_str().unwrap(), "--views-db", &db];
    let ask = ["view", "owners", "select owner, times, sum(times) over () from owners order by owner"];
    for times in 1..=2 {
        let server = serve(&paths);
        let on = |arguments: &[&str]| gesta(arguments.iter().copied().chain(["--url", &server.url]));
        on(&["append", "account-1", "opened", r#"{"owner": "Ann"}"#]).ok();
        let expected = format!("owner,times,sum\nAnn,{times},{times}\n");
        let patience = Instant::now() + Duration::from_secs(60);
        while on(&ask).ok() != expected {
            assert!(Instant::now() < patience, "{}", on(&["consumers", "list"]).ok());
        }
        let refused = on(&["view", "owners", "delete from owners"]).failed(1);
        assert!(refused.contains("queries only read"), "{refused}");
        let past = on(&["view", "owners", "select owner, times from owners", "--at", "1"]).ok();
        assert_eq!(past, "owner,times\nAnn,1\n");
        // Killed, without any time to give the view up.
        drop(server);
    }
    let answer = gesta(ask.iter().copied().chain(paths)).ok();
    assert_eq!(answer, "owner,times,sum\nAnn,2,2\n");
    let each = ["view", "owners", "select times from owners", "--every", "1"];
    let answer = gesta(each.iter().copied().chain(paths)).ok();
    assert_eq!(answer, "cut,times\n1,1\n2,2\n");
    let revokes = gesta(["view", "check-roles", "--views-db", &db]).ok();
    assert!(revokes.contains("revoke execute on function lo_create(oid) from public;"), "{revokes}");
}

#[test]
fn an_address_that_cannot_be_used_is_refused_without_its_password() {
    let folder = TempDir::new().unwrap();
    let (log, views) = (folder.path().join("log"), folder.path().join("views"));
    std::fs::create_dir(&views).unwrap();
    file(&views, "owners.sql", OWNERS);
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--dir",
        log.to_str().unwrap(),
        "--views",
        views.to_str().unwrap(),
    ];
    let said = gesta(serve).failed(1);
    assert!(said.contains("no database was given: name it with `--views-db postgres://…`"), "{said}");
    let wrong = "postgres://u:secret@127.0.0.1/d?prefix=Bad&reader=r";
    for arguments in [&serve[..], &["view", "check-roles"]] {
        let said = gesta(arguments.iter().copied().chain(["--views-db", wrong])).failed(2);
        assert!(said.contains("`Bad` cannot be a prefix") && !said.contains("secret"), "{said}");
    }
    let mut with_variable = command(["view", "check-roles"]);
    let output = with_variable.env("GESTA_VIEWS_DB", wrong).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`Bad` cannot be a prefix") && !said.contains("secret"), "{said}");
    assert!(gesta(["view", "check-roles"]).failed(2).contains("give `--views-db postgres://…`"));
}
