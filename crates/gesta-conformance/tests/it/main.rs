//! The laws on the in-memory store.

mod comparing;
mod restarting;

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
