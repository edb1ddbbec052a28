//! What a program brings to the command line: its application, views, groups and processes.

use std::future::Future;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use gesta::process::HostedProcess;
use gesta::schema::{Catalog, EventSchema};
use gesta::{
    App, Event, Failure, GroupContext, GroupName, GroupSettings, HostedGroup, Perform, Process, Recorded,
    RowView,
};
use gesta_core::Category;
use gesta_views::{Definition, Dialect};

use crate::failure::{self, Outcome};
use crate::views::load_views;

/// What a program hosts. `serve` serves it, and other commands use it.
///
/// # Example
/// ```no_run
/// # fn app() -> gesta::App { gesta::App::new("bank") }
/// use gesta_views::Definition;
///
/// fn main() -> std::process::ExitCode {
///     let views = Definition::load_folder("views".as_ref()).expect("the views are well formed");
///     gesta_cli::main_with(gesta_cli::Host::new(app()).views(views))
/// }
/// ```
#[derive(Default, Clone)]
#[non_exhaustive]
pub struct Host {
    pub(crate) app: Option<Arc<App>>,
    pub(crate) views: Vec<Definition>,
    pub(crate) groups: Vec<HostedGroup>,
    pub(crate) processes: Vec<Arc<HostedProcess>>,
    pub(crate) open_categories: Vec<Category>,
    /// `None`: one for each core.
    pub(crate) group_threads: Option<NonZeroUsize>,
}

impl From<App> for Host {
    fn from(app: App) -> Self {
        Self::new(app)
    }
}

impl Host {
    /// Hosts an application: its commands, states and histories.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self { app: Some(Arc::new(app)), ..Self::default() }
    }

    /// Adds views. A view in the folder that `--views` names replaces one of the same name.
    #[must_use]
    pub fn views(mut self, views: Vec<Definition>) -> Self {
        self.views.extend(views);
        self
    }

    /// Adds a view in Rust, with its tables in SQLite, or in the PostgreSQL database that `--views-db` names.
    ///
    /// # Panics
    /// As [`gesta::row_view`], and if the host has another view of that name.
    #[must_use]
    pub fn row_view<V: RowView>(self, view: V, dialect: Dialect) -> Self {
        let taken = self.views.iter().any(|other| other.name() == V::NAME);
        assert!(!taken, "two views of the host are named `{}`: rename one of them", V::NAME);
        self.views(vec![gesta::row_view(view, dialect)])
    }

    /// Adds the built-in view `gesta-inventory`: how many events of each type and schema version the log has. It costs one row each, and an
    /// update for each event. The command `inventory` prints it.
    #[must_use]
    pub fn inventory(self) -> Self {
        self.views(vec![Definition::inventory()])
    }

    /// Adds a consumer group: `handle` is called with each of its events while the program serves.
    ///
    /// The events of one stream come in order, those of different streams side by side, on [`Self::group_threads`]; a handler may
    /// block, and may use tokio. Each event comes at least once: give [`GroupContext::key`] to a target that drops repeats. A failure is
    /// tried again, released or parked by its [`Failure`]. An event of a type that `E` does not have is released.
    ///
    /// # Panics
    /// If the name is not that of a group, or another group or process has it.
    #[must_use]
    pub fn group<E, R>(
        mut self,
        name: &str,
        settings: GroupSettings,
        handle: impl Fn(Recorded<E>, GroupContext) -> R + Send + Sync + 'static,
    ) -> Self
    where
        E: Event,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let group = HostedGroup::new(name, settings, handle);
        let group = group.unwrap_or_else(|error| panic!("`{name}` cannot be a group: {error}"));
        self.check_group(group.name());
        self.groups.push(group);
        self
    }

    /// Adds a process with what performs its effects. It runs, with its timers, while the program serves.
    ///
    /// # Panics
    /// If its name cannot be used, or another part of the host has it.
    #[must_use]
    pub fn process<P: Process>(mut self, perform: impl Perform<P>) -> Self {
        let process = HostedProcess::new::<P>(perform).unwrap_or_else(|error| panic!("{error}"));
        self.check_group(process.group());
        self.processes.push(Arc::new(process));
        self.check_categories();
        self
    }

    /// Sets the threads of each group and each process: the deliveries that it handles at the same time, each of another stream.
    /// At most 1,024 count.
    ///
    /// The default is one for each core of the machine. More help where handlers wait, such as for another service.
    #[must_use]
    pub const fn group_threads(mut self, threads: NonZeroUsize) -> Self {
        self.group_threads = Some(threads);
        self
    }

    /// Accepts raw appends to a category of the application, as the flag `--open-category` does. They ask no decider.
    ///
    /// # Panics
    /// If the name is not that of a category.
    #[must_use]
    pub fn open_category(mut self, category: &str) -> Self {
        let category =
            category.parse().unwrap_or_else(|error| panic!("`{category}` is no category: {error}"));
        self.open_categories.push(category);
        self
    }

    pub(crate) fn threads_of_a_group(&self) -> NonZeroUsize {
        // Where the system does not tell its cores, one thread is always right.
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.group_threads.unwrap_or_else(cores)
    }

    fn check_group(&self, name: &GroupName) {
        assert!(!self.has_group(name), "two groups of the host are named `{name}`: rename one of them");
    }

    /// True if a group or a process of the host has that group.
    pub(crate) fn has_group(&self, name: &GroupName) -> bool {
        let groups = self.groups.iter().map(HostedGroup::name);
        groups.chain(self.processes.iter().map(|process| process.group())).any(|taken| taken == name)
    }

    /// The category of each process is that of no decider.
    fn check_categories(&self) {
        for process in &self.processes {
            let deciders = self.app.iter().flat_map(|app| app.deciders()).map(|decider| decider.category);
            process.check_category(deciders).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// The categories that take no raw appends: those of deciders and processes.
    pub(crate) fn hosted_categories(&self) -> Vec<&'static str> {
        let deciders = self.app.iter().flat_map(|app| app.deciders()).map(|decider| decider.category);
        deciders.chain(self.processes.iter().map(|process| process.name())).collect()
    }

    /// Every schema version of the event types that the host owns; none if no enum has schemas.
    pub(crate) fn event_schemas(&self) -> Outcome<Vec<EventSchema>> {
        Ok(self.event_enums()?.schemas())
    }

    fn event_enums(&self) -> Outcome<Catalog> {
        let of_app = self.app.iter().flat_map(|app| app.event_enums());
        let of_processes = self.processes.iter().flat_map(|process| process.event_enums());
        let catalog = Catalog::new(of_app.chain(of_processes).cloned());
        catalog.map_err(|error| {
            failure::Failure::new("an event type of this program has two owners").because(&error)
        })
    }

    /// The event enums of the host that own their types.
    pub(crate) fn catalog(&self) -> Outcome<Catalog> {
        let catalog = self.event_enums()?;
        if catalog.is_empty() {
            return Err(failure::Failure::new("no event enum of this program has a schema").help(
                "write `#[event(prefix = \"…\", schema)]` on the enums that own their types, with the feature `schema` of `gesta`",
            ));
        }
        Ok(catalog)
    }

    /// The views of the host and those in a folder; `None` if there are neither.
    pub(crate) fn views_with(&self, folder: Option<&Path>) -> Outcome<Option<Vec<Definition>>> {
        let given = folder.map(load_views).transpose()?;
        if given.is_none() && self.views.is_empty() {
            return Ok(None);
        }
        let mut views = given.unwrap_or_default();
        for view in &self.views {
            if views.iter().all(|given| given.name() != view.name()) {
                views.push(view.clone());
            }
        }
        Ok(Some(views))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, event: &str) -> Definition {
        let text = format!(
            "-- dialect: sqlite\ncreate table t (n integer);\n-- on {event}\ninsert into t values (1);"
        );
        Definition::parse(name, &text).unwrap()
    }

    #[test]
    fn a_view_of_the_folder_replaces_one_of_the_host_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let text = "-- dialect: sqlite\ncreate table t (n integer);\n-- on other\ninsert into t values (2);";
        std::fs::write(folder.path().join("b.sql"), text).unwrap();
        let host = Host::default().views(vec![view("a", "x"), view("b", "x")]);
        let views = host.views_with(Some(folder.path())).unwrap().unwrap();
        let names = views.iter().map(Definition::name).collect::<Vec<_>>();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(views[0].hash(), Definition::parse("b", text).unwrap().hash());
        assert_eq!(host.views_with(None).unwrap().unwrap().len(), 2);
        assert!(Host::default().views_with(None).unwrap().is_none());
    }
}
