//! `gesta snapshot`: what snapshots save, which there are, and their removal.

mod report;

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use gesta_core::{
    EventStore, Fingerprint, SnapshotError, SnapshotStore, SnapshotStream, StoreId, Version, When,
};
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::host::Host;
use crate::output::stdout;
use crate::store::{Access, Snapshots, StoreUrl};
use crate::target::{IfMissing, Opened, Target};
use crate::unread::Unread;
use report::{Report, Row};

/// Keys of snapshots in one page.
const PAGE_KEYS: NonZeroU32 = NonZeroU32::new(1_000).expect("it is not zero");

#[derive(clap::Args)]
pub(crate) struct ManageSnapshots {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Show what snapshots save, by category and kind of state: events that a load folds with and without them.
    Report(Selection),
    /// List the streams that have snapshots, with their versions.
    List(Selection),
    /// Remove snapshots. States are folded from their events until new ones are taken.
    Clear(Selection),
}

#[derive(clap::Args)]
struct Selection {
    /// Use the snapshots there: a file, or `redis://HOST:PORT`. The default is `snapshots.db` in the folder of `--dir`, or beside the
    /// events of `--store`.
    #[arg(long, value_name = "WHERE", env = "GESTA_SNAPSHOTS", hide_env_values = true)]
    snapshots: Option<Unread<Snapshots>>,
    /// The store of the events, in place of `--dir` and `--url`: `postgres://USER@HOST/DATABASE`, `nats://HOST,HOST,HOST/NAME?copy=FOLDER`, a
    /// folder, or `http://HOST:PORT`.
    #[arg(long, value_name = "URL", conflicts_with_all = ["dir", "url"])]
    store: Option<Unread<StoreUrl>>,
    /// Only streams of this category, such as `account`.
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// Only this kind of state, by the first digits of its fingerprint.
    #[arg(long, value_name = "DIGITS")]
    kind: Option<String>,
    /// Print JSON, one object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl ManageSnapshots {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        match self.what {
            What::Report(selection) => selection.report(host),
            What::List(selection) => selection.list(),
            What::Clear(selection) => selection.clear(),
        }
    }
}

/// An event store and its snapshots.
struct Both {
    events: Opened,
    store: StoreId,
    snapshots: Arc<dyn SnapshotStore>,
}

impl Selection {
    fn open(&self, access: Access) -> Outcome<Both> {
        let (events, snapshots) = self.open_both(access)?;
        let store = pollster::block_on(events.store().locate(When::Start))?.store();
        Ok(Both { events, store, snapshots })
    }

    fn open_both(&self, access: Access) -> Outcome<(Opened, Arc<dyn SnapshotStore>)> {
        let given = self.snapshots.as_ref().map(|given| given.read("--snapshots")).transpose()?;
        let snapshots = given.unwrap_or(Snapshots::Beside);
        // First the events: a folder that is missing is named as such.
        let (events, folder) = match &self.store {
            None => {
                let place = self.target.place()?;
                let events = place.open(IfMissing::Refuse)?;
                (events, place.folder())
            }
            Some(store) => match store.read("--store")? {
                StoreUrl::Postgres(url) => {
                    let (events, beside) = Opened::with_snapshots(&url)?;
                    return Ok((events, beside_or(&snapshots, Arc::new(beside), access)?));
                }
                StoreUrl::JetStream(url) => {
                    let (events, beside) = Opened::of_cluster_with_snapshots(&url)?;
                    return Ok((events, beside_or(&snapshots, Arc::new(beside), access)?));
                }
                StoreUrl::File(folder) => (Opened::of_url(&StoreUrl::File(folder.clone()))?, Some(folder)),
                other => (Opened::of_url(&other)?, None),
            },
        };
        Ok((events, existing(&snapshots, folder.as_deref(), access)?))
    }

    fn includes(&self, stream: &SnapshotStream) -> bool {
        let category = self.category.as_deref();
        category.is_none_or(|category| stream.key.stream.category().as_str() == category)
            && self.kind.as_deref().is_none_or(|digits| stream.key.kind.to_string().starts_with(digits))
    }

    /// Calls `take` with each selected stream.
    fn each(&self, both: &Both, mut take: impl FnMut(SnapshotStream) -> Outcome) -> Outcome {
        let mut after = None;
        loop {
            let page = both.snapshots.streams(Some(both.store), after, PAGE_KEYS);
            let page = pollster::block_on(page).map_err(|error| cannot_ask(&error))?;
            page.streams.into_iter().filter(|stream| self.includes(stream)).try_for_each(&mut take)?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn report(self, host: &Host) -> Outcome {
        let both = self.open(Access::Read)?;
        let current = host.app.as_deref().map(|app| app.snapshot_kinds().collect::<BTreeMap<_, _>>());
        let mut report = Report::default();
        self.each(&both, |stream| {
            let head = head(&**both.events.store(), &stream)?;
            report.add(&stream, head);
            Ok(())
        })?;
        let is_current = |category: &str, kind: Fingerprint| {
            current.as_ref().and_then(|kinds| Some(*kinds.get(category)? == kind))
        };
        let mut out = stdout();
        if !self.json {
            writeln!(out, "{}", Row::HEADING)?;
        }
        for row in report.rows(is_current) {
            if self.json { writeln!(out, "{}", row.to_json())? } else { writeln!(out, "{row}")? }
        }
        out.flush()?;
        both.events.finish()
    }

    fn list(self) -> Outcome {
        let both = self.open(Access::Read)?;
        let mut out = stdout();
        self.each(&both, |stream| {
            let head = head(&**both.events.store(), &stream)?.map(Version::get);
            let (name, newest) = (stream.key.stream.as_str(), stream.newest.get());
            if self.json {
                let kind = stream.key.kind.to_string();
                let line = json!({
                    "stream": name, "version": head, "snapshotVersion": newest, "kind": kind,
                    "snapshots": stream.snapshots, "bytes": stream.state_bytes,
                });
                writeln!(out, "{line}")?;
            } else {
                let head = head.map_or_else(|| "-".to_owned(), |head| head.to_string());
                writeln!(out, "{name}  version {head}  snapshot {newest}")?;
            }
            Ok(())
        })?;
        out.flush()?;
        both.events.finish()
    }

    fn clear(self) -> Outcome {
        let both = self.open(Access::Change)?;
        let (mut streams, mut snapshots) = (0_u64, 0);
        self.each(&both, |stream| {
            let key = stream.key;
            let list =
                pollster::block_on(both.snapshots.list(key.clone())).map_err(|error| cannot_ask(&error))?;
            let versions = list.iter().map(|info| info.version).collect::<Vec<_>>();
            (streams, snapshots) = (streams + 1, snapshots + versions.len());
            pollster::block_on(both.snapshots.remove(key, versions)).map_err(|error| cannot_ask(&error))
        })?;
        let mut out = stdout();
        if self.json {
            writeln!(out, "{}", json!({"streams": streams, "snapshots": snapshots}))?;
        } else {
            writeln!(out, "removed {snapshots} snapshots of {streams} streams")?;
        }
        out.flush()?;
        both.events.finish()
    }
}

/// The snapshots beside a store, or those that are kept elsewhere.
fn beside_or(
    snapshots: &Snapshots,
    beside: Arc<dyn SnapshotStore>,
    access: Access,
) -> Outcome<Arc<dyn SnapshotStore>> {
    match snapshots {
        Snapshots::Beside => Ok(beside),
        other => existing(other, None, access),
    }
}

/// Snapshots that are kept somewhere already.
fn existing(snapshots: &Snapshots, folder: Option<&Path>, access: Access) -> Outcome<Arc<dyn SnapshotStore>> {
    let opened = snapshots.open_existing(folder, access)?;
    let none = || {
        Failure::new("there are no snapshots there")
            .help("say where they are: `--snapshots <file>` or `--snapshots redis://<host>:<port>`")
    };
    Ok(Arc::new(opened.ok_or_else(none)?))
}

/// The last version of the stream of a snapshot; `None` if the log does not have it.
fn head(events: &dyn EventStore, stream: &SnapshotStream) -> Outcome<Option<Version>> {
    Ok(pollster::block_on(events.stream(stream.key.stream.clone()))?.map(|info| info.version))
}

fn cannot_ask(error: &SnapshotError) -> Failure {
    Failure::new("cannot ask the snapshot store").because(error)
}
