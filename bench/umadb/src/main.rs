//! UmaDB compared with Gesta, in process and over HTTP: the same durable loads, in turns in one run.
//!
//! `cargo run --release --manifest-path bench/umadb/Cargo.toml`; `--help` lists the options. UmaDB runs as a child
//! process with its default settings, and its asynchronous client has a connection for each benchmark client.

mod umadb;

use std::path::PathBuf;
use std::time::Duration;

use bench_core::{
    Call, Contender, Events, Gesta, GestaServer, Guard, Load, ROUNDS, Sheet, Streams, Work, compare,
};
use umadb::UmaDb;

/// Events in a store before appends are measured.
const WARM_UP: u64 = 60_000;
/// The number of streams (for UmaDB: tags) in the log that is read.
const STREAMS: u64 = 1_000;

const HELP: &str = "\
options:
  --seconds N     how long each row is measured in each round (2)
  --rounds N      how often each row is measured (3)
  --events N      how many events the log that is read has (1000000)
  --only TEXT     only rows of tables whose name holds this
  --out FOLDER    where figures are written (figures)";

struct Asked {
    sheet: Sheet,
    lasts: Duration,
    events: u64,
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [serve, folder, port] if serve == "serve" => umadb::serve(folder.as_ref(), port),
        arguments => match parse(arguments) {
            Ok(asked) => run(&asked),
            Err(wrong) => {
                eprintln!("{wrong}\n\n{HELP}");
                std::process::exit(2);
            }
        },
    }
}

fn parse(arguments: &[String]) -> Result<Asked, String> {
    let sheet = Sheet {
        file: PathBuf::from("figures/umadb.csv"),
        rounds: ROUNDS,
        only: String::new(),
        store: String::new(),
    };
    let mut asked = Asked { sheet, lasts: Duration::from_secs(2), events: 1_000_000 };
    for pair in arguments.chunks(2) {
        let [option, value] = pair else { return Err(format!("`{}` needs a value", pair[0])) };
        let wrong = || format!("`{value}` is not a value of `{option}`");
        match option.as_str() {
            "--seconds" => {
                asked.lasts =
                    Duration::try_from_secs_f64(value.parse().map_err(|_| wrong())?).map_err(|_| wrong())?
            }
            "--rounds" => asked.sheet.rounds = value.parse().map_err(|_| wrong())?,
            "--events" => asked.events = value.parse().map_err(|_| wrong())?,
            "--only" => asked.sheet.only.clone_from(value),
            "--out" => asked.sheet.file = PathBuf::from(value).join("umadb.csv"),
            _ => return Err(format!("`{option}` is not an option")),
        }
    }
    Ok(asked)
}

fn run(asked: &Asked) {
    for (clients, batch) in [(1, 1), (8, 1), (64, 1), (1, 100), (8, 100), (8, 1_000)] {
        appends(asked, clients, batch, Guard::None);
    }
    for (clients, batch) in [(1, 1), (64, 1), (8, 100)] {
        appends(asked, clients, batch, Guard::OwnTag);
    }
    for (what, work) in [("all", Work::ReadAll), ("one tag or stream", Work::ReadStream { streams: STREAMS })]
    {
        for clients in [1, 2] {
            let name =
                format!("read {what}, {} events in {STREAMS} streams, {clients} readers", asked.events);
            let made = || Events::new(Streams::Turns(STREAMS)).tagged();
            compare(&asked.sheet, &name, &contenders(), load(asked, clients, work), &made, asked.events);
        }
    }
}

fn appends(asked: &Asked, clients: u64, batch: u64, guard: Guard) {
    let condition = match guard {
        Guard::None => "",
        Guard::OwnTag => ", condition",
    };
    let name = format!("append, {clients} × {batch}{condition}");
    let made = || Events::new(Streams::OfClient).tagged();
    let load = load(asked, clients, Work::Append { batch, guard });
    compare(&asked.sheet, &name, &contenders(), load, &made, WARM_UP);
}

fn load(asked: &Asked, clients: u64, work: Work) -> Load {
    Load { clients, work, lasts: asked.lasts, rests: true }
}

fn contenders() -> Vec<Contender> {
    vec![
        Contender::new("Gesta (in process)", |folder| Gesta::open(folder, Call::Blocking)),
        Contender::new("Gesta (in process, tasks)", |folder| Gesta::open(folder, Call::InTasks)),
        Contender::new("Gesta (HTTP)", GestaServer::start),
        Contender::new("UmaDB", UmaDb::start),
    ]
}
