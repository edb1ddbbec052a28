//! Whether a checkpoint that was kept belongs to the history that the store has now.

use gesta_core::{Checkpoint, EventStore, ReadError, check_checkpoint, check_marks};

/// Checks a checkpoint against the store, whose head was `head` a moment ago. Reads nothing that the store remembers.
///
/// # Errors
/// [`ReadError::Diverged`] if the store lost events that the checkpoint had seen, and went on; otherwise as a read from there.
pub async fn check_history(
    store: &dyn EventStore,
    checkpoint: &Checkpoint,
    head: &Checkpoint,
) -> Result<(), ReadError> {
    check_checkpoint(checkpoint, head)?;
    check_marks(checkpoint, |at| {
        let is_head = head.sequence(at.partition) == at.sequence;
        head.mark(at.partition).filter(|_| is_head)
    })?;
    if checkpoint != head {
        // Over at once, since there is something after the checkpoint.
        store.wait_past(checkpoint.clone()).await?;
    }
    Ok(())
}
