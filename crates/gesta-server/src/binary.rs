//! CloudEvents in binary mode: the attributes in headers `ce-…`, the data in the body.
//!
//! The event is rewritten in structured mode and read as such, so that both modes follow one mapping.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use gesta::http::{Problem, header_text, media_type};
use gesta_core::ContentKind;
use gesta_wire::cloudevents::kind_of;
use gesta_wire::{check_surrogates, write_string};
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use crate::body::read_json;

const PREFIX: &str = "ce-";

/// Whether the request carries an event in binary mode: with an attribute in a header, and a body that is not itself a CloudEvent.
pub(crate) fn is_binary(headers: &HeaderMap, media_type: &str) -> bool {
    !media_type.starts_with("application/cloudevents")
        && headers.keys().any(|name| name.as_str().starts_with(PREFIX))
}

/// The same event in structured mode: one JSON object, its attributes in order of their names.
///
/// # Errors
/// A [`Problem`], 400, if a header is empty, repeated or not percent-encoded UTF-8, or if JSON data is malformed.
pub(crate) fn to_structured(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Problem> {
    let mut out = Vec::with_capacity(body.len() + 512);
    for (name, value) in attributes(headers)? {
        out.push(if out.is_empty() { b'{' } else { b',' });
        write_string(&name, &mut out);
        out.push(b':');
        write_string(&value, &mut out);
    }
    write_data(&media_type(headers)?, body, &mut out)?;
    out.push(b'}');
    Ok(out.into())
}

fn attributes(headers: &HeaderMap) -> Result<BTreeMap<String, String>, Problem> {
    let mut attributes = BTreeMap::new();
    for header in headers.keys() {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else { continue };
        let value = header_text(headers, header)?.unwrap_or_default();
        let decoded = percent_decode_str(value).decode_utf8();
        let decoded = decoded
            .map_err(|_| Problem::invalid(format!("header `{header}` is not percent-encoded UTF-8")))?;
        attributes.insert(name.to_owned(), decoded.into_owned());
    }
    if let Some(content_type) = header_text(headers, "Content-Type")? {
        let before = attributes.insert("datacontenttype".to_owned(), content_type.to_owned());
        if before.is_some() {
            return Err(Problem::invalid(
                "both `ce-datacontenttype` and `Content-Type` are given: binary mode takes `Content-Type`",
            ));
        }
    }
    Ok(attributes)
}

fn write_data(media_type: &str, body: &Bytes, out: &mut Vec<u8>) -> Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    if !media_type.is_empty() && kind_of(media_type) == ContentKind::Json {
        let json = read_json::<&RawValue>(body, "the data of the event")?;
        check_surrogates(json.get(), body)?;
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(json.get().as_bytes());
        return Ok(());
    }
    out.extend_from_slice(b",\"data_base64\":");
    write_string(&BASE64_STANDARD.encode(body), out);
    Ok(())
}
