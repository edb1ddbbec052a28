//! Runs the binary, and servers of it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

/// The binary, without the Gesta variables of the environment.
pub(crate) fn command(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_gesta")), arguments)
}

/// The variables of the environment that a program reads.
const VARIABLES: [&str; 8] = [
    "GESTA_ADVERTISE",
    "GESTA_DIR",
    "GESTA_STORE",
    "GESTA_URL",
    "GESTA_LOG",
    "GESTA_SCRUB_RATE",
    "GESTA_ON_FAILED_WRITE",
    "GESTA_SNAPSHOTS",
];

/// A program that hosts an application, or the binary.
pub(crate) fn program(path: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null());
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

/// The outcome of a run of the binary.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    /// The output of a successful run. A slow machine can add lines of progress on the error output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.code == 0 && !self.err.contains("error"), "{self:?}");
        self.out
    }

    /// The error output of a run that failed with that code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
        self.err
    }
}

/// Runs the binary to its end.
pub(crate) fn gesta(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
    command(arguments).output().unwrap().into()
}

/// Runs the binary with that standard input.
pub(crate) fn gesta_with(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, input: &[u8]) -> Ran {
    run_with(command(arguments), input)
}

/// Runs a command with that standard input.
pub(crate) fn run_with(mut command: Command, input: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin: ChildStdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A run that fails early does not read all of its input.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap().into()
    })
}

/// A running server. Killed when dropped, unless it was stopped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

/// Starts `gesta serve` on a free port.
pub(crate) fn serve(arguments: &[&str]) -> Server {
    serve_at(&test_servers::free_address().to_string(), arguments)
}

/// Starts `gesta serve` at an address, that of an earlier server.
pub(crate) fn serve_at(address: &str, arguments: &[&str]) -> Server {
    let listen = ["serve", "--listen", address];
    let child = command(listen.iter().chain(arguments))
        .env("GESTA_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serving(child)
}

/// Waits until a program serves.
pub(crate) fn serving(mut child: Child) -> Server {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(url.starts_with("http://"), "{line}");
    Server { child, url }
}

impl Server {
    pub(crate) fn of(child: Child, url: String) -> Self {
        Self { child, url }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Sends SIGTERM and returns the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code()
    }
}

impl Server {
    /// Waits until it ends by itself. Returns the exit code and the error output.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).unwrap();
        }
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
