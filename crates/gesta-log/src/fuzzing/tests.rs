//! Every target takes its seeds, and what is next to them: what the fuzzer begins with is held to by every test run.

use super::*;

type Target = fn(&[u8]);

/// The targets that read what this crate writes.
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
fn every_target_takes_its_seeds_and_what_is_next_to_them() {
    let seeds = seeds();
    assert!(seeds.iter().map(|(name, _)| name).eq(TARGETS.iter().map(|(name, _)| name)));
    for ((name, target), (_, inputs)) in TARGETS.iter().zip(seeds) {
        for mut input in inputs {
            target(&input);
            // Whole logs are opened by the last one: it takes each seed as it is.
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

/// What was found once: inputs on which a target failed.
const FOUND: &[(Target, &[u8])] = &[
    // A record in the midst of a batch whose check holds, and that is no event: what stood before it had no end.
    (patched_log, &[0x2d, 0x0b, 0x12, 0x00, 0x10, 0x37]),
];

#[test]
fn what_was_found_once_is_mended() {
    for (target, input) in FOUND {
        target(input);
    }
}
