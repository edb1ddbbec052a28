//! `gesta inventory`: prints how many events of each type and schema version a log has, and where.

use gesta_core::Checkpoint;
use gesta_views::Definition;

use super::view::Query;
use crate::failure::Outcome;
use crate::target::Target;

#[derive(clap::Args)]
pub(crate) struct PrintInventory {
    /// Print one JSON object with `columns`, `rows` and `checkpoint` instead of comma-separated values.
    #[arg(long)]
    json: bool,
    /// Wait until the inventory has reached this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    wait_for: Option<Checkpoint>,
    #[command(flatten)]
    target: Target,
}

impl PrintInventory {
    pub(crate) fn run(self) -> Outcome {
        let query = Query::inventory(self.json, self.wait_for, self.target);
        query.run_with(vec![Definition::inventory()])
    }
}
