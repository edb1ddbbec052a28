//! `gesta doctor`: what a cluster guarantees for a store.

use gesta_jetstream::{Grade, examine};

use crate::cluster;
use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::store::StoreUrl;
use crate::unread::Unread;

#[derive(clap::Args)]
pub(crate) struct ExamineStore {
    /// The store, as for `gesta serve`: `nats://HOST,HOST,HOST/NAME?monitor=HOST:8222,HOST:8222,HOST:8222`. The monitors of all servers tell
    /// if they sync each message.
    #[arg(long, value_name = "URL")]
    store: Unread<StoreUrl>,
}

impl ExamineStore {
    pub(crate) fn run(self) -> Outcome {
        let StoreUrl::JetStream(url) = self.store.read("--store")? else {
            return Err(Failure::usage("this command examines stores on a cluster of NATS JetStream")
                .help("`gesta verify` checks the log in a folder; a store in PostgreSQL refuses unsafe settings when it is opened"));
        };
        let findings = examine(&url).map_err(|error| cluster::cannot_open(&url, "".as_ref(), &error))?;
        for finding in &findings {
            let grade = match finding.grade {
                Grade::Good => "good",
                Grade::Unsure => "unsure",
                Grade::Bad => "bad",
            };
            say(&format!("{grade:<8}{}", finding.text))?;
        }
        match findings.iter().filter(|finding| finding.grade == Grade::Bad).count() {
            0 => Ok(()),
            bad => Err(Failure::new(format!("the store is not safe: {}", count(bad, "finding")))),
        }
    }
}
