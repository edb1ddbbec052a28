//! The loop of a member, which makes its calls, and the loop of a worker.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use event_listener::EventListener;
use gesta_core::BoxFuture;

use super::handle::{Failed, Handle, settlement};
use super::member::{Ended, Input, Member, Output};
use super::shared::Shared;
use crate::clock::Clock;
use crate::group::{GroupName, Groups, TakeError, Taken};

type Answer<'g> = BoxFuture<'g, Result<Taken, TakeError>>;

/// Everything that the loop of a member needs.
pub(super) struct Loop {
    pub(super) groups: Arc<dyn Groups>,
    pub(super) group: GroupName,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
}

/// The calls that are open.
#[derive(Default)]
struct Open<'g> {
    poll: Option<Answer<'g>>,
    report: Option<Answer<'g>>,
}

impl Loop {
    /// Runs until the member has ended.
    pub(super) async fn run(self, mut member: Member) {
        let _ends = EndsWorkers(&self.shared);
        let mut open = Open::default();
        let mut inputs = vec![Input::Tick];
        let mut told_to_stop = false;
        loop {
            // Listen first, look second: a change in between is not missed.
            let listener = self.shared.finished().listen();
            inputs.extend(self.shared.settlements().into_iter().map(Input::Finished));
            if !told_to_stop && self.shared.is_stopping() {
                told_to_stop = true;
                inputs.push(Input::Stop);
            }
            if inputs.is_empty() {
                let wake = member.wake_at().map(|at| self.clock.wait(at));
                inputs.push(next(listener, wake, &mut open).await);
            }
            for input in std::mem::take(&mut inputs) {
                for output in member.step(input, self.clock.elapsed()) {
                    match output {
                        Output::Poll(take) => open.poll = Some(self.groups.take(self.group.clone(), take)),
                        Output::Report(take) => {
                            open.report = Some(self.groups.take(self.group.clone(), take));
                        }
                        Output::DropPoll => open.poll = None,
                        Output::Start(delivery) => self.shared.begin(delivery),
                        Output::Abandon(id) => self.shared.abandon(id),
                        Output::Waits(error) => self.waits(error.as_ref()),
                        Output::End(ended) => {
                            return self.ended(&ended);
                        }
                    }
                }
            }
        }
    }

    fn waits(&self, error: Option<&TakeError>) {
        let group = self.group.as_str();
        match error {
            None => tracing::info!(group, "the group answers again"),
            Some(error) => tracing::warn!(group, %error, "workers wait for the group"),
        }
    }

    fn ended(&self, ended: &Ended) {
        if let Ended::Refused(error) = ended {
            tracing::error!(group = self.group.as_str(), %error, "workers have ended");
        }
    }
}

/// Ends the workers with the loop, also if it panics or is dropped by a runtime that shuts down.
struct EndsWorkers<'l>(&'l Shared);

impl Drop for EndsWorkers<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Waits for the next thing to happen.
async fn next(
    listener: EventListener,
    mut wake: Option<BoxFuture<'static, ()>>,
    open: &mut Open<'_>,
) -> Input {
    let mut listener = pin!(listener);
    poll_fn(|context| {
        if let Some(answer) = answered(&mut open.poll, context) {
            return Poll::Ready(Input::Polled(answer));
        }
        if let Some(answer) = answered(&mut open.report, context) {
            return Poll::Ready(Input::Reported(answer));
        }
        let is_woken = wake.as_mut().is_some_and(|wake| wake.as_mut().poll(context).is_ready());
        if is_woken || listener.as_mut().poll(context).is_ready() {
            return Poll::Ready(Input::Tick);
        }
        Poll::Pending
    })
    .await
}

fn answered(call: &mut Option<Answer<'_>>, context: &mut Context<'_>) -> Option<Result<Taken, TakeError>> {
    let Poll::Ready(answer) = call.as_mut()?.as_mut().poll(context) else { return None };
    *call = None;
    Some(answer)
}

/// Handles deliveries until there will be none any more.
pub(super) async fn worker(shared: Arc<Shared>, handler: Arc<dyn Handle>) {
    while let Some(delivery) = shared.next().await {
        let handling = caught(&*handler, &delivery);
        if let Some(ended) = shared.unless_abandoned(delivery.id, handling).await {
            shared.finish(settlement(&delivery, ended));
        }
    }
}

/// Handles a delivery. A panic fails its first event.
async fn caught(handler: &dyn Handle, delivery: &crate::group::Delivery) -> Result<(), Failed> {
    let panicked = |panic: &(dyn Any + Send)| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Failed::retry(0, format!("the handler panicked: {}", text.unwrap_or("without a message")))
    };
    let began = catch_unwind(AssertUnwindSafe(|| handler.handle(delivery)));
    let mut handling = match began {
        Ok(handling) => handling,
        Err(panic) => return Err(panicked(&*panic)),
    };
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context))) {
        Ok(polled) => polled,
        Err(panic) => Poll::Ready(Err(panicked(&*panic))),
    })
    .await
}
