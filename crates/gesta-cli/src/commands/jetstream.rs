//! `gesta jetstream`: what only a store on NATS JetStream needs.

use gesta_core::RecordedEvent;
use gesta_jetstream::{CopyState, Mend, Options, Repaired, repair};

use crate::cluster;
use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::store::StoreUrl;
use crate::unread::Unread;

#[derive(clap::Args)]
pub(crate) struct ManageJetStream {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// After the cluster has lost messages: show the events that only the copy of this process has, and publish them again if asked.
    Repair(RepairStore),
}

impl ManageJetStream {
    pub(crate) fn run(self) -> Outcome {
        match self.action {
            Action::Repair(command) => command.run(),
        }
    }
}

#[derive(clap::Args)]
struct RepairStore {
    /// The store, with the folder of a copy that no server has open: `nats://HOST,HOST,HOST/NAME?copy=FOLDER`.
    #[arg(long, value_name = "URL")]
    store: Unread<StoreUrl>,
    /// Publish the events that only the copy has, if nobody has written since the loss. Otherwise move the copy aside.
    #[arg(long)]
    apply: bool,
}

impl RepairStore {
    fn run(self) -> Outcome {
        let StoreUrl::JetStream(url) = self.store.read("--store")? else {
            return Err(Failure::usage("only a store on NATS JetStream has a copy to repair it from")
                .help("`gesta repair` repairs a log in a folder"));
        };
        let copy = cluster::copy_of(&url)?;
        let mend = if self.apply { Mend::All } else { Mend::Nothing };
        let mut listed = Ok(());
        let mut list = |event: &RecordedEvent| {
            if listed.is_ok() {
                listed = say(&line(event));
            }
        };
        let repaired = repair(&url, copy, &Options::default(), (mend, &mut list));
        listed?;
        let repaired = repaired.map_err(|error| cluster::cannot_repair(&url, copy, &error))?;
        for (partition, repaired) in repaired.iter().enumerate() {
            tell(partition, repaired, self.apply)?;
        }
        // A copy that went aside has events that the store lacks. What was published again is no loss.
        let is_lost = |repaired: &Repaired| match repaired.found.state {
            CopyState::Whole => false,
            CopyState::Ahead => !self.apply,
            CopyState::Diverged { .. } => true,
        };
        match (repaired.iter().any(is_lost), self.apply) {
            (false, _) => Ok(()),
            (true, true) => Err(Failure::new("the store lacks events that it had acknowledged")
                .help("the folders that were moved aside are logs: `gesta export` reads their events")),
            (true, false) => {
                Err(Failure::new("the store lacks events of this copy, and nothing was changed")
                    .help("to repair it, add `--apply`"))
            }
        }
    }
}

/// An event that only the copy has.
fn line(event: &RecordedEvent) -> String {
    format!(
        "only here: position {} `{}` version {} `{}` {}",
        event.position(),
        event.stream(),
        event.version(),
        event.event_type(),
        event.id()
    )
}

fn tell(partition: usize, repaired: &Repaired, is_applied: bool) -> Outcome {
    let (found, partition) = (&repaired.found, format!("partition {partition}"));
    let events = |after: u64| count(found.copy - after, "event");
    let said = match (&found.state, &repaired.aside) {
        (CopyState::Whole, _) => {
            format!("{partition}: the cluster has all events of the copy, up to position {}", found.copy)
        }
        (CopyState::Ahead, _) if is_applied => format!(
            "{partition}: {} after position {} were published again, at their places",
            events(found.stream),
            found.stream
        ),
        (CopyState::Ahead, _) => format!(
            "{partition}: the cluster has lost {} after position {}, and nobody has written since",
            events(found.stream),
            found.stream
        ),
        (CopyState::Diverged { from }, None) => format!(
            "{partition}: the cluster has other events from position {from} on, and lacks {} of the copy",
            events(from - 1)
        ),
        (CopyState::Diverged { from }, Some(aside)) => format!(
            "{partition}: {} from position {from} on are in `{}` only; the next start reads a new copy",
            events(from - 1),
            aside.display()
        ),
    };
    say(&said)?;
    Ok(())
}
