//! Figures of Gesta, each as a rate and as a ratio to the bare work or to a rival in the same run on the same disk.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml -- FIGURE…`; without a name, it lists the figures.
//! `docs/benchmarks.md` explains each figure and its limits.

mod append;
mod asked;
mod bare;
mod cold;
mod commands;
mod disk;
mod figure;
mod fold;
mod group;
mod growth;
mod import;
mod lag;
mod members;
mod paced;
mod plot;
mod rebuild;
mod rivals;
mod row_view;
mod stores;
mod sustained;
mod tail;
mod view;

use std::process::ExitCode;

use asked::Asked;

/// A figure: its name, its description and its code.
struct Figure(&'static str, &'static str, fn(&Asked));

const FIGURES: [Figure; 20] = [
    Figure("append", "appends in process with each kind of call, compared with the bare work", append::run),
    Figure("rivals", "appends, compared with fjall, redb, SQLite and PostgreSQL", rivals::appends),
    Figure("clients", "single appends of all these stores by the number of clients", rivals::clients),
    Figure("reads", "reads of all these stores, whole and by stream", rivals::reads),
    Figure("sustained", "appends with tags for a minute", sustained::run),
    Figure("disk", "bytes on the disk over the bytes of the events", disk::run),
    Figure("cold", "the first event of a stream from a cold disk", cold::run),
    Figure("tail", "the cost of one more subscription at the head", tail::run),
    Figure("growth", "the cost of calls while the log grows to 100 M events", growth::run),
    Figure("rebuild", "the open of a log without its index, and the rate of the rebuild", rebuild::run),
    Figure("fold", "a stream of a million events folded by a decider", |_| fold::run()),
    Figure("view", "a view of a million events built", |_| view::run()),
    Figure("row-view", "the same in SQL and in Rust, in SQLite and in PostgreSQL", row_view::run),
    Figure("group", "events handed out by a consumer group, and what groups cost appends", group::run),
    Figure("members", "events handed out by a consumer group to members over HTTP", members::run),
    Figure("lag", "the time until groups and views have an event, at a fixed rate", lag::run),
    Figure(
        "commands",
        "commands to accounts, compared with cqrs-es and disintegrate on PostgreSQL",
        commands::run,
    ),
    Figure("stores", "the same calls on a store in a folder and on one in PostgreSQL", stores::run),
    Figure("import", "a file of CloudEvents imported", |_| import::run()),
    Figure("plot", "SVG plots of the figures of `clients` and `growth`", plot::run),
];

/// Holds a log open and appends until it is killed: `growth` starts it to measure a log that was not closed.
const HOLD: Figure = Figure("hold", "", growth::hold);

fn main() -> ExitCode {
    let asked = match Asked::parse(std::env::args().skip(1)) {
        Ok(asked) if !asked.figures.is_empty() => asked,
        Ok(_) => return help("name at least one figure"),
        Err(wrong) => return help(&wrong),
    };
    let mut chosen = Vec::new();
    for name in &asked.figures {
        match FIGURES.iter().chain([&HOLD]).find(|Figure(known, ..)| known == name) {
            Some(figure) => chosen.push(figure),
            None => return help(&format!("`{name}` is not a figure")),
        }
    }
    for Figure(_, _, run) in chosen {
        run(&asked);
    }
    ExitCode::SUCCESS
}

fn help(wrong: &str) -> ExitCode {
    eprintln!("{wrong}\n\nfigures:");
    for Figure(name, about, _) in FIGURES {
        eprintln!("  {name:<15} {about}");
    }
    eprintln!("\noptions:\n{}", asked::OPTIONS);
    ExitCode::from(2)
}
