//! A service author's program: the `gesta` command line with the bank hosted. Try
//! `cargo run --example bank -- serve --dir data`, then `curl --json '{"owner":"Anna"}' localhost:2114/commands/account/anna/open`.

fn main() -> std::process::ExitCode {
    gesta_cli::main_with(bank::app())
}
