//! Figures in the text format of Prometheus.

use std::fmt::{Display, Write};

/// The labels of a series.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Figures as text.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// Writes the series of a gauge, and nothing if there is none.
    pub(super) fn gauge<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = (Labels, V)>,
    ) {
        self.family("gauge", name, help, series.map(|(labels, value)| ("", labels, value)));
    }

    /// Writes the series of a counter, and nothing if there is none.
    pub(super) fn counter<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = (Labels, V)>,
    ) {
        self.family("counter", name, help, series.map(|(labels, value)| ("", labels, value)));
    }

    /// Writes the sums and counts of a summary, and nothing if there is none.
    pub(super) fn summary(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = (Labels, f64, u64)>,
    ) {
        let series = series.flat_map(|(labels, sum, count)| {
            [("_sum", labels.clone(), sum.to_string()), ("_count", labels, count.to_string())]
        });
        self.family("summary", name, help, series);
    }

    /// Writes series of one name. Each has the end of its name, its labels and its value.
    fn family<V: Display>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        series: impl Iterator<Item = (&'static str, Labels, V)>,
    ) {
        let mut series = series.peekable();
        if series.peek().is_none() {
            return;
        }
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        for (end, labels, value) in series {
            let labels = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
            let labels = labels.collect::<Vec<_>>().join(",");
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            self.line(format_args!("{name}{end}{labels} {value}"));
        }
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("a text takes every line");
    }
}

/// The value of a label between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
