//! The form of an answer, by the header `Accept`.

use axum::http::{HeaderMap, header};
use gesta_wire::cloudevents;

/// A form that events are answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A page in the server's JSON.
    Json,
    /// A page as an array of CloudEvents.
    CloudEvents,
    /// A subscription: server-sent events.
    EventStream,
}

/// The forms of a page.
pub(crate) const PAGES: &[Form] = &[Form::Json, Form::CloudEvents];
/// The forms of a read of the log.
pub(crate) const PAGES_AND_FEED: &[Form] = &[Form::Json, Form::CloudEvents, Form::EventStream];

impl Form {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::CloudEvents => cloudevents::BATCH_MEDIA_TYPE,
            Self::EventStream => "text/event-stream",
        }
    }

    /// The offered form that the client prefers: by `q`, then by how exactly it is named, then by the order of the header. The first
    /// offered form, if the client accepts none: an answer in another form helps more than none.
    pub(crate) fn preferred(headers: &HeaderMap, offered: &[Self]) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges = values.flat_map(|value| value.split(',')).filter_map(Range::of).collect::<Vec<_>>();
        let mut best = (offered[0], 0, 0, 0);
        for form in offered {
            let matching = ranges.iter().enumerate();
            let matching =
                matching.filter_map(|(at, range)| Some((range.matches(*form)?, at, range.quality)));
            // The most exact range decides, also where a wider one has a higher `q`.
            let Some((exact, at, quality)) = matching.max_by_key(|(exact, at, _)| (*exact, usize::MAX - at))
            else {
                continue;
            };
            let rank = (*form, quality, exact, usize::MAX - at);
            if quality > 0 && (rank.1, rank.2, rank.3) > (best.1, best.2, best.3) {
                best = rank;
            }
        }
        best.0
    }
}

/// A media range of `Accept`, with its weight.
struct Range {
    name: String,
    /// `q` in thousandths.
    quality: u32,
}

impl Range {
    fn of(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next()?.to_ascii_lowercase();
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| quality(value.trim()))
        });
        Some(Self { name, quality: quality.unwrap_or(1_000) })
    }

    /// How exactly the range names a form; `None` if it does not.
    fn matches(&self, form: Form) -> Option<u32> {
        let media_type = form.media_type();
        if self.name == media_type {
            return Some(2);
        }
        if self.name == "*/*" {
            return Some(0);
        }
        let wanted = self.name.strip_suffix("/*")?;
        media_type.split_once('/').filter(|(kind, _)| *kind == wanted).map(|_| 1)
    }
}

/// A weight in thousandths. A malformed one counts as 1, as if it were not given.
fn quality(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_fraction = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if is_fraction => format!("{fraction:0<3}").parse().unwrap_or(1_000),
        _ => 1_000,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::Form::{CloudEvents, EventStream, Json};
    use super::*;

    #[test]
    fn the_form_that_the_client_prefers_is_given() {
        for (accept, form) in [
            ("*/*", Json),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Json),
            ("text/html", Json),
            ("", Json),
            ("text/event-stream", EventStream),
            ("text/event-stream;q=0", Json),
            ("text/event-stream;q=0, */*", Json),
            ("text/*", EventStream),
            ("TEXT/Event-Stream", EventStream),
            ("*/*, text/event-stream", EventStream),
            ("application/json, text/event-stream", Json),
            ("text/event-stream, application/json", EventStream),
            ("application/json;q=0.5, text/event-stream;q=0.9", EventStream),
            ("application/cloudevents-batch+json;q=0.1, application/json", Json),
            ("application/cloudevents-batch+json, application/json;q=0.9", CloudEvents),
            ("application/cloudevents-batch+json;charset=utf-8", CloudEvents),
            ("application/json;q=0, application/cloudevents-batch+json;q=0.001", CloudEvents),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::preferred(&headers, PAGES_AND_FEED), form, "{accept}");
        }
        assert_eq!(Form::preferred(&HeaderMap::new(), PAGES), Json);
    }
}
