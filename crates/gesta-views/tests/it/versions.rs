//! The life of a view's versions in SQLite.

use std::path::Path;

use gesta_views::Options;

use crate::shared::*;

fn on(scenario: impl FnOnce(&Home)) {
    scenario(&home(tempfile::tempdir().unwrap().path()));
}

fn home(folder: &Path) -> Home {
    Home { folder: folder.to_owned(), dialect: "sqlite", options: Options::default() }
}

#[test]
fn queries_see_whole_versions_and_advance() {
    on(queries_see_whole_versions_and_advance_during_a_rebuild);
}

#[test]
fn sixteen_loops_of_queries() {
    on(|home| sixteen_loops_of_queries_go_on_during_a_rebuild_and_its_switch(home, WHOLE));
}

#[test]
fn a_stop_in_mid_rebuild() {
    on(a_stop_in_mid_rebuild_resumes);
}

#[test]
fn a_kill_in_mid_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    a_kill_in_mid_rebuild_resumes(&home(folder.path()), "versions::the_process", &[]);
}

#[test]
#[ignore = "only `a_kill_in_mid_rebuild` runs it"]
fn the_process() {
    the_process_that_is_killed(&home(&folder_of_process()));
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
