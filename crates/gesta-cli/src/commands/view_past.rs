//! `gesta view` with `--at`, `--time` or `--every`: a view in the past, built in this process.

use gesta_core::EventStore;
use gesta_server::{SeriesLimits, ViewSeries, moment_at, moment_by_time, now, rows_json};
use gesta_views::{Evaluation, QueryLimits, SqlValue};
use serde_json::Value;

use super::series::SeriesFlags;
use crate::failure::{Failure, Outcome};
use crate::target::encode;

/// The moments of the past; now by default.
#[derive(Default, clap::Args)]
pub(crate) struct PastFlags {
    /// The rows at this place: a checkpoint, a position in the log, or a time in RFC 3339 up to which events were recorded.
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["time", "every", "wait_for"])]
    at: Option<String>,
    /// The rows from events whose `time` is up to this time, in RFC 3339.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["every", "wait_for"])]
    time: Option<String>,
    #[command(flatten)]
    series: SeriesFlags,
}

/// The limits of a series in this process, which holds it in memory.
const SERIES: SeriesLimits = SeriesLimits { cuts: 10_000, rows: 10_000_000, bytes: 1 << 30 };

impl PastFlags {
    /// True if a moment is given.
    pub(super) const fn is_given(&self) -> bool {
        self.at.is_some() || self.time.is_some() || self.series.every.is_some()
    }

    /// The same, as query parameters of a URL.
    pub(super) fn params(&self) -> String {
        match (&self.at, &self.time, &self.series.every) {
            (Some(at), ..) => format!("?at={}", encode(at)),
            (_, Some(time), _) => format!("?time={}", encode(time)),
            (.., Some(every)) => self.series.params(every),
            (None, None, None) => String::new(),
        }
    }

    /// The answer to a query, as a server gives it.
    pub(super) fn query(
        &self,
        store: &dyn EventStore,
        evaluation: &Evaluation<'_>,
        sql: &str,
        values: &[(String, SqlValue)],
    ) -> Outcome<Value> {
        let failed = |error: &dyn std::error::Error| {
            let name = evaluation.definition().name();
            Failure::new(format!("cannot query view `{name}` as of the past")).because(error)
        };
        let moment = match (&self.at, &self.time, &self.series.every) {
            (.., Some(every)) => return self.query_series(store, evaluation, every, sql, values),
            (Some(at), ..) => pollster::block_on(moment_at(store, at, now())),
            (_, time, _) => {
                pollster::block_on(moment_by_time(store, time.as_deref().unwrap_or_default(), now()))
            }
        };
        let moment = moment.map_err(|error| failed(&error))?;
        let view = evaluation.at(&moment).map_err(|error| failed(&error))?;
        let rows = view.query(sql, values, &QueryLimits::default()).map_err(|error| failed(&error))?;
        Ok(rows_json(rows))
    }

    fn query_series(
        &self,
        store: &dyn EventStore,
        evaluation: &Evaluation<'_>,
        every: &str,
        sql: &str,
        parameters: &[(String, SqlValue)],
    ) -> Outcome<Value> {
        let cuts = self.series.cuts(every)?;
        let mut series = ViewSeries { cuts, sql, parameters, limits: QueryLimits::default(), most: SERIES };
        let until = pollster::block_on(series.end(store, now()))?;
        series.run(evaluation, &until).map_err(|error| {
            let name = evaluation.definition().name();
            Failure::new(format!("cannot query view `{name}` at many moments")).because(&error)
        })
    }
}
