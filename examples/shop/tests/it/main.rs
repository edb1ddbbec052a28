//! The shop as a whole: four programs, some of them killed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper that fails fails its test, and shows what happened"
)]

use std::path::Path;
use std::process::Command;

#[test]
fn orders_go_on_while_stock_is_away_and_all_books_agree_in_the_end() {
    let program = Path::new(env!("CARGO_BIN_EXE_shop-server"));
    let folder = tempfile::tempdir().unwrap();
    let mut said = Vec::new();
    let programs = program.parent().unwrap();
    let played = shop::demo::run(programs, &folder.path().join("shop"), &mut |line| {
        println!("{line}");
        said.push(line.to_owned());
    });
    played.unwrap();
    for line in [
        "10 more orders are placed and paid;",
        "the 10 orders are shipped, 0 are parked",
        "orders: 20 pens sold for 3000 cents",
        "stock: 20 pens left the house",
        "payments: 3000 cents were paid",
        "the books agree",
    ] {
        assert!(said.iter().any(|said| said.starts_with(line)), "{line}: {said:#?}");
    }
}

#[test]
fn a_shop_goes_on_from_a_backup_that_was_taken_while_customers_ordered() {
    let program = Path::new(env!("CARGO_BIN_EXE_shop-server"));
    let folder = tempfile::tempdir().unwrap();
    let (programs, folder) = (program.parent().unwrap(), folder.path().join("shop"));
    shop::demo::restore(programs, &folder, &mut |line| println!("{line}")).unwrap();
}

/// The address of a schema of this name in the shared PostgreSQL server; `None`, which the test then says, if there is none.
fn schema(name: &str) -> Option<String> {
    let server = test_servers::given(test_servers::POSTGRES_URL)?;
    Some(format!("{server}?schema={name}{}", std::process::id()))
}

#[test]
fn every_order_is_shipped_once_although_one_of_two_servers_of_a_database_is_killed() {
    let Some(database) = schema("servers") else { return };
    let program = Path::new(env!("CARGO_BIN_EXE_shop-server"));
    let folder = tempfile::tempdir().unwrap();
    let (programs, folder) = (program.parent().unwrap(), folder.path().join("shop"));
    shop::demo::lose_servers(programs, &folder, (&database, 1), &mut |line| println!("{line}")).unwrap();
}

#[test]
fn a_shop_goes_on_after_its_log_was_moved_through_postgresql() {
    let Some(database) = schema("shop") else { return };
    let program = Path::new(env!("CARGO_BIN_EXE_shop-server"));
    let folder = tempfile::tempdir().unwrap();
    let (programs, folder) = (program.parent().unwrap(), folder.path().join("shop"));
    shop::demo::move_through(programs, &folder, &database, &mut |line| println!("{line}")).unwrap();
}

#[test]
fn processes_timers_groups_and_views_work_over_three_partitions_on_jetstream() {
    if test_servers::given(test_servers::NATS_CLUSTER_URL).is_none() {
        return;
    }
    let cluster = test_servers::NatsCluster::shared().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_shop-server"));
    let folder = tempfile::tempdir().unwrap();
    let (programs, folder) = (program.parent().unwrap(), folder.path().join("shop"));
    shop::demo::run_on_nodes(programs, &folder, &cluster, &mut |line| println!("{line}")).unwrap();
}

/// Kills the programs that number of times.
fn check_kills(kills: u32) {
    let program = Path::new(env!("CARGO_BIN_EXE_shop-server"));
    let folder = tempfile::tempdir().unwrap();
    let (programs, folder) = (program.parent().unwrap(), folder.path().join("shop"));
    shop::demo::kill_all(programs, &folder, kills, &mut |line| println!("{line}")).unwrap();
}

#[test]
fn every_order_is_shipped_once_although_each_program_is_killed() {
    check_kills(8);
}

#[test]
#[ignore = "it takes minutes: `cargo xtask ci` runs it"]
fn every_order_is_shipped_once_over_sixty_kills() {
    check_kills(60);
}

#[test]
#[ignore = "it needs the package `faketime`: `cargo xtask test` installs it and runs this"]
fn each_timer_fires_once_although_its_service_is_killed_under_wrong_clocks() {
    let program = Path::new(env!("CARGO_BIN_EXE_shop-server"));
    let folder = tempfile::tempdir().unwrap();
    let (programs, folder) = (program.parent().unwrap(), folder.path().join("shop"));
    shop::demo::move_clocks(programs, &folder, 20, &mut |line| println!("{line}")).unwrap();
}

/// The page about the shop.
const PAGE: &str = include_str!("../../../../docs/shop.md");
/// A refused request ends the script. What the fulfilment has not done yet is asked for again.
const BEFORE: &str = "set -eu\n\
    curl() { command curl --silent --show-error --fail --retry 60 --retry-all-errors --retry-delay 1 \"$@\"; echo; }\n";

#[test]
fn the_requests_of_the_page_work() {
    let has_curl = Command::new("curl").args(["--json", "{}", "--version"]).output();
    if !has_curl.is_ok_and(|output| output.status.success()) {
        println!("not run: no curl with `--json`");
        return;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_shop-server"));
    let folder = tempfile::tempdir().unwrap();
    let (programs, folder) = (program.parent().unwrap(), folder.path().join("shop"));
    let script = PAGE.lines().filter(|line| line.starts_with("curl ")).collect::<Vec<_>>().join("\n");
    assert_eq!(script.matches("curl ").count(), 7, "the page has requests");
    shop::demo::with_programs(programs, &folder, |urls| {
        let script =
            [("2114", &urls.server), ("2115", &urls.orders), ("2116", &urls.stock), ("2117", &urls.payments)]
                .into_iter()
                .fold(script, |script, (port, url)| script.replace(&format!("http://127.0.0.1:{port}"), url));
        let ran = Command::new("sh").args(["-c", &format!("{BEFORE}{script}")]).output().unwrap();
        let answers = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        for shown in ["shop.fulfilment.began", r#""parked":0"#] {
            assert!(answers.contains(shown), "`{shown}` in {answers}");
        }
    })
    .unwrap();
}
