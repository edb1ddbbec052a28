//! The figures of the timers of processes.

use gesta::process::TimerStats;

use super::text::Text;

/// The figures of the timers of each process, by its name.
pub(super) fn timers(processes: &[(&str, TimerStats)], text: &mut Text) {
    let labels = |process: &str| vec![("process", process.to_owned())];
    text.gauge(
        "gesta_timers_pending",
        "Timers in memory that may be pending.",
        processes.iter().map(|(process, stats)| (labels(process), stats.pending)),
    );
    text.summary(
        "gesta_timer_late_seconds",
        "How late the timers fired that fired here.",
        processes.iter().map(|(process, stats)| (labels(process), stats.late.as_secs_f64(), stats.fired)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_have_a_gauge_and_a_summary() {
        let mut text = Text::default();
        timers(&[("fulfilment", TimerStats::default())], &mut text);
        expect_test::expect![[r#"
            # HELP gesta_timers_pending Timers in memory that may be pending.
            # TYPE gesta_timers_pending gauge
            gesta_timers_pending{process="fulfilment"} 0
            # HELP gesta_timer_late_seconds How late the timers fired that fired here.
            # TYPE gesta_timer_late_seconds summary
            gesta_timer_late_seconds_sum{process="fulfilment"} 0
            gesta_timer_late_seconds_count{process="fulfilment"} 0
        "#]]
        .assert_eq(&text.into_string());
    }
}
