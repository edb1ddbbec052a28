//! `gesta demo`: the bank, served from a folder, for a newcomer to try.

use std::path::PathBuf;
use std::sync::Arc;

use gesta_log::Scrub;
use gesta_views::Definition;

use super::serve::{OnFailedWrite, Served, address, load_views, serve, start_logging};
use crate::failure::{Failure, Outcome};
use crate::output::say;

#[derive(clap::Args)]
pub(crate) struct Demo {
    /// The folder of the log, which is made if it is not there. What was tried before is still in it.
    #[arg(long, value_name = "FOLDER", default_value = "gesta-demo")]
    dir: PathBuf,
    /// The address to listen at. Port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2114")]
    listen: String,
    /// A folder of views' definitions of your own, `.sql` files, besides those of the bank, or in place of one by the same name. They
    /// are read at the start.
    #[arg(long, value_name = "FOLDER")]
    views: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(self) -> Outcome {
        start_logging();
        let listen = address(&self.listen, false)?;
        let own = self.views.as_deref().map(load_views).transpose()?.unwrap_or_default();
        let views = Some(with_those_of_the_bank(own)?);
        say(&introduction(&self.listen))?;
        let (app, scrub) = (Some(Arc::new(bank::app())), Scrub::default());
        let on_failed_write = OnFailedWrite::default();
        serve(Served { folder: self.dir, listen, views, app, scrub, on_failed_write })
    }
}

/// Adds the views of the bank, but for those that somebody has a view of their own in place of.
fn with_those_of_the_bank(mut views: Vec<Definition>) -> Outcome<Vec<Definition>> {
    for (name, text) in bank::VIEWS {
        let definition = Definition::parse(name, text)
            .map_err(|error| Failure::new("cannot read a view of the bank").because(&error))?;
        if views.iter().all(|own| own.name() != definition.name()) {
            views.push(definition);
        }
    }
    Ok(views)
}

fn introduction(listen: &str) -> String {
    format!(
        "A bank, hosted on an event store. In another terminal, try:

  curl --json '{{\"owner\":\"Anna\"}}' http://{listen}/commands/account/anna/open
  curl --json '{{\"amount\":100}}' http://{listen}/commands/account/anna/deposit
  curl http://{listen}/states/account/anna
  curl http://{listen}/streams/account-anna
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_of_ones_own_stands_in_place_of_one_of_the_bank() {
        let text = "-- dialect: sqlite\ncreate table b (n integer);\n-- on bank.account.opened\ninsert into b values (1);";
        let own = Definition::parse("balances", text).unwrap();
        let hash = own.hash();
        let views = with_those_of_the_bank(vec![own]).unwrap();
        let names = views.iter().map(Definition::name).collect::<Vec<_>>();
        assert_eq!(names, ["balances", "events_by_type"]);
        assert_eq!(views[0].hash(), hash);
    }
}
