//! The API by its description: the checked-in documents against their official schemas, and running servers against their documents.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, Stdio};

use crate::{Failure, install, shell};

/// The checked-in documents.
const DOCUMENTS: &str = "docs/api";
/// Where the tools are installed.
const TOOLS: &str = "target/api-tools";
/// The packages of the tools, with their versions.
const REQUIREMENTS: &str = "xtask/api/requirements.txt";
/// Where the servers keep their logs. Removed before each run.
const FOLDER: &str = "target/api";
/// Test cases for an operation in the phase that draws them.
const EXAMPLES_MAX: u32 = 10;

/// A program whose documents are checked in.
struct Program {
    name: &'static str,
    path: &'static str,
    serves: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program { name: "gesta", path: "target/debug/gesta", serves: "" },
    Program { name: "bank", path: "target/debug/examples/bank", serves: "--views examples/bank/views" },
];

/// Builds the programs. The features are those of the whole workspace, so that the build of the tests serves here too.
const BUILD: &str = "cargo build --quiet --workspace --bin gesta --example bank";

/// The kinds of documents, each the name of the command that prints it.
const KINDS: [&str; 2] = ["openapi", "asyncapi"];

/// Checks the documents and the bank, whose server has every route of the plain one too; checks both servers, with another seed and number
/// of cases; writes the documents anew; or installs the tools only.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    match *arguments {
        [] => check(&PROGRAMS[1..], 1, EXAMPLES_MAX),
        ["--write"] => write(),
        ["--install"] => install_tools(),
        ["--seed", seed, "--examples", examples] => check(&PROGRAMS, number(seed)?, number(examples)?),
        _ => Err("usage: cargo xtask api [--write | --install | --seed N --examples N]".to_owned()),
    }
}

fn number(text: &str) -> Result<u32, Failure> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

fn write() -> Result<(), Failure> {
    fs::create_dir_all(DOCUMENTS).map_err(|error| format!("cannot make `{DOCUMENTS}`: {error}"))?;
    step(BUILD)?;
    for Program { name, path: program, .. } in PROGRAMS {
        for kind in KINDS {
            let path = format!("{DOCUMENTS}/{name}.{kind}.json");
            let document = shell::output_of(&format!("{program} {kind}"))?;
            fs::write(&path, document).map_err(|error| format!("cannot write `{path}`: {error}"))?;
            println!("{path} is written");
        }
    }
    Ok(())
}

fn check(programs: &[Program], seed: u32, examples: u32) -> Result<(), Failure> {
    install_tools()?;
    step(&format!("{TOOLS}/bin/python xtask/api/validate.py {DOCUMENTS}"))?;
    match fs::remove_dir_all(FOLDER) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(format!("cannot remove `{FOLDER}`: {error}"));
        }
        _ => {}
    }
    step(BUILD)?;
    programs.iter().try_for_each(|program| probe(program, seed, examples))
}

/// Installs the tools in a folder of their own, unless they are there in the right versions.
fn install_tools() -> Result<(), Failure> {
    let installed = format!("{TOOLS}/installed.txt");
    let wanted =
        fs::read_to_string(REQUIREMENTS).map_err(|error| format!("cannot read `{REQUIREMENTS}`: {error}"))?;
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if !shell::succeeds("python3 -m ensurepip --version") {
        install::run(&install::package("python3-venv"))?;
    }
    println!("\n=== installing: {REQUIREMENTS} into {TOOLS}");
    shell::output_of(&format!("python3 -m venv --clear {TOOLS}"))?;
    shell::output_of(&format!("{TOOLS}/bin/python -m pip install --quiet --requirement {REQUIREMENTS}"))?;
    fs::write(&installed, wanted).map_err(|error| format!("cannot write `{installed}`: {error}"))
}

/// Starts the program, and asks it for everything that it describes, and for what it must refuse.
fn probe(program: &Program, seed: u32, examples: u32) -> Result<(), Failure> {
    let server = Server::start(program)?;
    step(&format!(
        "GESTA_SERVER={url} HYPOTHESIS_STORAGE_DIRECTORY={FOLDER}/hypothesis PYTHONPYCACHEPREFIX=target/python \
         {TOOLS}/bin/schemathesis --config-file xtask/api/schemathesis.toml run {url}/openapi.json \
         --max-examples {examples} --seed {seed}",
        url = server.url
    ))
}

/// A server in a folder of its own, on a free port. Killed when dropped.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(program: &Program) -> Result<Self, Failure> {
        let Program { name, path, serves } = program;
        let line = format!("{path} serve --dir {FOLDER}/{name} --listen 127.0.0.1:0 {serves}");
        println!("\n=== {line}");
        let started = shell::command(&line).env("GESTA_LOG", "error").stdout(Stdio::piped()).spawn();
        let mut process = started.map_err(|error| format!("cannot start `{line}`: {error}"))?;
        let output = process.stdout.take().expect("the output is piped");
        let mut server = Self { process, url: String::new() };
        let mut said = String::new();
        let read = BufReader::new(output).read_line(&mut said);
        read.map_err(|error| format!("`{line}` says nothing: {error}"))?;
        said.trim().rsplit(' ').next().unwrap_or_default().clone_into(&mut server.url);
        if server.url.starts_with("http://") {
            Ok(server)
        } else {
            Err(format!("`{line}` does not serve: {said}"))
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn step(line: &str) -> Result<(), Failure> {
    println!("\n=== {line}");
    let status = shell::command(line).status().map_err(|error| format!("cannot start `{line}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed ({status})")) }
}
