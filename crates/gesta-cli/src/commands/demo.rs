//! `gesta demo`: the bank, served from a folder, for a newcomer to try.

use std::path::PathBuf;
use std::sync::Arc;

use gesta_views::Definition;

use super::serve::{Served, address, load_views, serve};
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
    /// A folder of views' definitions of your own, besides those of the bank.
    #[arg(long, value_name = "FOLDER")]
    views: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(self) -> Outcome {
        let listen = address(&self.listen, false)?;
        let mut views = self.views.as_deref().map(load_views).transpose()?.unwrap_or_default();
        for (name, text) in bank::VIEWS {
            let definition = Definition::parse(name, text);
            views.push(
                definition.map_err(|error| Failure::new("cannot read a view of the bank").because(&error))?,
            );
        }
        say(&introduction(&self.listen))?;
        serve(Served { folder: self.dir, listen, views: Some(views), app: Some(Arc::new(bank::app())) })
    }
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
