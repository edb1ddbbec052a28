//! A server on a port of its own, and a small client. Each answer must be as the server describes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use gesta_core::{EventStore, MemoryStore, StoreId, Timestamp};
use gesta_server::{Limits, Server};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::contract::Contract;

/// A running server over a store in memory. Stops when dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    contract: Contract,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1_000_000_000)))
}

pub(crate) fn start() -> Running {
    start_with(memory(), Limits::default())
}

pub(crate) fn start_with(store: Arc<dyn EventStore>, limits: Limits) -> Running {
    serve(Server::builder(store).limits(limits).build())
}

pub(crate) fn serve(server: Server) -> Running {
    let contract = Contract::of(&server);
    let (ready, address) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            ready.send(listener.local_addr().unwrap()).unwrap();
            server.serve(listener, async { drop(stopped.await) }).await;
        });
    });
    Running { address: address.recv().unwrap(), contract, stop: Some(stop), thread: Some(thread) }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking(), "the server ends well");
    }
}

/// An answer, its body read as JSON where it is some.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem of that status and kind, and gives its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let json = self.json();
        assert_eq!(json["type"], format!("urn:gesta:problem:{kind}"), "{json}");
        assert_eq!(json["status"], status);
        assert!(json["title"].is_string() && json["retry"].is_string(), "{json}");
        json["detail"].as_str().unwrap().to_owned()
    }
}

impl Running {
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], None)
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.call("GET", path, headers, None)
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.post_with(path, &[], body)
    }

    pub(crate) fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let json = [("content-type", "application/json")];
        let named = headers.iter().any(|(name, _)| *name == "content-type");
        let headers = if named { headers.to_vec() } else { [&json, headers].concat() };
        self.call("POST", path, &headers, Some(body))
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let agent = ureq::Agent::new_with_config(config);
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body {
            Some(body) => agent.run(request.body(body.to_owned()).unwrap()),
            None => agent.run(request.body(()).unwrap()),
        };
        let mut response = response.unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let answer = Answer { status: response.status().as_u16(), headers: response.headers().clone(), text };
        self.contract.check(method, path, &answer);
        answer
    }
}

/// The JSON of a small event.
pub(crate) fn event(event_type: &str, data: &str) -> String {
    format!(r#"{{"type":"{event_type}","data":{data}}}"#)
}

/// The place of a checkpoint's token, without the mark.
pub(crate) fn place(token: &Value) -> String {
    let checkpoint = token.as_str().unwrap().parse::<gesta_core::Checkpoint>().unwrap();
    assert!(checkpoint.mark(0).is_some(), "{checkpoint} has a mark");
    gesta_core::Checkpoint::new(checkpoint.store(), checkpoint.sequences()).to_string()
}
