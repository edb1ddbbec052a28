//! What the new code writes, and the code that runs cannot read: while both run, they share one log.

use super::catalog::Catalog;
use super::check::check;
use super::compare::{Change, compare};
use super::finding::Finding;
use super::lock::{Lock, SchemaState};

/// Finds what the code of `catalog` writes and the running code cannot read. `deployed` is the lock of the running code.
#[must_use]
pub fn unreadable_by(deployed: &Lock, catalog: &Catalog) -> Vec<Finding> {
    let new = check(&Lock::default(), &catalog.schemas()).lock;
    let written = new.entries.iter().filter(|(_, entry)| entry.state == SchemaState::Current);
    let findings = written.filter_map(|((event_type, version), entry)| {
        let Some(running) = deployed.get(event_type, *version) else {
            let is_known = deployed.versions().any(|(name, ..)| name == event_type);
            let remedy = if is_known {
                format!("deploy a release first that reads it, with `ahead({version} = …)`, and still writes the version before")
            } else {
                "deploy a release first that has this name in its enum, as a variant or an alias, and does not write it yet".to_owned()
            };
            return Some(Finding::error(event_type, *version, "the running code cannot read it", remedy));
        };
        if running.state == SchemaState::Retired {
            let remedy = "deploy a release first that reads it";
            return Some(Finding::error(event_type, *version, "the running code reads it as nothing", remedy));
        }
        match (&running.schema, &entry.schema) {
            (Some(running), Some(new)) if deployed.is_comparable() => match compare(running, new) {
                Change::Breaking(found) => {
                    let problem = format!("the running code reads another schema: `{}` {}", found.at, found.what);
                    Some(Finding::error(event_type, *version, problem, "give the change a version of its own"))
                }
                Change::Same | Change::Additive => None,
            },
            _ => None,
        }
    });
    findings.collect()
}
