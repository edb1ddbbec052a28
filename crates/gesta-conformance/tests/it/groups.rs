//! The laws of consumer groups on groups in their simplest form. Groups that break a promise are found.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use gesta_conformance::group_laws::{
    delivering, failing, holding, log_order, managing, operating, parking, restarting,
};
use gesta_conformance::{GroupBug, GroupHarness, SimpleGroups};

mod simple {
    gesta_conformance::group_laws!(gesta_conformance::SimpleGroups::new(1));
}

mod three_partitions {
    gesta_conformance::group_laws!(gesta_conformance::SimpleGroups::new(3));
}

type Law = fn(&dyn GroupHarness);

/// Each planted bug, with a law that must find it.
const BUGS: [(GroupBug, Law); 43] = [
    (GroupBug::CreatesTwice, managing::a_group_is_created_once_and_its_settings_are_changed_by_version),
    (GroupBug::ChangesBlindly, managing::a_group_is_created_once_and_its_settings_are_changed_by_version),
    (GroupBug::AcceptsForeignPlaces, managing::settings_out_of_their_range_are_refused),
    (GroupBug::KeepsIdsAfterRemoval, managing::a_removed_group_is_gone_and_its_ids_are_never_given_again),
    (GroupBug::IgnoresFrom, managing::a_new_group_begins_where_its_settings_say),
    (GroupBug::AddsItemsForThePast, managing::an_added_item_selects_events_appended_from_then_on),
    (GroupBug::TakesItemsAwayAtOnce, managing::items_are_taken_away_only_from_a_paused_and_quiet_group),
    (GroupBug::DealsStreamsTwice, delivering::a_stream_has_at_most_one_delivery_in_flight),
    (GroupBug::IgnoresRunMax, delivering::a_delivery_holds_consecutive_events_of_one_stream_up_to_run_max),
    (GroupBug::IgnoresMax, delivering::a_call_takes_at_most_as_many_events_as_it_asks_for),
    (GroupBug::IgnoresInFlightMax, delivering::events_in_flight_are_limited_by_the_settings),
    (GroupBug::LeavesOlderCallsOpen, delivering::a_call_waits_for_an_event_and_a_newer_one_ends_it),
    (GroupBug::SettlesMalformedCalls, delivering::a_call_that_is_not_well_formed_settles_nothing),
    (GroupBug::TakesAnyCount, holding::a_settlement_of_more_events_than_a_delivery_has_is_refused),
    (GroupBug::NeverGivesAgain, holding::what_a_member_does_not_list_was_lost_and_comes_again_under_a_new_id),
    (GroupBug::NeverExpires, holding::a_delivery_that_expires_goes_to_another_member),
    (GroupBug::ExpiresWhatIsHeld, holding::a_delivery_that_is_held_or_renewed_does_not_expire),
    (GroupBug::DropsLateSettlements, holding::a_late_settlement_counts_until_its_events_are_dealt_again),
    (GroupBug::TakesIdsOfOthers, holding::an_id_of_another_member_or_of_nobody_is_refused_as_stale),
    (GroupBug::RetriesAtOnce, failing::a_failed_event_is_tried_again_after_a_pause),
    (GroupBug::CountsNoAttempts, failing::after_the_last_attempt_the_stream_is_parked),
    (GroupBug::CountsReleases, failing::a_release_counts_no_attempt),
    (
        GroupBug::KeepsRunsAfterAFailure,
        failing::a_failing_stream_is_delivered_event_by_event_until_the_event_has_passed,
    ),
    (GroupBug::SkipsOnlyInMemory, failing::a_skipped_event_is_passed_for_good),
    (GroupBug::SkipsOnlyInMemory, parking::an_operator_skips_parked_events_up_to_a_version_for_good),
    (GroupBug::ParksDespiteStop, failing::a_stopped_group_refuses_calls_with_the_reason_until_it_is_resumed),
    (GroupBug::ListsAllParkedAtOnce, parking::parked_streams_are_listed_page_by_page_by_name),
    (GroupBug::StopsForNobody, failing::a_member_may_stop_the_group),
    (GroupBug::ParksDuringAnOutage, failing::a_target_that_is_down_parks_nothing),
    (GroupBug::GoesOnPastParked, parking::a_parked_stream_is_not_delivered_until_it_is_replayed),
    (GroupBug::ForgetsErrors, parking::a_parked_stream_is_shown_with_its_error_and_the_events_it_holds_back),
    (GroupBug::ReplaysFromTheNextEvent, parking::a_replayed_event_that_fails_again_is_parked_again),
    (GroupBug::ReplaysOthersToo, parking::a_replay_of_a_stream_that_is_not_parked_replays_nothing),
    (GroupBug::DealsWhilePaused, operating::a_paused_group_lets_calls_wait_and_takes_settlements),
    (
        GroupBug::RefusesSettlementsWhilePaused,
        operating::a_paused_group_lets_calls_wait_and_takes_settlements,
    ),
    (
        GroupBug::ResetsWhileBusy,
        operating::a_reset_needs_a_paused_and_quiet_group_and_makes_earlier_deliveries_stale,
    ),
    (
        GroupBug::KeepsParkedOverAReset,
        operating::a_reset_needs_a_paused_and_quiet_group_and_makes_earlier_deliveries_stale,
    ),
    (GroupBug::IgnoresTheOrderOfTheLog, log_order::events_of_a_partition_come_in_the_order_of_the_log),
    (
        GroupBug::DealsAPartitionToAnyMember,
        log_order::one_member_gets_a_partition_while_it_lives_and_then_another,
    ),
    (GroupBug::ForgetsHandledAtRestart, restarting::progress_is_kept_over_a_restart),
    (
        GroupBug::KeepsIdsOverARestart,
        restarting::what_was_in_flight_at_a_restart_is_delivered_again_and_its_ids_are_stale,
    ),
    (GroupBug::ForgetsPausesAtRestart, restarting::a_pause_holds_over_a_crash),
    (
        GroupBug::ForgetsParkedAtRestart,
        restarting::parked_streams_stay_parked_over_a_restart_and_are_replayed_from_there,
    ),
];

/// More time than a law takes that ends. Some bugs are found by a call that never ends.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn every_broken_promise_of_groups_is_found_by_a_law() {
    // All are tried at the same time. A law that never ends is left behind.
    let searches = BUGS.map(|(bug, law)| {
        let (sender, kept) = channel();
        std::thread::spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| law(&SimpleGroups::new(1).with(bug))));
            // Nobody listens once the patience is over.
            let _ = sender.send(ended.is_ok());
        });
        (bug, kept)
    });
    let until = Instant::now() + PATIENCE;
    let is_kept = |kept: &Receiver<bool>| {
        kept.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or(false)
    };
    let missed = searches.iter().filter(|(_, kept)| is_kept(kept)).map(|(bug, _)| bug).collect::<Vec<_>>();
    assert_eq!(missed, [] as [&GroupBug; 0], "bugs that no law finds");
}
