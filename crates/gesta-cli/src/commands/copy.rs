//! `gesta copy`: moves a store to another place, with everything that it has recorded.

use crate::copy::{Choices, Compare, open_source, open_target, run};
use crate::failure::{Failure, Outcome};
use crate::store::StoreUrl;
use crate::target::is_within;
use crate::unread::Unread;

#[derive(clap::Args)]
pub(crate) struct CopyStore {
    /// The store to copy: a folder that no server has open, `postgres://USER@HOST/DATABASE?schema=NAME`, or
    /// `nats://HOST,HOST,HOST/NAME?copy=FOLDER`.
    #[arg(long, value_name = "URL")]
    from: Unread<StoreUrl>,
    /// Where the copy goes: an empty or new folder, schema or name on a cluster, or a copy of the same store, which gets what it lacks.
    #[arg(long, value_name = "URL")]
    to: Unread<StoreUrl>,
    /// The batches to compare. `new` leaves out those that a finished copy had already.
    #[arg(long, value_enum, default_value_t)]
    verify: Compare,
    /// Take the progress of groups, timers and publishers from the source although a finished copy has other progress.
    #[arg(long)]
    replace_values: bool,
}

fn onto_itself() -> Failure {
    Failure::usage("a store cannot be copied onto itself").help("give another place with `--to`")
}

impl CopyStore {
    pub(crate) fn run(self) -> Outcome {
        let (from, to) = (self.from.read("--from")?, self.to.read("--to")?);
        if from == to {
            return Err(onto_itself());
        }
        if let (StoreUrl::File(from), StoreUrl::File(to)) = (&from, &to)
            && is_within(to, from)
        {
            // Another name for the same folder.
            if is_within(from, to) {
                return Err(onto_itself());
            }
            return Err(Failure::usage(format!("`{}` lies in the store that is copied", to.display()))
                .help("give another place with `--to`"));
        }
        if let (StoreUrl::JetStream(from), StoreUrl::JetStream(to)) = (&from, &to)
            && let Some(copy) = from.copy()
            && to.copy() == Some(copy)
        {
            let both = format!("both addresses name the folder `{}` for a copy", copy.display());
            return Err(Failure::usage(both).help("give each store a folder of its own with `copy=FOLDER`"));
        }
        let source = open_source(&from)?;
        let target = open_target(&to, &source)?;
        if source.is_at(&target) {
            return Err(onto_itself());
        }
        run(&source, &target, Choices { compare: self.verify, replaces_values: self.replace_values })
    }
}
