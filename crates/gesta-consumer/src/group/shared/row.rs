//! The row of the holder, as it is kept: a JSON object with a version, so that a later release can tell it apart.

use bytes::Bytes;
use gesta_core::KeyName;
use serde::{Deserialize, Serialize};

use super::holder::Row;

/// The version of the row's form.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Kept {
    v: u32,
    holder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    secret: String,
    beat: u64,
}

/// The key of the row. It is none of a group.
pub(super) fn key() -> KeyName {
    KeyName::new("groups-holder").expect("a constant key")
}

pub(super) fn write(row: &Row) -> Bytes {
    let Row { holder, address, secret, beat } = row.clone();
    serde_json::to_vec(&Kept { v: FORM, holder, address, secret, beat }).expect("strings and numbers").into()
}

/// Reads a row. One of another form is a holder that cannot be reached.
pub(super) fn read(value: &[u8]) -> Row {
    match serde_json::from_slice::<Kept>(value) {
        Ok(Kept { v: FORM, holder, address, secret, beat }) => Row { holder, address, secret, beat },
        _ => Row { holder: "unknown".to_owned(), address: None, secret: String::new(), beat: 0 },
    }
}
