//! Writes a group durably: one write, one sync.

use std::io;

use crate::bugs::{Bug, planted};
use crate::env::File;

/// Writes the frames of a group at the end of the segment, and syncs them. After an error, the content of the disk is
/// unknown. Only a planted bug uses `is_last`, the last group of a segment.
pub(crate) fn write_group(
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
    use crate::env::Env;
    use crate::env::Failure;
    use crate::env::Machine;
    use crate::env::Mode;
    use crate::env::Operation;
    use crate::env::PlannedFault;
    use crate::env::SimEnv;

    const SEGMENT: &str = "/segment";

    /// A machine with a zeroed segment, open for writes.
    fn with_segment() -> (Machine, Arc<dyn File>) {
        let machine = Machine::new(1);
        machine.put(Path::new(SEGMENT), vec![0; 4096]);
        let file = SimEnv::new(&machine).open(Path::new(SEGMENT), Mode::Write).unwrap();
        (machine, file)
    }

    #[test]
    fn a_group_survives_a_power_cut_also_at_the_end_of_a_segment() {
        for is_last in [false, true] {
            let (machine, file) = with_segment();
            write_group(&*file, &[b"one", b"two"], 512, 4096, is_last).unwrap();
            machine.cut_power_with(0);
            let content = machine.content(Path::new(SEGMENT)).unwrap();
            assert_eq!(&content[512..518], b"onetwo", "the last: {is_last}");
        }
    }

    #[test]
    fn every_failure_of_a_write_or_a_sync_is_returned() {
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
