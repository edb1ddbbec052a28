//! `#[decision]` over a list of states that have no stream of their own.

use gesta::{At, Event, NewFact, Refusal, State, decision};

#[derive(Debug, Event)]
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

#[derive(Debug, Refusal)]
enum Refused {
    /// The student has ten courses.
    TooMany,
}

#[decision]
fn subscribe(held: &[At<Held>], student: String) -> Result<Vec<NewFact>, Refused> {
    let _ = (held, student);
    Err(Refused::TooMany)
}

fn main() {}
