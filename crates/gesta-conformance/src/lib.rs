//! The laws of an event store, each stated once and run on every backend.
//!
//! A law is a function whose name is a sentence of the manual. It takes one fresh store from a [`Harness`], sets its clock,
//! and panics where the store breaks the law. [`laws!`] makes a `#[test]` of each, in a module a subject:
//!
//! ```
//! gesta_conformance::laws!(gesta_conformance::Memory::new(1));
//! # fn main() {}
//! ```
//!
//! No law is skipped. One that depends on what a store can do ([`Capabilities`](gesta_core::Capabilities)) holds it to the
//! refusal where it cannot. Under [`Restarting`] every law also says that it survives a restart.
//!
//! Invariants: no law sleeps, draws entropy or asks what time it is; a law never looks at how a store does it.

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

/// Makes the functions that tests call and the macro that makes the tests, from one table. A law that is missing from it
/// is dead code, which the compiler tells. `$d` stands for the dollar sign of the inner macro.
macro_rules! table {
    ($d:tt $($subject:ident { $($law:ident)* })*) => {
        /// Every law, by subject: each takes a store from the harness and holds it to what the name says.
        pub mod laws {
            $(
                #[expect(missing_docs, reason = "the name of a law is what it says")]
                pub mod $subject {
                    $(
                        pub fn $law(harness: &dyn crate::Harness) {
                            crate::$subject::$law(&mut crate::world::World::new(harness));
                        }
                    )*
                }
            )*
        }

        /// Makes a `#[test]` of every law, for the harness that the expression gives: `laws!(Memory::new(3))`. The
        /// expression is evaluated once a law. Call it in a module of its own.
        #[macro_export]
        macro_rules! laws {
            ($d harness:expr) => {
                $(
                    mod $subject {
                        #[allow(unused_imports, reason = "the expression may need what stands around it")]
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
        an_append_is_answered_with_the_place_of_every_event_and_the_end_of_the_batch
        a_batch_may_go_to_one_stream_then_another_and_back
        every_field_comes_back_as_it_was_given
        the_same_events_have_the_same_bytes_and_digests_in_every_store
        a_refused_batch_leaves_nothing_in_any_of_its_streams
        a_batch_without_events_is_refused
        a_batch_is_seen_whole_or_not_at_all_by_readers_beside_writers
    }
    expect {
        each_expectation_is_met_or_refused_with_the_actual_version
        an_expectation_may_be_of_a_stream_that_is_only_read
        of_several_failed_expectations_the_first_is_named
        the_events_of_a_batch_do_not_count_for_its_own_expectations
        a_stream_is_expected_at_most_once
        an_event_is_expected_by_its_version_and_its_id
        a_version_that_another_event_has_is_not_that_of_the_event_expected
        an_event_that_was_just_appended_can_be_expected
    }
    idempotency {
        the_same_batch_again_is_answered_with_the_first_answer
        a_repeat_is_one_whatever_its_events_say_beside_their_ids
        a_repeat_may_be_batched_in_any_other_way_that_keeps_the_order
        a_batch_that_only_partly_stands_or_in_another_order_is_told_where_to_cut
        a_batch_that_is_cut_where_it_was_told_goes_through_piece_by_piece
        one_id_in_two_streams_is_two_events
        one_id_twice_in_one_stream_of_a_batch_is_refused
        an_id_is_remembered_for_the_whole_history
        an_append_that_was_dropped_at_any_moment_is_settled_by_its_repeat
    }
    commands {
        a_command_sent_again_gets_the_first_answer_even_if_it_would_write_other_events_now
        a_command_key_with_another_request_is_refused
        the_first_answer_to_a_command_can_be_asked_for_before_deciding
        a_command_that_was_refused_leaves_no_key
        a_key_sent_with_events_that_are_a_repeat_is_not_recorded
        a_second_key_for_events_that_stand_under_a_first_is_not_recorded
        every_byte_of_a_command_key_and_its_request_counts
    }
    checks {
        the_form_of_a_batch_is_checked_before_its_command_key
        the_command_key_is_checked_before_event_ids
        event_ids_are_checked_before_expectations
        event_ids_are_checked_before_conditions
        expectations_are_checked_before_conditions
    }
    conditions {
        a_condition_without_a_place_looks_at_the_whole_log
        a_condition_looks_only_after_its_place
        a_condition_may_look_after_a_place_inside_a_batch
        each_condition_has_a_place_of_its_own_and_the_first_that_fails_is_named
        the_events_of_a_batch_do_not_count_for_its_own_conditions
        of_several_matches_the_newest_is_named
        a_condition_asks_for_all_that_a_query_can
        a_condition_beyond_the_head_or_of_another_store_is_refused
        what_a_cut_page_did_not_show_is_seen_by_a_condition_after_it
        no_update_is_lost_when_conditions_look_after_what_was_scanned
    }
    pages {
        an_empty_log_is_read_to_its_end_at_once
        an_uncut_forward_page_has_scanned_to_the_head_even_when_nothing_matched
        until_is_the_last_place_that_is_read_forward
        until_is_the_place_above_which_is_read_backward
        a_read_goes_on_after_any_place_even_inside_a_batch
        a_backward_read_from_the_start_and_a_forward_read_from_the_end_show_nothing
        a_place_beyond_the_head_or_of_another_store_is_refused
        page_after_page_of_one_event_shows_what_one_read_shows
        page_after_page_of_one_byte_shows_what_one_read_shows
        page_after_page_for_which_one_thing_is_examined_shows_what_one_read_shows
        page_after_page_of_any_small_limit_shows_what_one_read_shows
        a_forward_page_of_the_log_never_ends_inside_a_batch
        stream_reads_and_backward_reads_cut_at_exactly_the_limit
        a_cut_stream_page_says_where_a_read_of_the_log_goes_on
        a_stream_is_read_from_a_version_on_in_both_directions
        a_stream_is_read_up_to_a_place
        every_page_of_a_stream_tells_its_last_version_at_the_head
        events_of_one_batch_share_what_their_readers_see
    }
    query {
        a_query_gives_the_events_that_match_and_no_others
        an_event_that_matches_several_items_is_given_once
        the_fields_of_a_query_are_compared_byte_by_byte
        a_category_ends_at_the_first_dash_or_is_the_whole_name
        an_empty_query_or_item_is_refused_and_never_means_all
        system_streams_are_shown_by_a_read_of_everything
        every_stream_lies_in_one_lane_whose_readers_see_all_of_it
        a_read_of_no_lanes_is_refused
    }
    subscription {
        a_subscription_gives_every_event_once_and_in_order_while_others_append
        a_subscription_is_resumed_from_a_checkpoint_that_was_kept
        a_subscription_from_the_end_gives_only_what_comes_after
        a_page_without_events_moves_a_subscription_on
        subscriptions_to_divided_lanes_share_the_events_without_rest
        a_dropped_wait_for_the_next_page_loses_nothing
        a_wait_ends_with_the_append_it_waited_for
        a_wait_is_woken_in_another_thread
        a_wait_for_what_is_there_already_is_over_at_once
        a_wait_beyond_the_head_is_refused_at_once
    }
    listing {
        a_stream_is_known_by_its_last_version_once_it_has_an_event
        every_stream_is_listed_once_page_by_page
        a_listing_of_a_category_has_its_streams_only
        a_stream_that_exists_throughout_a_listing_is_in_it_once_although_others_begin
        a_token_that_the_store_did_not_give_is_refused
    }
    time {
        recorded_at_is_what_the_clock_says_but_never_goes_back
        a_batch_has_one_recorded_at
        a_repeat_keeps_when_it_was_recorded
        a_time_is_located_at_the_end_of_the_last_batch_recorded_by_then
        a_time_is_located_in_each_partition
        the_start_and_the_head_are_located
    }
    partitions {
        a_batch_over_several_partition_keys_is_whole_or_unsupported
        an_expectation_under_another_partition_key_is_checked_or_unsupported
        a_condition_that_is_not_about_streams_of_one_partition_is_checked_or_unsupported
        what_is_unsupported_is_refused_before_anything_is_read
        streams_that_share_a_partition_key_share_a_partition_and_batches
        every_stream_lies_in_the_partition_of_its_lane
        the_log_is_read_in_the_order_of_each_partition_and_in_one_order_where_there_is_one
        the_checkpoint_of_an_append_covers_it_and_nothing_of_other_partitions
        a_command_key_is_unique_in_the_partition_of_its_streams
        a_store_declares_what_goes_together
    }
    histories {
        every_place_that_is_given_has_the_mark_of_its_event
        a_page_that_ends_at_a_place_of_the_callers_keeps_it
        a_place_without_a_mark_is_not_checked
        nobody_goes_on_beyond_what_was_lost
        a_place_at_or_before_what_was_lost_goes_on
        the_same_events_at_the_same_positions_are_another_history
        a_repeat_is_answered_though_the_place_of_its_condition_is_lost
        an_event_that_was_lost_is_not_the_one_expected
    }
    limits {
        a_batch_has_as_many_events_as_the_store_takes
        a_batch_has_as_many_bytes_as_the_store_takes
        a_batch_has_as_many_expectations_as_the_store_takes
        a_batch_has_as_many_conditions_as_the_store_takes
        an_event_has_as_much_data_as_the_store_takes
        an_event_has_as_much_metadata_as_the_store_takes
        an_event_has_as_many_tags_as_the_store_takes
        a_tag_given_twice_counts_once_for_the_limit
        a_command_key_has_1_to_256_bytes
        a_query_has_as_many_items_as_the_store_takes
        a_query_has_as_many_terms_over_all_its_items_as_the_store_takes
    }
    races {
        of_racing_appends_that_expect_one_version_exactly_one_wins
        racing_appends_of_the_same_events_leave_them_once
        racing_commands_of_one_key_have_one_effect
        racing_appends_that_expect_nothing_all_go_in
    }
    linear {
        concurrent_appends_have_one_order_in_which_every_answer_is_true
    }
    model {
        any_history_gets_the_answers_of_the_memory_store
        any_other_history_gets_the_answers_of_the_memory_store
    }
}
