//! Starts the shop in a folder, kills stock, and shows that nothing is lost. The programs are beside this one.
//!
//! `shop-demo FOLDER` shows it; `shop-demo FOLDER KILLS` kills all programs in turn while customers order, and
//! `shop-demo FOLDER KILLS clocks` kills the orders service alone, under clocks that are wrong. `shop-demo FOLDER KILLS servers` runs on two
//! servers of the PostgreSQL database that `GESTA_POSTGRES` names, and kills the one that deals the consumer groups. `shop-demo FOLDER KILLS
//! nodes` runs on three nodes of NATS, and kills nodes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it shows what happens")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("shop-demo"), PathBuf::from);
    let arguments = std::env::args().skip(2).collect::<Vec<_>>();
    match run(&folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find the programs: {error}"))?;
    let programs = program.parent().ok_or("cannot find the programs")?;
    let say = &mut |line: &str| println!("{line}");
    let number =
        |kills: &str| kills.parse::<u32>().map_err(|_| format!("`{kills}` is not a number of kills"));
    match arguments {
        [] => shop::demo::run(programs, folder, say),
        [kills] => shop::demo::kill_all(programs, folder, number(kills)?, say),
        [kills, "clocks"] => shop::demo::move_clocks(programs, folder, number(kills)?, say),
        [kills, "servers"] => {
            let server = std::env::var("GESTA_POSTGRES").map_err(|_| "`GESTA_POSTGRES` names no database")?;
            let database = format!("{server}?schema=shop{}", std::process::id());
            shop::demo::lose_servers(programs, folder, (&database, number(kills)?), say)
        }
        [kills, "nodes"] => shop::demo::lose_nodes(programs, folder, number(kills)?, say),
        _ => Err("usage: shop-demo FOLDER [KILLS [clocks | servers | nodes]]".to_owned()),
    }
}
