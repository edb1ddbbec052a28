//! A server of a test.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gesta_core::SnapshotThreads;
use gesta_valkey::open_snapshots;
use test_servers::{free_ports, redis};

/// How long a server may take to start.
const START_TIME: Duration = Duration::from_secs(60);

/// A server process. It is killed when it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    arguments: Vec<String>,
    process: Child,
}

impl Server {
    /// Starts a server; `None` if there is no program to start.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        let [port] = free_ports();
        Self::start_at(port, arguments)
    }

    pub(crate) fn start_at(port: u16, arguments: &[&str]) -> Option<Self> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>();
        let process = spawn(redis()?, port, &arguments);
        let mut server = Self { port, arguments, process };
        server.wait_until_ready();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn snapshots(&self) -> SnapshotThreads {
        open_snapshots(self.url().parse().unwrap()).unwrap()
    }

    /// Kills the process without warning, and starts another one on the same port. It is empty.
    pub(crate) fn kill_and_start(&mut self) {
        self.kill();
        self.process = spawn(redis().unwrap(), self.port, &self.arguments);
        self.wait_until_ready();
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").args([format!("-{name}"), self.process.id().to_string()]).status();
        assert!(done.unwrap().success());
    }

    /// Sends a command in one line, and returns the first line of the answer.
    pub(crate) fn command(&self, line: &str) -> String {
        self.try_command(line).unwrap()
    }

    fn try_command(&self, line: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }

    fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        while !self.try_command("PING").is_ok_and(|answer| answer == "+PONG" || answer.starts_with("-NOAUTH"))
        {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "the server on port {} ended at its start: {ended:?}", self.port);
            assert!(begun.elapsed() < START_TIME, "the server on port {} does not start", self.port);
            std::thread::yield_now();
        }
    }
}

fn spawn(program: &str, port: u16, arguments: &[String]) -> Child {
    let port = port.to_string();
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
