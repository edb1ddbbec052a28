//! The store on a JetStream cluster, by seed.

use sim::{Clustered, simulate_jetstream};

const SEEDS: u64 = 100;

#[test]
fn a_store_on_a_cluster_keeps_its_promises_and_meets_every_fault() {
    let mut sum = Clustered::default();
    for seed in 0..SEEDS {
        sum.add(&simulate_jetstream(seed).unwrap_or_else(|violation| panic!("{violation}")));
    }
    println!("{sum}");
    let met = [sum.refused, sum.doubts, sum.decided_again, sum.elections, sum.kills, sum.lost, sum.halts];
    assert!(met.iter().all(|count| *count > 0), "a fault that never happens tests nothing: {sum}");
}
