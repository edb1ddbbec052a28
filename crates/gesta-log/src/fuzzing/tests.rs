//! Every target accepts its seeds and their neighbours, so each test run covers the inputs that the fuzzer starts
//! from.

use super::*;

type Target = fn(&[u8]);

/// The targets that read this crate's files.
const TARGETS: &[(&str, Target)] = &[
    ("segment_header", segment_header),
    ("frame", frame),
    ("record", record),
    ("mark", mark),
    ("command", command),
    ("manifest", manifest),
    ("backup_manifest", backup_manifest),
    ("run_file", run_file),
    ("run_blocks", run_blocks),
    ("patched_run", patched_run),
    ("patched_log", patched_log),
];

#[test]
fn every_target_accepts_its_seeds_and_their_neighbours() {
    let seeds = seeds();
    assert!(seeds.iter().map(|(name, _)| name).eq(TARGETS.iter().map(|(name, _)| name)));
    for ((name, target), (_, inputs)) in TARGETS.iter().zip(seeds) {
        for mut input in inputs {
            target(&input);
            // The target opens whole logs, so it takes each seed unchanged.
            let step = if *name == "patched_log" { input.len() } else { (input.len() / 50).max(1) };
            for at in (0..input.len()).step_by(step) {
                for byte in [0, 1, 0x7f, 0xff] {
                    let before = std::mem::replace(&mut input[at], byte);
                    target(&input);
                    input[at] = before;
                }
                target(&input[..at]);
            }
        }
    }
}

/// Inputs on which a target once failed.
const FOUND: &[(Target, &[u8])] = &[
    // A record in the middle of a batch with a valid check that is not an event: the events before it had no end.
    (patched_log, &[0x2d, 0x0b, 0x12, 0x00, 0x10, 0x37]),
];

#[test]
fn earlier_findings_stay_fixed() {
    for (target, input) in FOUND {
        target(input);
    }
}
