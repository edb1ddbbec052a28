//! States in the past: as series, compared with each other, and as they would be with other events.

mod category;
mod cuts;
mod diff;
mod frame;
mod range;
mod series;
mod steps;
#[cfg(test)]
mod tests;
mod what_if;

pub use category::CategoryError;
pub use cuts::{By, Cuts, CutsError, Step};
pub use diff::{DiffError, FieldChange};
pub use series::Cut;
pub use steps::{EventStep, Steps};
pub use what_if::{JsonEvent, WhatIf};

pub(crate) use category::series_of_category;
pub(crate) use diff::changes;
pub(crate) use series::series;
pub(crate) use what_if::{decoded, what_if};
