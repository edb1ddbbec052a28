//! `kill -9` while clients append and segments fill: acknowledged batches are whole, at their positions, and repeats
//! get the first answer.

use sim::process::{Driver, torture};

/// The four tests together make 320 kills.
const KILLS: u64 = 80;

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_with_seed_1() {
    check(1);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_with_seed_2() {
    check(2);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_with_seed_3() {
    check(3);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_with_seed_4() {
    check(4);
}

fn check(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let driver = Driver::new(env!("CARGO_BIN_EXE_torture"));
    let torture = torture(&driver, folder.path(), seed, KILLS).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{torture}");
    assert_eq!(torture.kills, KILLS);
    let happened = [torture.batches, torture.rescued_frames, torture.settled_in_doubt];
    assert!(happened.iter().all(|count| *count > 0), "kills have no effect: {torture}");
}
