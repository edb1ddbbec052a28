//! The laws of an event store. Each is stated once and runs on every backend.
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
//! Invariants: no law sleeps, draws entropy or reads a real clock. A law uses only the public interface of a store.

mod append;
mod checks;
mod commands;
mod conditions;
mod expect;
mod given;
mod harness;
mod histories;
mod idempotency;
mod limits;
mod linear;
mod listing;
mod model;
mod pages;
mod partitions;
mod query;
mod races;
mod subscription;
mod time;
mod town;
mod world;

pub use harness::{Clock, Harness, Memory, Restarting, Snapshot};
pub use model::{compare_by_choices, compare_with_memory};

/// Makes the functions that tests call, and the macro that makes the tests, from one table. The compiler reports a
/// law that is missing from the table as dead code. `$d` stands for the dollar sign of the inner macro.
macro_rules! table {
    ($d:tt $($subject:ident { $($law:ident)* })*) => {
        /// Every law, by subject. Each takes a store from the harness and panics if it breaks the law.
        pub mod laws {
            $(
                #[expect(missing_docs, reason = "the name of a law states it")]
                pub mod $subject {
                    $(
                        pub fn $law(harness: &dyn crate::Harness) {
                            crate::$subject::$law(&mut crate::world::World::new(harness));
                        }
                    )*
                }
            )*
        }

        /// Makes a `#[test]` of every law for a harness, such as `laws!(Memory::new(3))`.
        ///
        /// The expression is evaluated once for each law. Call the macro in a separate module.
        #[macro_export]
        macro_rules! laws {
            ($d harness:expr) => {
                $(
                    mod $subject {
                        #[allow(unused_imports, reason = "the expression may need names from the outer module")]
                        use super::*;
                        $(
                            #[test]
                            fn $law() {
                                $d crate::laws::$subject::$law(&$d harness);
                            }
                        )*
                    }
                )*
            };
        }
    };
}

table! { $
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
    }
    linear {
        concurrent_appends_are_linearizable_in_the_order_of_the_log
    }
    model {
        a_random_history_gets_the_same_answers_as_in_the_memory_store
        another_random_history_gets_the_same_answers_as_in_the_memory_store
    }
}
