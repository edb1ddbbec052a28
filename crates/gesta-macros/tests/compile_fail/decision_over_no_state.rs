//! `#[decision]` over tags of something that is no state.

use gesta::{At, NewFact, Refusal, decision};

struct Held;

#[derive(Debug, Refusal)]
enum Refused {
    /// The student has ten courses.
    TooMany,
}

#[decision]
fn subscribe(#[tag(student)] held: &At<Held>, student: String) -> Result<Vec<NewFact>, Refused> {
    let _ = (held, student);
    Err(Refused::TooMany)
}

fn main() {}
