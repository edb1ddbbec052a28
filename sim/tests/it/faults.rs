//! The log on a simulated machine with power cuts, kills and disk failures: random ones, one at every operation of
//! some scripts, and every bit flip.

use std::path::Path;

use gesta_log::sim::{Failure, Operation};
use sim::{Bits, Focus, Left, SCRIPTS, flip_bits, flip_index_bits, simulate, simulate_many};

#[test]
fn no_fault_breaks_a_promise() {
    // This takes some seconds without optimization; `cargo xtask sim` does more.
    let run = |from| {
        let outcome = simulate_many(from.., 20_000, None).unwrap_or_else(|violation| panic!("{violation}"));
        println!("{outcome}");
        outcome
    };
    let outcome = run(0);
    let counts = outcome.counts;
    let happened = [
        counts.power_cuts,
        counts.kills,
        counts.eio,
        counts.no_space,
        counts.short_writes,
        counts.read_only,
        counts.clock_back,
        counts.betrayed_sectors,
        outcome.harms,
        outcome.second_opens,
    ];
    assert!(happened.iter().all(|count| *count > 0), "some faults never happen: {outcome}");
    assert!(counts.dropped_sectors > 0, "power cuts drop nothing: {outcome}");
    // One in some thousand dropped sectors is torn: other seeds follow until there is one.
    let mut others = (1..10).map(|more| run(more * 1_000_000));
    let is_torn = counts.torn_sectors > 0 || others.any(|other| other.counts.torn_sectors > 0);
    assert!(is_torn, "power cuts tear no sector");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
    let traces = (0..20).map(|seed| simulate(seed).unwrap().trace);
    assert_eq!(traces.collect::<std::collections::HashSet<_>>().len(), 20, "seeds differ");
}

#[test]
fn a_violation_shows_its_profile_and_the_command_to_repeat_it() {
    let violation = sim::Violation {
        focus: Focus::named("cut-closed"),
        seed: 42,
        options: "Profile { steps: 7 }".to_owned(),
        what: "an event is gone".to_owned(),
    };
    let said = violation.to_string();
    for part in ["an event is gone", "Profile { steps: 7 }", "cargo xtask sim --seed 42 --focus cut-closed"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn every_focus_is_found_by_its_name() {
    for (name, focus) in Focus::all() {
        assert_eq!(Focus::named(&name), Some(focus));
    }
    assert_eq!(Focus::named("nothing"), None);
}

/// Visits every operation of a script with every fault.
fn visit(name: &str) {
    let script = SCRIPTS.iter().find(|script| script.to_string() == name).unwrap();
    let operations = script.operations().unwrap();
    let visits = script.visit().unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{script}: {visits}");
    let all = operations.len() as u64;
    let needs_space = operations.iter().filter(|(operation, _)| operation.fails_by(Failure::NoSpace));
    assert_eq!(visits.operations, all);
    assert_eq!(visits.eio, all, "each operation fails once");
    assert_eq!(visits.stops, all, "the process is stopped during each");
    assert_eq!(
        visits.no_space,
        needs_space.count() as u64,
        "each operation that needs space finds none once"
    );
    let last_with = |failure| {
        let fails = |(operation, _): &(Operation, _)| operation.fails_by(failure);
        operations.iter().rposition(fails).map_or(0, |last| last as u64 + 1)
    };
    let lasting = [Failure::Eio, Failure::NoSpace, Failure::ReadOnly].map(last_with);
    assert_eq!(visits.lasting, lasting.iter().sum::<u64>(), "and each one is the first of a lasting failure");
    assert!(visits.power_cuts > 2 * all, "subsets of the changes that are not durable are kept: {visits}");
}

/// One test for each script, side by side: together they take minutes in a debug build.
mod every_operation_is_visited_by_every_fault {
    use super::visit;

    #[test]
    fn of_a_first_open() {
        visit("a first open");
    }

    #[test]
    fn of_appends_over_a_roll() {
        visit("appends over a roll");
    }

    #[test]
    fn of_a_torn_tail_after_frames_in_doubt() {
        visit("a torn tail after frames in doubt");
    }

    #[test]
    fn of_a_close_and_a_reopen() {
        visit("a close and a reopen");
    }

    #[test]
    fn of_runs_that_are_merged() {
        visit("runs that are merged");
    }

    #[test]
    fn of_runs_and_an_old_manifest() {
        visit("runs and an old manifest");
    }
}

#[test]
fn the_scripts_do_what_their_names_say() {
    let [first, roll, torn, reopen, merged, old] = SCRIPTS else {
        panic!("six scripts, and a visit of each")
    };
    let does = |script: &sim::Script, wanted: Operation, what: &str| {
        let operations = script.operations().unwrap();
        operations
            .iter()
            .filter(|(operation, path)| *operation == wanted && path.ends_with(Path::new(what)))
            .count()
    };
    assert_eq!(does(first, Operation::Create, "000000000001.seg"), 1);
    assert_eq!(does(roll, Operation::Create, "000000000002.seg"), 1, "a spare is made");
    assert_eq!(does(roll, Operation::SetLength, "000000000001.seg"), 1, "the first segment is sealed");
    assert_eq!(does(torn, Operation::SyncFolder, "quarantine"), 1, "torn bytes are kept aside");
    assert_eq!(does(torn, Operation::Create, "000000000002.seg.tmp"), 1, "frames in doubt are copied");
    assert_eq!(does(reopen, Operation::Lock, "LOCK"), 2);
    assert_eq!(does(merged, Operation::Create, "000000000009.run"), 1, "eight runs become a ninth");
    assert_eq!(does(merged, Operation::Remove, "000000000001.run"), 1, "and are removed");
    assert_eq!(
        does(old, Operation::Create, "000000000004.run"),
        1,
        "runs are rebuilt under names that were used"
    );
}

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    // Without optimization an eighth of the bits, evenly spread; `cargo xtask sim` flips all.
    let shares = if cfg!(debug_assertions) { 8 } else { 1 };
    for left in [Left::Closed, Left::Killed] {
        let flips = flip_bits(Bits::ZerosSampled, left, 0, shares).unwrap_or_else(|wrong| panic!("{wrong}"));
        println!("{left:?}: {flips}");
        assert_eq!(flips.flips, flips.detected + flips.harmless);
        let least = 30_000 / shares as u64;
        assert!(flips.flips > least && flips.detected > least, "{flips}");
    }
}

#[test]
fn every_flipped_bit_of_an_index_is_reported_and_repaired() {
    // A part of the bits, evenly spread, and a smaller one without optimization; `cargo xtask sim` flips all.
    let shares = if cfg!(debug_assertions) { 61 } else { 7 };
    let flips = flip_index_bits(0, shares).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{flips}");
    assert!(flips.flips > 100, "{flips}");
    assert_eq!(flips.harmless, 0, "a checksum covers every bit: {flips}");
}
