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
    let mut machine = Machine::new(0, Place::at(start()), 0, 1);
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
    let outputs = leader_at(&mut machine, Duration::ZERO, 1, TERM);
    assert_eq!(outputs, [Output::Follow { consumer: 2, from: 1 }], "the first term is not known");
    assert_eq!(delivered(&mut machine, Duration::ZERO, 1, &publish.bytes), []);
    (machine, publish.bytes)
}

const TERM: u64 = 1;

fn leader_at(machine: &mut Machine, now: Duration, last: u64, term: u64) -> Vec<Output> {
    machine.input(now, Input::LeaderAt { last, term, asked_at: now })
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
    let last = machine.tip().number;
    let outputs = leader_at(&mut machine, seconds(5), last, TERM);
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
        machine.input(seconds(second), Input::LeaderAt { last: 1, term: TERM, asked_at: seconds(9) });
    }
    assert_eq!(machine.halted(), None);
    for second in 60..=75 {
        leader_at(&mut machine, seconds(second), 1, TERM);
    }
    assert_eq!(machine.halted(), Some(&Halt::Behind { last: 1, copy: 2 }));
}

/// A machine that has written messages 2 to 4, and their bytes from the first message on.
fn machine_with_four() -> (Machine, Vec<Bytes>) {
    let (mut machine, first) = machine();
    let mut messages = vec![first];
    for number in 2..=4 {
        let publish = begin(&mut machine, seconds(1), draft(number - 1));
        acknowledged(&mut machine, seconds(1), &publish);
        assert_eq!(delivered(&mut machine, seconds(1), number, &publish.bytes), []);
        messages.push(publish.bytes);
    }
    (machine, messages)
}

#[test]
fn after_an_election_messages_are_compared_from_the_last_proven_one_on() {
    let (mut machine, messages) = machine_with_four();
    let follow = |consumer, from| [Output::Follow { consumer, from }];
    // Nothing was proven in the term yet.
    assert_eq!(leader_at(&mut machine, seconds(5), 4, 2), follow(3, 1));
    for (number, bytes) in (1..).zip(&messages) {
        assert_eq!(delivered(&mut machine, seconds(5), number, bytes), []);
    }
    assert_eq!(leader_at(&mut machine, seconds(10), 4, 2), []);
    assert_eq!(
        leader_at(&mut machine, seconds(11), 4, 3),
        follow(4, 1),
        "the term may have ended before second 10"
    );
    for (number, bytes) in (1..).zip(&messages) {
        delivered(&mut machine, seconds(11), number, bytes);
    }
    assert_eq!(leader_at(&mut machine, seconds(15), 4, 3), []);
    assert_eq!(leader_at(&mut machine, seconds(20), 4, 3), []);
    assert_eq!(leader_at(&mut machine, seconds(25), 4, 4), follow(5, 4));
}

#[test]
fn a_comparison_that_goes_on_is_not_begun_again_by_a_group_that_waits() {
    let (mut machine, messages) = machine_with_four();
    assert!(is_new_consumer(&leader_at(&mut machine, seconds(5), 4, 2)));
    let sending = begin(&mut machine, seconds(5), draft(4)).sending;
    machine.input(seconds(5), Input::Refused { sending, refusal: Refusal::OtherNumber });
    let follows = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Follow { .. }));
    for (number, bytes) in (1..).zip(&messages) {
        let now = seconds(5 + number);
        assert!(!follows(&machine.input(now, Input::Tick)), "{now:?}");
        delivered(&mut machine, now, number, bytes);
    }
    let outputs = machine.input(seconds(11), Input::Tick);
    let [Output::Publish(Publish { sending, .. })] = outputs[..] else { panic!("{outputs:?}") };
    machine.input(seconds(11), Input::Refused { sending, refusal: Refusal::OtherNumber });
    assert!(follows(&machine.input(seconds(14), Input::Tick)), "the consumer stands still");
}

#[test]
fn a_comparison_ends_while_messages_keep_coming() {
    let (mut machine, messages) = machine_with_four();
    assert!(is_new_consumer(&leader_at(&mut machine, seconds(5), 4, 2)));
    let last = begin(&mut machine, seconds(5), draft(4));
    acknowledged(&mut machine, seconds(5), &last);
    for (number, bytes) in (1..).zip(&messages) {
        delivered(&mut machine, seconds(9), number, bytes);
    }
    assert_eq!(leader_at(&mut machine, seconds(10), 5, 2), []);
    // The consumer stays one message behind.
    let next = begin(&mut machine, seconds(14), draft(5));
    acknowledged(&mut machine, seconds(14), &next);
    delivered(&mut machine, seconds(14), 5, &last.bytes);
    assert_eq!(leader_at(&mut machine, seconds(15), 6, 2), []);
    assert_eq!(leader_at(&mut machine, seconds(20), 6, 3), [Output::Follow { consumer: 4, from: 4 }]);
}

#[test]
fn a_message_that_an_election_has_changed_is_found_though_the_last_one_is_the_same() {
    let (mut machine, messages) = machine_with_four();
    leader_at(&mut machine, seconds(5), 4, 2);
    let before = Message::decode(&messages[1], 0).unwrap();
    let other = Draft { random: [9; 16], ..before.to_draft() }.encode(&before.tip_before());
    assert_eq!(delivered(&mut machine, seconds(5), 1, &messages[0]), []);
    assert_eq!(delivered(&mut machine, seconds(5), 2, &other.bytes), []);
    let outputs = delivered(&mut machine, seconds(5), 3, &messages[2]);
    assert_eq!(outputs, [Output::Halted(Halt::Changed { number: 2 })]);
}

#[test]
fn the_leader_is_not_asked_for_a_message_that_was_sent_and_acknowledged_within_a_second() {
    let (mut machine, _) = machine();
    let first = begin(&mut machine, seconds(5), draft(1));
    assert_eq!(first.after_digest, Some(machine.tip().digest));
    // It is as old as its sending.
    let late = seconds(5) + Duration::from_millis(900);
    acknowledged(&mut machine, late, &first);
    assert_eq!(begin(&mut machine, late, draft(2)).after_digest, None);
    let again = machine.input(seconds(8), Input::Tick);
    let [Output::Publish(again)] = &again[..] else { panic!("{again:?}") };
    assert_eq!(again.after_digest, Some(machine.tip().digest));
}

#[test]
fn a_publish_whose_connection_is_lost_is_sent_again_soon() {
    let (mut machine, _) = machine();
    begin(&mut machine, seconds(1), draft(1));
    assert_eq!(machine.wake(), Some(seconds(1) + ANSWER_TIME));
    machine.input(seconds(1), Input::ConnectionLost);
    assert!(machine.wake().is_some_and(|wake| wake < seconds(2)), "{:?}", machine.wake());
}

#[test]
fn events_that_only_the_copy_has_are_lost_though_others_write_empty_messages() {
    // The copy has an event beyond its place: it was killed.
    let (mut machine, empty) =
        (Machine::new(0, Place::at(start()), 1, 1), Draft { batches: Vec::new(), ..draft(1) });
    machine.start(Duration::ZERO);
    leader_at(&mut machine, Duration::ZERO, 0, TERM);
    let mut second = 0;
    while machine.halted().is_none() {
        second += 5;
        assert!(second < 60, "nothing is noticed");
        let tip = *machine.tip();
        let bytes = empty.encode(&tip).bytes;
        delivered(&mut machine, seconds(second), tip.number + 1, &bytes);
        machine.input(seconds(second), Input::Applied);
        leader_at(&mut machine, seconds(second), tip.number + 1, TERM);
    }
    assert!(matches!(machine.halted(), Some(Halt::Behind { .. })), "{:?}", machine.halted());
}
