//! The life of a view's versions in PostgreSQL.

use std::path::Path;

use gesta_views::{Options, PostgresUrl};

use crate::shared::*;
use crate::support::Site;

fn on(scenario: impl FnOnce(&Home)) {
    let Some(site) = Site::shared() else { return };
    scenario(&home(tempfile::tempdir().unwrap().path(), site.url()));
}

fn home(folder: &Path, url: PostgresUrl) -> Home {
    let options = Options { postgres: Some(url), ..Options::default() };
    Home { folder: folder.to_owned(), dialect: "postgres", options }
}

#[test]
fn queries_see_whole_versions_and_advance() {
    on(queries_see_whole_versions_and_advance_during_a_rebuild);
}

#[test]
fn sixteen_loops_of_short_queries() {
    on(|home| sixteen_loops_of_queries_go_on_during_a_rebuild_and_its_switch(home, WHOLE));
}

/// Queries that overlap all the time, and take longer than a switch waits for programs that read the serving views.
#[test]
fn sixteen_loops_of_long_queries() {
    let slow = format!("select whole.* from ({WHOLE}) as whole, pg_sleep(1)");
    on(|home| sixteen_loops_of_queries_go_on_during_a_rebuild_and_its_switch(home, &slow));
}

#[test]
fn a_stop_in_mid_rebuild() {
    on(a_stop_in_mid_rebuild_resumes);
}

#[test]
fn a_kill_in_mid_rebuild() {
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let url = site.url().to_string();
    let home = home(folder.path(), site.url());
    a_kill_in_mid_rebuild_resumes(&home, "versions::the_process", &[("GESTA_TEST_URL", &url)]);
}

#[test]
#[ignore = "only `a_kill_in_mid_rebuild` runs it"]
fn the_process() {
    let url = std::env::var("GESTA_TEST_URL").unwrap().parse().unwrap();
    the_process_that_is_killed(&home(&folder_of_process(), url));
}

#[test]
fn a_rollback_holds() {
    on(a_rollback_holds_until_the_definition_changes);
}

#[test]
fn a_rollback_in_mid_rebuild() {
    on(a_rollback_in_mid_rebuild_ends_it);
}

#[test]
fn the_old_version_is_dropped() {
    on(the_old_version_is_dropped_on_request_and_with_the_next_switch);
}

#[test]
fn a_version_that_has_stopped() {
    on(a_view_is_not_rolled_back_to_a_version_that_has_stopped);
}

#[test]
fn a_reload() {
    on(a_reload_takes_what_changed_while_queries_go_on);
}

#[test]
fn a_definition_with_an_error() {
    on(a_definition_with_an_error_leaves_the_one_before);
}

#[test]
fn a_definition_that_the_database_refuses() {
    on(a_definition_that_the_database_refuses_leaves_the_one_before);
}
