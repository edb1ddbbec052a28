//! Why a partition of an open store takes no more writes.

use gesta_log::ReadOnlyCause;

use crate::machine::Halt;
use crate::partition::Partition;

/// Why a partition of an open store takes no more writes, and does not follow the cluster any more. Its reads go on from what it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// The cluster does not have what the copy has. [`repair`](crate::repair) shows the events that only the copy has.
    #[error("partition {partition} takes no more writes")]
    Lost {
        /// The number of the partition.
        partition: u16,
        /// What is missing or changed.
        #[source]
        halt: Halt,
    },
    /// The copy takes no more messages. Once its folder is in order, opening the store again reads what is missing.
    #[error("partition {partition} takes no more writes: {reason}")]
    Copy {
        /// The number of the partition.
        partition: u16,
        /// What is wrong with the folder or the disk.
        reason: String,
    },
}

impl Stopped {
    /// Looks at a partition.
    pub(crate) fn of(partition: &Partition) -> Option<Self> {
        let number = partition.number();
        match partition.halted() {
            Some(halt @ Halt::Copy { .. }) => {
                return Some(Self::Copy { partition: number, reason: halt.to_string() });
            }
            Some(halt) => return Some(Self::Lost { partition: number, halt }),
            None => {}
        }
        // Every copy takes appends from its source alone.
        let read_only = partition.log().read_only().filter(|own| own.cause != ReadOnlyCause::Replica)?;
        Some(Self::Copy { partition: number, reason: read_only.reason })
    }
}
