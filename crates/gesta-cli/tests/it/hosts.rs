//! A host, the example `bank`, on every kind of store: a folder, memory, and the store of another server.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Server, gesta, program, serve, serving};

/// The program of the example, which cargo builds beside the tests.
pub(crate) fn bank_program() -> PathBuf {
    let gesta = PathBuf::from(env!("CARGO_BIN_EXE_gesta"));
    gesta.parent().unwrap().join("examples/bank")
}

fn bank_command(arguments: &[&str], level: &str) -> Command {
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    let mut command = program(&bank_program(), listen.iter().chain(arguments));
    command.env("GESTA_LOG", level).stdout(Stdio::piped());
    command
}

/// Starts the bank on a free port.
pub(crate) fn bank(arguments: &[&str]) -> Server {
    serving(bank_command(arguments, "warn").spawn().unwrap())
}

/// Starts the bank, and returns its log.
fn bank_that_logs(arguments: &[&str], level: &str) -> (Server, ChildStderr) {
    let mut child = bank_command(arguments, level).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    (serving(child), stderr)
}

/// The views of the bank.
pub(crate) const VIEWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bank/views");

/// Status and body of an answer; `None` if there was none.
type Answer = Option<(u16, Value)>;

pub(crate) fn send(url: &str, path: &str, body: &Value, key: Option<&str>) -> Answer {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut request = agent.post(format!("{url}{path}")).header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let mut answer = request.send(body.to_string()).ok()?;
    let text = answer.body_mut().read_to_string().ok()?;
    Some((answer.status().as_u16(), serde_json::from_str(&text).ok()?))
}

pub(crate) fn get(url: &str, path: &str) -> (u16, Value) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.get(format!("{url}{path}")).call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap())
}

/// Sends a command that must be done.
pub(crate) fn done(url: &str, path: &str, body: Value) -> Value {
    let (status, answer) = send(url, path, &body, None).unwrap();
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

pub(crate) fn balance(url: &str, account: &str) -> u64 {
    get(url, &format!("/states/account/{account}")).1["state"]["balance"].as_u64().unwrap()
}

/// The tests of the bank, the same on every store.
pub(crate) fn check_bank(url: &str, shows_raw_routes: bool) {
    done(url, "/commands/account/anna/open", json!({"owner": "Anna"}));
    done(url, "/commands/account/ben/open", json!({"owner": "Ben"}));
    done(url, "/commands/account/anna/deposit", json!({"amount": 100}));
    let deposit = || send(url, "/commands/account/anna/deposit", &json!({"amount": 7}), Some("k-1")).unwrap();
    let (first, repeat) = (deposit(), deposit());
    assert_eq!((first.0, &first.1["events"]), (repeat.0, &repeat.1["events"]), "{first:?} {repeat:?}");
    let (status, refused) = send(url, "/commands/account/ben/withdraw", &json!({"amount": 1}), None).unwrap();
    assert_eq!((status, &refused["type"]), (422, &json!("urn:gesta:problem:refused")), "{refused}");
    let answer = done(url, "/commands/transfer", json!({"from": "anna", "to": "ben", "amount": 40}));
    assert_eq!((balance(url, "anna"), balance(url, "ben")), (67, 40));
    let (_, earlier) = get(url, "/states/account/anna?version=1");
    assert_eq!(earlier["state"]["balance"], 100, "{earlier}");
    let (_, history) = get(url, "/histories/account/anna");
    assert_eq!(history["events"].as_array().unwrap().len(), 4, "{history}");
    let rows = format!(
        "/views/balances/query?sql=select%20balance%20from%20balances%20order%20by%20account&wait_for={}",
        answer["checkpoint"].as_str().unwrap()
    );
    assert_eq!(get(url, &rows).1["rows"], json!([[67], [40]]));
    assert_eq!(get(url, "/readyz").0, 200);
    let routes = get(url, "/").1.to_string();
    assert_eq!(routes.contains("GET /streams"), shows_raw_routes, "{routes}");
    for route in ["/streams", "/events", "/streams/account-anna", "/store"] {
        assert_eq!(get(url, route).0, if shows_raw_routes { 200 } else { 404 }, "{route}");
    }
}

#[test]
fn a_host_does_the_same_on_a_folder_in_memory_and_on_a_server() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let host = bank(&["--dir", &path("a"), "--views", VIEWS]);
    check_bank(&host.url, true);
    assert_eq!(host.stop(), Some(0));
    let host = bank(&["--store", "memory:", "--state", &path("b"), "--views", VIEWS]);
    check_bank(&host.url, true);
    assert_eq!(host.stop(), Some(0));
    let server = serve(&["--store", &format!("file:{}", path("c"))]);
    let host = bank(&["--store", &server.url, "--state", &path("d"), "--views", VIEWS]);
    check_bank(&host.url, false);
    assert_eq!(host.stop(), Some(0));
    let host = bank(&["--store", &server.url, "--raw"]);
    assert_eq!(get(&host.url, "/streams").0, 200);
    assert_eq!(balance(&host.url, "anna"), 67);
    assert_eq!(host.stop(), Some(0));
    let said = gesta(["state", "account", "anna", "--url", &server.url]).failed(1);
    assert!(said.contains("hosts no deciders"), "{said}");
    assert_eq!(server.stop(), Some(0));
}

/// The address of a store of a random name on the shared cluster of NATS, without a folder for a copy; `None`, which the test then says, if
/// there is none.
pub(crate) fn cluster() -> Option<String> {
    let servers = test_servers::given(test_servers::NATS_CLUSTER_URL)?;
    Some(format!("{servers}/{}", uuid::Uuid::now_v7().simple()))
}

/// The address of a schema of a random name in the shared PostgreSQL server; `None`, which the test then says, if there is none.
pub(crate) fn schema() -> Option<String> {
    let server = test_servers::given(test_servers::POSTGRES_URL)?;
    Some(format!("{server}?schema=cli{}", uuid::Uuid::now_v7().simple()))
}

#[test]
fn two_hosts_share_a_store_in_postgresql() {
    let Some(store) = schema() else { return };
    let folder = TempDir::new().unwrap();
    let state = folder.path().display().to_string();
    let first = bank(&["--store", &store, "--state", &state, "--views", VIEWS]);
    check_bank(&first.url, true);
    let second = bank(&["--store", &store]);
    assert_eq!(balance(&second.url, "anna"), 67);
    done(&second.url, "/commands/account/anna/deposit", json!({"amount": 3}));
    assert_eq!(balance(&first.url, "anna"), 70, "what the other host appended is seen at once");
    done(&first.url, "/commands/account/anna/withdraw", json!({"amount": 70}));
    let (status, _) =
        send(&second.url, "/commands/account/anna/withdraw", &json!({"amount": 1}), None).unwrap();
    assert_eq!(status, 422, "a refusal is decided on the newest state");
    assert_eq!((first.stop(), second.stop()), (Some(0), Some(0)));
}

#[test]
fn a_database_that_is_not_there_is_refused_without_its_password() {
    let free = test_servers::free_address();
    let store = format!("postgres://ann:secret@{free}/shop");
    let said = gesta(["serve", "--listen", "127.0.0.1:0", "--store", &store]).failed(1);
    assert!(said.contains("cannot reach the database") && !said.contains("secret"), "{said}");
    assert!(said.contains(&format!("postgres://ann@{free}/shop?schema=gesta")), "{said}");
}

#[test]
fn the_store_of_a_server_is_refused_where_something_is_missing_or_wrong() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let refused = |arguments: &[&str], code: i32| {
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        gesta(serve.iter().chain(arguments)).failed(code)
    };
    let said = refused(&["--store", "memory:", "--views", VIEWS], 2);
    assert!(said.contains("need a folder") && said.contains("--state"), "{said}");
    let said = refused(&["--dir", &path("a"), "--state", &path("b")], 2);
    assert!(said.contains("leave out `--state`"), "{said}");
    let said = refused(&[], 2);
    assert!(said.contains("no store given"), "{said}");
    let server = serve(&["--dir", &path("c")]);
    let url = server.url.clone();
    assert_eq!(server.stop(), Some(0));
    let said = refused(&["--store", &url], 1);
    assert!(said.contains(&format!("cannot reach a server at `{url}`")), "{said}");
}

#[test]
fn a_host_whose_server_goes_away_answers_503_and_goes_on_when_it_is_back() {
    let folder = TempDir::new().unwrap();
    let (log, state) = (folder.path().join("log"), folder.path().join("state"));
    let (log, state) = (log.to_str().unwrap(), state.to_str().unwrap());
    let server = serve(&["--dir", log]);
    // Nobody reads the log of the host, and its error output is closed.
    let (host, log_of_host) =
        bank_that_logs(&["--store", &server.url, "--state", state, "--views", VIEWS], "warn");
    drop(log_of_host);
    done(&host.url, "/commands/account/anna/open", json!({"owner": "Anna"}));
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    drop(server);
    let deposit = || send(&host.url, "/commands/account/anna/deposit", &json!({"amount": 5}), None).unwrap();
    let (status, away) = deposit();
    assert_eq!((status, &away["retry"]), (503, &json!("after-pause")), "{away}");
    assert_eq!(get(&host.url, "/states/account/anna").0, 503);
    assert_eq!(get(&host.url, "/readyz").0, 503);
    assert_eq!(get(&host.url, "/livez").0, 200);
    let server = crate::harness::serve_at(&address, &["--dir", log]);
    let (status, answer) = deposit();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(balance(&host.url, "anna"), 5, "the refused deposit is nowhere");
    let rows = format!(
        "/views/balances/query?sql=select%20balance%20from%20balances&wait_for={}",
        answer["checkpoint"].as_str().unwrap()
    );
    let caught_up = get(&host.url, &rows);
    assert_eq!(caught_up.1["rows"], json!([[5]]), "{caught_up:?} {:?}", get(&host.url, "/views"));
    assert_eq!((host.stop(), server.stop()), (Some(0), Some(0)));
}

#[test]
fn a_host_ends_when_its_server_has_another_store() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server = serve(&["--dir", &path("a")]);
    let (host, mut log) = bank_that_logs(&["--store", &server.url], "error");
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    drop(server);
    let _server = crate::harness::serve_at(&address, &["--dir", &path("b")]);
    let (status, closed) =
        send(&host.url, "/commands/account/anna/open", &json!({"owner": "Anna"}), None).unwrap();
    assert_eq!((status, &closed["retry"]), (503, &json!("never")), "{closed}");
    let (code, _) = host.end();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut log, &mut said).unwrap();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("error: the store cannot be reached any more"), "{said}");
}

/// Connections to a port of this machine that are open on the side of the client.
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_open = |line: &&str| {
        let fields = line.split_whitespace().collect::<Vec<_>>();
        // The third column is the remote address, the fourth the state; 1 is established.
        fields[2].ends_with(&format!(":{port:04X}")) && fields[3] == "01"
    };
    table.lines().skip(1).filter(is_open).count()
}

#[test]
fn a_host_that_is_told_to_stop_answers_every_request_in_flight() {
    const REQUESTS: usize = 10;
    let folder = TempDir::new().unwrap();
    let server = serve(&["--dir", folder.path().to_str().unwrap()]);
    let (host, log) = bank_that_logs(&["--store", &server.url], "info");
    for account in 0..REQUESTS {
        done(&host.url, &format!("/commands/account/{account}/open"), json!({"owner": "Anna"}));
    }
    let port = server.url.rsplit(':').next().unwrap().parse().unwrap();
    // The server does not get to run, so that every command waits for it.
    server.signal(Signal::STOP);
    let url = &host.url.clone();
    let answers = std::thread::scope(|scope| {
        let deposits = (0..REQUESTS)
            .map(|account| {
                let path = format!("/commands/account/{account}/deposit");
                scope.spawn(move || send(url, &path, &json!({"amount": 5}), None))
            })
            .collect::<Vec<_>>();
        while connections_to(port) < REQUESTS {
            std::thread::yield_now();
        }
        host.signal(Signal::TERM);
        let mut lines = BufReader::new(log).lines();
        assert!(lines.any(|line| line.unwrap().contains("stopping: open requests may end")));
        server.signal(Signal::CONT);
        let answers = deposits.into_iter().map(|deposit| deposit.join().unwrap()).collect::<Vec<_>>();
        lines.for_each(drop);
        answers
    });
    assert!(answers.iter().all(|answer| matches!(answer, Some((200, _)))), "{answers:?}");
    assert_eq!(host.end().0, Some(0));
    let host = bank(&["--store", &server.url]);
    let balances = (0..REQUESTS).map(|account| balance(&host.url, &account.to_string()));
    assert_eq!(balances.sum::<u64>(), 5 * REQUESTS as u64);
}

#[test]
fn two_hosts_share_one_log_and_when_one_is_killed_the_other_serves_on() {
    const CLIENTS: usize = 4;
    const DEPOSITS: usize = 25;
    let folder = TempDir::new().unwrap();
    let server = serve(&["--dir", folder.path().to_str().unwrap()]);
    let [first, second] = [(); 2].map(|()| bank(&["--store", &server.url]));
    done(&first.url, "/commands/account/anna/open", json!({"owner": "Anna"}));
    let urls = [first.url.clone(), second.url.clone()];
    let (told, acknowledged) = mpsc::channel();
    let moved = AtomicUsize::new(0);
    // The last deposit of each client waits until the first host is gone.
    let gone = Barrier::new(CLIENTS + 1);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (told, urls, moved, gone) = (told.clone(), &urls, &moved, &gone);
            scope.spawn(move || {
                for number in 0..DEPOSITS {
                    if number == DEPOSITS - 1 {
                        gone.wait();
                    }
                    // A deposit whose answer is lost is sent again, to the other host, under the same key.
                    let key = format!("{client}-{number}");
                    let hosts = urls.iter().cycle().skip(client + number);
                    let sent = hosts.take(20).position(|url| {
                        let body = json!({"amount": 3});
                        let answer = send(url, "/commands/account/anna/deposit", &body, Some(&key));
                        answer.is_some_and(|(status, _)| status == 200)
                    });
                    moved.fetch_add(usize::from(sent.unwrap() > 0), Ordering::SeqCst);
                    told.send(()).unwrap();
                }
            });
        }
        drop(told);
        // Killed in the middle of it.
        acknowledged.iter().take(CLIENTS * DEPOSITS / 3).for_each(drop);
        drop(first);
        gone.wait();
        assert_eq!(acknowledged.iter().count(), CLIENTS * DEPOSITS - CLIENTS * DEPOSITS / 3);
    });
    assert!(moved.load(Ordering::SeqCst) > 0, "some went to the other host");
    assert_eq!(balance(&second.url, "anna"), 3 * (CLIENTS * DEPOSITS) as u64, "each deposit once");
    let log = gesta(["read", "account-anna", "--json", "--url", &server.url]).ok();
    assert_eq!(log.lines().count(), 1 + CLIENTS * DEPOSITS);
    assert_eq!((second.stop(), server.stop()), (Some(0), Some(0)));
}
