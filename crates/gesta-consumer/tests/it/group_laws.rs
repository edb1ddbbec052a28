//! Local groups keep the laws of consumer groups, with one partition and with three.

mod in_memory {
    gesta_conformance::group_laws!(gesta_conformance::LocalHarness::new(1));
}

mod in_three_partitions {
    gesta_conformance::group_laws!(gesta_conformance::LocalHarness::new(3));
}
