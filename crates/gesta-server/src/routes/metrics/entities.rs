//! The figures of kept states and of the commands in line.

use gesta::CacheMetrics;

use super::text::{Labels, Text};

/// A figure: its name, what it is, and its value.
type Figure = (&'static str, &'static str, fn(&CacheMetrics) -> u64);

const GAUGES: [Figure; 3] = [
    ("gesta_states_entities", "Entities whose states are kept.", |metrics| metrics.entities as u64),
    ("gesta_states_bytes", "Bytes of kept states, as the states weigh themselves.", |metrics| {
        metrics.bytes as u64
    }),
    ("gesta_commands_in_flight", "Batches of commands that the store has not answered.", |metrics| {
        metrics.in_flight
    }),
];

const COUNTERS: [Figure; 5] = [
    ("gesta_states_hits_total", "Decisions on kept states, without a read.", |metrics| metrics.hits),
    ("gesta_states_loads_total", "Reads of a history, or of its new events.", |metrics| metrics.loads),
    ("gesta_states_events_loaded_total", "Events that these reads folded.", |metrics| metrics.events_loaded),
    ("gesta_states_evicted_total", "Entities dropped because the cache was full.", |metrics| metrics.evicted),
    ("gesta_commands_early_total", "Batches that came before those that they rest on.", |metrics| {
        metrics.early
    }),
];

/// The figures of the handle that commands are sent with.
pub(super) fn entities(metrics: &CacheMetrics, text: &mut Text) {
    let series = |value: fn(&CacheMetrics) -> u64| std::iter::once((Labels::new(), value(metrics)));
    GAUGES.iter().for_each(|(name, help, value)| text.gauge(name, help, series(*value)));
    COUNTERS.iter().for_each(|(name, help, value)| text.counter(name, help, series(*value)));
    text.counter(
        "gesta_commands_decided_again_total",
        "Commands decided again, by cause.",
        causes(metrics).into_iter().map(|(cause, number)| (vec![("cause", cause.to_owned())], number)),
    );
}

fn causes(metrics: &CacheMetrics) -> [(&'static str, u64); 4] {
    [
        ("conflict", metrics.conflicts),
        ("predecessor", metrics.predecessors),
        ("wrong-answer", metrics.wrong_answers),
        ("gate-lost", metrics.gates_lost),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_line() {
        let mut text = Text::default();
        entities(&CacheMetrics::default(), &mut text);
        let text = text.into_string();
        let figures = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
        expect_test::expect![[r#"
            [
                "gesta_states_entities 0",
                "gesta_states_bytes 0",
                "gesta_commands_in_flight 0",
                "gesta_states_hits_total 0",
                "gesta_states_loads_total 0",
                "gesta_states_events_loaded_total 0",
                "gesta_states_evicted_total 0",
                "gesta_commands_early_total 0",
                "gesta_commands_decided_again_total{cause=\"conflict\"} 0",
                "gesta_commands_decided_again_total{cause=\"predecessor\"} 0",
                "gesta_commands_decided_again_total{cause=\"wrong-answer\"} 0",
                "gesta_commands_decided_again_total{cause=\"gate-lost\"} 0",
            ]
        "#]]
        .assert_debug_eq(&figures);
    }
}
