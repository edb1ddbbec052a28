//! The plain `gesta` binary. It hosts no deciders; programs that do call `gesta_cli::main_with`.

fn main() -> std::process::ExitCode {
    gesta_cli::main()
}
