//! Bugs that are planted into the protocol of the store on JetStream: each is found within a number of seeds.

use gesta_jetstream::{Bug, plant};
use sim::simulate_jetstream;

const SEEDS_MAX: u64 = 3_000;

#[test]
fn planted_bugs_of_the_store_on_jetstream_are_found() {
    // A panic counts as a find and is reported with the bug.
    std::panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        plant(Some(*bug));
        match (0..SEEDS_MAX).find_map(|seed| simulate_jetstream(seed).err()) {
            Some(found) => {
                println!("{bug:?}: seed {}: {}", found.seed, found.what.lines().next().unwrap_or_default())
            }
            None => missed.push(bug),
        }
    }
    plant(None);
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
