//! The laws of event stores, key-value stores, snapshot stores and consumer groups. Each is stated once and runs on every backend.
//!
//! A law is a function whose name is a sentence of the manual. It takes one fresh store from a [`Harness`], sets its
//! clock, and panics if the store breaks the law. [`laws!`] makes a `#[test]` of each law, in one module per subject:
//!
//! ```
//! gesta_conformance::laws!(gesta_conformance::Memory::new(1));
//! # fn main() {}
//! ```
//!
//! No law is skipped. Some laws depend on the [`Capabilities`](gesta_core::Capabilities) of a store: a store without
//! the capability must refuse. Under [`Restarting`], every law must also survive a restart.
//!
//! The laws of a key-value store are made by [`key_value_laws!`], from a [`KeyValueHarness`], those of a snapshot store by
//! [`snapshot_laws!`], from a [`SnapshotHarness`], and those of consumer groups by [`group_laws!`], from a [`GroupHarness`].
//!
//! Invariants: no law sleeps, draws entropy or reads a real clock. A law uses only the public interface of a store.

mod append;
mod checks;
mod commands;
mod conditions;
mod expect;
mod given;
mod groups;
mod handles;
mod harness;
mod histories;
mod idempotency;
mod key_values;
mod limits;
mod linear;
mod listing;
mod model;
mod pages;
mod partitions;
mod query;
mod races;
pub mod sample;
mod snapshots;
mod subscription;
mod time;
mod town;
mod world;

/// The laws of an event store are in the modules of the crate.
use crate as events;
pub use groups::{GroupBug, GroupHarness, LocalHarness, Served, SimpleGroups};
pub use harness::{Clock, Harness, Memory, Restarting, Snapshot};
pub use key_values::{
    AwayKeyValues, KeyValueHarness, MemoryKeyValues, RestartingKeyValues, compare_key_values_with_memory,
};
pub use linear::check_linear_history;
pub use model::{compare_by_choices, compare_with_memory};
pub use snapshots::{MemorySnapshots, SnapshotHarness, compare_snapshots_with_memory};

/// Makes the functions that tests call, and the macro that makes the tests, from one table. The compiler reports a
/// law that is missing from the table as dead code. `$d` stands for the dollar sign of the inner macro, `$laws` names
/// it and the module of the functions, `$folder` holds the modules of the laws, and `$world` makes the subject of a law
/// from a harness.
macro_rules! table {
    (
        $d:tt $laws:ident of $(#[$docs:meta])* $harness:ident in $folder:ident: $world:path;
        $($subject:ident { $($law:ident)* })*
    ) => {
        /// Every law, by subject. Each takes a store from the harness and panics if it breaks the law.
        pub mod $laws {
            $(
                #[expect(missing_docs, reason = "the name of a law states it")]
                pub mod $subject {
                    $(
                        pub fn $law(harness: &dyn crate::$harness) {
                            crate::$folder::$subject::$law(&mut $world(harness));
                        }
                    )*
                }
            )*
        }

        $(#[$docs])*
        ///
        /// The expression is evaluated once for each law. Call the macro in a separate module.
        #[macro_export]
        macro_rules! $laws {
            ($d harness:expr) => {
                $(
                    mod $subject {
                        #[allow(unused_imports, reason = "the expression may need names from the outer module")]
                        use super::*;
                        $(
                            #[test]
                            fn $law() {
                                $d crate::$laws::$subject::$law(&$d harness);
                            }
                        )*
                    }
                )*
            };
        }
    };
}

table! { $ laws of
    /// Makes a `#[test]` of every law of an event store for a harness, such as `laws!(Memory::new(3))`.
    Harness in events: crate::world::World::new;
    append {
        versions_are_dense_from_zero_in_every_stream
        sequences_grow_within_a_partition_and_are_dense_from_one_where_declared
        an_append_returns_the_place_of_every_event_and_the_end_of_the_batch
        a_batch_may_alternate_between_streams
        every_field_of_an_event_is_read_back_unchanged
        the_same_events_have_the_same_bytes_and_digests_in_every_store
        a_refused_batch_writes_to_none_of_its_streams
        a_batch_without_events_is_refused
        concurrent_readers_see_a_batch_whole_or_not_at_all
    }
    expect {
        a_failed_expectation_is_refused_with_the_actual_version
        an_expectation_may_name_a_stream_that_the_batch_does_not_write_to
        the_first_failed_expectation_is_reported
        the_events_of_a_batch_do_not_count_for_its_expectations
        a_batch_has_at_most_one_expectation_of_a_stream
        an_event_can_be_expected_by_version_and_id
        an_expected_event_is_not_met_by_another_event_of_the_same_version
        an_event_that_was_just_appended_can_be_expected
    }
    idempotency {
        a_repeated_batch_gets_the_first_answer
        ids_alone_decide_a_repeat_and_other_fields_are_ignored
        a_repeat_may_be_batched_differently_in_the_same_order
        a_batch_that_is_partly_recorded_or_reordered_is_refused_with_the_index_to_cut_at
        a_batch_that_is_cut_at_the_reported_index_is_accepted_piece_by_piece
        the_same_id_in_two_streams_is_two_events
        a_batch_with_the_same_id_twice_in_a_stream_is_refused
        an_id_is_recognised_over_the_whole_history
        a_repeat_settles_an_append_that_was_dropped_at_any_moment
    }
    commands {
        a_repeated_command_gets_the_first_answer_even_with_other_events
        a_command_key_with_another_request_is_refused
        the_first_answer_to_a_command_can_be_read_before_deciding
        a_refused_command_does_not_record_its_key
        a_key_sent_with_repeated_events_is_not_recorded
        a_second_key_for_recorded_events_is_not_recorded
        every_byte_of_a_command_key_and_of_its_request_is_significant
    }
    checks {
        the_form_of_a_batch_is_checked_before_its_command_key
        the_command_key_is_checked_before_event_ids
        event_ids_are_checked_before_expectations
        event_ids_are_checked_before_conditions
        expectations_are_checked_before_conditions
    }
    conditions {
        a_condition_without_a_checkpoint_covers_the_whole_log
        a_condition_covers_only_events_after_its_checkpoint
        the_checkpoint_of_a_condition_may_lie_inside_a_batch
        conditions_have_separate_checkpoints_and_the_first_failure_is_reported
        the_events_of_a_batch_do_not_count_for_its_conditions
        a_failed_condition_reports_the_newest_match
        a_condition_supports_every_field_of_a_query
        a_condition_after_a_checkpoint_beyond_the_head_or_of_another_store_is_refused
        a_condition_after_a_cut_page_sees_the_events_that_the_page_left_out
        no_update_is_lost_when_conditions_start_at_scanned_to
    }
    pages {
        an_empty_log_is_read_to_its_end_at_once
        a_forward_page_that_is_not_cut_scans_to_the_head_even_without_a_match
        a_forward_read_returns_only_events_up_to_until
        a_backward_read_returns_only_events_after_until
        a_read_may_start_at_any_place_even_inside_a_batch
        a_backward_read_from_the_start_and_a_forward_read_from_the_end_are_empty
        a_checkpoint_beyond_the_head_or_of_another_store_is_refused
        pages_of_one_event_add_up_to_one_large_read
        pages_of_one_byte_add_up_to_one_large_read
        pages_of_one_examined_entry_add_up_to_one_large_read
        pages_of_any_small_limit_add_up_to_one_large_read
        a_forward_page_of_the_log_never_ends_inside_a_batch
        stream_reads_and_backward_reads_are_cut_at_exactly_the_limit
        a_read_of_the_log_can_continue_from_a_cut_stream_page
        a_stream_read_may_start_at_any_version_in_both_directions
        a_stream_read_ends_at_until
        every_page_of_a_stream_has_its_last_version_at_the_head
        a_stream_read_and_a_log_read_return_the_same_events
    }
    query {
        a_query_selects_exactly_the_matching_events
        an_event_that_matches_several_items_is_returned_once
        the_fields_of_a_query_are_compared_byte_by_byte
        a_category_ends_at_the_first_dash_or_is_the_whole_name
        an_empty_query_or_item_is_refused_and_never_means_all
        a_read_of_all_events_includes_system_streams
        a_read_of_a_lane_returns_exactly_the_events_of_its_streams
        a_read_of_no_lanes_is_refused
    }
    subscription {
        a_subscription_returns_every_event_once_and_in_order_during_appends
        a_subscription_resumes_from_a_kept_checkpoint
        a_subscription_from_the_end_returns_only_later_events
        a_page_without_events_advances_a_subscription
        subscriptions_to_disjoint_lanes_return_all_events_between_them
        a_dropped_wait_for_the_next_page_loses_nothing
        a_wait_ends_with_the_next_append
        an_append_wakes_a_wait_in_another_thread
        a_wait_for_a_place_before_the_head_ends_at_once
        a_wait_beyond_the_head_is_refused_at_once
    }
    listing {
        a_stream_with_events_has_information_with_its_last_version
        every_stream_is_listed_once_page_by_page
        a_listing_of_a_category_contains_only_its_streams
        a_stream_that_exists_throughout_a_listing_is_listed_once_while_others_begin
        an_unknown_listing_token_is_refused
    }
    time {
        recorded_at_follows_the_clock_and_never_goes_back
        all_events_of_a_batch_have_the_same_recorded_at
        a_repeat_keeps_the_first_recorded_at
        a_time_is_located_at_the_end_of_the_last_batch_recorded_by_then
        a_time_is_located_in_each_partition
        the_start_and_the_head_are_located
        no_event_is_recorded_at_or_before_a_closed_time
        an_empty_log_can_be_closed
        a_time_that_the_clock_has_not_passed_is_not_closed
        a_time_that_the_head_has_passed_is_closed_already
        a_time_is_closed_in_each_partition
    }
    partitions {
        a_batch_with_several_partition_keys_is_whole_or_unsupported
        an_expectation_under_another_partition_key_is_checked_or_unsupported
        a_condition_that_spans_partitions_is_checked_or_unsupported
        an_unsupported_batch_is_refused_before_any_other_check
        streams_that_share_a_partition_key_share_a_partition_and_batches
        every_stream_is_in_the_partition_of_its_lane
        the_log_is_read_in_order_in_each_partition_and_in_total_order_with_one_partition
        the_checkpoint_of_an_append_covers_its_events_and_is_not_beyond_the_head
        a_command_key_is_unique_in_the_partition_of_its_streams
        the_capabilities_of_a_store_are_consistent
    }
    handles {
        of_appends_through_two_handles_that_expect_the_same_version_exactly_one_succeeds
        appends_through_two_handles_are_linearizable_in_the_order_of_the_log
        a_read_after_the_head_was_asked_shows_what_another_handle_appended
        ids_and_command_keys_of_one_handle_are_known_to_the_other
        a_condition_after_the_page_of_one_handle_sees_what_the_other_appended
        an_append_through_one_handle_wakes_those_who_wait_at_the_other
        a_time_closed_through_one_handle_holds_for_the_other
    }
    histories {
        every_returned_checkpoint_has_the_mark_of_its_event
        a_page_that_ends_at_until_returns_the_callers_mark
        a_checkpoint_without_a_mark_is_not_checked
        a_checkpoint_of_lost_events_is_refused
        a_checkpoint_from_before_a_loss_is_accepted
        the_same_events_appended_again_after_a_loss_are_another_history
        a_repeat_is_answered_even_if_its_condition_has_a_lost_checkpoint
        an_expected_event_that_was_lost_is_not_met_by_its_successor
    }
    limits {
        the_events_of_a_batch_are_limited_as_declared
        the_bytes_of_a_batch_are_limited_as_declared
        the_expectations_of_a_batch_are_limited_as_declared
        the_conditions_of_a_batch_are_limited_as_declared
        the_data_of_an_event_is_limited_as_declared
        the_metadata_of_an_event_is_limited_as_declared
        the_tags_of_an_event_are_limited_as_declared
        a_duplicate_tag_counts_once_for_the_limit
        a_command_key_has_1_to_256_bytes
        the_items_of_a_query_are_limited_as_declared
        the_terms_of_a_query_are_limited_over_all_its_items_as_declared
    }
    races {
        exactly_one_of_racing_appends_that_expect_the_same_version_succeeds
        racing_appends_of_the_same_events_write_them_once
        racing_commands_with_the_same_key_have_one_effect
        racing_appends_without_expectations_all_succeed
        racing_appends_never_come_before_a_closed_time
    }
    linear {
        concurrent_appends_are_linearizable_in_the_order_of_the_log
    }
    model {
        a_random_history_gets_the_same_answers_as_in_the_memory_store
        another_random_history_gets_the_same_answers_as_in_the_memory_store
    }
}

table! { $ key_value_laws of
    /// Makes a `#[test]` of every law of a key-value store for a harness, such as
    /// `key_value_laws!(MemoryKeyValues::new())`.
    KeyValueHarness in key_values: crate::key_values::World::new;
    values {
        a_key_without_a_value_has_no_entry
        a_get_after_a_put_returns_the_value_and_its_revision
        a_put_replaces_exactly_the_expected_revision
        a_put_of_a_key_with_a_value_is_refused_if_it_expects_none
        a_put_of_a_key_without_a_value_is_refused_if_it_expects_one
        a_deleted_key_has_no_entry_and_can_be_put_again
        a_delete_is_refused_unless_the_key_has_the_expected_revision
        every_byte_of_a_value_comes_back
        every_byte_of_a_key_is_significant
        a_value_is_limited_to_960_kib
    }
    revisions {
        revisions_grow_over_all_keys_and_deletes
        a_revision_never_comes_back
        everything_acknowledged_is_there_after_a_restart
        a_dropped_put_is_settled_by_the_next_accepted_write
    }
    listing {
        a_list_has_the_keys_of_a_prefix_sorted_by_bytes
        a_list_goes_on_after_any_key_even_one_that_is_gone
        pages_of_any_limit_add_up_to_all_keys
        a_page_of_large_values_is_cut_and_the_rest_follows
        a_key_that_exists_throughout_a_listing_is_listed_once_while_others_come_and_go
    }
    races {
        exactly_one_of_racing_writes_that_expect_the_same_revision_succeeds
        no_update_is_lost_when_every_writer_expects_what_it_read
        a_write_after_an_acknowledged_one_has_a_higher_revision_in_every_thread
        racing_writes_to_different_keys_all_succeed
    }
    random {
        a_random_history_gets_the_same_answers_as_in_memory
    }
}

table! { $ snapshot_laws of
    /// Makes a `#[test]` of every law of a snapshot store for a harness, such as
    /// `snapshot_laws!(MemorySnapshots::new())`.
    SnapshotHarness in snapshots: crate::snapshots::World::new;
    values {
        a_stream_without_a_snapshot_has_none
        a_snapshot_is_found_byte_by_byte
        every_field_of_a_snapshot_comes_back
        the_newest_is_the_greatest_version_that_is_not_above_the_bound
        a_put_of_a_version_that_is_there_replaces_it
        snapshots_of_other_stores_streams_and_kinds_are_not_seen
        every_byte_of_a_streams_name_is_significant
        a_removed_snapshot_is_gone_and_the_others_stay
        a_state_of_64_mib_is_kept_whole_or_refused
    }
    listing {
        a_list_has_the_versions_oldest_first_with_the_sizes_of_their_states
        pages_of_any_limit_add_up_to_all_keys_with_their_sums
        the_keys_of_one_event_store_can_be_listed_alone
        a_key_whose_snapshots_were_removed_is_not_listed
    }
    losing {
        when_everything_vanishes_nothing_is_found_and_puts_go_on
    }
    races {
        concurrent_puts_of_one_version_leave_one_of_them
        concurrent_puts_of_different_versions_and_streams_all_stay
        a_reader_never_sees_a_part_of_a_put
    }
    random {
        a_random_history_gets_the_same_answers_as_in_memory
    }
}

table! { $ group_laws of
    /// Makes a `#[test]` of every law of consumer groups for a harness, such as `group_laws!(LocalHarness::new(3))`.
    GroupHarness in groups: crate::groups::World::new;
    managing {
        a_group_is_created_once_and_its_settings_are_changed_by_version
        settings_out_of_their_range_are_refused
        progress_does_not_change_the_version_of_the_settings
        a_new_group_begins_where_its_settings_say
        an_added_item_selects_events_appended_from_then_on
        items_are_taken_away_only_from_a_paused_and_quiet_group
        a_host_creates_a_group_or_adds_to_its_query
        a_missing_group_is_named_by_every_call
        groups_are_listed_by_name_and_are_independent
        a_removed_group_is_gone_and_its_ids_are_never_given_again
    }
    delivering {
        every_event_is_delivered_once_and_each_stream_in_its_order
        a_group_delivers_only_events_that_its_query_selects
        streams_of_all_partitions_are_delivered
        an_event_is_delivered_as_the_store_returns_it
        a_stream_has_at_most_one_delivery_in_flight
        a_delivery_holds_consecutive_events_of_one_stream_up_to_run_max
        a_call_takes_at_most_as_many_events_as_it_asks_for
        events_in_flight_are_limited_by_the_settings
        a_call_whose_wait_is_over_is_answered_without_deliveries
        a_call_waits_for_an_event_and_a_newer_one_ends_it
        a_call_for_no_events_settles_and_renews_at_once
        a_call_that_its_caller_drops_loses_nothing
        a_call_that_is_not_well_formed_settles_nothing
        the_status_shows_members_deliveries_and_lag
    }
    holding {
        a_delivery_that_is_held_or_renewed_does_not_expire
        a_delivery_that_expires_goes_to_another_member
        a_late_settlement_counts_until_its_events_are_dealt_again
        what_a_member_does_not_list_was_lost_and_comes_again_under_a_new_id
        an_id_of_another_member_or_of_nobody_is_refused_as_stale
        a_delivery_may_be_settled_in_part
        a_settlement_of_more_events_than_a_delivery_has_is_refused
    }
    failing {
        a_failed_event_is_tried_again_after_a_pause
        a_member_may_say_how_long_to_wait
        while_a_stream_waits_the_others_go_on
        a_release_counts_no_attempt
        a_failing_stream_is_delivered_event_by_event_until_the_event_has_passed
        an_event_is_tried_for_ever_without_a_limit
        after_the_last_attempt_the_stream_is_parked
        a_skipped_event_is_passed_for_good
        a_stopped_group_refuses_calls_with_the_reason_until_it_is_resumed
        a_member_may_stop_the_group
        a_target_that_is_down_parks_nothing
    }
    parking {
        a_parked_stream_is_not_delivered_until_it_is_replayed
        a_parked_stream_is_shown_with_its_error_and_the_events_it_holds_back
        parked_streams_are_listed_page_by_page_by_name
        a_replayed_event_that_fails_again_is_parked_again
        a_replay_of_a_stream_that_is_not_parked_replays_nothing
        an_operator_skips_parked_events_up_to_a_version_for_good
    }
    log_order {
        events_of_a_partition_come_in_the_order_of_the_log
        one_member_gets_a_partition_while_it_lives_and_then_another
        partitions_are_independent
        poison_stops_a_group_in_the_order_of_the_log
    }
    operating {
        a_paused_group_lets_calls_wait_and_takes_settlements
        a_pause_may_be_repeated_and_so_may_a_resume
        a_reset_needs_a_paused_and_quiet_group_and_makes_earlier_deliveries_stale
        a_reset_delivers_everything_after_its_place_again_and_nothing_before
    }
    restarting {
        progress_is_kept_over_a_restart
        what_was_in_flight_at_a_restart_is_delivered_again_and_its_ids_are_stale
        an_unsettled_event_comes_again_though_a_later_one_of_its_lane_was_settled
        parked_streams_stay_parked_over_a_restart_and_are_replayed_from_there
        every_setting_is_shown_and_kept_over_a_restart
        no_event_is_lost_by_a_crash_and_streams_stay_in_order
        a_pause_holds_over_a_crash
    }
}
