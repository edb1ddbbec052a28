//! A secret of a publisher: what proves it at its target.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The longest file of a secret.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A secret text. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Reads a secret from an environment variable. The error says what is wrong and what helps.
    pub(crate) fn of_variable(name: &str) -> Result<Self, String> {
        match std::env::var(name) {
            Ok(text) => {
                Self::new(&text).ok_or_else(|| format!("names the variable `{name}`, which is empty: set it"))
            }
            Err(std::env::VarError::NotPresent) => {
                Err(format!("names the variable `{name}`, which is not set: set it before the start"))
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(format!("names the variable `{name}`, whose text is not UTF-8: set it anew"))
            }
        }
    }

    /// Reads a secret from a file. The error says what is wrong and what helps.
    pub(crate) fn of_file(path: &Path) -> Result<Self, String> {
        let named = path.display();
        let cannot =
            |error: &dyn fmt::Display| format!("names the file `{named}`, which cannot be read: {error}");
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|error| cannot(&error))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("names the file `{named}`, which is longer than {FILE_BYTES_MAX} bytes"));
        }
        let text = String::from_utf8(bytes).map_err(|error| cannot(&error))?;
        Self::new(&text)
            .ok_or_else(|| format!("names the file `{named}`, which is empty: put the secret there"))
    }

    /// Takes a text, without white space around it; `None` if nothing is left.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
