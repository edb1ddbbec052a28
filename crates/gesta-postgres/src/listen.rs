//! Wake-ups: one connection that listens for commits, of this process and of others.
//!
//! After each connect it reads the head once the `listen` has committed, so no commit falls between. A look each second is
//! the net below a notification that was lost.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::fault::Fault;
use crate::limits::{POLL_INTERVAL, READ_TIME, RETRY_PAUSE, STEP_TIME};
use crate::session::{Session, within};
use crate::shared::Shared;

/// Listens until the task is ended.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut is_first = true;
    loop {
        let fault = match listen(&shared, &mut is_first).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        };
        tracing::debug!("the connection for notifications ended: {fault:?}");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// No value: the listener ends only with a fault.
enum Never {}

async fn listen(shared: &Shared, is_first: &mut bool) -> Result<Never, Fault> {
    let (notes, mut noted) = mpsc::unbounded_channel::<String>();
    let session = Session::connect(&shared.target, Some(notes)).await?;
    let listen = format!("listen \"{}\"", shared.target.channel);
    let begin = async {
        session.client().batch_execute(&listen).await?;
        session.state().await
    };
    let state = within(STEP_TIME, "listening for commits", begin).await?;
    if std::mem::take(is_first) {
        shared.observe(&state)?;
    } else {
        shared.start_over(&state)?;
    }
    loop {
        let note = tokio::time::timeout(POLL_INTERVAL, noted.recv()).await;
        if matches!(note, Ok(None)) {
            return Err(Fault::Lost("the connection ended".to_owned()));
        }
        let mut newest = note.ok().flatten();
        while let Ok(newer) = noted.try_recv() {
            newest = Some(newer);
        }
        // Commits of this process are known already.
        let position = newest.and_then(|text| text.parse::<u64>().ok());
        if position.is_none_or(|position| position > shared.known().head.sequence(0)) {
            shared.observe(&within(READ_TIME, "a look at the head", session.state()).await?)?;
        }
    }
}
