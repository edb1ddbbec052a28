//! Bugs that are planted into the protocol of the store on JetStream: each is found within a number of seeds, by a verdict that names its
//! effect.

use gesta_jetstream::{Bug, plant};
use sim::simulate_jetstream;

const SEEDS_MAX: u64 = 20_000;

/// What the judge says of a bug: one of these is in its verdict.
const fn verdicts(bug: Bug) -> &'static [&'static str] {
    match bug {
        Bug::TimeoutIsRefusal | Bug::RefusalEndsDoubt => &["was refused, and is written"],
        Bug::AnyMessageIsOurs | Bug::LateAckCounts => &["was acknowledged by process"],
        Bug::AnswerBeforeCopy | Bug::RepeatInGroupIsWritten => &["was acknowledged before the copy had it"],
        Bug::NoRandomBytes => &["a head of"],
        Bug::NumberIsIdentity => &["without a question"],
        Bug::ElectionIgnored => &["the chain of messages is broken"],
        Bug::MuteLeaderStops => &["takes no writes at the end"],
        Bug::FormUnchecked => &["cannot be read"],
        Bug::FailedApplyForgotten => &["a copy that ends at", "the copy of process"],
        Bug::LateLeaderCounts => &["without a loss: Behind"],
        Bug::ChainIgnored => &["has another history", "the chain of messages is broken"],
        // It cannot write, and does not say why.
        Bug::BehindIgnored => &["has another history", "takes no writes at the end"],
        Bug::GapIgnored => &["without a loss"],
        // It waits for a delivery that never comes.
        Bug::ConsumerForEver => &["stands still", "takes no writes at the end"],
        Bug::RefusalUnproven => &["its expectation was always right", "its ids were never taken so"],
        Bug::ClockUnchecked => &["has a time that is far ahead"],
    }
}

#[test]
fn planted_bugs_of_the_store_on_jetstream_are_found_by_their_effects() {
    // A panic is no verdict.
    std::panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        plant(Some(*bug));
        let mut others = std::collections::BTreeMap::<String, u64>::new();
        let found = (0..SEEDS_MAX).find_map(|seed| {
            let what = simulate_jetstream(seed).err()?.what;
            let is_own = verdicts(*bug).iter().any(|verdict| what.contains(verdict));
            if !is_own {
                *others.entry(what.chars().filter(|at| !at.is_ascii_digit()).collect()).or_default() += 1;
            }
            is_own.then_some((seed, what))
        });
        match found {
            Some((seed, what)) => println!("{bug:?}: seed {seed}: {what}"),
            None => missed.push((bug, others)),
        }
    }
    plant(None);
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not found: {missed:#?}");
}
