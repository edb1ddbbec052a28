//! Sends a mail when a course is full. This is the whole program; the host does the rest.

use std::process::ExitCode;

use gesta::{Event, Failure, GroupContext, GroupSettings, Recorded};
use gesta_cli::{Host, main_with};

/// The events that this program reads. Others write them.
#[derive(Debug, Event)]
#[event(prefix = "course")]
enum CourseEvent {
    Filled { teacher: String },
}

/// Puts a mail into the outbox. A mail that is written twice has the same name.
async fn tell_teacher(event: Recorded<CourseEvent>, context: GroupContext) -> Result<(), Failure> {
    let CourseEvent::Filled { teacher } = &event.event;
    if !teacher.contains('@') {
        return Err(Failure::Final(format!("`{teacher}` is no mail address").into()));
    }
    let mail = format!("To: {teacher}\nSubject: {} is full\n", event.stream());
    std::fs::write(format!("outbox/{}.eml", context.key()), mail)?;
    Ok(())
}

fn main() -> ExitCode {
    let full_courses = GroupSettings::new(gesta::query::<CourseEvent>());
    main_with(Host::default().group("tell-teacher", full_courses, tell_teacher))
}
