//! `gesta demo`: serves the example bank for newcomers.

use std::path::PathBuf;
use std::sync::Arc;

use gesta_log::Scrub;
use gesta_views::Definition;

use super::serve::{OnFailedWrite, Served, address, load_views, serve, start_logging};
use crate::failure::{Failure, Outcome};

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
}

impl Demo {
    pub(crate) fn run(self) -> Outcome {
        start_logging();
        let listen = address(&self.listen, false)?;
        let views = self.views.as_deref().map(load_views).transpose()?.unwrap_or_default();
        let views = Some(with_bank_views(views)?);
        let (app, scrub) = (Some(Arc::new(bank::app())), Scrub::default());
        let on_failed_write = OnFailedWrite::default();
        serve(Served { folder: self.dir, listen, views, app, scrub, on_failed_write, introduction })
    }
}

/// Adds the views of the bank whose names are not taken.
fn with_bank_views(mut views: Vec<Definition>) -> Outcome<Vec<Definition>> {
    for (name, text) in bank::VIEWS {
        let definition = Definition::parse(name, text)
            .map_err(|error| Failure::new("cannot read a view of the bank").because(&error))?;
        if views.iter().all(|view| view.name() != definition.name()) {
            views.push(definition);
        }
    }
    Ok(views)
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
    use super::super::serve::unknown_names;
    use super::*;

    #[test]
    fn a_view_of_the_user_replaces_the_view_of_the_bank_with_its_name() {
        let text = "-- dialect: sqlite\ncreate table b (n integer);\n-- on bank.account.opened\ninsert into b values (1);";
        let view = Definition::parse("balances", text).unwrap();
        let hash = view.hash();
        let views = with_bank_views(vec![view]).unwrap();
        let names = views.iter().map(Definition::name).collect::<Vec<_>>();
        assert_eq!(names, ["balances", "events_by_type"]);
        assert_eq!(views[0].hash(), hash);
    }

    #[test]
    fn a_host_warns_of_types_and_fields_that_its_application_does_not_have() {
        let app = bank::app();
        assert_eq!(unknown_names(&app, &with_bank_views(Vec::new()).unwrap()), []);
        let text = "-- dialect: sqlite\ncreate table b (n integer);
            -- on bank.account.depositd\ninsert into b values (1);
            -- on bank.account.deposited\ninsert into b values (:amuont);";
        let warnings = unknown_names(&app, &[Definition::parse("b", text).unwrap()]);
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
