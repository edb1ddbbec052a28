//! A page of events as an answer: JSON, or an array of CloudEvents, with a link to the next one.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use gesta::http::Problem;
use gesta_core::{Page, StreamName};
use gesta_wire::{cloudevents, write_page};

use crate::accept::Form;
use crate::answer;
use crate::state::Shared;

/// A page in the form that the client prefers. A page of a stream names it.
pub(super) fn answer(
    shared: &Shared,
    form: Form,
    page: &Page,
    stream: Option<&StreamName>,
    next: Option<&str>,
) -> Result<Response, Problem> {
    let mut response = match form {
        Form::CloudEvents => answer::typed(shared, cloudevents::BATCH_MEDIA_TYPE, cloud_events(page))?,
        Form::Json | Form::EventStream => {
            let mut out = Vec::new();
            write_page(page, stream, next, &mut out);
            answer::json(shared, out)?
        }
    };
    if let Some(link) = next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn cloud_events(page: &Page) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for (at, event) in page.events.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b",\n");
        }
        cloudevents::write_cloud_event(event, page.head.store(), &mut out);
    }
    out.push(b']');
    out
}
