//! Wake-ups: one connection that listens for commits, of this process and of others.
//!
//! After each connect it reads the head once the `listen` has committed, so no commit falls between. A look each second is
//! the net below a notification that was lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::fault::Fault;
use crate::limits::{LISTEN_PAUSE_MAX, POLL_INTERVAL, READ_TIME, RETRY_PAUSE, STEP_TIME};
use crate::session::{Session, within};
use crate::shared::Shared;

/// Listens until the task is ended.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut tries = Tries { is_first: true, failures: 0 };
    loop {
        let fault = match listen(&shared, &mut tries).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        };
        if tries.failures == 0 {
            tracing::warn!("the connection for notifications failed, and is made again: {fault:?}");
        } else {
            tracing::debug!("the connection for notifications failed once more: {fault:?}");
        }
        tokio::time::sleep(pause_after(tries.failures)).await;
        tries.failures = tries.failures.saturating_add(1);
    }
}

struct Tries {
    /// True until a connection has listened.
    is_first: bool,
    /// Failures since a connection was of use.
    failures: u32,
}

/// The pause after a failure that comes after others.
fn pause_after(failures: u32) -> Duration {
    RETRY_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LISTEN_PAUSE_MAX)
}

/// No value: the listener ends only with a fault.
enum Never {}

async fn listen(shared: &Shared, tries: &mut Tries) -> Result<Never, Fault> {
    let (notes, mut noted) = mpsc::unbounded_channel::<String>();
    let session = Session::connect(&shared.target, Some(notes)).await?;
    let listen = format!("listen \"{}\"", shared.target.channel);
    let begin = async {
        session.client().batch_execute(&listen).await?;
        session.state().await
    };
    let state = within(STEP_TIME, "listening for commits", begin).await?;
    if std::mem::take(&mut tries.is_first) {
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
        // Not before: a pooler may take the `listen` and refuse what follows.
        tries.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_tries_doubles_up_to_a_limit() {
        let pauses = [0, 1, 2, 5, 6, 7, u32::MAX].map(|failures| pause_after(failures).as_millis());
        assert_eq!(pauses, [50, 100, 200, 1_600, 3_000, 3_000, 3_000]);
    }
}
