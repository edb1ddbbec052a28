//! A log whose tail was settled.

use std::sync::Arc;

use super::Listed;
use super::tail::TailSurvey;
use crate::index::Run;
use crate::segment::LogPoint;

/// A log whose tail was settled, and that must still be loaded.
pub(crate) struct Settled {
    pub(crate) listed: Vec<Listed>,
    pub(crate) survey: TailSurvey,
    /// The usable runs, and where in the log they end.
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) known: LogPoint,
    pub(crate) is_read_only: bool,
}

impl Settled {
    pub(crate) fn new(
        listed: Vec<Listed>,
        mut survey: TailSurvey,
        (runs, known): (Vec<Arc<Run>>, LogPoint),
        beyond: Beyond,
        is_read_only: bool,
    ) -> Self {
        if beyond == Beyond::LeftOut {
            survey.clip_to_watermark();
        }
        Self { listed, survey, runs, known, is_read_only }
    }
}

/// The treatment of frames that are not known to be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// They were written again or copied, and synced.
    Settled,
    LeftOut,
}
