//! Imports a file of CloudEvents. The batches depend only on the file and are appended one after the other. A batch that is already in
//! the log is answered as a repeat, so an interrupted import can be run again and continues.
//!
//! *Choice:* one batch is appended at a time, while a thread reads and parses the next ones. Several at once would be a little faster,
//! but could break the order within a stream if one is refused in part and the next ones are not.

mod append;
mod batches;
mod template;

pub(crate) use append::{Appender, Counts};
pub(crate) use batches::{FileBatch, FileBatches, open_input};
pub(crate) use template::Template;
