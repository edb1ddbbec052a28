//! Steps of the machine that no simulation shows by their effect.

use bytes::Bytes;
use gesta_core::{EventId, NewEvent, Position, RecordedBatch, RecordedEvent, StoreId, Timestamp, Version};

use super::*;

const STORE: StoreId = StoreId::from_bytes([7; 16]);

fn start() -> Tip {
    Tip::start(STORE, 0)
}

fn draft(sequence: u64) -> Draft {
    let (stream, kind) = (format!("a-{sequence}").parse().unwrap(), "a.b".parse().unwrap());
    let id = EventId::from_u128(u128::from(sequence));
    let new = NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), "{}");
    let position = Position { partition: 0, sequence };
    let event = RecordedEvent::new(position, Version::FIRST, Timestamp::from_nanos(1), new.to_bytes());
    let batches = vec![RecordedBatch::new(vec![event], None).unwrap()];
    Draft { random: [3; 16], written_at: Timestamp::from_nanos(1), batches, floor: None }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A machine whose clock is right, and the last message of its copy, which is delivered.
fn machine() -> (Machine, Bytes) {
    let mut machine = Machine::new(0, start(), 0, 1);
    machine.start(Duration::ZERO);
    let outputs = machine.input(Duration::ZERO, Input::Begin);
    assert_eq!(outputs, [Output::Probe]);
    let probe = Draft { batches: Vec::new(), ..draft(1) };
    let publish = decided(&mut machine, Duration::ZERO, probe);
    acknowledged(&mut machine, Duration::ZERO, &publish);
    let outputs = delivered(&mut machine, Duration::ZERO, 1, &publish.bytes);
    assert_eq!(outputs, [Output::Decide { may_write: true }]);
    let outputs = machine.input(Duration::ZERO, Input::Decided { at: 1, draft: None });
    assert_eq!(outputs, [Output::Settled(Settled::NothingToWrite)]);
    (machine, publish.bytes)
}

fn decided(machine: &mut Machine, now: Duration, draft: Draft) -> Publish {
    let at = machine.tip().number;
    let outputs = machine.input(now, Input::Decided { at, draft: Some(draft) });
    let [Output::Publish(publish)] = &outputs[..] else { panic!("{outputs:?}") };
    publish.clone()
}

/// Begins a group. Returns its publish.
fn begin(machine: &mut Machine, now: Duration, draft: Draft) -> Publish {
    assert_eq!(machine.input(now, Input::Begin), [Output::Decide { may_write: true }]);
    decided(machine, now, draft)
}

fn ack(publish: &Publish) -> Input {
    Input::Acknowledged { sending: publish.sending, number: publish.after + 1 }
}

/// Acknowledges a publish, and applies its message.
fn acknowledged(machine: &mut Machine, now: Duration, publish: &Publish) -> Vec<Output> {
    let outputs = machine.input(now, ack(publish));
    assert!(matches!(&outputs[..], [Output::Apply(..)]), "{outputs:?}");
    machine.input(now, Input::Applied)
}

fn delivered(machine: &mut Machine, now: Duration, number: u64, bytes: &Bytes) -> Vec<Output> {
    let (consumer, stored_at) = (machine.follower.consumer(), Timestamp::from_nanos(1));
    machine.input(now, Input::Delivered { consumer, number, bytes: bytes.clone(), stored_at })
}

fn is_new_consumer(outputs: &[Output]) -> bool {
    matches!(outputs, [Output::Follow { .. }])
}

#[test]
fn a_consumer_that_delivers_nothing_is_made_anew_though_the_process_goes_on_writing() {
    let (mut machine, _) = machine();
    for second in 1..=5 {
        let publish = begin(&mut machine, seconds(second), draft(second));
        let outputs = acknowledged(&mut machine, seconds(second), &publish);
        assert_eq!(outputs, [Output::Settled(Settled::Written)]);
    }
    let (last, asked_at) = (machine.tip().number, seconds(5));
    let outputs = machine.input(seconds(5), Input::LeaderAt { last, asked_at });
    assert!(is_new_consumer(&outputs), "{outputs:?}");
}

#[test]
fn a_group_is_in_doubt_if_the_copy_does_not_take_its_message() {
    let (mut machine, _) = machine();
    let publish = begin(&mut machine, seconds(1), draft(1));
    let before = *machine.tip();
    machine.input(seconds(1), ack(&publish));
    let outputs = machine.input(seconds(1), Input::NotApplied { reason: "no room".to_owned() });
    let halt = Halt::Copy { number: 2, reason: "no room".to_owned() };
    assert_eq!(outputs, [Output::Settled(Settled::InDoubt), Output::Halted(halt.clone())]);
    assert_eq!((machine.tip(), machine.read_only()), (&before, Some(halt.to_string())));
    assert_eq!(machine.input(seconds(2), Input::Begin), [Output::Decide { may_write: false }]);
}

#[test]
fn a_server_that_has_forgotten_the_last_message_is_believed_once_both_are_delivered() {
    let (mut machine, last) = machine();
    let mut publish = begin(&mut machine, seconds(1), draft(1));
    assert!(publish.after_digest.is_some());
    let mut outputs = Vec::new();
    while !is_new_consumer(&outputs) {
        let sending = publish.sending;
        outputs = machine.input(seconds(1), Input::Refused { sending, refusal: Refusal::OtherDigest });
        if let Some(wake) = machine.wake().filter(|_| outputs.is_empty()) {
            let outputs = machine.input(wake, Input::Tick);
            let [Output::Publish(again)] = &outputs[..] else { panic!("{outputs:?}") };
            publish = again.clone();
        }
    }
    let outputs = delivered(&mut machine, seconds(1), 1, &last);
    let [Output::Publish(publish)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((publish.after, publish.after_digest), (1, None));
    // The consumer was made before it was accepted, so what it delivers is no proof, and an acknowledgement is none.
    assert!(is_new_consumer(&machine.input(seconds(1), ack(publish))));
    assert_eq!(machine.input(seconds(1), ack(publish)), []);
    assert_eq!(delivered(&mut machine, seconds(1), 1, &last), []);
    let outputs = delivered(&mut machine, seconds(1), 2, &publish.bytes);
    assert!(matches!(&outputs[..], [Output::Apply(..)]), "{outputs:?}");
    let outputs = machine.input(seconds(1), Input::Applied);
    assert_eq!(outputs, [Output::Settled(Settled::Written)]);
}

#[test]
fn an_answer_to_a_question_from_before_the_newest_message_shows_no_loss() {
    let (mut machine, _) = machine();
    let publish = begin(&mut machine, seconds(10), draft(1));
    acknowledged(&mut machine, seconds(10), &publish);
    for second in 11..60 {
        delivered(&mut machine, seconds(second), 2, &publish.bytes);
        machine.input(seconds(second), Input::LeaderAt { last: 1, asked_at: seconds(9) });
    }
    assert_eq!(machine.halted(), None);
    for second in 60..=75 {
        machine.input(seconds(second), Input::LeaderAt { last: 1, asked_at: seconds(second) });
    }
    assert_eq!(machine.halted(), Some(&Halt::Behind { last: 1, copy: 2 }));
}
