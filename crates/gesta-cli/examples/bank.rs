//! A service author's own program: everything that `gesta` does, with the bank hosted. Try
//! `cargo run --example bank -- serve --dir data`, then `curl --json '{"owner":"Anna"}' localhost:2114/commands/account/anna/open`.

fn main() -> std::process::ExitCode {
    gesta_cli::main_with(bank::app())
}
