//! A state over a tag in the place of an entity, as in `fn subscribe(held: &At<Held>)` without `#[tag(…)]`.

use gesta::{At, Decider, Event, State};

#[derive(Event)]
#[event(prefix = "course")]
enum CourseEvent {
    Held { student: String },
}

#[derive(Default)]
struct Held;

impl State for Held {
    type Event = CourseEvent;

    fn evolve(&mut self, _: CourseEvent) {}
}

fn entity<D: Decider>(_: &At<D>) {}

fn main() {
    entity(&At::<Held>::tagged("student", "ann"));
}
