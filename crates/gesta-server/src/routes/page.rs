//! A page of events as an answer: JSON, or an array of CloudEvents, with a link to the next one.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use gesta::http::Problem;
use gesta_core::Page;

use crate::accept::Form;
use crate::state::Shared;
use crate::{answer, cloudevents, wire};

/// A page in the form that the client prefers. `members` come before those of the page, each with a comma after it.
pub(super) fn answer(
    shared: &Shared,
    form: Form,
    page: &Page,
    next: Option<&str>,
    members: &[u8],
) -> Result<Response, Problem> {
    let mut response = match form {
        Form::CloudEvents => answer::typed(shared, cloudevents::BATCH_MEDIA_TYPE, cloud_events(page))?,
        Form::Json | Form::EventStream => {
            let mut out = [b"{", members].concat();
            write_page(page, next, &mut out);
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

/// Appends the members of a page and closes the object.
fn write_page(page: &Page, next: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"events\":[");
    for (at, event) in page.events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        wire::write_event(event, out);
    }
    let rest =
        format!("],\"scannedTo\":\"{}\",\"head\":\"{}\",\"end\":{}", page.scanned_to, page.head, page.end);
    out.extend_from_slice(rest.as_bytes());
    out.extend_from_slice(b",\"next\":");
    match next {
        Some(next) => wire::write_string(next, out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}
