//! Laws of command keys: a repeated command gets the first answer and has no second effect.

use gesta_core::{AppendError, Appended, CommandKey, Expected};
use pollster::block_on;

use crate::given::{A, B, batch, command, ids, name};
use crate::world::World;

impl World<'_> {
    fn repeat_of(&self, command: CommandKey, near: &str) -> Result<Option<Appended>, AppendError> {
        block_on(self.store.repeat_of(command, name(near)))
    }
}

pub(crate) fn a_repeated_command_gets_the_first_answer_even_with_other_events(world: &World<'_>) {
    let first = world.append(batch(&[(A, 1), (B, 2), (A, 3)]).with_command(command("open", 1)));
    let again = Appended { repeated: true, ..first };
    world.append(batch(&[(A, 4)]));
    for events in [&[(A, 1), (B, 2), (A, 3)][..], &[(A, 7)], &[(B, 8), (B, 9)], &[(A, 4)]] {
        assert_eq!(world.repeat(batch(events).with_command(command("open", 1))), again, "{events:?}");
    }
    assert_eq!(ids(&world.log()), [1, 2, 3, 4]);
}

pub(crate) fn a_command_key_with_another_request_is_refused(world: &World<'_>) {
    world.append(batch(&[(A, 1)]).with_command(command("open", 1)));
    for events in [&[(A, 1)][..], &[(A, 2)]] {
        assert_eq!(world.refuse(batch(events).with_command(command("open", 2))), AppendError::KeyReused);
    }
    assert_eq!(world.repeat_of(command("open", 2), A), Err(AppendError::KeyReused));
}

pub(crate) fn the_first_answer_to_a_command_can_be_read_before_deciding(world: &World<'_>) {
    assert_eq!(world.repeat_of(command("open", 1), A), Ok(None));
    let first = world.append(batch(&[(A, 1), (B, 2)]).with_command(command("open", 1)));
    world.append(batch(&[(A, 3)]).with_command(command("close", 1)));
    let again = Appended { repeated: true, ..first };
    assert_eq!(world.repeat_of(command("open", 1), A), Ok(Some(again.clone())));
    assert_eq!(
        world.repeat_of(command("open", 1), B),
        Ok(Some(again)),
        "`near` may be any stream of the partition"
    );
    assert_eq!(world.repeat_of(command("ope", 1), A), Ok(None));
}

pub(crate) fn a_refused_command_does_not_record_its_key(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    let open = |expected| batch(&[(A, 2)]).expect(name(A), expected).with_command(command("open", 1));
    assert!(matches!(world.refuse(open(Expected::None)), AppendError::Conflict { .. }));
    assert_eq!(world.repeat_of(command("open", 1), A), Ok(None));
    assert_eq!(world.repeat_of(command("open", 2), A), Ok(None));
    world.append(open(Expected::Exists));
    world.repeat(open(Expected::None));
}

pub(crate) fn a_key_sent_with_repeated_events_is_not_recorded(world: &World<'_>) {
    let first = world.append(batch(&[(A, 1), (A, 2)]));
    let answered = world.repeat(batch(&[(A, 1), (A, 2)]).with_command(command("late", 1)));
    assert_eq!(answered, Appended { repeated: true, ..first });
    assert_eq!(world.repeat_of(command("late", 1), A), Ok(None));
    world.append(batch(&[(A, 3)]).with_command(command("late", 2)));
    assert_eq!(world.refuse(batch(&[(A, 1)]).with_command(command("late", 1))), AppendError::KeyReused);
}

pub(crate) fn a_second_key_for_recorded_events_is_not_recorded(world: &World<'_>) {
    let first = world.append(batch(&[(A, 1)]).with_command(command("first", 1)));
    world.repeat(batch(&[(A, 1)]).with_command(command("second", 1)));
    assert_eq!(world.repeat_of(command("second", 1), A), Ok(None));
    assert_eq!(world.repeat_of(command("first", 1), A), Ok(Some(Appended { repeated: true, ..first })));
}

pub(crate) fn every_byte_of_a_command_key_and_of_its_request_is_significant(world: &World<'_>) {
    let mut long = vec![0_u8; 256];
    let mut keys = vec![vec![0], vec![0, 0], b"a".to_vec(), b"A".to_vec(), vec![0xff, 0xfe], long.clone()];
    long[255] = 1;
    keys.push(long);
    let command = |key: &Vec<u8>| CommandKey { key: key.clone().into(), request: [3; 32] };
    for (number, key) in (0..).zip(&keys) {
        assert_eq!(world.repeat_of(command(key), A), Ok(None), "{key:?}");
        world.append(batch(&[(A, number)]).with_command(command(key)));
    }
    for (number, key) in keys.iter().enumerate() {
        let found = world.repeat_of(command(key), A).expect("the same request").expect("a known key");
        assert_eq!(found.places[0].version.get(), number as u64);
        for at in [0, 31] {
            let mut other = command(key);
            other.request[at] ^= 1;
            assert_eq!(world.repeat_of(other, A), Err(AppendError::KeyReused));
        }
    }
}
