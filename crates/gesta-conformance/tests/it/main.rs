//! The laws on the in-memory store.

mod broken_key_values;
mod broken_snapshots;
mod comparing;
mod gap;
mod groups;
mod key_values;
mod restarting;
mod snapshots;

mod one_partition {
    gesta_conformance::laws!(gesta_conformance::Memory::new(1));
}

mod three_partitions {
    gesta_conformance::laws!(gesta_conformance::Memory::new(3));
}

mod under_restarts {
    use gesta_conformance::{Memory, Restarting};

    // The in-memory store has nothing to restart from. This checks that the restarting harness does not disturb the
    // laws.
    gesta_conformance::laws!(Restarting::every(1, Memory::new(3)));
}
