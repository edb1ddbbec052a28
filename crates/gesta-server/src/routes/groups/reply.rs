//! A reply that gives its deliveries back if its connection breaks before it was written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use gesta_consumer::group::{DeliveryId, GroupName, Groups, MemberName};

/// The deliveries of a reply. Dropping it before the reply was written gives them back.
pub(super) struct Unwritten {
    groups: Arc<dyn Groups>,
    group: GroupName,
    member: MemberName,
    ids: Vec<DeliveryId>,
}

impl Unwritten {
    pub(super) fn new(groups: Arc<dyn Groups>, group: GroupName, member: MemberName) -> Self {
        Self { groups, group, member, ids: Vec::new() }
    }

    pub(super) fn hold(&mut self, ids: Vec<DeliveryId>) {
        self.ids = ids;
    }

    pub(super) fn give_back(&self, ids: &[DeliveryId]) {
        if !ids.is_empty() {
            self.groups.unwritten(&self.group, &self.member, ids);
        }
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.give_back(&self.ids);
    }
}

/// The reply with its guard.
///
/// The last piece that the connection takes counts as written: the operating system does not tell what reached the member. What is
/// lost after that is given again when the member calls without holding it, or expires.
pub(super) fn guarded(response: Response, unwritten: Unwritten) -> Response {
    let (mut parts, body) = response.into_parts();
    let length =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let left = length.or_else(|| body.size_hint().exact());
    if let Some(length) = left {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let body = Guarded { pieces: body.into_data_stream(), left, unwritten: Some(unwritten) };
    Response::from_parts(parts, Body::from_stream(body))
}

struct Guarded {
    pieces: BodyDataStream,
    /// Bytes that are not taken yet, if their number is known. A connection does not ask for more when it has them all.
    left: Option<u64>,
    unwritten: Option<Unwritten>,
}

impl Guarded {
    fn is_written(&mut self) {
        if let Some(mut unwritten) = self.unwritten.take() {
            unwritten.ids.clear();
        }
    }
}

impl Stream for Guarded {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.pieces.poll_next_unpin(context));
        match &next {
            None => self.is_written(),
            Some(Ok(piece)) => {
                self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
                if self.left == Some(0) {
                    self.is_written();
                }
            }
            Some(Err(_)) => {}
        }
        Poll::Ready(next)
    }
}
