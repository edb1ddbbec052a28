//! Figures of Gesta, each as a rate and as a ratio to the bare work or to a rival, done in the same run on the same disk.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml -- FIGURE…`; without a name, it says which there are. What each means,
//! and what bounds it, stands in `docs/benchmarks.md`.

mod append;
mod asked;
mod bare;
mod cold;
mod disk;
mod figure;
mod fold;
mod growth;
mod import;
mod plot;
mod rebuild;
mod rivals;
mod sustained;
mod tail;
mod view;

use std::process::ExitCode;

use asked::Asked;

/// A figure: its name, what it measures, and the code that does.
struct Figure(&'static str, &'static str, fn(&Asked));

const FIGURES: [Figure; 14] = [
    Figure("append", "appends in process, called in each way, beside the bare work", append::run),
    Figure("rivals", "appends beside fjall, redb, SQLite and PostgreSQL", rivals::appends),
    Figure("clients", "single appends of all of these over the number of clients", rivals::clients),
    Figure("reads", "all of these read whole, and by stream", rivals::reads),
    Figure("sustained", "appends with tags for a minute", sustained::run),
    Figure("disk", "bytes on the disk over the events' own", disk::run),
    Figure("cold", "the first event of a stream from a cold disk", cold::run),
    Figure("tail", "what one more subscription at the head costs", tail::run),
    Figure("growth", "what calls cost as the log grows to 100 M events", growth::run),
    Figure("rebuild", "the open of a log without its index, and how fast the index is built", rebuild::run),
    Figure("fold", "a stream of a million events folded by a decider", |_| fold::run()),
    Figure("view", "a view of a million events built", |_| view::run()),
    Figure("import", "a file of CloudEvents imported", |_| import::run()),
    Figure("plot", "SVG plots of the figures of `clients` and `growth`", plot::run),
];

/// Holds a log open and appends until it is killed: what `growth` starts to see a log that was not closed.
const HOLD: Figure = Figure("hold", "", growth::hold);

fn main() -> ExitCode {
    let asked = match Asked::parse(std::env::args().skip(1)) {
        Ok(asked) if !asked.figures.is_empty() => asked,
        Ok(_) => return help("say which figures"),
        Err(wrong) => return help(&wrong),
    };
    let mut chosen = Vec::new();
    for name in &asked.figures {
        match FIGURES.iter().chain([&HOLD]).find(|Figure(known, ..)| known == name) {
            Some(figure) => chosen.push(figure),
            None => return help(&format!("`{name}` is no figure")),
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
