//! Figures of Gesta, each as a rate and as a ratio to the bare work, done in the same run on the same disk.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml -- [FIGURE…]` with any of `append`, `fold`, `view`, `import`,
//! `rivals`; all by default.
//! Machines are noisy: each figure is measured several times, and its median is given with the lowest and the highest.

mod append;
mod bare;
mod figure;
mod fold;
mod import;
mod rivals;
mod view;

use std::process::ExitCode;

fn main() -> ExitCode {
    let asked = std::env::args().skip(1).collect::<Vec<_>>();
    let figures: [(&str, fn()); 5] = [
        ("append", append::run),
        ("fold", fold::run),
        ("view", view::run),
        ("import", import::run),
        ("rivals", rivals::run),
    ];
    if let Some(unknown) = asked.iter().find(|name| figures.iter().all(|(known, _)| known != name)) {
        eprintln!("`{unknown}` is no figure: choose from append, fold, view, import, rivals");
        return ExitCode::from(2);
    }
    for (name, run) in figures {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            run();
        }
    }
    ExitCode::SUCCESS
}
