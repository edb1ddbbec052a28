//! Events to import.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Lines of CloudEvents with those ids, in ten streams.
pub(crate) fn lines(ids: impl IntoIterator<Item = usize>) -> String {
    let mut text = String::new();
    for id in ids {
        writeln!(
            text,
            r#"{{"specversion":"1.0","id":"{id}","source":"urn:test","type":"t.{}","subject":"s-{}","time":"2024-01-01T00:00:00.{id:06}Z","datacontenttype":"application/json","data":{{"n": {id}}},"trace":"x{id}"}}"#,
            id % 3,
            id % 10,
        )
        .unwrap();
    }
    text
}

/// Writes a file in a folder.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A file of real data, if it is beside the checkout.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    beside.map(|folder| folder.join("shared").join("data").join(name)).find(|path| path.exists())
}
