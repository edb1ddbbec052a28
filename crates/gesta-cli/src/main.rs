//! The plain `gesta` binary: it stores, serves, imports and views. Programs that host deciders call `gesta_cli::main_with`.

fn main() -> std::process::ExitCode {
    gesta_cli::main()
}
