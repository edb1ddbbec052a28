//! Starts servers for a command, and stops them after it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints")]

use std::process::{Command, ExitCode};

use test_servers::{Nats, NatsCluster, PgBouncer, Postgres, RabbitMq};

const USAGE: &str = "\
usage: cargo run -p test-servers -- with SERVER… -- COMMAND…
       cargo run -p test-servers -- installed SERVER…

  with   starts the servers (postgres nats nats-cluster rabbitmq), runs the command, and stops them. The command finds
         their addresses in GESTA_POSTGRES, GESTA_NATS, GESTA_NATS_CLUSTER and GESTA_RABBITMQ; GESTA_RABBITMQ_TLS and
         GESTA_RABBITMQ_CA are its address with TLS and the file of its authority. GESTA_SERVERS=required tests fail where a server is missing; GESTA_SERVERS=none leaves out tests that need one;
         under GESTA_SERVERS=elsewhere such a test fails.
  installed
         fails where a server (also: pgbouncer, redis) is not installed. Fetches the one that no Debian package has, nats";

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let outcome = match arguments[..] {
        ["installed", ..] => installed(&arguments[1..]),
        ["with", ..] => with(&arguments[1..]),
        _ => Err(USAGE.to_owned()),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::FAILURE
    })
}

/// A server that runs while the command does, and its address.
enum Server {
    Postgres(Postgres),
    Nats(Nats),
    NatsCluster(NatsCluster),
    RabbitMq(RabbitMq),
}

impl Server {
    fn start(name: &str) -> Result<Self, String> {
        let server = match name {
            "postgres" => Postgres::start(&[]).map(Self::Postgres),
            "nats" => {
                test_servers::fetch_nats()?;
                Nats::start("").map(Self::Nats)
            }
            "nats-cluster" => {
                test_servers::fetch_nats()?;
                NatsCluster::start().map(Self::NatsCluster)
            }
            "rabbitmq" => RabbitMq::start().map(Self::RabbitMq),
            _ => return Err(format!("`{name}` is not a server\n\n{USAGE}")),
        };
        server.ok_or_else(|| format!("{name} cannot start"))
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let settings = match self {
            Self::Postgres(server) => vec![(test_servers::POSTGRES_URL, server.url())],
            Self::Nats(server) => vec![(test_servers::NATS_URL, server.url())],
            Self::NatsCluster(servers) => vec![(test_servers::NATS_CLUSTER_URL, servers.url())],
            Self::RabbitMq(server) => vec![
                (test_servers::RABBITMQ_URL, server.url()),
                (test_servers::RABBITMQ_TLS_URL, server.tls_url()),
                (test_servers::RABBITMQ_CA, server.ca().to_str().expect("it has a temporary name")),
            ],
        };
        settings.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
    }
}

fn installed(names: &[&str]) -> Result<ExitCode, String> {
    for name in names {
        let is_installed = match *name {
            "postgres" => Postgres::is_installed(),
            "nats" | "nats-cluster" => test_servers::fetch_nats().map(|()| true)?,
            "rabbitmq" => RabbitMq::is_installed(),
            "redis" => test_servers::redis().is_some(),
            "pgbouncer" => PgBouncer::is_installed(),
            _ => return Err(format!("`{name}` is not a server\n\n{USAGE}")),
        };
        if !is_installed {
            return Err(format!("{name} is not installed"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn with(arguments: &[&str]) -> Result<ExitCode, String> {
    let end = arguments.iter().position(|argument| *argument == "--").ok_or(USAGE)?;
    let (names, command) = (&arguments[..end], &arguments[end + 1..]);
    let (program, rest) = command.split_first().ok_or(USAGE)?;
    let servers = names.iter().map(|name| Server::start(name)).collect::<Result<Vec<_>, _>>()?;
    let settings = servers.iter().flat_map(Server::settings).collect::<Vec<_>>();
    for (name, url) in &settings {
        println!("{name}={url}");
    }
    let status = Command::new(program).args(rest).envs(settings).status();
    let status = status.map_err(|error| format!("cannot start `{program}`: {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
