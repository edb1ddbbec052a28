//! Importing a file of CloudEvents: batches made from the file alone, appended one after the other, each answered as a repeat
//! where it is there already. So an import that was cut off is run again, and goes on.
//!
//! *Choice:* one batch is appended at a time, while a thread reads and parses the next ones. Several at once would be a little
//! faster and could break the order within a stream, when one is refused in part and those behind it are not.

mod append;
mod batches;
mod template;

pub(crate) use append::{Appender, Counts};
pub(crate) use batches::{FileBatch, FileBatches, open_input};
pub(crate) use template::Template;
