//! `gesta demo`: serves the example bank for newcomers.

use std::path::PathBuf;

use gesta_views::Definition;

use super::open_category::OpenCategories;
use super::serve::{Served, address, default_snapshots, serve, start_logging};
use crate::failure::{Failure, Outcome};
use crate::host::Host;
use crate::store::{OpenOptions, StoreUrl};
use crate::views::ViewsDb;

#[derive(clap::Args)]
pub(crate) struct Demo {
    /// The folder of the log. Made if it does not exist; otherwise the demo continues with its events.
    #[arg(long, value_name = "FOLDER", default_value = "gesta-demo")]
    dir: PathBuf,
    /// The address to listen on. Port 0 takes any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2114")]
    listen: String,
    /// A folder with your own view definitions, `.sql` files. A view with the name of one of the bank's views replaces it. The files
    /// are read at the start.
    #[arg(long, value_name = "FOLDER")]
    views: Option<PathBuf>,
    #[command(flatten)]
    views_db: ViewsDb,
    #[command(flatten)]
    open_categories: OpenCategories,
}

impl Demo {
    pub(crate) fn run(self) -> Outcome {
        start_logging();
        let listen = address(&self.listen, false)?;
        let host = bank()?;
        let views = host.views_with(self.views.as_deref())?;
        let views_db = self.views_db.url()?;
        let open_categories = self.open_categories.of(&host)?;
        let snapshots = default_snapshots(host.app.as_deref());
        let (store, options) =
            (StoreUrl::File(self.dir), OpenOptions { snapshots, ..OpenOptions::default() });
        serve(Served {
            store,
            options,
            listen,
            host,
            views,
            views_folder: None,
            views_db,
            publishers: Vec::new(),
            open_categories,
            raw: true,
            introduction,
        })
    }
}

/// The bank with its views.
fn bank() -> Outcome<Host> {
    let parse = |(name, text): &(&str, &str)| Definition::parse(name, text);
    let views = bank::VIEWS.iter().map(parse).collect::<Result<_, _>>();
    let views = views.map_err(|error| Failure::new("cannot read a view of the bank").because(&error))?;
    Ok(Host::new(bank::app()).views(views))
}

fn introduction(url: &str) -> String {
    format!(
        "This is a bank on an event store. In another terminal, try:

  curl --json '{{\"owner\":\"Anna\"}}' {url}/commands/account/anna/open
  curl --json '{{\"amount\":100}}' {url}/commands/account/anna/deposit
  curl {url}/states/account/anna
  curl {url}/streams/account-anna

"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::known_events;

    #[test]
    fn a_host_warns_of_types_and_fields_that_its_application_does_not_have() {
        let host = super::bank().unwrap();
        let known = known_events(&host).unwrap();
        assert!(host.views.iter().all(|view| view.warnings(&known).is_empty()));
        assert_eq!(known_events(&Host::default()).unwrap(), []);
        let text = "-- dialect: sqlite\ncreate table b (n integer);
            -- on bank.account.depositd\ninsert into b values (1);
            -- on bank.account.deposited\ninsert into b values (:amuont);";
        let warnings = Definition::parse("b", text).unwrap().warnings(&known);
        let warnings = warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            warnings,
            [
                "b.sql:3: the application has no event type `bank.account.depositd`: did you mean `bank.account.deposited`?",
                "b.sql:6: no event of this handler has a field `amuont`: did you mean `amount`?",
            ]
        );
    }
}
