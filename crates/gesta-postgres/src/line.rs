//! One connection for one use, made when it is first needed, and anew after it was lost.

use std::sync::Arc;

use crate::fault::Fault;
use crate::session::Session;
use crate::shared::Target;

/// One connection for one use.
#[derive(Default)]
pub(crate) struct Line(tokio::sync::Mutex<Option<Arc<Session>>>);

impl Line {
    /// The connection. A new one is made within its time, which the address may set.
    pub(crate) async fn session(&self, target: &Target) -> Result<Arc<Session>, Fault> {
        let mut current = self.0.lock().await;
        if let Some(session) = current.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::connect(target, None).await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Leaves a connection after a failure: its transaction may be open, and a new connection has none.
    pub(crate) async fn leave(&self, session: &Arc<Session>) {
        self.0.lock().await.take_if(|current| Arc::ptr_eq(current, session));
    }
}
