//! Copies a store with its places, times, command keys and values.
//!
//! *Invariant:* a target is a store only once it has been compared with its source. Until then it is marked as unfinished, and
//! how far it got is what it holds: a copy that was stopped goes on after its last batch.

mod ends;
mod range;
mod values;
mod verify;

use std::sync::atomic::Ordering;

use futures_util::future::join;
use gesta_core::{Checkpoint, CopyError, CopyTarget, Limit, Place, Query, Read, ReadError};
use pollster::block_on;

use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::progress::Progress;
use ends::{Source, Target};
use range::{Range, words};
use values::Values;
use verify::verify;

pub(crate) use ends::{open_source, open_target};

/// The batches that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Compare {
    /// Every batch of both stores.
    #[default]
    All,
    /// Those that a finished copy lacked. An unfinished copy is compared as a whole.
    New,
}

/// What a user chooses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices {
    pub(crate) compare: Compare,
    /// The values of a finished copy may be replaced by others.
    pub(crate) replaces_values: bool,
}

/// Copies what the target lacks, compares, copies the values, and finishes the target.
pub(crate) fn run(source: &Source, target: &Target, choices: Choices) -> Outcome {
    // The values first: all their places are within the events then.
    let values = values::all(&*source.values)?;
    let until = block_on(source.store.head_now())?;
    let begun = check_is_prefix(source, &*target.copy)?;
    let was_finished = !target.copy.is_unfinished();
    let has_values = values::all(&*target.values)? == values;
    if was_finished {
        check_before_change(source, target, choices, has_values, &Range { after: &begun, until: &until })?;
    }
    let is_complete = was_finished && begun == until && has_values;
    if !is_complete {
        block_on(target.copy.reopen()).map_err(|error| stopped(&error))?;
    }
    let start = Checkpoint::new(begun.store(), begun.sequences().map(|_| 0));
    if begun != start {
        say(&format!("the copy goes on after {}", words(&begun)))?;
    }
    let copied = copy(source, &*target.copy, &Range { after: &begun, until: &until })?;
    say(&format!(
        "copied {} in {}, up to {}: {} events/s",
        count(copied.events, "event"),
        batches(copied.batches),
        words(&until),
        copied.rate
    ))?;
    // What a finished copy had was compared when it was finished, and again above unless the user chose otherwise.
    let after = if was_finished { &begun } else { &start };
    verify(source, &*target.copy, &Range { after, until: &until })?;
    let written = values::replace(&*target.values, &values)?;
    say(&format!(
        "{} for groups, timers, publishers and pauses, {written} of them written now",
        count(values.len(), "value")
    ))?;
    if let Some(loss) = source.loss() {
        return Err(loss
            .under("the source has lost events, so the copy stays unfinished")
            .help("repair the source, then run the same command again"));
    }
    check_nothing_else_writes(target, &until)?;
    if !is_complete {
        block_on(target.copy.finish()).map_err(|error| stopped(&error))?;
    }
    say(&format!("{} is a copy of {}", target.described, source.described))?;
    say_what_has_changed(source, &values, &until)
}

/// Checks all that can be checked before a finished copy is marked as unfinished: a bad source must not cost a good copy.
fn check_before_change(
    source: &Source,
    target: &Target,
    choices: Choices,
    has_values: bool,
    new: &Range<'_>,
) -> Outcome {
    if let Some(loss) = source.loss() {
        return Err(loss.under("the source has lost events, so the copy stays as it is"));
    }
    if choices.compare == Compare::All {
        let start = Checkpoint::new(new.after.store(), new.after.sequences().map(|_| 0));
        verify(source, &*target.copy, &Range { after: &start, until: new.after })?;
    }
    let mut reader = source.batches(new);
    while !block_on(reader.next()).map_err(|error| source.unreadable(error))?.is_empty() {}
    if !choices.replaces_values && !has_values {
        return Err(Failure::new("the groups, timers or publishers of the copy are not where those of the source are")
            .cause("either the source went on since it was copied, or something has run on the copy")
            .help("if only the source went on, say `--replace-values`: the copy takes their progress from the source"));
    }
    Ok(())
}

/// Checks that the target ends where the source ended.
fn check_nothing_else_writes(target: &Target, until: &Checkpoint) -> Outcome {
    let head = block_on(target.copy.head())?;
    if head == *until {
        return Ok(());
    }
    Err(Failure::new(format!("the copy ends at {}, and what was copied at {}", words(&head), words(until)))
        .cause("something else writes to the target")
        .help("stop it, empty the target, and begin anew"))
}

/// Tells what the copy does not have because the source was in use.
fn say_what_has_changed(source: &Source, values: &Values, until: &Checkpoint) -> Outcome {
    let now = block_on(source.store.head_now())?;
    if now != *until {
        say(&format!(
            "the source has grown to {} meanwhile: stop what appends to it, and run the same command again to copy the rest",
            words(&now)
        ))?;
    }
    if values::all(&*source.values)? != *values {
        say(
            "groups, timers or publishers of the source have gone on meanwhile: stop them, and run the same command again with `--replace-values`",
        )?;
    }
    Ok(())
}

/// A number of batches.
fn batches(number: u64) -> String {
    if number == 1 { "1 batch".to_owned() } else { format!("{number} batches") }
}

/// What a run has copied.
struct Copied {
    events: u64,
    batches: u64,
    rate: u64,
}

/// Copies the batches of a range. Reads the next ones while the ones before are written.
fn copy(source: &Source, target: &dyn CopyTarget, range: &Range<'_>) -> Outcome<Copied> {
    let mut progress = Progress::new(Some(range.events()));
    let done = progress.counter();
    let (mut events, mut batches) = (0, 0);
    block_on(async {
        let mut reader = source.batches(range);
        let mut next = reader.next().await;
        loop {
            let step = next.map_err(|error| source.unreadable(error))?;
            if step.is_empty() {
                return Ok(());
            }
            batches += step.len() as u64;
            let added = step.iter().map(|batch| batch.events().len() as u64).sum::<u64>();
            let (written, read) = join(target.append(step), reader.next()).await;
            written.map_err(|error| stopped(&error))?;
            events += added;
            done.store(events, Ordering::Relaxed);
            progress.add(added);
            next = read;
        }
    })
    .inspect_err(|_: &Failure| progress.finish())?;
    progress.finish();
    Ok(Copied { events, batches, rate: progress.rate() })
}

/// Checks that what the target holds is the beginning of the source, by its last event in each partition. Returns its end.
fn check_is_prefix(source: &Source, target: &dyn CopyTarget) -> Outcome<Checkpoint> {
    let head = block_on(target.head())?;
    let one = Limit::events(std::num::NonZeroU32::MIN);
    let read = Read::log_from(Query::All, Place::At(head.clone())).limit(one);
    let other = |reason: &str| {
        Err(Failure::new("the target is not a copy of the source")
            .cause(reason)
            .help("copy into a folder or schema that is empty or does not exist"))
    };
    match block_on(source.store.read(read)) {
        Ok(_) => Ok(head),
        Err(ReadError::CheckpointAhead { .. }) => other("it has events that the source does not have"),
        Err(ReadError::Diverged { .. }) => {
            other(&format!("its last event, at {}, is another one in the source", words(&head)))
        }
        Err(error) => Err(source.unreadable(error)),
    }
}

/// The failure of a target that takes no more.
fn stopped(error: &CopyError) -> Failure {
    let failure = Failure::new("the copy has stopped").because(error);
    match error {
        CopyError::Append { source: gesta_core::AppendError::TooLarge { .. }, .. } => {
            failure.help("the target takes smaller batches than the source: choose another kind of store")
        }
        CopyError::Moved { .. } => failure.help("stop what writes to the target, empty it, and begin anew"),
        _ => failure.help("run the same command again: it goes on"),
    }
}
