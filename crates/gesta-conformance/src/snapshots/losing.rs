//! Laws of loss: everything may vanish, and the store goes on.

use super::{World, key, snapshot};

pub(crate) fn when_everything_vanishes_nothing_is_found_and_puts_go_on(world: &mut World<'_>) {
    for round in 0..3 {
        for stream in ["a-1", "a-2"] {
            assert_eq!(world.newest(&key(stream), None), None);
            assert_eq!(world.list(&key(stream)), []);
        }
        assert_eq!(world.streams(None, 10), []);
        for stream in ["a-1", "a-2"] {
            world.put(&key(stream), snapshot(round, "state"));
            assert_eq!(world.newest(&key(stream), None), Some(snapshot(round, "state")));
        }
        world.lose_all();
    }
    world.remove(&key("a-1"), &[0]);
    assert_eq!(world.newest(&key("a-1"), None), None);
}
