//! `gesta openapi` and `gesta asyncapi`: print the descriptions of the routes and messages of a program, without a server.

use std::io::Write as _;
use std::sync::Arc;

use gesta_server::{Builder, Server};
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::host::Host;
use crate::output::stdout;
use crate::store::{OpenOptions, StoreUrl, open};
use crate::target::cannot_open_store;

#[derive(clap::Args)]
pub(crate) struct PrintOpenApi {}

impl PrintOpenApi {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        print(&described(host, Server::openapi)?)
    }
}

#[derive(clap::Args)]
pub(crate) struct PrintAsyncApi {}

impl PrintAsyncApi {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        print(&described(host, Server::asyncapi)?)
    }
}

/// The description of the server that `serve` starts for a host.
fn described(host: &Host, describe: fn(&Server) -> Value) -> Outcome<Value> {
    let opened =
        open(&StoreUrl::Memory, &OpenOptions::default()).map_err(|error| cannot_open_store(&error))?;
    let server = Server::builder(Arc::clone(&opened.store)).groups(Arc::clone(&opened.groups));
    let server = host.app.iter().cloned().fold(server, Builder::app).event_types(host.event_schemas()?);
    let description = describe(&server.build());
    opened.close();
    Ok(description)
}

/// Prints JSON for people, as it is checked in.
fn print(json: &Value) -> Outcome {
    let text = serde_json::to_string_pretty(json)
        .map_err(|error| Failure::new("cannot print the description").because(&error))?;
    let mut out = stdout();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
