//! The figures of views that are being built.

use gesta_consumer::ConsumerReport;
use gesta_views::Progress;

use super::text::Text;

/// The figures of each view that is being built, by its name.
pub(super) fn views(building: &[(String, Progress)], text: &mut Text) {
    let labels = |name: &String| vec![("view", name.clone())];
    text.gauge(
        "gesta_view_build_events_done",
        "Events of the log, of any type, that a version which is being built has passed.",
        building.iter().map(|(name, progress)| (labels(name), progress.events_done)),
    );
    text.gauge(
        "gesta_view_build_events_total",
        "Events of the log, of any type, up to its head, while a version is being built.",
        building.iter().map(|(name, progress)| (labels(name), progress.events_total)),
    );
    text.gauge(
        "gesta_view_build_events_per_second",
        "Events that a version which is being built passes each second.",
        building.iter().map(|(name, progress)| (labels(name), progress.events_per_second)),
    );
    text.gauge(
        "gesta_view_build_remaining_seconds",
        "The time until a version which is being built is at the head, at its present rate.",
        building
            .iter()
            .filter_map(|(name, progress)| Some((labels(name), progress.remaining?.as_secs_f64()))),
    );
}

/// The parked streams of each view.
pub(super) fn parked(consumers: &[ConsumerReport], text: &mut Text) {
    let views = consumers.iter().filter(|consumer| consumer.kind == "view");
    text.gauge(
        "gesta_view_parked_streams",
        "Streams that a view holds back, because it cannot apply one of their events.",
        views.map(|view| (vec![("view", view.name.to_string())], view.parked_streams)),
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_view_that_is_built_has_figures() {
        let remaining = Some(Duration::from_millis(7_500));
        let progress = Progress { events_done: 25, events_total: 100, events_per_second: 10.0, remaining };
        let still = Progress { events_per_second: 0.0, remaining: None, ..progress.clone() };
        let mut text = Text::default();
        views(&[("a".to_owned(), progress), ("b".to_owned(), still)], &mut text);
        expect_test::expect![[r#"
            # HELP gesta_view_build_events_done Events of the log, of any type, that a version which is being built has passed.
            # TYPE gesta_view_build_events_done gauge
            gesta_view_build_events_done{view="a"} 25
            gesta_view_build_events_done{view="b"} 25
            # HELP gesta_view_build_events_total Events of the log, of any type, up to its head, while a version is being built.
            # TYPE gesta_view_build_events_total gauge
            gesta_view_build_events_total{view="a"} 100
            gesta_view_build_events_total{view="b"} 100
            # HELP gesta_view_build_events_per_second Events that a version which is being built passes each second.
            # TYPE gesta_view_build_events_per_second gauge
            gesta_view_build_events_per_second{view="a"} 10
            gesta_view_build_events_per_second{view="b"} 0
            # HELP gesta_view_build_remaining_seconds The time until a version which is being built is at the head, at its present rate.
            # TYPE gesta_view_build_remaining_seconds gauge
            gesta_view_build_remaining_seconds{view="a"} 7.5
        "#]]
        .assert_eq(&text.into_string());
    }
}
