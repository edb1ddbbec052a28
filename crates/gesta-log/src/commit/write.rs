//! Writes a group durably: one write, one sync.

use std::io;

use crate::bugs::{Bug, planted};
use crate::env::File;

/// Writes the frames of a group where the segment's frames end, and syncs them. An error says that nobody knows what of it is on the
/// disk. The last group of a segment is told apart only by a bug that can be planted.
pub(super) fn write_group(
    file: &dyn File,
    pieces: &[&[u8]],
    offset: u64,
    zeros_to: u64,
    is_last: bool,
) -> io::Result<()> {
    match file.write_over_zeros(pieces, offset, zeros_to) {
        Err(error) if planted(Bug::ShortWriteIgnored) && error.kind() == io::ErrorKind::StorageFull => {}
        written => written?,
    }
    if planted(Bug::AckBeforeSync) || planted(Bug::RollBeforeSync) && is_last {
        return Ok(());
    }
    match file.sync_data() {
        Err(_) if planted(Bug::RetryFailedSync) => file.sync_data(),
        synced => synced,
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::env::{Env, Failure, Machine, Mode, Operation, PlannedFault, SimEnv};

    const SEGMENT: &str = "/segment";

    /// A machine with a segment of zeros, open to be written.
    fn with_segment() -> (Machine, Arc<dyn File>) {
        let machine = Machine::new(1);
        machine.put(Path::new(SEGMENT), vec![0; 4096]);
        let file = SimEnv::new(&machine).open(Path::new(SEGMENT), Mode::Write).unwrap();
        (machine, file)
    }

    #[test]
    fn a_group_outlives_a_power_cut_and_the_last_of_a_segment_does_too() {
        for is_last in [false, true] {
            let (machine, file) = with_segment();
            write_group(&*file, &[b"one", b"two"], 512, 4096, is_last).unwrap();
            machine.cut_power_with(0);
            let content = machine.content(Path::new(SEGMENT)).unwrap();
            assert_eq!(&content[512..518], b"onetwo", "the last: {is_last}");
        }
    }

    #[test]
    fn no_failure_of_a_write_or_a_sync_is_passed_over() {
        for failure in [Failure::Eio, Failure::NoSpace] {
            for (after, tried) in [(0, &[Operation::Write][..]), (1, &[Operation::Write, Operation::Sync])] {
                let (machine, file) = with_segment();
                machine.record();
                machine.plan_fault(Some(PlannedFault { after, failure, lasts: false }));
                write_group(&*file, &[b"one"], 512, 4096, false).unwrap_err();
                let recorded = machine.recorded();
                let operations = recorded.iter().map(|(operation, _)| *operation).collect::<Vec<_>>();
                assert_eq!(operations, tried, "{failure:?}: nothing is tried again");
            }
        }
    }
}
