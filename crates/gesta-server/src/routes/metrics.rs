//! `GET /metrics`: figures for Prometheus, in its text format.

mod entities;
mod groups;
mod snapshots;
mod text;
mod timers;
mod views;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use gesta::http::api::Operation;
use gesta::http::{Params, Problem};
use gesta::process::Timers;
use gesta_consumer::ConsumerReport;
use gesta_views::Progress;

use super::consumers::STATES;
use super::groups::list_soon;
use crate::state::Shared;
use text::Text;

/// The media type of the text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures.
pub(super) async fn read(State(shared): State<Arc<Shared>>, params: Params) -> Result<Response, Problem> {
    params.finish()?;
    let mut reports = Vec::new();
    for consumer in shared.consumers.all() {
        reports.push(consumer.report().await);
    }
    let mut text = Text::default();
    consumers(&reports, &mut text);
    views::views(&building(&shared).await, &mut text);
    views::parked(&reports, &mut text);
    if let Some(groups) = &shared.groups {
        // Groups that cannot be listed have no figures; the others are not held up.
        let listed = list_soon(&**groups).await.unwrap_or_default();
        groups::groups(&listed, &mut text);
        groups::dealer(groups.dealer().as_ref(), &mut text);
    }
    let of = |timers: &Arc<Timers>| (timers.process(), timers.stats());
    if shared.app.is_some() {
        entities::entities(&shared.gesta.cache_metrics(), &mut text);
    }
    timers::timers(&shared.timers.iter().map(of).collect::<Vec<_>>(), &mut text);
    snapshots::snapshots(&shared.gesta.snapshot_metrics(), &mut text);
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], text.into_string()).into_response())
}

/// The views that are being built, by name.
async fn building(shared: &Shared) -> Vec<(String, Progress)> {
    let mut building = Vec::new();
    for views in shared.views.iter() {
        for name in views.names() {
            let progress = views.status(&name).await.ok().and_then(|status| status.progress);
            building.extend(progress.map(|progress| (name, progress)));
        }
    }
    building
}

fn consumers(reports: &[ConsumerReport], text: &mut Text) {
    let labels =
        |report: &ConsumerReport| vec![("consumer", report.name.to_string()), ("kind", report.kind.into())];
    text.gauge(
        "gesta_consumer_lag_events",
        "Events of the log, of any type, that the consumer has not handled.",
        reports.iter().filter_map(|report| Some((labels(report), report.lag_events?))),
    );
    text.gauge(
        "gesta_consumer_lag_seconds",
        "The age of the oldest event that the consumer has not handled; 0 at the head.",
        reports.iter().filter_map(|report| Some((labels(report), report.lag?.as_secs_f64()))),
    );
    let states = reports.iter().flat_map(|report| {
        STATES.map(|state| {
            let labels = [labels(report), vec![("state", state.to_owned())]].concat();
            (labels, u8::from(report.state == state))
        })
    });
    text.gauge("gesta_consumer_state", "1 for the state of the consumer, 0 for the others.", states);
}

pub(super) fn operation() -> Operation {
    Operation::new("metrics", "figures for Prometheus").content(
        200,
        "The figures, in the text format of Prometheus.",
        TEXT_FORMAT,
        gesta_wire::schema::text(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_are_in_the_text_format() {
        let report = |name: &str, state, lag| ConsumerReport {
            name: name.into(),
            kind: "view",
            state,
            error: None,
            attempt: None,
            next_try: None,
            paused: None,
            checkpoint: None,
            head: None,
            lag_events: lag,
            lag: lag.map(|events| Duration::from_millis(1_500 * events)),
            events_per_second: 0.0,
            parked_streams: 0,
        };
        let mut text = Text::default();
        consumers(&[report("a", "live", Some(0)), report("b\"\\", "stopped", Some(1))], &mut text);
        expect_test::expect![[r#"
            # HELP gesta_consumer_lag_events Events of the log, of any type, that the consumer has not handled.
            # TYPE gesta_consumer_lag_events gauge
            gesta_consumer_lag_events{consumer="a",kind="view"} 0
            gesta_consumer_lag_events{consumer="b\"\\",kind="view"} 1
            # HELP gesta_consumer_lag_seconds The age of the oldest event that the consumer has not handled; 0 at the head.
            # TYPE gesta_consumer_lag_seconds gauge
            gesta_consumer_lag_seconds{consumer="a",kind="view"} 0
            gesta_consumer_lag_seconds{consumer="b\"\\",kind="view"} 1.5
            # HELP gesta_consumer_state 1 for the state of the consumer, 0 for the others.
            # TYPE gesta_consumer_state gauge
            gesta_consumer_state{consumer="a",kind="view",state="catching-up"} 0
            gesta_consumer_state{consumer="a",kind="view",state="live"} 1
            gesta_consumer_state{consumer="a",kind="view",state="retrying"} 0
            gesta_consumer_state{consumer="a",kind="view",state="paused"} 0
            gesta_consumer_state{consumer="a",kind="view",state="stopped"} 0
            gesta_consumer_state{consumer="b\"\\",kind="view",state="catching-up"} 0
            gesta_consumer_state{consumer="b\"\\",kind="view",state="live"} 0
            gesta_consumer_state{consumer="b\"\\",kind="view",state="retrying"} 0
            gesta_consumer_state{consumer="b\"\\",kind="view",state="paused"} 0
            gesta_consumer_state{consumer="b\"\\",kind="view",state="stopped"} 1
        "#]]
        .assert_eq(&text.into_string());
        let mut text = Text::default();
        consumers(&[], &mut text);
        assert_eq!(text.into_string(), "");
    }
}
