//! A server in this process that can be stopped, killed, and started again at the same address.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use gesta_core::EventStore;
use gesta_server::{Limits, Server};
use test_servers::free_address;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A running server. Dropped, it stops after its open requests.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<How>>,
    thread: Option<JoinHandle<()>>,
}

/// How a server ends.
enum How {
    /// Open requests are answered.
    Stop,
    /// Every connection and every request is dropped where it is, as if the process were killed.
    Kill,
}

impl Running {
    /// Starts a server on a free port.
    pub(crate) fn start(store: Arc<dyn EventStore>) -> Self {
        Self::start_at(free_address(), store)
    }

    /// Starts a server at the address of an earlier one.
    pub(crate) fn start_at(address: SocketAddr, store: Arc<dyn EventStore>) -> Self {
        Self::start_with(listen(address), store, Limits::default())
    }

    pub(crate) fn start_with(listener: TcpListener, store: Arc<dyn EventStore>, limits: Limits) -> Self {
        Self::start_server(listener, Server::builder(store).limits(limits).build())
    }

    /// Starts a server that is built already.
    pub(crate) fn start_server(listener: TcpListener, server: Server) -> Self {
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || run(listener, server, stopped));
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// The address as a client takes it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the server where it is.
    pub(crate) fn kill(mut self) {
        self.end(How::Kill);
    }

    fn end(&mut self, how: How) {
        let Some(stop) = self.stop.take() else { return };
        let _ = stop.send(how);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server ends well");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(How::Stop);
    }
}

/// Listens at an address. The port of an earlier server may be reused while its last connections end.
pub(crate) fn listen(address: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn run(listener: TcpListener, server: Server, stopped: oneshot::Receiver<How>) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (stop, wait) = oneshot::channel::<()>();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let serving = server.serve(listener, async { drop(wait.await) });
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            () = &mut serving => unreachable!("nobody has stopped it"),
            how = stopped => match how {
                Ok(How::Kill) => {}
                Ok(How::Stop) | Err(_) => {
                    drop(stop);
                    serving.await;
                }
            },
        }
    });
    // Tasks are dropped, and the store with them, before this returns.
    drop(runtime);
}
