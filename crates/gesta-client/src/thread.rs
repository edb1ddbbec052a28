//! The thread of a client. It owns the runtime and every connection; callers hold channels, so they need no runtime.
//!
//! *Invariants:*
//! - An append takes its place in line when its message is received. Messages arrive in the order of the first polls.
//! - A caller that is gone takes its request with it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gesta_core::{AppendError, Appended, StreamName};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::append::{self, Append};
use crate::ask::{self, Ask, AskError};
use crate::backlog::Backlog;
use crate::call::{self, Call, CallError, Line, Unclaimed};
use crate::exchange::Answer;
use crate::limits::{APPENDS_BYTES_MAX, APPENDS_MAX};
use crate::poll;
use crate::request::Request;
use crate::shared::Shared;
use crate::turns::Turns;

/// A message to the thread. The thread takes each at once: appends hold a share of the limits before they are sent, and
/// other requests wait in the backlog, one for each future of a caller.
enum Message {
    /// Append a batch. The streams decide its order.
    Append(Append, Vec<StreamName>),
    /// Send a request that changes nothing.
    Ask(Ask),
    /// Send a request once. It may change something.
    Call(Call),
    /// Poll for waiters. The server holds each poll for at most `wait_seconds`.
    Poll { wait_seconds: u32 },
}

/// The thread of a client. Dropped, it stops, and every request under way is cut.
pub(crate) struct Thread {
    /// `None` only while it stops.
    messages: Option<mpsc::UnboundedSender<Message>>,
    handle: Option<JoinHandle<()>>,
    appends: Arc<Semaphore>,
    append_bytes: Arc<Semaphore>,
    request_time: Duration,
}

impl Thread {
    pub(crate) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let request_time = shared.options.request_time;
        let (messages, received) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("gesta-client".to_owned());
        let handle = thread.spawn(move || run(runtime, shared, received))?;
        Ok(Self {
            messages: Some(messages),
            handle: Some(handle),
            appends: Arc::new(Semaphore::new(APPENDS_MAX)),
            append_bytes: Arc::new(Semaphore::new(APPENDS_BYTES_MAX)),
            request_time,
        })
    }

    /// Starts the shared poll.
    pub(crate) fn poll(&self, wait_seconds: u32) {
        self.send(Message::Poll { wait_seconds });
    }

    /// Queues an append. It is in line when the call returns.
    pub(crate) fn append(
        &self,
        request: Request,
        streams: Vec<StreamName>,
    ) -> Result<oneshot::Receiver<Result<Appended, AppendError>>, AppendError> {
        let bytes = u32::try_from(request.body.len()).unwrap_or(u32::MAX);
        let one = Arc::clone(&self.appends).try_acquire_owned();
        let held =
            one.and_then(|one| Ok([one, Arc::clone(&self.append_bytes).try_acquire_many_owned(bytes)?]));
        let held = held.map_err(|_| AppendError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        self.send(Message::Append(Append { request, reply, held }, streams));
        Ok(answer)
    }

    /// Sends a request that changes nothing.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, AskError> {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + self.request_time;
        self.send(Message::Ask(Ask { request, deadline, reply }));
        answer.await.unwrap_or_else(|_| Err(AskError::Unavailable(ENDED.to_owned())))
    }

    /// Sends a request once.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, CallError> {
        self.begin(request, Line::Shared, Duration::ZERO, None).await.unwrap_or_else(|_| Err(ended()))
    }

    /// Sends a request once. The answer is due `wait` later than that of other requests. If its caller is gone when it comes,
    /// `unclaimed` makes the request that gives back what it has.
    pub(crate) async fn call_claimed(
        &self,
        request: Request,
        line: Line,
        wait: Duration,
        unclaimed: Unclaimed,
    ) -> Result<Answer, CallError> {
        let receiver = self.begin(request, line, wait, Some(Arc::clone(&unclaimed)));
        let mut claim = Claim { thread: self, receiver, unclaimed };
        (&mut claim.receiver).await.unwrap_or_else(|_| Err(ended()))
    }

    /// Sends a request once, although nobody waits for its answer.
    pub(crate) fn tell(&self, request: Request) {
        drop(self.begin(request, Line::Shared, Duration::ZERO, Some(keep())));
    }

    fn begin(
        &self,
        request: Request,
        line: Line,
        wait: Duration,
        unclaimed: Option<Unclaimed>,
    ) -> oneshot::Receiver<Result<Answer, CallError>> {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + self.request_time + wait;
        self.send(Message::Call(Call { request, line, deadline, reply, unclaimed }));
        answer
    }

    /// A message to a thread that has ended is dropped, and with it its reply.
    fn send(&self, message: Message) {
        let _ = self.messages.as_ref().expect("the thread stops only when it is dropped").send(message);
    }
}

/// An answer that its caller has not taken yet. Dropped with the answer, it gives back what the answer has.
struct Claim<'a> {
    thread: &'a Thread,
    receiver: oneshot::Receiver<Result<Answer, CallError>>,
    unclaimed: Unclaimed,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // An answer that was taken is no longer there.
        if let Ok(Ok(answer)) = self.receiver.try_recv()
            && let Some(request) = (self.unclaimed)(&answer)
        {
            self.thread.tell(request);
        }
    }
}

/// For a request that is sent although nobody waits for its answer.
fn keep() -> Unclaimed {
    Arc::new(|_| None)
}

fn ended() -> CallError {
    CallError::Lost(ENDED.to_owned())
}

/// The reason of calls whose reply was dropped.
pub(crate) const ENDED: &str = "the thread of the client has ended: a bug";

impl Drop for Thread {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(handle) = self.handle.take() {
            // A panic was printed where it happened.
            let _ = handle.join();
        }
    }
}

fn run(runtime: Runtime, shared: Arc<Shared>, mut received: mpsc::UnboundedReceiver<Message>) {
    let (turns, backlog) = (Arc::new(Turns::default()), Arc::new(Backlog::default()));
    runtime.block_on(async {
        while let Some(message) = received.recv().await {
            let shared = Arc::clone(&shared);
            match message {
                Message::Append(append, streams) => {
                    drop(tokio::spawn(append::run(shared, append, turns.join(streams))));
                }
                Message::Ask(ask) => {
                    if let Some(ask) = backlog.push(ask) {
                        drop(tokio::spawn(ask::run(shared, Arc::clone(&backlog), ask)));
                    }
                }
                Message::Call(call) => drop(tokio::spawn(call::run(shared, call))),
                Message::Poll { wait_seconds } => drop(tokio::spawn(poll::run(shared, wait_seconds))),
            }
        }
    });
    // Not waiting: a look-up of a name by the system may take long.
    runtime.shutdown_background();
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::*;
    use crate::address::Address;
    use crate::options::ClientOptions;

    /// More time than the thread takes. Only a failing test waits as long.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A client of a server that accepts connections and never reads from them.
    fn thread() -> (std::net::TcpListener, Thread) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let shared = Arc::new(Shared::new(address, ClientOptions::default()));
        (listener, Thread::start(shared).unwrap())
    }

    fn append(thread: &Thread, bytes: usize) -> Option<oneshot::Receiver<Result<Appended, AppendError>>> {
        let request = Request { body: Bytes::from(vec![0; bytes]), ..Request::post("/batches", Vec::new()) };
        match thread.append(request, vec!["a-1".parse().unwrap()]) {
            Ok(answer) => Some(answer),
            Err(error) => {
                assert_eq!(error, AppendError::Overloaded);
                None
            }
        }
    }

    #[test]
    fn appends_are_limited_in_number() {
        let (_listener, thread) = thread();
        let mut appends = (0..APPENDS_MAX).map(|_| append(&thread, 10)).collect::<Vec<_>>();
        assert!(appends.iter().all(Option::is_some));
        assert!(append(&thread, 10).is_none());
        // One that is dropped makes room, as soon as the thread has seen it.
        drop(appends.pop());
        let begun = Instant::now();
        while append(&thread, 10).is_none() {
            assert!(begun.elapsed() < PATIENCE, "the thread does not see the drop");
            std::thread::yield_now();
        }
    }

    #[test]
    fn appends_are_limited_in_bytes() {
        let (_listener, thread) = thread();
        let all = append(&thread, APPENDS_BYTES_MAX);
        assert!(all.is_some() && append(&thread, 1).is_none());
    }
}
