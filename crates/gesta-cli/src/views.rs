//! Views of a host: read from a folder, checked against the application, opened beside the store.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use gesta_core::EventStore;
use gesta_views::{Definition, KnownEvent, LoadError, Options, PostgresUrl, Views};

use crate::failure::{Failure, Outcome};
use crate::host::Host;

/// The flag with the database of views in PostgreSQL.
#[derive(clap::Args, Default)]
pub(crate) struct ViewsDb {
    /// The PostgreSQL database for views with `-- dialect: postgres`, such as `postgres://RUNNER@HOST/DATABASE?prefix=shop&reader=LOGIN`.
    /// Passwords come from the file that `passfile=` or PGPASSFILE names.
    #[arg(long, value_name = "URL", env = "GESTA_VIEWS_DB", hide_env_values = true)]
    views_db: Option<String>,
}

impl ViewsDb {
    /// Reads the address here and not while flags are parsed: a message about a flag shows its value, which may have a password.
    pub(crate) fn url(&self) -> Outcome<Option<PostgresUrl>> {
        let parse = |text: &String| text.parse::<PostgresUrl>();
        self.views_db.as_ref().map(parse).transpose().map_err(|error| {
            Failure::usage("`--views-db` is not the address of a database for views").because(&error)
        })
    }
}

/// Reads the view definitions in a folder.
pub(crate) fn load_views(folder: &Path) -> Outcome<Vec<Definition>> {
    let loaded = Definition::load_folder(folder);
    let loaded = loaded.map_err(|error| {
        Failure::new(format!("cannot read the views in `{}`", folder.display())).because(&error)
    })?;
    if loaded.is_empty() {
        tracing::warn!(folder = %folder.display(), "the folder of the views holds no `.sql` file");
    }
    Ok(loaded)
}

/// Reads the definitions of a program and of a folder again, each with its error.
pub(crate) fn load_each(
    of_host: &[Definition],
    folder: &Path,
) -> Result<Vec<Result<Definition, LoadError>>, LoadError> {
    let mut loaded = Definition::load_each(folder)?;
    let is_given = |view: &Definition, loaded: &[Result<Definition, LoadError>]| {
        loaded.iter().flatten().any(|given| given.name() == view.name())
    };
    let missing = of_host.iter().filter(|view| !is_given(view, &loaded)).cloned().collect::<Vec<_>>();
    loaded.extend(missing.into_iter().map(Ok));
    Ok(loaded)
}

/// The events that a host knows, by name; none without an application.
pub(crate) fn known_events(host: &Host) -> Outcome<Vec<KnownEvent>> {
    let Some(app) = &host.app else { return Ok(Vec::new()) };
    let mut known = BTreeMap::<String, KnownEvent>::new();
    for event in app.event_types() {
        let fields = event.fields.map(|fields| fields.iter().map(|field| (*field).to_owned()).collect());
        let event = KnownEvent { name: event.name.to_owned(), version: event.version, fields };
        known.insert(event.name.clone(), event);
    }
    for schema in host.event_schemas()? {
        for name in schema.aliases.iter().chain([&schema.name]).map(|name| (*name).to_owned()) {
            let event = KnownEvent { name: name.clone(), version: schema.version, fields: None };
            let newest = known.entry(name).or_insert(event);
            newest.version = newest.version.max(schema.version);
        }
    }
    Ok(known.into_values().collect())
}

/// Opens views. Their tables are in the folder `views` of `state`, or in a PostgreSQL database.
pub(crate) fn open_views(
    store: &Arc<dyn EventStore>,
    state: &Path,
    definitions: Vec<Definition>,
    options: Options,
) -> Outcome<Arc<Views>> {
    let views = Views::open_with(Arc::clone(store), state.join("views"), definitions, &options);
    Ok(Arc::new(views.map_err(|error| {
        let folder = state.join("views");
        let failure = Failure::new(format!("cannot open the views in `{}`", folder.display())).because(&error);
        match takes_no_writes(&error) {
            true => failure.help(
                "views keep their tables there: make the folder writable, or serve the log without views. `gesta view --at` needs no tables",
            ),
            false => failure,
        }
    })?))
}

/// True if an error comes from a folder that this process may not write to.
fn takes_no_writes(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (**error).source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| {
            matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_takes_no_writes_is_told_from_other_errors() {
        for (kind, expected) in [
            (io::ErrorKind::ReadOnlyFilesystem, true),
            (io::ErrorKind::PermissionDenied, true),
            (io::ErrorKind::StorageFull, false),
        ] {
            assert_eq!(takes_no_writes(&io::Error::from(kind)), expected, "{kind}");
        }
    }
}
