//! Repairs on a simulated machine with a power cut at every operation: the next attempt completes them, and nothing
//! is lost.

use std::path::Path;
use std::sync::Arc;

use super::{Repair, RepairError, plan_repair_in, repair_in};
use crate::env::{Env, Machine, Mode, SimEnv};
use crate::folder::segment_path;
use crate::operations::stat::{SegmentStateStat, stat_in};
use crate::operations::verify::verify_in;
use crate::store::LogStore;
use crate::testing::{LOG, append, batch, open, options};

/// Damages a log of 40 events, repairs it with a power cut at every operation, and checks that it ends up whole.
fn check(repair: Repair, damage: impl Fn(&SimEnv)) {
    for stop in 0.. {
        let machine = Machine::new(stop);
        let log = open(&machine);
        append(&log, (1..=40).map(batch));
        drop(log);
        damage(&SimEnv::new(&machine));

        machine.stop_after(stop);
        let stopped = repair_in(&SimEnv::new(&machine), Path::new(LOG), repair);
        let was_stopped = machine.is_stopped();
        machine.cut_power();
        match repair_in(&SimEnv::new(&machine), Path::new(LOG), repair) {
            Ok(_) => assert!(stopped.is_err(), "stopped after {stop}: it was not done"),
            Err(RepairError::NothingToDo { .. }) => {}
            Err(error) => panic!("stopped after {stop}: {error}"),
        }
        let log = open(&machine);
        assert_eq!(log.read_only(), None, "stopped after {stop}");
        append(&log, [batch(41)]);
        drop(log);
        let report = verify_in(&SimEnv::new(&machine), Path::new(LOG)).unwrap();
        assert!(report.is_sound() && report.events == 41, "stopped after {stop}: {report:?}");
        if !was_stopped {
            assert!(stop > 20, "there are as many places to stop at");
            return;
        }
    }
}

#[test]
fn a_rebuilt_manifest_survives_a_power_cut_at_any_operation() {
    check(Repair::Manifest, without_manifest);
    check(Repair::Manifest, |env| {
        let manifest = env.open(Path::new("/log/manifest"), Mode::Write).unwrap();
        manifest.write_at(&[b"rot"], 40).unwrap();
        manifest.sync_all().unwrap();
    });
}

/// Removes the manifest.
fn without_manifest(env: &SimEnv) {
    env.remove(Path::new("/log/manifest")).unwrap();
    env.sync_dir(Path::new(LOG)).unwrap();
}

/// Adds bytes to the end of the log that are neither a torn write nor frames.
fn with_unproven_tail(env: &SimEnv) {
    let stat = stat_in(env, Path::new(LOG)).unwrap();
    let active = stat.segments.iter().find(|own| own.state == SegmentStateStat::Active).unwrap();
    let segment = env.open(&segment_path(Path::new(LOG), active.segment), Mode::Write).unwrap();
    segment.write_at(&[&[7; 3_000]], active.used_bytes).unwrap();
    segment.sync_all().unwrap();
}

#[test]
fn a_dropped_tail_survives_a_power_cut_at_any_operation() {
    check(Repair::DropTail, with_unproven_tail);
}

#[test]
fn a_repair_is_planned_on_a_read_only_mount_and_changes_nothing_there() {
    type Harm = fn(&SimEnv);
    let cases: [(Harm, Option<Repair>); 3] = [
        (|_| (), None),
        (without_manifest, Some(Repair::Manifest)),
        (with_unproven_tail, Some(Repair::DropTail)),
    ];
    for (damage, expected) in cases {
        let machine = Machine::new(1);
        let log = open(&machine);
        append(&log, (1..=40).map(batch));
        drop(log);
        let env = SimEnv::new(&machine);
        damage(&env);
        let writable = plan_repair_in(&env, Path::new(LOG)).unwrap();
        machine.mount_read_only(Some(Path::new(LOG)));
        let plan = plan_repair_in(&env, Path::new(LOG)).unwrap();
        assert_eq!((plan.repair, &plan), (expected, &writable));
        if let Some(repair) = expected {
            let error = repair_in(&env, Path::new(LOG), repair).unwrap_err();
            assert!(matches!(error, RepairError::Open(_)), "{error:?}");
            machine.mount_read_only(None);
            repair_in(&env, Path::new(LOG), repair).unwrap();
        }
    }
}

#[test]
fn a_manifest_lost_after_an_interrupted_recovery_costs_no_acknowledged_event() {
    let mut copies_left_out = 0;
    for stop in 0.. {
        let machine = Machine::new(stop);
        let log = open(&machine);
        append(&log, (1..=40).map(batch));
        // No watermark covers the last frames, so recovery copies them into a new segment.
        machine.kill();
        drop(log);
        machine.stop_after(stop);
        let env = Arc::new(SimEnv::new(&machine));
        drop(LogStore::open_inline(env, Path::new(LOG), &options()));
        let was_stopped = machine.is_stopped();
        machine.cut_power();

        let env = SimEnv::new(&machine);
        for name in ["manifest", "manifest.previous"] {
            let _ = env.remove(&Path::new(LOG).join(name));
        }
        env.sync_dir(Path::new(LOG)).unwrap();
        let done = repair_in(&env, Path::new(LOG), Repair::Manifest).unwrap();
        copies_left_out += done.found.iter().filter(|line| line.contains("is an unfinished copy")).count();
        let log = open(&machine);
        assert_eq!(log.read_only(), None, "stopped after {stop}: {done:?}");
        append(&log, [batch(41)]);
        drop(log);
        let report = verify_in(&SimEnv::new(&machine), Path::new(LOG)).unwrap();
        assert!(report.is_sound() && report.events == 41, "stopped after {stop}: {report:?}");
        if !was_stopped {
            assert!(copies_left_out > 2, "some were stopped between the copy and the cut");
            return;
        }
    }
}
